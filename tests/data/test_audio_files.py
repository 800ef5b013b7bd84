from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.sounds import RATE, file, folders, spoken, write
from trainwright.core.errors import DataError, UserError
from trainwright.data.audio import samples
from trainwright.data.audio_files import Audio, records_in

pytest.importorskip("soundfile")


def packed(root: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root.parent))
    return target


def named(root: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        write(root / f"{name}.wav", spoken("ab", i))
    return root


def test_one_folder_per_class_on_disk_and_in_a_zip(tmp_path: Path) -> None:
    root = folders(tmp_path / "calls", 3, ("wav", "flac", "ogg"))
    (root / "notes.txt").write_text("beside")
    source, within = Audio(path=str(root)), Audio(path=str(packed(root, tmp_path / "calls.zip")))
    assert len(source) == len(within) == 6
    assert source.skipped == {"no recordings": 1}
    assert list(source.values("label")) == list(within.values("label")) == ["ab"] * 3 + ["cd"] * 3
    for a, b in zip(map(source.__getitem__, range(6)), map(within.__getitem__, range(6)), strict=True):
        assert isinstance(a["audio"], str)
        assert isinstance(b["audio"], bytes)
        assert samples(a["audio"], 60)[0].tolist() == samples(b["audio"], 60)[0].tolist()
    assert source.where(0).startswith("calls/ab/")
    assert source.fields() == ["audio", "label", "path"]


def test_names_say_what_is_in_the_files(tmp_path: Path) -> None:
    root = named(tmp_path / "digits", ["7_jackson_0", "7_jackson_12", "3_de_la_rue_4"])
    source = Audio(path=str(root), pattern="{label}_{speaker}_{take}", parts={"test": "*_[0-4].wav"})
    assert [(r["label"], r["speaker"], r["take"]) for r in map(source.__getitem__, range(3))] == [
        ("3", "de", "la_rue_4"),
        ("7", "jackson", "0"),
        ("7", "jackson", "12"),
    ]
    assert {k: list(v) for k, v in source.parts().items()} == {"train": [2], "test": [0, 1]}


def test_names_say_a_text_in_other_words(tmp_path: Path) -> None:
    root = named(tmp_path / "yesno", ["0_1_1", "1_0-0"])
    source = Audio(path=str(root), pattern="{text}", words={"0": "no", "1": "yes"})
    assert source.values("text") == ["no yes yes", "yes no no"]
    with pytest.raises(DataError, match="the piece '1' of its name is no word"):
        Audio(path=str(root), pattern="{text}", words={"0": "no"})
    with pytest.raises(UserError, match=r"data\.words"):
        Audio(path=str(root), pattern="{label}", words={"0": "no"})


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_lists_recordings_beside_it_or_in_a_zip(kind: str, tmp_path: Path) -> None:
    root = named(tmp_path / "clips", ["x", "y"])
    rows = [
        {"file": f"clips/{n}.wav", "text": t, "split": s} for n, t, s in (("x", "a b", "train"), ("y", "c", "test"))
    ]
    table = tmp_path / f"list.{kind}"
    if kind == "csv":
        table.write_text("file,text,split\n" + "".join(f"{r['file']},{r['text']},{r['split']}\n" for r in rows))
    else:
        table.write_text("".join(json.dumps(r) + "\n" for r in rows))
    source = Audio(path=str(table))
    assert [r["text"] for r in map(source.__getitem__, range(2))] == ["a b", "c"]
    assert len(samples(source[1]["audio"], 60)[0]) > RATE / 20
    whole = tmp_path / "all" / "clips"
    named(whole, ["x", "y"])
    archive = packed(whole.parent, tmp_path / "clips.zip")  # everything in one folder, all/
    within = Audio(path=str(table), files=str(archive))
    assert isinstance(within[0]["audio"], bytes)
    assert within.values("split") == ["train", "test"]
    named(tmp_path / "whole" / "clips", ["x", "y"])
    (tmp_path / "whole" / table.name).write_bytes(table.read_bytes())
    both = packed(tmp_path / "whole", tmp_path / "whole.zip")
    for place in (tmp_path / "whole", both):
        beside = Audio(path=str(place), table=table.name)
        assert beside.values("text") == ["a b", "c"]
        assert len(samples(beside[0]["audio"], 60)[0]) > RATE / 20
    with pytest.raises(DataError, match=r"data\.table: whole.zip holds no file 'lists"):
        Audio(path=str(both), table="lists.csv")
    with pytest.raises(UserError, match=r"data\.files"):
        Audio(path=str(both), table=table.name, files=str(archive))
    (root / "y.wav").unlink()
    with pytest.raises(DataError, match=r"list.*line.*nothing is at"):
        Audio(path=str(table))


def test_parts_are_folders_of_their_own(tmp_path: Path) -> None:
    folders(tmp_path / "data" / "train", 2)
    folders(tmp_path / "data" / "test", 1)
    source = Audio(path=str(tmp_path / "data"))
    assert {k: len(v) for k, v in source.parts().items()} == {"train": 4, "test": 2}


def test_what_is_there_decides_the_fingerprint(tmp_path: Path) -> None:
    root = folders(tmp_path / "calls", 2)
    before = Audio(path=str(root)).fingerprint()
    assert Audio(path=str(root)).fingerprint() == before
    next((root / "ab").iterdir()).write_bytes(file(spoken("dd", 9)))
    assert Audio(path=str(root)).fingerprint() != before


def test_mistakes_are_told(tmp_path: Path) -> None:
    root = named(tmp_path / "flat", ["7_a", "odd"])
    with pytest.raises(DataError, match="lie in no folder of a class"):
        Audio(path=str(root))
    with pytest.raises(DataError, match=r"flat/odd.wav: the name 'odd' does not fit the pattern"):
        Audio(path=str(root), pattern="{label}_{speaker}")
    for wrong in ("label", "{a}_{a}", "{path}"):
        with pytest.raises(UserError, match=r"data\.pattern"):
            Audio(path=str(root), pattern=wrong)
    with pytest.raises(DataError, match=r"data\.parts: no file is named like"):
        Audio(path=str(root), pattern="{label}", parts={"test": "z*"})
    with pytest.raises(UserError, match=r"data\.parts\.dev"):
        Audio(path=str(root), pattern="{label}", parts={"dev": "7*"})
    with pytest.raises(UserError, match=r"data\.column"):
        Audio(path=str(root), column="file")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.txt").write_text("x")
    with pytest.raises(DataError, match="holds no recordings"):
        Audio(path=str(tmp_path / "none"))
    table = tmp_path / "list.csv"
    table.write_text("name,text\nx,y\n")
    with pytest.raises(DataError, match=r"data\.column"):
        Audio(path=str(table))


def test_what_is_to_be_predicted_is_a_file_or_all_below_a_folder(tmp_path: Path) -> None:
    root = folders(tmp_path / "calls", 2)
    assert len(list(records_in(root))) == 4
    one = next((root / "ab").iterdir())
    assert list(records_in(one)) == [{"audio": str(one), "path": str(one)}]
