"""A small file that unfolds without end is refused before it fills the memory; ordinary packed data is read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainwright.core.errors import DataError
from trainwright.core.kinds import sources
from trainwright.data import archive, unpacked

PACKERS: dict[str, Any] = {".gz": gzip, ".bz2": bz2, ".xz": lzma}
QUICKLY: dict[str, Any] = {".xz": {"preset": 0}}
ENDLESS = 160 << 20  # bytes of zeros


def bomb(path: Path) -> Path:
    with PACKERS[path.suffix].open(path, "wb", **QUICKLY.get(path.suffix, {})) as file:
        for _ in range(ENDLESS >> 20):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < ENDLESS / 500
    return path


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_packed_table_that_unfolds_without_end_is_refused_in_little_memory(suffix: str, tmp_path: Path) -> None:
    path = bomb(tmp_path / f"x.csv{suffix}")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"bytes unfold into .* or more; unpack it by hand if this is meant"):
        sources["table"](path=str(path))
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_text_is_read_whole(suffix: str, tmp_path: Path) -> None:
    text = b"a,b\n" + b"1,2\n" * 500_000
    path = tmp_path / f"x.csv{suffix}"
    path.write_bytes(PACKERS[suffix].compress(text))
    assert len(text) > 100 * path.stat().st_size
    assert unpacked.contents(path) == text


def test_arrays_and_pictures_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(ENDLESS, np.uint8), y=np.zeros(3))
    with pytest.raises(DataError, match="bytes unfold into"):
        sources["npz"](path=str(tmp_path / "x.npz"))
    with gzip.open(tmp_path / "x-idx3-ubyte.gz", "wb") as file:
        file.write(b"\0\0\x08\x03" + struct.pack(">III", 200, 1024, 1024) + bytes(200 << 20))
    with pytest.raises(DataError, match="bytes unfold into"):
        sources["idx"](images=str(tmp_path / "x-idx3-ubyte.gz"))
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/x.png", bytes(200 << 20))
    with pytest.raises(DataError, match="bytes unfold into"):
        sources["folder"](path=str(tmp_path / "x.zip"))


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "..\\x.png", "C:\\x.png", "C:/x.png"])
def test_an_archive_may_not_lead_out_of_itself(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(DataError, match="leads out of the archive"):
        archive.members(tmp_path / "x.zip")


def test_an_archive_may_hold_no_links(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("a/x.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="is a link, no file"):
        archive.members(tmp_path / "x.zip")
