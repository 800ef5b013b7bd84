"""The members of a .zip file, read without keeping it open: any number of threads and processes may read at once."""

from __future__ import annotations

import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from trainwright.core.errors import DataError
from trainwright.data.unpacked import plausible

LARGEST = 1 << 28  # bytes of one member: 256 MiB; a declared size above it is no image but an accident or an attack
_LOCAL = 30  # bytes of a local header before its name; PKWARE APPNOTE 4.3.7
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Member:
    """Where one file lies in the archive."""

    name: str
    offset: int  # of its local header
    packed: int  # bytes in the archive
    size: int  # bytes unpacked
    deflated: bool
    crc: int


def members(path: Path) -> list[Member]:
    """Every file of the archive in the order of its directory; folders are left out."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [_member(path, info) for info in archive.infolist() if not info.is_dir()]
        return _within(path, found)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, IndexError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(path.name, f"not a zip file that can be read ({error})", "pack it again") from None


def _within(path: Path, found: list[Member]) -> list[Member]:
    """The same; `DataError` for one that would begin before the archive or end behind it."""
    size = path.stat().st_size
    for member in found:
        if member.offset < 0 or member.offset + _LOCAL + member.packed > size:
            what = "the archive is damaged: it is too short to hold this file"
            raise DataError(f"{path.name}/{member.name}", what, "pack it again")
    return found


def read(path: Path, member: Member) -> bytes:
    """One unpacked file; `DataError` when it is damaged.

    The archive is opened anew: 10 µs, next to which decoding an image takes milliseconds, and no handle whose position
    threads and forked processes would share.
    """
    place = f"{path.name}/{member.name}"
    try:
        with path.open("rb") as file:
            file.seek(member.offset)
            head = file.read(_LOCAL)
            if len(head) < _LOCAL or head[:4] != b"PK\x03\x04":
                raise DataError(place, "the archive is damaged", "pack it again")
            file.seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), 1)
            data = file.read(member.packed)
    except OSError as error:
        raise DataError(place, f"cannot be read ({error.strerror})", "check the file and its permissions") from None
    if member.deflated:
        data = _inflated(data, member.size, place)
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise DataError(place, "the archive is damaged: the checksum does not hold", "pack it again")
    return data


def _inflated(data: bytes, size: int, place: str) -> bytes:
    """At most one byte more than was declared, so that a lie cannot fill the memory."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise DataError(place, f"the archive is damaged ({error})", "pack it again") from None


def _member(path: Path, info: zipfile.ZipInfo) -> Member:
    place = f"{path.name}/{info.filename}"
    if info.flag_bits & _ENCRYPTED:
        raise DataError(place, "is encrypted", "unpack the archive and name the folder")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(place, "is packed in a way this does not read", "unpack the archive and name the folder")
    steps = info.filename.replace("\\", "/").split("/")
    if info.filename.startswith("/") or ".." in steps or ":" in steps[0] or stat.S_ISLNK(info.external_attr >> 16):
        what = "leads out of the archive" if not stat.S_ISLNK(info.external_attr >> 16) else "is a link, no file"
        raise DataError(place, what, "pack the files themselves, without '..' and links")
    plausible(info.file_size, info.compress_size, place)
    if info.file_size > LARGEST:
        what = f"declares {info.file_size:,} bytes, more than {LARGEST:,}"
        raise DataError(place, what, "an image is smaller: leave the file out of the archive")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Member(info.filename, info.header_offset, info.compress_size, info.file_size, deflated, info.CRC)
