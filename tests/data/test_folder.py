from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from trainwright.core.errors import DataError
from trainwright.data import archive
from trainwright.data.folder import Folder

PLAIN = ["cat/1.png", "cat/deep/2.JPG", "dog/1.jpeg"]
PARTS = ["train/cat/1.png", "train/dog/1.png", "validation/cat/2.png", "test/dog/2.png", "test/cat/3.png"]


def written(at: Path, names: list[str], how: str) -> str:
    """The files, each with its own name as content, as a folder or as a .zip file."""
    if how == "zip":
        with zipfile.ZipFile(at / "pets.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for i, name in enumerate(names):
                kind = zipfile.ZIP_STORED if i % 2 else zipfile.ZIP_DEFLATED
                file.writestr(name, (name * 50).encode(), compress_type=kind)
        return str(at / "pets.zip")
    for name in names:
        (at / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (at / "pets" / name).write_bytes((name * 50).encode())
    return str(at / "pets")


both = pytest.mark.parametrize("how", ["folder", "zip"])


@both
@pytest.mark.parametrize("outer", ["", "around/", "two/around/"])
def test_a_folder_per_class_gives_labelled_files(tmp_path: Path, how: str, outer: str) -> None:
    source = Folder(path=written(tmp_path, [outer + n for n in PLAIN], how))
    assert source.values("label") == ["cat", "cat", "dog"]
    assert source.values("path") == [outer + n for n in PLAIN]
    assert [source[i]["image"] for i in range(3)] == [(outer + n).encode() * 50 for n in PLAIN]
    assert source.parts() == {}
    assert source.classes == ["cat", "dog"]
    assert source.where(1) == f"pets{'.zip' if how == 'zip' else ''}/{outer}cat/deep/2.JPG"


@both
@pytest.mark.parametrize("outer", ["", "around/"])
def test_folders_of_parts_become_parts(tmp_path: Path, how: str, outer: str) -> None:
    source = Folder(path=written(tmp_path, [outer + n for n in PARTS], how))
    assert source.parts() == {"train": range(2), "valid": range(2, 3), "test": range(3, 5)}
    assert source.values("label") == ["cat", "dog", "cat", "cat", "dog"]


@both
def test_a_folder_of_training_images_alone_has_no_parts(tmp_path: Path, how: str) -> None:
    source = Folder(path=written(tmp_path, PARTS[:2], how))
    assert source.parts() == {}
    assert source.classes == ["cat", "dog"]


@both
def test_a_class_may_be_named_train(tmp_path: Path, how: str) -> None:
    source = Folder(path=written(tmp_path, ["train/1.png", "car/1.png", "plane/1.png"], how))
    assert source.classes == ["car", "plane", "train"]


@both
def test_what_is_no_image_is_skipped_and_counted(tmp_path: Path, how: str) -> None:
    more = [".hidden/1.png", "cat/._1.png", "cat/notes.txt", "LICENSE", "cover.png", "__MACOSX/cat/1.png"]
    source = Folder(path=written(tmp_path, PLAIN + more, how))
    assert source.values("path") == PLAIN
    hidden = 3 if how == "zip" else 1  # on disk hidden folders are not even entered
    assert source.skipped == {"hidden": hidden, "not images": 2, "beside the folders of classes": 1}


@both
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat/notes.txt"], r"holds no images \(1 not images\)"),
        (["1.png", "2.png"], "the 2 images of .* lie in no folder of a class"),
        (["cat/1.png", "cat/2.png"], "in no folder of a class|one class only, 'cat'"),
        (["train/cat/1.png", "test/cat/1.png"], "one class only, 'cat'"),
        ([*PARTS, "test/bird/1.png"], "the test part has a class 'bird' that the train part has not"),
        ([*PARTS, "test/dgo/1.png"], "did you mean 'dog'"),
        ([*PARTS, "extra/1.png"], "holds folders test, train, validation beside extra"),
        ([*PARTS, "val/cat/1.png"], "two folders for the valid part"),
    ],
)
def test_a_mistake_gives_one_message(tmp_path: Path, how: str, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Folder(path=written(tmp_path, names, how))


def test_an_empty_folder_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        Folder(path=str(tmp_path))
    path = written(tmp_path, PLAIN, "folder")
    (tmp_path / "pets/bird").mkdir()
    with pytest.raises(DataError, match="bird is empty"):
        Folder(path=path)


def test_links_are_followed_once(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN, "folder")
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds/1.png").write_bytes(b"1")
    os.symlink(tmp_path / "birds", tmp_path / "pets/bird")
    os.symlink(tmp_path / "pets", tmp_path / "pets/cat/round")
    assert Folder(path=path).classes == ["bird", "cat", "dog"]


def test_a_file_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, packed = (written(tmp_path, PLAIN, how) for how in ("folder", "zip"))
    monkeypatch.setattr(archive, "LARGEST", 100)
    with pytest.raises(DataError, match=r"pets\.zip/cat/1\.png: declares 450 bytes, more than 100"):
        Folder(path=packed)
    with pytest.raises(DataError, match="larger than 100 bytes"):
        Folder(path=folder)[0]


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    source = Folder(path=written(tmp_path, PLAIN, "folder"))
    (tmp_path / "pets/cat/1.png").unlink()
    with pytest.raises(DataError, match=r"cat/1\.png: cannot be read"):
        source[0]


def test_a_damaged_archive_is_noticed(tmp_path: Path) -> None:
    path = Path(written(tmp_path, PLAIN, "zip"))
    source = Folder(path=str(path))
    whole = path.read_bytes()
    for at in range(40, 45):  # within the first member's data, then within its header
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with pytest.raises(DataError, match=r"pets\.zip/cat/1\.png: the archive is damaged"):
            source[0]
    path.write_bytes(b"XX" + whole[2:])
    with pytest.raises(DataError, match="the archive is damaged"):
        source[0]
    path.write_bytes(whole[:100])
    with pytest.raises(DataError, match="not a zip file"):
        Folder(path=str(path))


def test_a_lie_about_the_size_does_not_fill_the_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", bytes(10_000_000))
    (member,) = archive.members(tmp_path / "a.zip")
    lie = archive.Member(member.name, member.offset, member.packed, 10, member.deflated, member.crc)
    with pytest.raises(DataError, match="checksum"):
        archive.read(tmp_path / "a.zip", lie)


@pytest.mark.parametrize("at", [16, 20, 42])  # from the end of the directory; of its entry: packed bytes, offset
def test_a_directory_that_points_outside_the_archive_is_damage(at: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", bytes(1000))
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    place = at + (whole.rfind(b"PK\5\6") if at == 16 else whole.rfind(b"PK\1\2"))
    assert archive.members(tmp_path / "a.zip")
    whole[place : place + 4] = (int.from_bytes(whole[place : place + 4], "little") + 100).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(DataError, match=r"a\.zip/a\.png: the archive is damaged: it is too short to hold this file"):
        archive.members(tmp_path / "a.zip")


def test_what_is_no_zip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("x")
    (tmp_path / "a.rar").write_text("x")
    with pytest.raises(DataError, match=r"a\.zip: not a zip file"):
        Folder(path=str(tmp_path / "a.zip"))
    with pytest.raises(DataError, match=r"neither a folder nor a \.zip"):
        Folder(path=str(tmp_path / "a.rar"))


@both
def test_a_changed_image_changes_the_fingerprint(tmp_path: Path, how: str) -> None:
    first = Folder(path=written(tmp_path, PLAIN, how)).fingerprint()
    assert Folder(path=written(tmp_path, [*PLAIN, "dog/2.png"], how)).fingerprint() != first
    if how == "folder":
        (tmp_path / "pets/dog/2.png").unlink()
        assert Folder(path=str(tmp_path / "pets")).fingerprint() == first
        (tmp_path / "pets/dog/1.jpeg").write_bytes(b"1")
        assert Folder(path=str(tmp_path / "pets")).fingerprint() != first


@pytest.mark.data
def test_the_real_archive_has_its_parts_and_classes(real_data: Path) -> None:
    source = Folder(path=str(real_data / "clothing_subset/clothing_subset.zip"))
    assert {p: len(ids) for p, ids in source.parts().items()} == {"train": 569, "valid": 125, "test": 157}
    assert len(source.classes) == 10
    assert Counter(source.values("label")[:569])["t-shirt"] == 143
    assert Image.open(io.BytesIO(source[850]["image"])).mode == "RGB"


def test_a_file_that_cannot_be_read_has_a_fingerprint_all_the_same(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    source = Folder(path=str(tmp_path))
    before = source.fingerprint()
    (tmp_path / "a/2.png").unlink()
    assert source.fingerprint() != before
    with pytest.raises(DataError, match=r"2\.png"):
        source[1]
