from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from trainwright.core.errors import DataError, UserError
from trainwright.data.idx import Idx, read

TYPES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def packed(array: np.ndarray) -> bytes:
    """IDX as the format's page defines it: type and dimensions, sizes, numbers, all big-endian."""
    head = bytes([0, 0, TYPES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 3), dtype=np.uint8)


def write(at: Path, part: str, n: int, dot: str = "-", gz: bool = False) -> None:
    labels = np.arange(n, dtype=np.uint8)
    for name, array in ((f"{part}-images{dot}idx3-ubyte", images(n)), (f"{part}-labels{dot}idx1-ubyte", labels)):
        data = packed(array)
        (at / (name + ".gz" * gz)).write_bytes(gzip.compress(data) if gz else data)


@pytest.mark.parametrize("kind", list(TYPES))
def test_every_type_of_number_is_read(tmp_path: Path, kind: str) -> None:
    array = np.array([[1, -2, 3], [4, 5, 100]]).astype(kind)
    (tmp_path / "a").write_bytes(packed(array))
    back = read(tmp_path / "a")
    assert back.dtype == np.dtype(kind)
    assert np.array_equal(back, array)


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("prefix", ["", "emnist-letters-"])
def test_a_folder_of_classical_names_has_its_parts(tmp_path: Path, dot: str, gz: bool, prefix: str) -> None:
    write(tmp_path, f"{prefix}train", 5, dot, gz)
    write(tmp_path, f"{prefix}t10k", 2, dot, gz)
    source = Idx(path=str(tmp_path))
    assert source.parts() == {"train": range(5), "test": range(5, 7)}
    assert np.array_equal(source[6]["image"], images(2)[1])
    assert source[6]["label"] == 1
    assert source.where(6).endswith("image 1")
    assert "t10k" in source.where(6)


def test_packing_does_not_change_the_fingerprint(tmp_path: Path) -> None:
    for name, gz in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "train", 3, gz=gz)
    a, b = (Idx(path=str(tmp_path / n)) for n in "ab")
    assert a.fingerprint() == b.fingerprint()
    write(tmp_path / "b", "train", 4)
    assert Idx(path=str(tmp_path / "b")).fingerprint() != a.fingerprint()


def test_a_folder_with_training_images_alone_has_no_parts(tmp_path: Path) -> None:
    write(tmp_path, "train", 5)
    assert Idx(path=str(tmp_path)).parts() == {}


def test_two_files_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_bytes(packed(images(4)))
    (tmp_path / "classes").write_bytes(packed(np.array([3, 2, 1, 0], dtype=np.int32)))
    source = Idx(images=str(tmp_path / "pictures"), labels=str(tmp_path / "classes"))
    assert source.values("label") == [3, 2, 1, 0]
    assert source.parts() == {}
    assert list(Idx(images=str(tmp_path / "pictures"))[0]) == ["image"]


def test_images_can_be_written_to_as_torch_demands(tmp_path: Path) -> None:
    write(tmp_path, "train", 2)
    assert Idx(path=str(tmp_path))[0]["image"].flags.writeable


DAMAGE = [
    (b"", r"a: not an IDX file \(it begins with nothing\)"),
    (b"\x89PNG\r\n", r"a: not an IDX file \(it begins with 89 50 4e 47\)"),
    (b"\0\0\x07\x03" + bytes(12), "a: not an IDX file"),
    (packed(images(4))[:10], "a: the file ends within its header"),
    (packed(images(4))[:-1], "a: truncated: 47 of 48 bytes are there"),
    (b"\0\0\x08\x03" + b"\xff" * 12, "a: truncated: 0 of"),
    (packed(images(4)) + b"x", "a: longer than the 48 bytes"),
    (packed(np.zeros((4, 3), np.uint8)), "a: holds uint8 numbers of shape"),
    (packed(np.zeros((4, 3, 3), np.float32)), "a: holds float32 numbers"),
    (packed(np.zeros((0, 3, 3), np.uint8)), "a: holds uint8 numbers of shape"),
]


@pytest.mark.parametrize(("data", "message"), DAMAGE)
@pytest.mark.parametrize("gz", [False, True])
def test_a_damaged_file_gives_one_message(tmp_path: Path, data: bytes, message: str, gz: bool) -> None:
    path = tmp_path / ("a.gz" if gz else "a")
    path.write_bytes(gzip.compress(data) if gz else data)
    with pytest.raises(DataError, match=message.replace("a:", r"a(\.gz)?:", 1)):
        Idx(images=str(path))


def test_a_broken_gzip_gives_one_message(tmp_path: Path) -> None:
    for data in (b"no gzip", gzip.compress(packed(images(99)))[:-20]):
        (tmp_path / "a.gz").write_bytes(data)
        with pytest.raises(DataError, match=r"a\.gz: cannot be read"):
            Idx(images=str(tmp_path / "a.gz"))


def test_labels_must_be_as_many_as_images(tmp_path: Path) -> None:
    write(tmp_path, "train", 5)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(packed(np.zeros(4, np.uint8)))
    with pytest.raises(DataError, match="4 labels for 5 images"):
        Idx(path=str(tmp_path))
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no labels of the train part"):
        Idx(path=str(tmp_path))


def test_parts_must_have_images_of_one_size(tmp_path: Path) -> None:
    write(tmp_path, "train", 5)
    write(tmp_path, "t10k", 2)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(packed(np.zeros((2, 9, 9), np.uint8)))
    with pytest.raises(DataError, match=r"its images are \(9, 9\)"):
        Idx(path=str(tmp_path))


def test_a_folder_of_two_data_sets_is_ambiguous(tmp_path: Path) -> None:
    write(tmp_path, "emnist-letters-train", 5)
    write(tmp_path, "emnist-digits-train", 5)
    with pytest.raises(DataError, match=r"holds emnist-digits.* and emnist-letters"):
        Idx(path=str(tmp_path))


def test_what_is_named_must_make_sense(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs either"):
        Idx()
    with pytest.raises(UserError, match=r"data\.labels: goes with images"):
        Idx(path=str(tmp_path), labels="x")
    with pytest.raises(DataError, match="has no train-images-idx3-ubyte"):
        Idx(path=str(tmp_path))


@pytest.mark.data
@pytest.mark.parametrize(("name", "ones"), [("mnist", 7877), ("fashion_mnist", 7000)])
def test_the_real_sets_are_whole(real_data: Path, name: str, ones: int) -> None:
    source = Idx(path=str(real_data / name))
    assert {p: len(ids) for p, ids in source.parts().items()} == {"train": 60000, "test": 10000}
    assert source.values("label").count(1) == ones
    assert source[0]["image"].shape == (28, 28)
    assert source[0]["label"] == {"mnist": 5, "fashion_mnist": 9}[name]


@pytest.mark.data
def test_the_pixels_of_mnist_have_their_known_mean(real_data: Path) -> None:
    source = Idx(path=str(real_data / "mnist"))
    pixels = np.stack([source[i]["image"] for i in source.parts()["train"]])
    assert abs(pixels.mean() / 255 - 0.1307) < 1e-4
