"""A recipe becomes a run: folder, scores, resume, prediction; and every mistake becomes one message."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import trainwright as tw
from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.events import EvalDone, Event, RunEnded, RunStarted, StepDone, dump, fold, load
from trainwright.engine import checkpoint
from trainwright.runs.directory import read_view, whole_events
from trainwright.runs.lock import Lock, LockedError

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 16, "dropout": 0.2},
    "optimizer": {"name": "adamw", "lr": 1e-2},
    "schedule": "cosine",
    "batch_size": 16,
    "budget": "4 epochs",
}


def weights(run: tw.Run, step: int | None = None) -> dict[str, torch.Tensor]:
    folder = run.path / "checkpoints"
    return load_file(checkpoint.at(folder, step or checkpoint.steps(folder)[-1]) / "model.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.usefixtures("drawn")
def test_a_run_folder_tells_everything(tmp_path: Path) -> None:
    run = tw.train(QUICK, out=tmp_path / "run", quiet=True)
    names = {p.name for p in run.path.iterdir()}
    assert {"config.toml", "manifest.json", "events.jsonl", "metrics.csv", "processor.json", "curves.png"} <= names
    assert run.state == "finished"
    assert {"test/accuracy", "valid/accuracy"} <= run.metrics.keys()
    assert {"constant", "linear"} <= run.baselines.keys()
    assert len(run.history) == 4
    assert run.manifest["data"]["samples"] == {"train": 90, "valid": 30, "test": 30}
    assert run.manifest["plan"]["steps"] == 4 * run.manifest["plan"]["steps_per_epoch"]
    assert len((run.path / "metrics.csv").read_text().splitlines()) == 5
    assert (run.path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_config_toml_repeats_the_run_bit_for_bit(tmp_path: Path) -> None:
    one = tw.train(QUICK, out=tmp_path / "one", quiet=True)
    two = tw.train(one.path / "config.toml", out=tmp_path / "two", quiet=True)
    assert equal(weights(one), weights(two))
    assert one.metrics == two.metrics
    assert one.view.losses == two.view.losses


def test_the_seed_decides(tmp_path: Path) -> None:
    one = tw.train(QUICK, out=tmp_path / "one", quiet=True)
    other = tw.train(QUICK, {"seed": 1}, out=tmp_path / "other", quiet=True)
    assert not equal(weights(one), weights(other))


def test_the_callers_own_randomness_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    tw.train(QUICK, out=tmp_path / "run", quiet=True)
    assert torch.equal(torch.rand(3), expected)


def test_an_observer_stops_a_run_and_resume_ends_it_as_if_nothing_happened(tmp_path: Path) -> None:
    whole = tw.train(QUICK, {"save_every": "100 epochs"}, out=tmp_path / "whole", quiet=True)

    def tired(event: Event) -> tw.Stop | None:
        stops = isinstance(event, StepDone) and event.step == 10
        return tw.Stop("enough", "interrupted") if stops else None

    run = tw.train(QUICK, {"save_every": "100 epochs"}, out=tmp_path / "run", observers=[tired], quiet=True)
    assert (run.state, run.view.step) == ("interrupted", 10)
    assert run.metrics.keys() == {f"valid/{k}" for k in run.view.evals[-1].metrics}
    again = tw.resume(run.path, quiet=True)
    assert again.state == "finished"
    assert equal(weights(whole), weights(again))
    assert again.metrics == whole.metrics
    assert again.view.losses == whole.view.losses
    assert [a.from_step for a in again.view.attempts] == [0, 10]
    assert len(again.manifest["attempts"]) == 2


def test_more_budget_goes_on_from_the_end(tmp_path: Path) -> None:
    constant = {"schedule": "constant"}
    long = tw.train(QUICK, {**constant, "budget": "6 epochs"}, out=tmp_path / "long", quiet=True)
    short = tw.train(QUICK, constant, out=tmp_path / "short", quiet=True)
    with pytest.raises(UserError, match="budget"):
        tw.resume(short.path, quiet=True)
    more = tw.resume(short.path, {"budget": "6 epochs"}, quiet=True)
    assert equal(weights(long), weights(more))
    assert tomllib.loads((more.path / "config.toml").read_text())["budget"] == "6 epochs"
    assert tomllib.loads((more.path / "config-1.toml").read_text())["budget"] == "4 epochs"
    assert "6 epochs" in more.view.attempts[-1].note


def test_a_changed_rate_takes_effect_and_others_stay(tmp_path: Path) -> None:
    run = tw.train(QUICK, {"schedule": "constant"}, out=tmp_path / "run", quiet=True)
    more = tw.resume(run.path, {"budget": "5 epochs", "optimizer.lr": 1e-4}, quiet=True)
    assert {e.lr for e in more.view.steps if e.step > 24} == {1e-4}
    assert {e.lr for e in more.view.steps if e.step <= 24} == {1e-2}


@pytest.mark.parametrize("key", ["seed", "task.target", "data.valid", "model.width", "optimizer.name", "batch_size"])
def test_what_a_run_began_with_cannot_change_on_resume(key: str, tmp_path: Path) -> None:
    run = tw.train(QUICK, {"budget": "1 epoch"}, out=tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match="cannot change"):
        tw.resume(run.path, {"budget": "2 epochs", key: 1}, quiet=True)
    assert not (run.path / "config-1.toml").exists()


def test_the_scores_are_those_of_the_best_checkpoint_and_of_what_is_served(tmp_path: Path) -> None:
    run = tw.train(QUICK, {"optimizer.lr": 0.5, "budget": "8 epochs"}, out=tmp_path / "run", quiet=True)
    best = max(run.view.evals, key=lambda e: (e.metrics["accuracy"], -e.metrics["loss"]))
    assert run.metrics["valid/accuracy"] == best.metrics["accuracy"]
    assert run.metrics["valid/loss"] == pytest.approx(best.metrics["loss"])
    assert [e.step for e in run.view.evals if e.best][-1] == best.step
    assert best.step in checkpoint.steps(run.path / "checkpoints")
    served = run.model.state_dict()
    assert equal(dict(served), weights(run, best.step))
    from trainwright.runs.score import evaluate_run

    found = evaluate_run(run).scores
    assert found["test/accuracy"] == run.metrics["test/accuracy"]
    assert found["test/loss"] == pytest.approx(run.metrics["test/loss"])
    assert evaluate_run(run, part="valid").scores["valid/loss"] == pytest.approx(run.metrics["valid/loss"])


def test_predictions_need_no_target_and_do_not_depend_on_company(tmp_path: Path) -> None:
    run = tw.train(QUICK, out=tmp_path / "run", quiet=True)
    from trainwright.data.embedded import Embedded

    source = Embedded(set="iris")
    records = [{k: v for k, v in source[i].items() if k != "target"} for i in range(0, 150, 10)]
    answers = run.predict(records)
    assert len(answers) == 15
    assert json.loads(json.dumps(answers)) == answers
    alone = tw.open(run.path).predict(records[3:4])[0]
    assert alone["label"] == answers[3]["label"]
    assert set(alone["probabilities"]) == set(answers[3]["probabilities"])


def test_a_budget_in_time_becomes_recorded_steps_and_repeats(tmp_path: Path) -> None:
    run = tw.train(QUICK, {"budget": "2 seconds"}, out=tmp_path / "run", quiet=True)
    recorded = tomllib.loads((run.path / "config.toml").read_text())["budget"]
    assert recorded == f"{run.view.step} steps"
    assert run.manifest["plan"]["budget"] == "2 seconds"
    again = tw.train(run.path / "config.toml", out=tmp_path / "again", quiet=True)
    assert equal(weights(run), weights(again))


@pytest.mark.parametrize("size", ["all", 1, 7])
def test_gradient_descents_three_forms_are_one_number(size: int | str, tmp_path: Path) -> None:
    run = tw.train(QUICK, {"batch_size": size, "budget": "1 epoch"}, out=tmp_path / "run", quiet=True)
    expected = {"all": 1, 1: 90, 7: 13}[size]
    assert run.view.step == expected


@pytest.mark.parametrize("store", ["memory", "file", "device"])
def test_where_samples_are_kept_changes_nothing(store: str, tmp_path: Path) -> None:
    kept = tw.train(QUICK, {"store": store}, out=tmp_path / store, quiet=True)
    plain = tw.train(QUICK, out=tmp_path / "plain", quiet=True)
    assert equal(weights(kept), weights(plain))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_augmentation_does_not_depend_on_workers_micro_batches_or_prefetching(workers: int, tmp_path: Path) -> None:
    recipe = {
        "task": {"name": "image_classification"},
        "data": {"source": "embedded", "set": "digits"},
        "model": {"name": "cnn", "filters": [4], "dense": [16]},
        "budget": "6 steps",
        "precision": "float64",
    }
    plain = tw.train(recipe, {"workers": 0}, out=tmp_path / "plain", quiet=True)
    other = tw.train(recipe, {"workers": workers, "micro_batch": 10}, out=tmp_path / "other", quiet=True)
    one, two = weights(plain), weights(other)
    assert max(float((one[k] - two[k]).abs().max()) for k in one) < 1e-9


def test_two_processes_train_what_one_would(tmp_path: Path) -> None:
    changes = {"model.dropout": 0.0, "precision": "float64"}
    alone = tw.train(QUICK, changes, out=tmp_path / "alone", quiet=True)
    pair = tw.train(QUICK, {**changes, "ranks": 2}, out=tmp_path / "pair", quiet=True)
    assert pair.manifest["plan"]["ranks"] == 2
    one, two = weights(alone), weights(pair)
    assert max(float((one[k] - two[k]).abs().max()) for k in one) < 1e-9
    assert pair.metrics == pytest.approx(alone.metrics)
    assert pair.intervals.keys() == alone.intervals.keys() == alone.metrics.keys()
    for name, span in alone.intervals.items():
        assert pair.intervals[name] == pytest.approx(span), name
    assert pair.differences.keys() & alone.differences.keys() >= {"constant", "linear"}  # boosting where time allows
    for again in (tw.train, tw.resume):  # an observer that nobody would tell anything is refused, not forgotten
        where = {"recipe": QUICK | {"ranks": 2}} if again is tw.train else {"folder": pair.path}
        with pytest.raises(tw.UserError, match="functions cannot be sent to other processes"):
            again(**where, changes={"budget": "9 epochs"}, observers=[lambda event: None])


def test_one_writer_holds_a_run(tmp_path: Path) -> None:
    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) else None

    run = tw.train(QUICK, out=tmp_path / "run", observers=[stop], quiet=True)
    lock = Lock(run.path)
    try:
        assert run.state == "running"
        with pytest.raises(LockedError, match="is being trained by process"):
            tw.resume(run.path, quiet=True)
    finally:
        lock.release()
    assert tw.resume(run.path, quiet=True).state == "finished"


def test_changed_data_is_not_resumed(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b,y\n" + "".join(f"{i},{i % 3},{'p' if i % 2 else 'q'}\n" for i in range(60)))
    recipe = {**QUICK, "data": {"source": "table", "path": str(file)}}

    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) else None

    run = tw.train(recipe, {"log_every": 3}, out=tmp_path / "run", observers=[stop], quiet=True)
    file.write_text(file.read_text() + "99,1,p\n")
    with pytest.raises(UserError, match="not what this run began with"):
        tw.resume(run.path, quiet=True)


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    run = tw.train(QUICK, out=tmp_path / "run", quiet=True)
    before = run.view.losses
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"event":"StepDone","step":9')
    assert tw.open(run.path).view.losses == before
    more = tw.resume(run.path, {"budget": "5 epochs"}, quiet=True)
    assert more.view.step == 30
    assert None not in list(whole_events(run.path / "events.jsonl"))


def test_a_line_torn_at_any_byte_is_passed_over_and_one_that_was_damaged_is_counted(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    begun, judged = RunStarted(1, 0, 9, 9, "now", "é"), EvalDone(1, 0, "valid", {"loss": 1.0}, 0.1)
    step = StepDone(1, 0, 4, (1.0,), (1.0,), 0.1, 0.1, 0.0, parts={"kl": 1.0})
    head, again = dump(begun).encode() + b"\n", dump(RunStarted(2, 0, 9, 9, "now")).encode() + b"\n"
    for event in (begun, judged, step):
        line = dump(event).encode()
        for cut in range(1, len(line)):
            log.write_bytes(head + line[:cut])
            assert (read_view(tmp_path).unreadable, len(read_view(tmp_path).attempts)) == (0, 1)
            log.write_bytes(head + line[:cut] + b"\n" + again)
            assert (read_view(tmp_path).unreadable, len(read_view(tmp_path).attempts)) == (0, 2)
    log.write_bytes(head + dump(step).encode()[:-9] + b"\n" + dump(judged).encode() + b"\n")
    assert (read_view(tmp_path).unreadable, len(read_view(tmp_path).evals)) == (1, 1)


@pytest.mark.parametrize("kept", [0, 2])
def test_a_log_that_was_emptied_or_cut_is_told_when_the_run_goes_on(kept: int, tmp_path: Path) -> None:
    recipe = {**QUICK, "budget": "20 steps", "log_every": 5, "save_every": "10 steps"}
    whole = tw.train(recipe, out=tmp_path / "run", quiet=True)
    log = whole.path / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:kept]))
    again = tw.resume(whole.path, {"budget": "25 steps"}, quiet=True)
    untold = 20 - len(fold(load(line) for line in lines[:kept]).losses)
    told = [note for note in again.manifest["data"]["notes"] if "tells nothing of" in note]
    assert told, "said"
    assert f"tells nothing of {untold} of the 20 steps that are saved" in told[0]
    assert again.view.attempts[-1].from_step == 20


def test_damaged_lines_of_the_log_do_not_end_a_run_and_are_told(tmp_path: Path) -> None:
    run = tw.train(QUICK, out=tmp_path / "run", quiet=True)
    log = run.path / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], b"\xff\x00{}\n", *lines[2:]]))
    more = tw.resume(run.path, {"budget": "5 epochs"}, quiet=True)
    assert more.state == "finished"
    assert any("1 of its lines cannot be read" in note for note in more.manifest["data"]["notes"])


def test_nan_ends_the_run_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainwrightError) as raised:
        tw.train(QUICK, {"optimizer": {"name": "sgd", "lr": 1e6}}, out=tmp_path / "run", quiet=True)
    assert raised.value.exit_code == 77
    run = tw.open(tmp_path / "run")
    assert run.state == "failed"
    ended = run.view.ended
    assert isinstance(ended, RunEnded)
    assert "the training cannot go on, although it went back 2 times" in ended.reason
    assert any(not math.isfinite(x) for e in run.view.skipped for x in (e.loss, e.norm))


def test_fit_reaches_forward_in_six_frames_of_ours_or_fewer(tmp_path: Path) -> None:
    import traceback

    stacks: list[list[str]] = []

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                stacks.append([f"{f.filename}:{f.name}" for f in traceback.extract_stack()])
            found: torch.Tensor = self.line(x)
            return found

    x, y = torch.randn(40, 3), torch.randint(0, 2, (40,))
    tw.fit(Net(), (x, y), loss="cross_entropy", epochs=1, out=tmp_path / "run", quiet=True)
    root = str(Path(tw.__file__).parent)
    ours = [name for name in stacks[0] if name.startswith(root)]
    assert ours[0].endswith("runs/fit.py:fit")
    assert len(ours) <= 6, ours


def test_evaluations_of_all_parts_are_in_the_log(tmp_path: Path) -> None:
    run = tw.train(QUICK, out=tmp_path / "run", quiet=True)
    assert all(isinstance(e, EvalDone) and e.part == "valid" for e in run.view.evals)
    assert run.view.ended is not None
    assert run.view.ended.scores == run.metrics
