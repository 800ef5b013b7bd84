"""A run is proven by training some of its steps again; what was not so is found, and the run is not touched."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import CheckpointError, UserError
from trainwright.core.events import Event, StepDone
from trainwright.engine import checkpoint
from trainwright.observers.pause import Pause

RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 8, "dropout": 0.3},
    "schedule": {"name": "plateau", "patience": 0, "factor": 0.5},
    "ema": 0.9,
    "batch_size": 16,
    "micro_batch": 6,
    "budget": "4 epochs",
    "save_every": "5 steps",
    "eval_every": "4 steps",
    "keep_last": 2,
}


def interrupted(at: int) -> Callable[[Event], tw.Stop | None]:
    def stop(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) and event.step >= at else None

    return stop


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that was stopped once, and went on with another rate and a larger budget."""
    place = tmp_path_factory.mktemp("verified")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        tw.train(RECIPE, {"log_every": 1}, out=place / "run", observers=[interrupted(10)], quiet=True)
        tw.resume(place / "run", {"budget": "5 epochs", "optimizer.lr": 3e-3, "keep_last": 9}, quiet=True)
    return place / "run"


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "run")
    return tmp_path / "run"


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_a_run_is_proven_up_to_its_newest_checkpoint_and_left_as_it_is(run: Path) -> None:
    before = content(run)
    found = tw.verify(run)
    assert found.exact, found.deviation
    assert (found.first, found.last, found.states) == (10, 30, (30,))  # since the rate was changed
    assert found.numbers == {"losses": 20, "gradient norms": 20, "evaluations": 6}
    assert content(run) == before


@pytest.mark.parametrize(
    ("start", "steps", "last", "states"), [(0, None, 10, (10,)), (0, 3, 3, ()), (15, 2, 17, (16,)), (10, 12, 22, (20,))]
)
def test_any_checkpoint_will_do_and_the_seed_under_the_settings_of_that_time(
    start: int, steps: int | None, last: int, states: tuple[int, ...], run: Path
) -> None:
    found = tw.verify(run, start=start, steps=steps)
    assert found.exact, found.deviation
    assert (found.first, found.last) == (start, last)
    assert found.states == states


def altered(run: Path, event: str, change: Callable[[dict[str, Any]], None], step: int) -> None:
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    for line in lines:
        if line["event"] == event and line["step"] == step:
            change(line)
    (run / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def nudged(values: list[float]) -> None:
    values[-1] = math.nextafter(values[-1], math.inf)


def test_a_loss_that_is_off_by_the_last_bit_is_found_at_its_step(run: Path) -> None:
    altered(run, "StepDone", lambda line: nudged(line["losses"]), 28)
    found = tw.verify(run)
    assert found.deviation is not None
    assert (found.deviation.step, found.deviation.what) == (28, "loss")
    assert found.deviation.was == math.nextafter(found.deviation.now or 0, math.inf)
    assert 0 < found.deviation.size < 1e-15
    assert "may not be deterministic" in found.why[0]


def test_a_score_that_is_another_is_found(run: Path) -> None:
    altered(run, "EvalDone", lambda line: line["metrics"].update(accuracy=0.123), 28)
    found = tw.verify(run).deviation
    assert found is not None
    assert (found.step, found.what, found.was) == (28, "valid accuracy", 0.123)


@pytest.mark.parametrize("part", ["model", "optimizer", "ema", "random", "loader", "schedule"])
def test_a_checkpoint_whose_numbers_were_changed_and_sealed_again_is_found(part: str, run: Path) -> None:
    folder = run / "checkpoints"
    state = checkpoint.load(checkpoint.at(folder, 30))
    match part:
        case "optimizer":
            next(iter(state[part]["state"].values()))["exp_avg"].add_(0.25)
        case "random":
            state[part]["ranks"][0]["python"][1][3] ^= 1
        case "loader":
            state[part]["index"] += 1
        case "schedule":
            state[part]["share"] *= 0.5
        case _:
            next(iter(state[part].values())).add_(0.25)
    checkpoint.save(state, folder, 30, tw.open(run).manifest["id"])
    found = tw.verify(run).deviation
    assert found is not None
    assert (found.step, found.what) == (30, f"the part '{part}' of the state")
    assert math.isnan(found.size) == (part in ("random", "loader", "schedule"))
    assert math.isnan(found.size) or found.size == pytest.approx(0.25)


def test_a_difference_comes_with_what_may_have_caused_it(run: Path) -> None:
    altered(run, "StepDone", lambda line: nudged(line["losses"]), 28)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["machine"]["threads"], manifest["versions"]["torch"] = 97, "1.0"
    (run / "manifest.json").write_text(json.dumps(manifest))
    found = tw.verify(run)
    assert f"threads was 97, is {torch.get_num_threads()}" in found.why
    assert f"torch was '1.0', is '{torch.__version__}'" in found.why


def test_evaluations_that_came_by_the_clock_come_at_the_same_steps_again(tmp_path: Path) -> None:
    run = tw.train(RECIPE, {"eval_every": "0.05 seconds", "budget": "30 steps"}, out=tmp_path / "run", quiet=True)
    found = tw.verify(run)
    assert found.exact, found.deviation


def test_a_damaged_checkpoint_is_passed_over(run: Path) -> None:
    (checkpoint.at(run / "checkpoints", 30) / "model.safetensors").write_bytes(b"")
    found = tw.verify(run)
    assert found.exact
    assert found.last == 28


def test_a_changed_processor_is_no_run_to_be_proven(run: Path) -> None:
    (run / "processor.json").write_text((run / "processor.json").read_text().replace("1", "2", 1))
    with pytest.raises(CheckpointError, match=r"processor\.json is damaged: it is not what was written"):
        tw.verify(run)


def test_what_cannot_be_repeated_from_its_files_says_so(tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 1)
    made = tw.fit(
        net, (np.zeros((20, 3), np.float32), np.zeros(20)), loss="mse", epochs=1, out=tmp_path / "r", quiet=True
    )
    with pytest.raises(UserError, match=r"trained a module of your own \(Linear\).*again=lambda \*\*more"):
        tw.verify(made)
    data = np.zeros((20, 3), np.float32), np.zeros(20)
    with pytest.raises(UserError, match=r"again: cannot be called so: .*multiple values.*leave out, .*to it"):
        tw.verify(made, again=lambda **more: tw.fit(net, data, loss="mse", quiet=True, **more))
    with pytest.raises(UserError, match="again: returned no run of this place"):
        tw.verify(made, again=lambda **more: made)


def own_run(rate: float = 1e-2, **more: Any) -> tw.Run:
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
    x = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
    return tw.fit(net, (x, x.sum(1, keepdim=True)), loss="mse", lr=rate, budget="30 steps", batch_size=8, **more)


def test_a_run_of_ones_own_module_is_proven_by_the_call_that_made_it(tmp_path: Path) -> None:
    more: dict[str, Any] = {"save_every": "10 steps", "eval_every": "30 steps", "log_every": 5, "quiet": True}
    paused = own_run(out=tmp_path / "run", observers=[Pause(step=18)], **more)
    assert (paused.state, paused.view.step) == ("interrupted", 20), "at the next step that is logged"
    shutil.copytree(checkpoint.at(paused.path / "checkpoints", 20), tmp_path / "kept")
    run = own_run(resume=paused.path, **more)
    shutil.copytree(tmp_path / "kept", run.path / "checkpoints" / "step-00000020")
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    found = tw.verify(run, again=own_run)
    assert (found.exact, found.first, found.last) == (True, 20, 30), found.lines()
    assert found.states == (30,)
    assert tw.verify(run, again=own_run, start=0, steps=5).exact
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    other = tw.verify(run, again=lambda **more: own_run(2e-2, **more))
    assert other.deviation is not None
    assert other.deviation.step == 22, "the loss of the step behind the first one with another rate"
    with pytest.raises(UserError, match="again: is for runs of a module of your own"):
        tw.verify(tw.train(RECIPE, {"budget": "2 steps"}, out=tmp_path / "recipe", quiet=True), again=own_run)


@pytest.mark.ranks
def test_a_run_of_two_processes_is_proven_by_two_processes(tmp_path: Path) -> None:
    run = tw.train({**RECIPE, "ranks": 2, "budget": "20 steps"}, out=tmp_path / "run", quiet=True)
    found = tw.verify(run)
    assert found.exact, found.lines()
    assert found.states == (20,)
    altered(run.path, "StepDone", lambda line: nudged(line["losses"]), 20)
    assert tw.verify(run, start=found.first).deviation is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 7}, "--from: no step can be trained again from step 7; write one of: 0, "),
        ({"start": 30}, "from step 30"),
        ({"steps": 0}, "--steps: 0 is no number of steps"),
    ],
)
def test_steps_that_are_not_there_are_told(options: dict[str, int], message: str, run: Path) -> None:
    with pytest.raises(UserError, match=message):
        tw.verify(run, **options)  # type: ignore[arg-type]


def test_data_that_changed_is_told_instead_of_compared(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b,label\n" + "".join(f"{i},{i % 3},{'p' if i % 2 else 'q'}\n" for i in range(60)))
    recipe = {**RECIPE, "data": {"source": "table", "path": str(file)}, "budget": "6 steps"}
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    file.write_text(file.read_text() + "99,1,p\n")
    for start in (0, 5):
        with pytest.raises(UserError, match="not what this run began with"):
            tw.verify(run, start=start)


def test_the_command_says_exact_and_exits_0_or_what_differs_and_exits_1(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(run)]) == 0
    said = capsys.readouterr().out
    assert "steps 11 to 30, from the checkpoint of step 10" in said
    assert "exact" in said
    altered(run, "StepDone", lambda line: nudged(line["losses"]), 28)
    assert main(["verify", str(run)]) == 1
    assert "differs   step 28: loss was" in capsys.readouterr().out
    assert main(["verify", str(run), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["exact"], told["deviation"]["step"], told["deviation"]["what"]) == (False, 28, "loss")
