"""The readers of texts that are fuzzed, beside those of `fuzz_readers`."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fuzz_readers import File, group, records
from benchmarks.mutation import any_of, packed, raw, words, zipped

_TEXT = "Ein Satz.\nUnd noch einer, länger als der erste.\n\n  \nEnde\r\nvorbei\n".encode()
_PACKS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def _packed(data: bytes, dice: Any) -> bytes:
    """Of a name's ending and a file: the file changed, within its packing where we can pack it again."""
    suffix, _, body = data.partition(b"\0")
    way = any_of(packed(words), packed(raw), raw) if suffix == b".gz" else any_of(words, raw, raw)
    return suffix + b"\0" + way(body, dice)


def _seeds(data: bytes) -> list[bytes]:
    return [suffix.encode() + b"\0" + pack(data) for suffix, pack in _PACKS.items()]


@group("texts")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    folder = place / "texts"
    folder.mkdir()
    (folder / "good.txt").write_bytes(_TEXT)

    def act(data: bytes) -> object:
        suffix, _, body = data.partition(b"\0")
        encoding = ("utf-8", "utf-16", "latin-1")[len(body) % 3]
        path = folder / f"bad.txt{suffix.decode()}"

        def read(file: Path) -> object:
            classes = {"good": "good.txt", "bad": file.name}
            return records(sources["texts"](path=str(folder), per="line", classes=classes, encoding=encoding))

        try:
            return File(path, read)(body)
        finally:
            path.unlink()

    return _seeds(_TEXT), _packed, act


@group("archive of texts")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("train/good/1.txt", "train/bad/2.txt", "test/good/3.txt", "test/bad/4.txt", "readme.md"):
            archive.writestr(name, _TEXT)
    read = File(place / "x.zip", lambda p: records(sources["texts"](path=str(p))))
    return [buffer.getvalue()], any_of(zipped(any_of(raw, words)), raw, raw), read


@group("parallel texts")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    folder = place / "pairs"
    folder.mkdir()
    (folder / "train.en").write_bytes(_TEXT)

    def act(data: bytes) -> object:
        suffix, _, body = data.partition(b"\0")
        path = folder / f"train.de{suffix.decode()}"
        read = File(path, lambda p: records(sources["parallel"](path=str(p), languages=("de", "en"))))
        try:
            return read(body)
        finally:
            path.unlink()

    return _seeds(_TEXT), _packed, act


@group("documents")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    def mutate(data: bytes, dice: Any) -> bytes:
        encoding, _, body = data.partition(b"\0")
        return encoding + b"\0" + any_of(words, raw, raw)(body, dice)

    def act(data: bytes) -> object:
        encoding, _, body = data.partition(b"\0")

        def read(path: Path) -> object:
            return records(sources["documents"](path=str(path), encoding=encoding.decode(), piece=9))

        return File(place / "x.txt", read)(body)

    texts = {name: (_TEXT.decode() * 9).encode(name) for name in ("utf-8", "utf-16", "latin-1")}
    return [name.encode() + b"\0" + text for name, text in texts.items()], mutate, act


@group("table of films")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    (place / "a.gif").write_bytes(b"GIF89a")
    rows = b"video,label,person\na.gif,walks,1\na.gif,runs,2\n"
    read = File(place / "films.csv", lambda p: records(sources["videos"](path=str(p))))
    return [rows], any_of(words, words, raw), read
