"""Mutations of files: bytes, words, trees of JSON, and what lies within archives, headers and checksums.

A file that is broken at random mostly fails at its first check. So what is behind it is reached by breaking the inside
and making the outside whole again: JSON stays JSON, a PNG keeps its checksums, an archive its directory, a safetensors
file the length of its header.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", " ", "a", "NaN", "\0", "../../x", "/etc/passwd", "ü\u202e\U0001f600"),
    *("1 epoch", "none", "all", [], {}, [[]], [1, "a", None], {"a": {"b": []}}, {"$": "tensor", "name": "x"}),
    *({"$": "tuple", "items": [1]}, {"$": "pairs", "keys": [1], "values": []}, {"name": "x"}),
    *("x" * 5000, list(range(300))),
]
WORDS = [
    *(b"", b"0", b"-1", b"9" * 400, b"1e400", b"nan", b"-inf", b"NULL", b"None", b"true", b'"', b"'", b'""', b"\\"),
    *(
        b"\x00",
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r\n",
        b"\r",
        b"[",
        b"]",
        b"{",
        b"}",
        b"=",
        b":",
        b"#",
        b"- ",
        b"&a ",
        b"*a",
    ),
    *(b"*a", b"!!python/none", b"[" * 300, b"{" * 300, b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3\x28", b"../..", b"%s%n"),
    *(b"\xe2\x80\xae", b"2024-02-30", b"12:61", b"x" * 3000),
]
_TOKEN = re.compile(rb"\"[^\"\n]*\"|[A-Za-z_]+|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|[^\sA-Za-z0-9]")
Mutate = Callable[[bytes, random.Random], bytes]


def any_of(*ways: Mutate) -> Mutate:
    """One of several, at random."""
    return lambda data, dice: dice.choice(ways)(data, dice)


def raw(data: bytes, dice: random.Random) -> bytes:
    """One to eight changes of single places, whatever they mean."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 8))):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(8):
            case 0 if out:
                out[at % len(out)] ^= 1 << dice.randrange(8)
            case 1 if out:
                out[at % len(out)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
            case 2:
                out[at:at] = dice.randbytes(dice.choice((1, 2, 4, 16)))
            case 3:
                del out[at : at + dice.choice((1, 2, 4, 16, 256))]
            case 4:
                del out[at:]
            case 5:
                piece = out[at : at + dice.choice((1, 8, 64))]
                out[at:at] = piece * dice.choice((1, 2, 50))
            case 6:
                number = dice.choice((0, 1, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1))
                size = dice.choice((1, 2, 4, 8))
                out[at : at + size] = (number & (256**size - 1)).to_bytes(size, dice.choice(("little", "big")))
            case 7:
                other = dice.randrange(len(out) + 1)
                out[at:at] = out[other : other + 32]
    return bytes(out)


def words(data: bytes, dice: random.Random) -> bytes:
    """One to four words of a text replaced, removed, doubled or put elsewhere; or lines."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        found = list(_TOKEN.finditer(data))
        if not found or dice.random() < 0.1:
            lines = data.split(b"\n")
            a, b = dice.randrange(len(lines)), dice.randrange(len(lines))
            lines[a : a + 1] = dice.choice(([lines[b]], [], [lines[a], lines[b]], [lines[a]] * 3))
            data = b"\n".join(lines)
            continue
        token, other = dice.choice(found), dice.choice(found)
        new = dice.choice((dice.choice(WORDS), other[0], token[0] * 2, dice.choice(WORDS) + token[0]))
        data = data[: token.start()] + new + data[token.end() :]
    return data


def tree(data: bytes, dice: random.Random) -> bytes:
    """One to three nodes of a JSON document replaced, removed, renamed, wrapped or doubled; it stays JSON."""
    whole = [json.loads(data)]
    try:
        for _ in range(dice.choice((1, 1, 2, 3))):
            _node(whole, dice)
        return json.dumps(whole[0]).encode()
    except (ValueError, RecursionError):
        return data


def lines_of(way: Mutate) -> Mutate:
    """One line of several, or their order."""

    def mutate(data: bytes, dice: random.Random) -> bytes:
        lines = data.split(b"\n")
        at = dice.randrange(len(lines))
        if lines[at].strip() and dice.random() < 0.9:
            lines[at] = way(lines[at], dice)
        else:
            lines.insert(dice.randrange(len(lines)), lines[at])
        return b"\n".join(lines)

    return mutate


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    found: list[tuple[Any, Any]] = []
    left = [value]
    while left and len(found) < 5000:
        node = left.pop()
        keys: Any = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            left.append(node[key])
    return found


def _node(whole: list[Any], dice: random.Random) -> None:
    places = _places(whole)
    if not places:
        return
    node, key = dice.choice(places)
    match dice.randrange(7):
        case 0 | 1:
            node[key] = dice.choice(VALUES)
        case 2 if node is not whole:
            del node[key]
        case 3 if isinstance(node, dict):
            node[dice.choice(("", "$", "a", "name", str(key) + "x", "../x", "\0"))] = node.pop(key)
        case 4:
            node[key] = dice.choice(([node[key]], {"a": node[key]}, [node[key]] * 2, str(node[key])[:1000]))
        case 5:
            other, place = dice.choice(places)
            if isinstance(other[place], dict | list) and json.dumps(other[place]).__len__() > 20_000:
                return
            node[key] = json.loads(json.dumps(other[place]))
        case _:
            node[key] = _scaled(node[key], dice) if isinstance(node[key], int | float) else dice.choice(VALUES)


def _scaled(value: float, dice: random.Random) -> float:
    try:
        return value * dice.choice((-1, 0, 2, 1e9, 2**40))
    except OverflowError:  # a whole number that no float can hold
        return 0


def safetensors(data: bytes, dice: random.Random) -> bytes:
    """Its header as a tree, its length right; or its bytes."""
    size = int.from_bytes(data[:8], "little")
    header = tree(data[8 : 8 + size], dice)
    body = data[8 + size :] if dice.random() < 0.8 else raw(data[8 + size :], dice)
    return struct.pack("<Q", len(header)) + header + body


def zipped(inner: Mutate) -> Mutate:
    """One entry of an archive, or its name; the directory and checksums are right."""

    def mutate(data: bytes, dice: random.Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(i.filename, archive.read(i)) for i in archive.infolist()]
        at = dice.randrange(len(entries))
        name, content = entries[at]
        if dice.random() < 0.8:
            entries[at] = (name, inner(content, dice))
        else:
            names = (
                "a",
                "../" + name,
                name + "\0",
                "/" + name,
                name.upper(),
                "ü" + name,
                name * 20,
                "train/" + name,
            )
            entries[at] = (dice.choice(names), content)
        buffer = io.BytesIO()
        kind = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        import warnings

        with zipfile.ZipFile(buffer, "w", kind) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name that stands twice
            for name, content in entries:
                archive.writestr(name, content)
        return buffer.getvalue()

    return mutate


def packed(inner: Mutate) -> Mutate:
    """What a .gz file holds."""
    return lambda data, dice: gzip.compress(inner(gzip.decompress(data), dice), 1)


def png(data: bytes, dice: random.Random) -> bytes:
    """One chunk of a PNG, its checksum right; the pixels are unpacked before and packed after."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return raw(data, dice)
    number = dice.randrange(len(chunks))
    kind, body = chunks[number]
    if kind == b"IDAT" and dice.random() < 0.7:
        try:
            body = zlib.compress(raw(zlib.decompress(body), dice))
        except zlib.error:
            body = raw(body, dice)
    else:
        body = raw(body, dice)
    kind = (
        kind
        if dice.random() < 0.9
        else dice.choice((b"PLTE", b"tRNS", b"eXIf", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"gAMA"))
    )
    chunks[number : number + 1] = dice.choice(([(kind, body)], [(kind, body)] * 2, [chunks[number], (kind, body)]))
    out = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return data[:8] + b"".join(out)


def spliced(seeds: Sequence[bytes]) -> Mutate:
    """The beginning of one file and the end of another."""

    def mutate(data: bytes, dice: random.Random) -> bytes:
        other = dice.choice(seeds)
        return data[: dice.randrange(len(data) + 1)] + other[dice.randrange(len(other) + 1) :]

    return mutate
