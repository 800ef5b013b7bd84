"""Interrupted anywhere and taken up again from the files, a training is bit for bit what it would have been."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training import Case, Class, cases, enrol, evals, same, weights
from trainwright.core.errors import CheckpointError
from trainwright.core.events import Event, StepDone, Stop
from trainwright.core.kinds import schedules
from trainwright.engine import checkpoint
from trainwright.engine.average import Average, averaged_weights
from trainwright.engine.frozen import Frozen
from trainwright.engine.runtime import Runtime

SMALL = next(c for c in cases() if c.name == "series")


def save(taught: object, folder: Path) -> Path:
    state = taught.state  # type: ignore[attr-defined]
    return checkpoint.save(state.state_dict(), folder, state.counters.step)


def test_averages_plateaus_and_resting_weights_go_on_where_they_were(tmp_path: Path) -> None:
    def begun() -> Class:
        taught = enrol(SMALL)
        bare = taught.state.model
        taught.state.frozen = Frozen(bare, {next(name for name, _ in bare.named_parameters()): 3})
        taught.state.parts["ema"] = Average(bare, 0.9)
        taught.state.parts["schedule"] = schedules["plateau"](patience=0, min_change=1e9, factor=0.7)
        return taught

    whole, first, again = begun(), begun(), begun()
    expected, _ = whole.train(8, eval_every=1, patience=9)
    before, _ = first.train(4, eval_every=1, patience=9)
    again.state.load_state_dict(checkpoint.load(save(first, tmp_path)))
    after, _ = again.train(8, eval_every=1, patience=9)
    assert same(weights(whole.state), weights(again.state))
    assert whole.state.ema
    assert again.state.ema
    assert same(averaged_weights(whole.state.ema.state_dict()), averaged_weights(again.state.ema.state_dict()))
    assert evals(before) + evals(after) == evals(expected)
    assert whole.state.best == again.state.best
    assert whole.state.optimizer.param_groups[0]["lr"] == again.state.optimizer.param_groups[0]["lr"]
    assert again.state.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.7**6)


def test_resume_is_exact_in_double_precision_too(tmp_path: Path) -> None:
    runtime = Runtime(precision="float64")
    whole, first = enrol(SMALL, runtime), enrol(SMALL, runtime)
    whole.train(6)
    first.train(3)
    again = enrol(SMALL, runtime)
    again.state.load_state_dict(checkpoint.load(save(first, tmp_path)))
    again.train(6)
    assert same(weights(whole.state), weights(again.state))


@pytest.mark.parametrize("part", ["model", "optimizer", "counters", "best", "random", "loader"])
def test_a_missing_part_is_an_error_not_a_warning(part: str, tmp_path: Path) -> None:
    first = enrol(SMALL)
    first.train(2)
    state = first.state.state_dict()
    del state[part]
    with pytest.raises(CheckpointError, match=part):
        enrol(SMALL).state.load_state_dict(state)


def test_dropout_goes_on_where_it_was(tmp_path: Path) -> None:
    def dropped(sizes: object) -> torch.nn.Module:
        model = SMALL.model_for(sizes)  # type: ignore[arg-type]
        model.register_forward_hook(lambda m, i, o: torch.nn.functional.dropout(o, 0.5, m.training))
        return model

    case = Case("dropout", SMALL.make, dropped, SMALL.records)
    whole = enrol(case)
    whole.train(6, eval_every=1)
    first = enrol(case)
    first.train(3)
    path = save(first, tmp_path)
    again = enrol(case)
    torch.rand(7)
    again.state.load_state_dict(checkpoint.load(path))
    again.train(6)
    assert same(weights(whole.state), weights(again.state))


def test_an_observer_can_stop_the_run_at_its_step() -> None:
    def tired(event: Event) -> Stop | None:
        return Stop("enough") if isinstance(event, StepDone) and event.step == 3 else None

    taught = enrol(SMALL)
    saved: list[int] = []
    _, stop = taught.train(10, observe=tired, save=lambda: saved.append(taught.state.counters.step))
    assert stop == Stop("enough")
    assert taught.state.counters.step == 3
    assert saved == [3]


def test_aside_leaves_no_trace() -> None:
    taught = enrol(SMALL)
    model = taught.state.model
    model.register_buffer("count", torch.zeros(1))
    model.train()
    before = torch.get_rng_state()
    with taught.state.aside():
        torch.rand(10)
        model.eval()
        model.get_buffer("count").add_(5)
    assert torch.equal(before, torch.get_rng_state())
    assert model.training
    assert float(model.get_buffer("count")) == 0


def test_aside_puts_things_back_after_an_error_too() -> None:
    taught = enrol(SMALL)
    before = torch.get_rng_state()
    try:
        with taught.state.aside():
            torch.rand(1)
            raise RuntimeError
    except RuntimeError:
        pass
    assert torch.equal(before, torch.get_rng_state())
