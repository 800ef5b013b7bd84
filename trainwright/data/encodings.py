"""Text in files: which encoding it is said to be in, and the same as UTF-8."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path

from trainwright.core.errors import DataError, UserError
from trainwright.data import unpacked

BOM = b"\xef\xbb\xbf"  # what some editors put before text in UTF-8
_WIDE = (b"\xff\xfe", b"\xfe\xff")


def known(encoding: str) -> None:
    """`UserError` where no encoding has that name."""
    try:
        b" ".decode(encoding)
    except UnicodeError:  # it exists, and one byte is no character of it
        pass
    except LookupError:
        raise UserError("data.encoding", f"no encoding is named {encoding!r}", 'write "utf-8" or "latin-1"') from None


def utf8(path: Path, encoding: str) -> bytes:
    """The file's text as UTF-8 without a byte-order mark. Text said to be UTF-8 is checked where it is parsed."""
    try:
        data = unpacked.contents(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(path.name, f"cannot be read ({error})", "check the file and its permissions") from None
    return recoded(data, encoding, path.name)


def recoded(data: bytes, encoding: str, place: str) -> bytes:
    """Bytes in an encoding as UTF-8 without a byte-order mark; what is said to be UTF-8 is not checked."""
    if data.startswith(_WIDE) and "16" not in encoding:
        raise DataError(place, "the text is UTF-16", 'write encoding = "utf-16"')
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig"):
        try:
            data = data.decode(encoding).encode()
        except UnicodeError as error:
            raise DataError(place, f"the text is not {encoding} ({error})", "name its encoding") from None
    return data.removeprefix(BOM)


def decoded(data: bytes, place: str) -> str:
    """UTF-8 as text; `DataError` names the first byte that is none."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        what = f"not UTF-8 (byte {error.start}, 0x{data[error.start]:02x})"
        raise DataError(
            place, what, 'save the file as UTF-8, or name its encoding, such as encoding = "cp1252"'
        ) from None
