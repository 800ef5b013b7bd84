"""How much sound the head of an uncompressed recording promises, and how much of it is there.

libsndfile reads what there is without a word, so a file that was cut off would be taken for a shorter one.

Source: Microsoft & IBM 1991, "Multimedia programming interface and data specifications 1.0", for WAV; Apple 1989,
"Audio Interchange File Format"; Apple, "Core Audio Format specification 1.0"; Sony, "Wave64".
"""

from __future__ import annotations

from typing import Literal

_OPEN = (0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # sizes that programs write which do not know yet how much will follow


def declared(data: bytes) -> tuple[int, int]:
    """Bytes of sound that the head tells, and those that are there; (0, 0) for other formats, or where it is open."""
    head = data[:4]
    if head == b"RIFF" and data[8:12] == b"WAVE":
        return _chunk(data, 12, b"data", 4, "little")
    if head == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return _chunk(data, 12, b"SSND", 4, "big")
    if head == b"caff":
        return _chunk(data, 8, b"data", 8, "big")
    if head == b".snd" and len(data) >= 12:
        start, size = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
        return (0, 0) if size in _OPEN else (size, max(0, len(data) - start))
    if head == b"riff" and len(data) >= 24:  # Wave64, whose head tells the size of the whole file
        return int.from_bytes(data[16:24], "little"), len(data)
    return 0, 0


def _chunk(data: bytes, at: int, wanted: bytes, width: int, order: Literal["little", "big"]) -> tuple[int, int]:
    """The size of a chunk, and how much of it is there."""
    while at + 4 + width <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 4 + width], order)
        at += 4 + width
        if name == wanted:
            return (0, 0) if size in _OPEN else (size, len(data) - at)
        at += size + (size % 2 if width == 4 else 0)  # but for those of Core Audio, chunks begin at even places
    return 0, 0
