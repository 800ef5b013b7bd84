"""Boxes beside pictures: the three usual forms give the same records; what is wrong is told with its place."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shapes import png, scenes, voc_object, written_coco, written_voc, written_yolo
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import sources
from trainwright.data import box_formats
from trainwright.data.box_formats import yolo
from trainwright.data.source import Source

WRITERS: dict[str, Callable[[Path, int], Path]] = {"voc": written_voc, "coco": written_coco, "yolo": written_yolo}


def opened(path: Path, **options: Any) -> Source:
    source: Source = sources["boxes"](path=str(path), **options)
    return source


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return target


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_gives_the_same_records(form: str, packed: bool, tmp_path: Path) -> None:
    root = WRITERS[form](tmp_path / "data", 9)
    source = opened(zipped(root) if packed else root)
    assert source.form == form  # type: ignore[attr-defined]
    found = {png(r): r for r in scenes(9)}
    assert len(source) == 9
    for i in range(9):
        record = source[i]
        true = found.pop(record["image"])
        assert np.allclose(np.array(record["boxes"]).reshape(-1, 4), np.array(true["boxes"]).reshape(-1, 4))
        assert record["labels"] == true["labels"] == list(source.values("labels")[i])
        assert record["ignored"] == [False] * len(true["boxes"])
        assert Path(source.where(i)).name == Path(record["path"]).name
    assert not found


def test_parts_come_from_lists_folders_and_names_of_files(tmp_path: Path) -> None:
    yolo = opened(written_yolo(tmp_path / "yolo", 10))
    assert {k: len(v) for k, v in yolo.parts().items()} == {"train": 8, "valid": 2}
    voc = written_voc(tmp_path / "voc", 10)
    lists = voc / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("000\n001\n002\n")
    (lists / "val.txt").write_text("003\n")
    (lists / "trainval.txt").write_text("000\n001\n002\n003\n")
    source = opened(voc)
    assert {k: len(v) for k, v in source.parts().items()} == {"train": 3, "valid": 1}
    assert source.skipped == {"in no list of a part": 6}  # type: ignore[attr-defined]
    (lists / "val.txt").write_text("002\n")
    with pytest.raises(DataError, match="'002' is in the lists of the"):
        opened(voc)
    (lists / "val.txt").write_text("077\n003\n")
    with pytest.raises(DataError, match=r"'077' is in the list of the valid part, and has no \.xml file"):
        opened(voc)
    coco = written_coco(tmp_path / "coco", 4)
    told = (coco / "annotations.json").read_text()
    (coco / "annotations.json").unlink()
    (coco / "instances_train2017.json").write_text(told)
    (coco / "instances_val2017.json").write_text(told)
    assert {k: len(v) for k, v in opened(coco).parts().items()} == {"train": 4, "valid": 4}
    (coco / "more.json").write_text(told)
    with pytest.raises(DataError, match="several files say what is in the pictures"):
        opened(coco)
    assert len(opened(coco / "more.json")) == 4


def test_an_image_without_boxes_is_a_record_of_none(tmp_path: Path) -> None:
    for form, write in WRITERS.items():
        source = opened(write(tmp_path / form, 5))
        assert sum(not labels for labels in source.values("labels")) == 2  # scenes 0 and 4


def test_pictures_are_found_by_the_folder_where_their_names_are_the_same(tmp_path: Path) -> None:
    for i, part in enumerate(("train", "valid")):
        written_voc(tmp_path / "twice" / part, 3 + i)
    source = opened(tmp_path / "twice")
    assert {k: len(v) for k, v in source.parts().items()} == {"train": 3, "valid": 4}
    assert all(source[i]["path"].startswith("train" if i < 3 else "valid") for i in range(7))


def test_the_fingerprint_follows_every_file(tmp_path: Path) -> None:
    root = written_voc(tmp_path / "v", 4)
    before = opened(root).fingerprint()
    assert opened(root).fingerprint() == before
    (root / "Annotations" / "001.xml").write_text("<annotation></annotation>")
    assert opened(root).fingerprint() != before


def broken_voc(root: Path, text: str) -> Path:
    written_voc(root, 3)
    (root / "Annotations" / "001.xml").write_text(text)
    return root


BOX = voc_object([1, 2, 3, 4], "disc")
BAD_VOC = {
    "no XML": ("<annotation>", "is no XML that can be read"),
    "another file": ("<html/>", "not with <annotation>"),
    "no class": (f"<annotation>{BOX.replace('<name>disc</name>', '')}</annotation>", "object 1 has no <name>"),
    "no box": ("<annotation><object><name>a</name></object></annotation>", "object 1 has no <bndbox>"),
    "no number": (f"<annotation>{BOX.replace('>3<', '>three<')}</annotation>", "'three' is no edge"),
    "not finite": (f"<annotation>{BOX.replace('>3<', '>nan<')}</annotation>", "'nan' is no edge"),
    "entities": ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "declares entities"),
}


@pytest.mark.parametrize("kind", BAD_VOC)
def test_a_bad_annotation_is_told_by_its_file(kind: str, tmp_path: Path) -> None:
    text, message = BAD_VOC[kind]
    source = opened(broken_voc(tmp_path / "v", text))
    with pytest.raises(DataError, match=message) as caught:
        source[1]
    assert "Annotations/001.xml" in caught.value.where
    assert len(source[0]["boxes"]) == 0
    assert len(source[2]["boxes"]) == 2


def test_difficult_things_and_crowds_are_ignored(tmp_path: Path) -> None:
    hard = voc_object([1, 2, 30, 40], "disc", "<difficult>1</difficult>")
    assert opened(broken_voc(tmp_path / "v", f"<annotation>{hard}</annotation>"))[1]["ignored"] == [True]
    coco = written_coco(tmp_path / "c", 3)
    told = json.loads((coco / "annotations.json").read_text())
    told["annotations"][0]["iscrowd"] = 1
    (coco / "annotations.json").write_text(json.dumps(told))
    assert opened(coco).values("ignored") == [[], [True], [False, False]]


def changed_coco(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    root = written_coco(tmp_path / "c", 4)
    told = json.loads((root / "annotations.json").read_text())
    change(told)
    (root / "annotations.json").write_text(json.dumps(told))
    return root


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("category_id", [7], r"annotation 0 is of class \[7\], which is not listed"),
        ("category_id", {"a": 1}, "which is not listed"),
        ("bbox", [10**400, 1, 2, 3], "0: 1000.* is no edge of a box"),
        ("bbox", ["x", 1, 2, 3], "0: 'x' is no edge of a box"),
    ],
)
def test_what_json_can_hold_and_a_box_cannot_is_told(key: str, value: Any, told: str, tmp_path: Path) -> None:
    source = opened(changed_coco(tmp_path, lambda whole: whole["annotations"][0].update({key: value})))
    with pytest.raises(DataError, match=told):
        source[1]


@pytest.mark.parametrize("word", ["9" * 5000, "1.5", "-1", "cat"])
def test_what_is_no_number_of_a_class_is_told(word: str) -> None:
    with pytest.raises(DataError, match=r"line 1 begins with .*, which is no number of a class"):
        yolo(f"{word} 0.5 0.5 0.1 0.1".encode(), 16, 12, ["cat"], "x.txt")


def test_what_is_wrong_in_a_coco_file_is_told(tmp_path: Path) -> None:
    def unknown(told: dict[str, Any]) -> None:
        told["annotations"][0]["category_id"] = 99

    source = opened(changed_coco(tmp_path, unknown))
    with pytest.raises(DataError, match=r"annotation 0 is of class 99, which is not listed.*7 \(disc\), 3 \(square\)"):
        source[1]
    with pytest.raises(DataError, match="belongs to image 5, which is not listed"):
        opened(changed_coco(tmp_path, lambda told: told["annotations"][0].update(image_id=5)))
    with pytest.raises(DataError, match="two images have the same id"):
        opened(changed_coco(tmp_path, lambda told: told["images"][0].update(id=101)))
    with pytest.raises(DataError, match="has no file_name"):
        opened(changed_coco(tmp_path, lambda told: told["images"][0].pop("file_name")))
    short = opened(changed_coco(tmp_path, lambda told: told["annotations"][0].update(bbox=[1, 2])))
    with pytest.raises(DataError, match="annotation 0 has no bbox of four numbers"):
        short[1]


def test_a_picture_that_is_not_there_is_told_when_it_is_read(tmp_path: Path) -> None:
    for form, write in WRITERS.items():
        root = write(tmp_path / form, 4)
        gone = next(p for p in root.rglob("*.png") if p.stem in ("001", "1"))
        gone.unlink()
        source = opened(root)
        assert len(source) == 4
        bad = next(i for i in range(4) if "1" in Path(source.where(i)).stem or source.where(i).endswith(".json"))
        with pytest.raises(DataError, match="is not there"):
            source[bad]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "line 1 has 4 words"),
        ("disc 0.5 0.5 0.1 0.1", "which is no number of a class"),
        ("5 0.5 0.5 0.1 0.1", "of class 5, and 2 have names"),
        ("0 32 32 10 10", "no shares of the picture's width and height"),
        ("0 0.5 x 0.1 0.1", "'x' is no edge"),
    ],
)
def test_a_bad_line_of_yolo_is_told(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        box_formats.yolo(line.encode(), 64, 64, ["disc", "square"], "a.txt")


def test_a_polygon_of_yolo_becomes_the_box_around_it() -> None:
    marks = box_formats.yolo(b"1 0.1 0.2 0.5 0.9 0.3 0.1\n", 100, 50, None, "a.txt")
    assert np.allclose(marks.boxes, [[10, 5, 50, 45]])
    assert marks.labels == [1]


def test_folders_without_boxes_or_images_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(png(scenes(1)[0]))
    with pytest.raises(DataError, match=r"holds no boxes in the form of COCO"):
        opened(tmp_path / "a")
    written_voc(tmp_path / "b", 2)
    for file in (tmp_path / "b" / "JPEGImages").iterdir():
        file.unlink()
    (tmp_path / "b" / "JPEGImages" / "readme.txt").write_text("gone")
    with pytest.raises(DataError, match="holds no images"):
        opened(tmp_path / "b")
    (tmp_path / "c.txt").write_text("")
    with pytest.raises(UserError, match="neither a folder"):
        opened(tmp_path / "c.txt")


@pytest.mark.data
def test_the_public_sets_are_whole(real_data: Path) -> None:
    blood = opened(real_data / "bccd" / "BCCD.zip")
    assert {k: len(v) for k, v in blood.parts().items()} == {"train": 205, "valid": 87, "test": 72}
    names = [n for labels in blood.values("labels") for n in labels]
    assert {n: names.count(n) for n in set(names)} == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    raccoons = opened(real_data / "raccoon_subset" / "raccoon_subset.zip")
    assert {k: len(v) for k, v in raccoons.parts().items()} == {"train": 68, "test": 22}
    assert sum(map(len, raccoons.values("labels"))) == 98
