"""A config.toml that somebody edits in a run: what cannot change is refused, all else is told and kept."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.runs.score import evaluate_run

PLAN = {"budget": "2 epochs", "model.width": 8, "data.valid": 0.2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tw.train("iris", PLAN, out=tmp_path_factory.mktemp("edited") / "run", quiet=True).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    return copy


def edit(run: Path, was: str, now: str) -> None:
    text = (run / "config.toml").read_text()
    assert was in text
    (run / "config.toml").write_text(text.replace(was, now))


@pytest.mark.parametrize(
    ("was", "now", "key"),
    [
        ("seed = 0", "seed = 1", "seed: 0 -> 1"),
        ("batch_size = ", "batch_size = 1", "batch_size"),
        ("width = 8", "width = 9", "model.width: 8 -> 9"),
        ("valid = 0.2", "valid = 0.3", "data.valid: 0.2 -> 0.3"),
        ('name = "adamw"', 'name = "adam"', "optimizer.name: adamw -> adam"),
    ],
)
def test_what_cannot_change_is_refused_when_it_was_edited_by_hand(was: str, now: str, key: str, run: Path) -> None:
    edit(run, was, now)
    log = (run / "events.jsonl").read_bytes()
    with pytest.raises(UserError, match="is not what this run was trained with") as refused:
        tw.resume(run, {"budget": "3 epochs"}, quiet=True)
    assert key in str(refused.value)
    assert (run / "events.jsonl").read_bytes() == log


def test_a_part_is_not_judged_by_another_split_than_the_run_was_trained_with(run: Path) -> None:
    edit(run, "seed = 0", "seed = 1")
    with pytest.raises(UserError, match="seed: 0 -> 1"):
        evaluate_run(tw.open(run))


def test_another_rate_by_hand_is_told_and_the_earlier_one_kept(run: Path) -> None:
    was = tomllib.loads((run / "config.toml").read_text())
    edit(run, f"lr = {was['optimizer']['lr']}", "lr = 0.25")
    resumed = tw.resume(run, {"budget": "3 epochs"}, quiet=True)
    assert resumed.manifest["attempts"][-1]["changed"]["optimizer.lr"] == [was["optimizer"]["lr"], 0.25]
    assert tomllib.loads((run / "config-1.toml").read_text()) == was
    assert resumed.config["optimizer"]["lr"] == 0.25


def test_comments_and_order_are_no_edit(run: Path) -> None:
    edit(run, "seed = 0", "# mine\nseed = 0")
    resumed = tw.resume(run, {"budget": "3 epochs"}, quiet=True)
    assert set(resumed.manifest["attempts"][-1]["changed"]) == {"budget"}


def test_verify_tells_that_the_configuration_was_edited(run: Path) -> None:
    edit(run, "weight_decay = 0.01", "weight_decay = 0.5")
    found = tw.verify(run, start=0)
    assert not found.exact
    assert any("optimizer.weight_decay: 0.01 -> 0.5" in why for why in found.why)


def test_a_resume_that_does_not_begin_leaves_the_last_word_to_the_attempts_before(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(tw.TrainwrightError, match="no checkpoint to resume from"):
        tw.resume(run, {"budget": "3 epochs"}, quiet=True)
    assert tw.open(run).state == "finished"


def test_data_that_lies_elsewhere_now_is_named_when_resuming(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,y\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(40)))
    recipe = {
        "task": {"name": "tabular_classification", "target": "y"},
        "data": {"source": "table", "path": str(table)},
    }
    run = tw.train({**recipe, "budget": "1 epoch"}, out=tmp_path / "run", quiet=True)
    moved = table.rename(tmp_path / "moved.csv")
    with pytest.raises(tw.TrainwrightError, match=r"t\.csv"):
        tw.resume(run.path, {"budget": "2 epochs"}, quiet=True)
    again = tw.resume(run.path, {"budget": "2 epochs", "data.path": str(moved)}, quiet=True)
    assert again.state == "finished"
    moved.write_text(moved.read_text().replace("39,y", "39,x"))
    with pytest.raises(UserError, match="the data is not what this run began with"):
        tw.resume(run.path, {"budget": "3 epochs"}, quiet=True)


def test_a_log_that_has_lost_how_its_attempts_began_cannot_be_verified(run: Path) -> None:
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text("".join(line for line in lines if "RunStarted" not in line))
    with pytest.raises(UserError, match="how its attempts began"):
        tw.verify(run)
