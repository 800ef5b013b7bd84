"""What the doctor says of records before the first step: planted faults by name, and nothing of sound ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.engine.runtime import Runtime
from trainwright.runs import deeper
from trainwright.runs.assemble import assemble
from trainwright.runs.checkup import Checkup
from trainwright.runs.recipe import read
from trainwright.runs.recorded import silent
from trainwright.runs.surveyed import survey
from trainwright.runs.words import trials
from trainwright.tools.checkup import checkup

RNG = np.random.default_rng(0)
N = 600
SOUND: dict[str, Any] = {f"a{i}": RNG.normal(size=N).round(4) for i in range(5)}
SOUND["kind"] = np.array(["red", "green", "blue"])[RNG.integers(0, 3, N)]
TARGET = np.where(SOUND["a0"] + SOUND["a1"] + RNG.normal(size=N) > 0, "yes", "no")
OWNER = RNG.integers(0, 60, N)


def judged(folder: Path, columns: Mapping[str, Any], **more: Any) -> Checkup:
    """A recipe over a table of these columns, looked at by the doctor."""
    names = list(columns)
    rows = [",".join(names), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    lines = [f"{key} = {value}" for key, value in more.items()]
    recipe = [
        *lines,
        f'data = {{ source = "table", path = "{folder / "table.csv"}", valid = 0.2, test = 0 }}',
        'task = { name = "tabular_classification", target = "target", scaling = "standard" }',
        'model = { name = "mlp", width = 8 }',
        'budget = "1 epoch"',
    ]
    (folder / "recipe.toml").write_text("\n".join(recipe) + "\n")
    return checkup(folder / "recipe.toml")


def told(found: Checkup) -> set[str]:
    return {f.rule for f in found.findings}


def test_sound_records_are_left_alone(tmp_path: Path) -> None:
    found = judged(tmp_path, {**SOUND, "target": TARGET})
    assert found.findings == []
    assert found.verdict == "HEALTHY"
    assert found.facts.data.teller.column in ("a0", "a1")
    assert 0 < found.facts.data.teller.share < 0.6


def test_several_faults_of_one_table_are_each_named(tmp_path: Path) -> None:
    sick = {
        **SOUND,
        "patient_id": [f"p{i}" for i in OWNER],
        "closed": [
            f"{3.5 + (t == 'yes') * 2 + e:.3f}" for t, e in zip(own_targets(), RNG.uniform(0, 1, N), strict=True)
        ],
        "again": SOUND["a2"],
        "pressure": [-999.0 if i % 50 == 0 else round(float(v), 2) for i, v in enumerate(RNG.uniform(60, 90, N))],
        "target": own_targets(),
    }
    found = judged(tmp_path, sick)
    assert told(found) == {"answer_among_inputs", "groups_across_parts", "repeated_columns", "code_for_missing"}
    by = {f.rule: f for f in found.findings}
    assert by["answer_among_inputs"].where == "closed"
    assert by["groups_across_parts"].where == "patient_id"
    assert by["repeated_columns"].where == "again"
    assert by["code_for_missing"].evidence["value"] == -999
    assert found.verdict == "SUSPECT"


def own_targets() -> np.ndarray[Any, Any]:
    """One class for each owner, so that who it is tells it, and no other column does."""
    return np.where(np.random.default_rng(1).permutation(60)[OWNER] % 2 == 0, "yes", "no")


def test_a_split_that_heeds_the_group_is_left_alone(tmp_path: Path) -> None:
    columns = {**SOUND, "patient_id": [f"p{i}" for i in OWNER], "target": own_targets()}
    assert "groups_across_parts" in told(judged(tmp_path, columns))
    recipe = (tmp_path / "recipe.toml").read_text().replace("valid = 0.2", 'valid = 0.2, group = "patient_id"')
    (tmp_path / "recipe.toml").write_text(recipe)
    assert "groups_across_parts" not in told(checkup(tmp_path / "recipe.toml"))


def test_sorted_records_that_nothing_shuffles_are_an_error(tmp_path: Path) -> None:
    order = np.argsort(TARGET, kind="stable")
    columns = {name: np.asarray(column)[order] for name, column in {**SOUND, "target": TARGET}.items()}
    assert "sorted_targets" not in told(judged(tmp_path, columns))
    found = judged(tmp_path, columns, shuffle="false", batch_size=16)
    assert [f.severity for f in found.findings if f.rule == "sorted_targets"] == ["error"]
    assert found.verdict == "FAILED"


def test_times_between_which_a_split_draws_are_told_where_the_target_drifts(tmp_path: Path) -> None:
    days = [f"2020-{1 + i // 50:02d}-{1 + (i % 50) // 2:02d}T{i % 2:02d}:00" for i in range(N)]
    slow = np.where(np.arange(N) // 50 % 2 == 0, "yes", "no")
    assert "times_across_parts" in told(judged(tmp_path, {**SOUND, "date": days, "target": slow}))
    assert "times_across_parts" not in told(judged(tmp_path, {**SOUND, "date": days, "target": TARGET}))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x)


@pytest.mark.parametrize(("fault", "rule"), [("near", "near_copies"), ("same", "constant_input"), ("", "")])
def test_arrays_are_looked_at_as_well(fault: str, rule: str, tmp_path: Path) -> None:
    x = RNG.normal(size=(500, 6)).astype(np.float32)
    valid = RNG.normal(size=(100, 6)).astype(np.float32)
    y, yv = (x[:, 0] > 0).astype(np.int64), (valid[:, 0] > 0).astype(np.int64)
    if fault == "near":
        valid, yv = x[:100] + RNG.normal(size=(100, 6)).astype(np.float32) * 1e-4, y[:100]
    if fault == "same":
        x[:] = x[0]
        valid[:] = x[0]
    run = tw.fit(Net(), (x, y), valid=(valid, yv), loss="cross_entropy", epochs=1, out=tmp_path / "run", quiet=True)
    told = {f.rule for f in run.findings if f.severity != "note"} - {"below_linear"}  # a few steps reach nothing
    told -= {"copies_across_parts"} if fault == "same" else set()
    assert told == ({rule} if rule else set())


def test_records_with_the_same_inputs_and_other_targets_are_counted(tmp_path: Path) -> None:
    columns = {"a": RNG.integers(0, 2, N), "b": RNG.integers(0, 2, N), "target": RNG.integers(0, 2, N)}
    found = judged(tmp_path, columns)
    conflict = found.facts.data.conflict
    assert conflict.conflicting == conflict.rows
    assert 0.5 <= conflict.best < 0.6


def test_records_are_asked_once_whatever_is_trained_on_them() -> None:
    pieces = assemble(read("iris", {"device": "cpu"}), Runtime(), silent)
    try:
        assert survey(pieces) is survey(pieces)
    finally:
        pieces.close()


def test_a_recipe_is_tried_on_copies(tmp_path: Path) -> None:
    found = judged(tmp_path, {**SOUND, "target": TARGET})
    facts = found.facts
    assert facts.heart.reached < 0.5 * facts.heart.start
    assert facts.device.error <= facts.device.allowed
    assert facts.invariance.cut < 1e-3
    assert facts.cost.step > 0
    said = dict(trials(facts))
    assert said["tried"].startswith("32 samples by heart")
    assert "cpu in float32" in said["device"]
    assert "steps of" in said["cost"]


def test_a_trial_on_a_copy_that_fails_is_told_and_the_others_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> None:
        raise RuntimeError("this model cannot be copied")

    monkeypatch.setattr(deeper, "by_heart", fails)
    found = judged(tmp_path, {**SOUND, "target": TARGET})
    (told,) = [f for f in found.findings if f.rule == "doctor"]
    assert told.severity == "note"
    assert told.what == (
        "the doctor could not learn a batch by heart on a copy: RuntimeError: this model cannot be copied"
    )
    assert (found.facts.heart.steps, found.verdict) == (0, "HEALTHY")
    assert found.facts.cost.step > 0
