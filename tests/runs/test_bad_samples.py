"""A run that skips bad samples: listed by file and row, counted by part, the same ones when it goes on."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import BadSamplesError, UserError

LINES = [f"{i},{(i * 37) % 11},{'yes' if i % 3 else 'no'}" for i in range(120)]


def table(folder: Path, **wrong: str) -> Path:
    """A table in which the named lines are others: line_5="inf,1,yes" is the record on line 5 of the file."""
    lines = list(LINES)
    for name, text in wrong.items():
        lines[int(name.removeprefix("line_")) - 2] = text
    path = folder / "t.csv"
    path.write_text("a,b,y\n" + "\n".join(lines) + "\n")
    return path


def recipe(path: Path, **more: Any) -> dict[str, Any]:
    ranges = {"train": [0, 80], "valid": [80, 100], "test": [100, 120]}
    return {
        "task": {"name": "tabular_classification", "target": "y", "numeric": ["a", "b"]},
        "data": {"source": "table", "path": str(path), "ranges": ranges},
        "model": {"name": "mlp", "width": 8},
        "budget": "2 epochs",
        "on_bad_sample": "skip",
        "bad_samples": 5,
        **more,
    }


def listed(run: tw.Run) -> list[tuple[str, str, str, str]]:
    with (run.path / "bad_samples.csv").open(newline="") as file:
        return [(r["part"], r["record"], r["where"], r["why"]) for r in csv.DictReader(file)]


BAD = {"line_4": "inf,1,yes", "line_50": "7,two,no", "line_90": "1,2,", "line_110": "1e400,3,no"}


def test_bad_rows_of_every_part_are_listed_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tw.train(recipe(table(tmp_path, **BAD)), out=tmp_path / "run")
    assert [(part, record) for part, record, _, _ in listed(run)] == [
        ("train", "2"),
        ("train", "48"),
        ("valid", "88"),
        ("test", "108"),
    ]
    where = {record: (place, why) for _, record, place, why in listed(run)}
    assert where["2"][0] == "t.csv, line 4, column 'a'"
    assert where["48"] == ("t.csv, line 50, column 'b'", "'two' is not a number, as the column's training records hold")
    assert where["88"][0] == "t.csv, line 90"
    assert run.manifest["data"]["samples"] == {"train": 78, "valid": 19, "test": 19}
    told = run.manifest["data"]["bad_samples"]
    assert told == {"train": 2, "valid": 1, "test": 1, "records": [2, 48, 88, 108]}
    said = " ".join(capsys.readouterr().out.split())
    assert "bad samples are skipped, 2 of train and 1 of valid and 1 of test: bad_samples.csv lists them" in said


def test_the_run_is_that_of_a_table_without_those_rows(tmp_path: Path) -> None:
    """Same weights: nothing of a bad sample enters, not even as zeros."""
    from safetensors.torch import load_file

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    spoilt = recipe(table(tmp_path / "a", line_82="inf,1,yes"), shuffle=False)
    path = tmp_path / "b" / "t.csv"
    path.write_text("a,b,y\n" + "\n".join(LINES[:80] + LINES[81:]) + "\n")
    ranges = {"train": [0, 80], "valid": [80, 99], "test": [99, 119]}
    clean = recipe(path, shuffle=False, on_bad_sample="error")
    clean["data"]["ranges"] = ranges
    runs = [tw.train(r, out=tmp_path / str(i), quiet=True) for i, r in enumerate((spoilt, clean))]
    assert runs[0].metrics == runs[1].metrics
    one, two = (load_file(next((r.path / "checkpoints").glob("*/model.safetensors"))) for r in runs)
    assert all(bool((one[k] == two[k]).all()) for k in one)


def test_a_run_goes_on_without_the_same_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tw.train(recipe(table(tmp_path, **BAD)), out=tmp_path / "run", quiet=True)
    before, facts = listed(run), run.manifest["data"]["bad_samples"]
    again = tw.resume(run.path, {"budget": "3 epochs"}, quiet=True)
    assert listed(again) == before
    assert again.manifest["data"]["bad_samples"] == facts
    assert again.manifest["data"]["samples"] == {"train": 78, "valid": 19, "test": 19}
    whole = tw.train(recipe(table(tmp_path, **BAD), budget="3 epochs"), out=tmp_path / "whole", quiet=True)
    assert whole.metrics == again.metrics


def test_one_too_many_ends_with_one_message_and_76(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text(json.dumps(recipe(table(tmp_path, **BAD), bad_samples=3)))
    assert main(["train", "r.json"]) == BadSamplesError.exit_code == 76
    said = capsys.readouterr()
    assert said.err.count("error:") == 1
    assert "4 of 120 samples are bad" in said.err
    assert "t.csv, line 4, column 'a'" in said.err
    assert "bad_samples = 3" in said.err
    assert "Traceback" not in said.out + said.err
    assert not (tmp_path / "runs").exists()


def test_by_default_the_first_bad_sample_ends_the_run(tmp_path: Path) -> None:
    bad = recipe(table(tmp_path, **BAD))
    del bad["on_bad_sample"]
    with pytest.raises(UserError, match=r"t\.csv, line 4, column 'a'"):
        tw.train(bad, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_without_bad_samples_has_no_list(tmp_path: Path) -> None:
    run = tw.train(recipe(table(tmp_path)), out=tmp_path / "run", quiet=True)
    assert not (run.path / "bad_samples.csv").exists()
    assert run.manifest["data"]["bad_samples"] == {"train": 0, "valid": 0, "test": 0, "records": []}


def test_what_is_skipped_cannot_change_in_a_run_that_goes_on(tmp_path: Path) -> None:
    run = tw.train(recipe(table(tmp_path)), out=tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match="cannot change"):
        tw.resume(run.path, {"on_bad_sample": "error", "budget": "3 epochs"}, quiet=True)


def test_other_data_is_scored_without_its_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tw.train(recipe(table(tmp_path)), out=tmp_path / "run", quiet=True)
    other = tmp_path / "other"
    other.mkdir()
    path = table(other, **BAD)
    assert main(["evaluate", str(run.path), "--data", str(path)]) == 0
    said = capsys.readouterr()
    assert said.err.count("skipped t.csv, line") == 4
    assert main(["evaluate", str(run.path)]) == 0


PICTURES = [f"{c}/{i:02}.png" for c in ("cat", "dog", "fox") for i in range(20)]


def pictures(folder: Path) -> Path:
    root = folder / "photos"
    for i, name in enumerate(PICTURES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / name)
    return root


def cut(path: Path) -> None:
    """The picture without its second half: the header is sound, the pixels are not."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("gigabytes", [4.0, 0.0], ids=["decoded", "kept as files"])
@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_pictures_are_skipped_however_they_are_kept(tmp_path: Path, gigabytes: float, workers: int) -> None:
    root = pictures(tmp_path)
    cut(root / "cat/03.png")
    (root / "dog/07.png").write_bytes(b"no picture at all")
    (root / "fox/19.png").write_bytes(b"")
    buffer = io.BytesIO()
    Image.new("F", (9, 9), 0.5).save(buffer, "TIFF")
    (root / "cat/00.tif").write_bytes(buffer.getvalue())
    run = tw.train(
        {
            "task": {"name": "image_classification", "gigabytes": gigabytes},
            "data": {"source": "folder", "path": str(root), "valid": 0.2, "test": 0.2},
            "model": {"name": "mlp", "width": 8},
            "budget": "1 epochs",
            "workers": workers,
            "on_bad_sample": "skip",
            "bad_samples": 0.1,
        },
        out=tmp_path / "run",
        quiet=True,
    )
    found = {where.removeprefix("photos/").split(",")[0]: why for _, _, where, why in listed(run)}
    assert found.keys() == {"cat/03.png", "dog/07.png", "fox/19.png", "cat/00.tif"}
    assert "damaged" in found["cat/03.png"]
    assert "no image" in found["dog/07.png"]
    assert sum(run.manifest["data"]["samples"].values()) == 61 - 4
    assert run.state == "finished"


@pytest.mark.skipif("__import__('os').geteuid() == 0", reason="root reads everything")
def test_a_file_that_may_not_be_read_is_a_bad_sample(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    (root / "cat/03.png").chmod(0)
    run = tw.train(
        {
            "task": "image_classification",
            "data": {"source": "folder", "path": str(root)},
            "model": {"name": "mlp", "width": 8},
            "budget": "1 steps",
            "on_bad_sample": "skip",
        },
        out=tmp_path / "run",
        quiet=True,
    )
    assert [where for _, _, where, _ in listed(run)] == [str(root / "cat/03.png")]


def test_a_file_that_vanishes_after_it_was_listed_is_a_bad_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainwright.data.folder import Folder

    root = pictures(tmp_path)
    real = Folder.__getitem__

    def gone(self: Folder, index: int) -> Any:
        if index == 5:
            raise PermissionError(13, "Permission denied")
        return real(self, index)

    monkeypatch.setattr(Folder, "__getitem__", gone)
    run = tw.train(
        {
            "task": "image_classification",
            "data": {"source": "folder", "path": str(root)},
            "model": {"name": "mlp", "width": 8},
            "budget": "1 steps",
            "on_bad_sample": "skip",
        },
        out=tmp_path / "run",
        quiet=True,
    )
    assert [record for _, record, _, _ in listed(run)] == ["5"]
