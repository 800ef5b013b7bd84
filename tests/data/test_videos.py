from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.films import fading, folders, write
from trainwright.core.errors import DataError
from trainwright.data.split import split
from trainwright.data.video import film
from trainwright.data.videos import Videos, records_in


def pictures(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for t in range(count):
        Image.new("L", (8, 8), 20 * t).save(folder / f"{t}.png")
    return folder


def test_files_and_folders_of_pictures_are_films_of_the_class_their_folder_names(tmp_path: Path) -> None:
    write(tmp_path / "films/walk/b.mp4", fading(3))
    pictures(tmp_path / "films/walk/a")
    write(tmp_path / "films/run/monday/c.gif", fading(3), codec="gif")
    (tmp_path / "films/run/notes.txt").write_text("nothing to see")
    source = Videos(path=str(tmp_path))
    assert [(r["label"], r["path"]) for r in (source[i] for i in range(len(source)))] == [
        ("run", "films/run/monday/c.gif"),
        ("walk", "films/walk/a"),
        ("walk", "films/walk/b.mp4"),
    ]
    assert source.values("label") == ["run", "walk", "walk"]
    assert source.where(1).endswith("films/walk/a")
    assert source.skipped == {"neither films nor pictures": 1}
    assert [film(source[i]["video"]).timed for i in range(3)] == [True, False, True]


def test_folders_of_parts_become_parts(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for label in ("walk", "run"):
            pictures(tmp_path / part / label / "film")
    parts = Videos(path=str(tmp_path)).parts()
    assert {name: list(ids) for name, ids in parts.items()} == {"train": [0, 1], "valid": [2, 3]}


def test_a_table_lists_films_with_whatever_else_is_known_of_them(tmp_path: Path) -> None:
    rows = ["file,what,person"]
    for i in range(8):
        pictures(tmp_path / "shots" / str(i))
        rows.append(f"shots/{i},{'walk' if i % 2 else 'run'},{'ada' if i < 4 else 'bo'}")
    (tmp_path / "films.csv").write_text("\n".join(rows))
    source = Videos(path=str(tmp_path / "films.csv"), video="file", label="what")
    assert len(source) == 8
    assert source[3] == {"person": "ada", "video": str(tmp_path / "shots/3"), "label": "walk", "path": "shots/3"}
    parts = split(source, valid=0, test=0.5, group="person").parts
    assert {tuple(sorted({source[int(i)]["person"] for i in ids})) for ids in parts.values()} == {("ada",), ("bo",)}


def test_the_fingerprint_follows_every_frame_and_name(tmp_path: Path) -> None:
    pictures(tmp_path / "walk/a")
    write(tmp_path / "run/b.mp4", fading(3))
    prints = [Videos(path=str(tmp_path)).fingerprint()]
    Image.new("L", (8, 8), 255).save(tmp_path / "walk/a/1.png")
    prints.append(Videos(path=str(tmp_path)).fingerprint())
    write(tmp_path / "run/b.mp4", fading(4))
    prints.append(Videos(path=str(tmp_path)).fingerprint())
    (tmp_path / "run/b.mp4").rename(tmp_path / "run/c.mp4")
    prints.append(Videos(path=str(tmp_path)).fingerprint())
    assert prints[-1] == Videos(path=str(tmp_path)).fingerprint()
    assert len(set(prints)) == 4


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (["walk/1.png", "run/1.png"], "lie in the folders of classes themselves.*source = 'folder'"),
        (["walk/a/1.png"], "in no folder of a class|one class only"),
        (["walk/a.txt", "run/b.txt"], "holds no films"),
        (["train/walk/a/1.png", "train/run/a/1.png", "test/fly/a/1.png"], "a class 'fly' that the train part has not"),
    ],
)
def test_a_folder_without_films_of_classes_is_told_in_one_message(tmp_path: Path, made: list[str], what: str) -> None:
    for name in made:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(file) if file.suffix == ".png" else file.write_text("text")
    with pytest.raises(DataError, match=what):
        Videos(path=str(tmp_path))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("film,label\na,x\n", "no column 'video'"),
        ("video,class\na,x\n", "no column 'label'"),
        ("video,label\nnowhere.mp4,x\n", "line 2: nothing is at .*nowhere.mp4"),
        (f"video,label\n{'x' * 300}.mp4,x\n", "line 2: nothing is at .*xxx.mp4"),
        ("video,label\n~nobody-here/a.mp4,x\n", "line 2: nothing is at .*~nobody-here/a.mp4"),
    ],
)
def test_a_table_that_lists_no_films_is_told_in_one_message(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "films.csv").write_text(text)
    with pytest.raises(DataError, match=what):
        Videos(path=str(tmp_path / "films.csv"))


def test_a_file_or_a_folder_can_be_predicted_without_classes(tmp_path: Path) -> None:
    folders(tmp_path / "films", 1, frames=2)
    one = pictures(tmp_path / "films/left/shot")
    assert [r["video"] for r in records_in(one)] == [str(one)]
    assert [r["video"] for r in records_in(tmp_path / "films/left/0.mp4")] == [str(tmp_path / "films/left/0.mp4")]
    assert len(list(records_in(tmp_path / "films"))) == 3
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no films"):
        list(records_in(tmp_path / "none"))
