"""The examples run: recipes for a few steps where their data is there, programs to their end."""

from __future__ import annotations

import math
import os
import re
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.core.task import Record
from trainwright.data.catalogue import look
from trainwright.data.source import Source
from trainwright.runs import gathered
from trainwright.runs.recipe import read

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RECIPES = sorted(EXAMPLES.glob("*.toml"))
PROGRAMS = sorted(EXAMPLES.glob("*.py"))


def data_of(recipe: Path, folder: Path) -> None:
    """Skips unless the public set, or every file, that the recipe names is in the folder of real data."""
    data = read(recipe).config.data
    if data["source"] == "catalogue":
        missing = [] if look(data["set"]).folder else [data["set"]]
    else:
        paths = [data[key] for key in ("path", "valid", "test") if isinstance(data.get(key), str)]
        missing = [p for p in paths if not (folder / p).exists()]
    if missing:
        pytest.skip(f"TRAINWRIGHT_DATA has no {', '.join(missing)}")


FEW = {"speech_recognition": 24, "object_detection": 24, "audio_classification": 100}  # records of a part, else 300


class Few(Source):
    """Some records of each part, from its beginning to its end."""

    def __init__(self, whole: Source, most: int) -> None:
        self.whole, self.given, self.ids = whole, {}, list[int]()
        for name, ids in (whole.parts() or {"": range(len(whole))}).items():
            kept = list(ids)[:: max(1, len(ids) // (most if name else 3 * most))]
            self.given[name] = range(len(self.ids), len(self.ids) + len(kept))
            self.ids += kept

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Record:
        return self.whole[self.ids[index]]

    def fingerprint(self) -> str:
        return f"{self.whole.fingerprint()}{len(self)}"

    def parts(self) -> Mapping[str, Sequence[int]]:
        return {name: ids for name, ids in self.given.items() if name}


@pytest.mark.data
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["few", "whole"])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.name)
def test_a_recipe_trains_for_a_few_steps(
    recipe: Path, whole: bool, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_of(recipe, real_data)
    changes: dict[str, Any] = {"budget": "3 steps"}
    task = read(recipe).config.task["name"]
    if task == "forecasting":  # the times of series follow each other
        changes |= {} if whole else {"task.context": 32, "task.horizon": 8, "task.season": 8}
    elif not whole:
        opened = gathered.open_source
        monkeypatch.setattr(gathered, "open_source", lambda *given: Few(opened(*given), FEW.get(task, 300)))
        if isinstance(valid := read(recipe).split["valid"], int) and valid > 100:
            changes["data.valid"] = 0.1
    if task == "translation":  # what knows nothing yet searches long
        changes |= {"task.beams": 1, "task.length": 12, "model.width": 32, "model.hidden": 32}
        changes |= {} if whole else {"task.tokenizer.pieces": 500}
    if task == "object_detection" and not whole:
        changes |= {"task.size": 64, "model.width": 8, "model.features": 16, "batch_size": 4}
    run = tw.train(recipe, changes, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"
    assert run.view.step == 3
    assert all(math.isfinite(loss) for loss in run.view.losses.values())
    held_out = {"valid"} if read(recipe).split["test"] == 0 else {"valid", "test"}
    assert {key.partition("/")[0] for key in run.metrics} == held_out
    if task == "translation":
        assert "copy" in run.baselines  # a memory of so many pairs takes longer than three steps may
    elif task == "speech_recognition":
        assert "constant" in run.baselines  # listening to all recordings may take longer than three steps may
    elif task == "object_detection":
        assert set(run.baselines) == {"constant"}
    else:
        others = {"boosting", "seasonal_naive", "isolation_forest"}  # where the task has them, and there was time
        assert {"constant", "linear"} <= run.baselines.keys() <= {"constant", "linear", *others}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.name)
def test_a_recipe_says_what_it_is_and_what_it_needs(recipe: Path) -> None:
    lines = recipe.read_text(encoding="utf-8").splitlines()
    said = " ".join(line for line in lines if line.startswith("#"))
    assert lines[0].startswith("# ")
    assert "TRAINWRIGHT_DATA" in said
    assert read(recipe).config.name


def test_there_are_examples_of_each_kind() -> None:
    assert RECIPES
    assert {p.name for p in PROGRAMS} == {"own_loop.py", "own_module.py", "gan.py", "distillation.py"}
    assert {read(r).config.task["name"] for r in RECIPES} == set(tw.kinds.tasks.names()) - {
        "supervised",
        "video_classification",  # no public set of films is at hand; docs/howto/videos.md makes its own
    }


def figures(line: str) -> list[float]:
    return [float(n) for n in re.findall(r"\d+\.?\d*", line)]


def learned(lines: list[str]) -> None:
    """The last accuracy on the test part."""
    reached = [float(line.split("test accuracy ")[1].split(",")[0]) for line in lines if "test accuracy" in line]
    assert reached[-1] > 0.9


def generated(lines: list[str]) -> None:
    """Images that a classifier of real digits takes for digits of many kinds, as no untrained generator's are."""
    told = {line.split(":")[0]: figures(line.partition(":")[2]) for line in lines if "digits, confidence" in line}
    (few, _, unsure, far), (many, _, sure, near), (_, _, surely, there) = told.values()
    assert many >= 8 > few
    assert sure - unsure > 0.6 * (surely - unsure)  # how sure exactly hangs on the last bit of the first weights
    assert near - there < 0.1 * (far - there)


def taught(lines: list[str]) -> None:
    """The student is better with the teacher than alone."""
    _, alone, with_teacher = figures(lines[-1])
    assert with_teacher > alone


JUDGES = {"own_loop.py": learned, "own_module.py": learned, "gan.py": generated, "distillation.py": taught}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_a_program_runs_and_learns(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(program), run_name="__main__")
    JUDGES[program.name](capsys.readouterr().out.splitlines())
    assert os.listdir(tmp_path) == ([] if program.name == "own_loop.py" else ["runs"])


def test_a_simple_rnn_of_50_units_reads_digits_row_by_row(tmp_path: Path) -> None:
    run = tw.train(EXAMPLES / "sequence_rnn.toml", out=tmp_path / "run", quiet=True)
    layers = {x["name"]: x["shape"] for x in run.manifest["model"]["layers"]}
    assert layers["hidden.1_simple_rnn.cell"] == [8, 50]
    assert layers["head"] == [10]
    assert run.metrics["test/accuracy"] >= 0.90
