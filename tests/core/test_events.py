from __future__ import annotations

import math

import pytest

from trainwright.core.events import (
    CheckpointSaved,
    EvalDone,
    Event,
    Found,
    Probed,
    RunEnded,
    RunStarted,
    Shown,
    StepDone,
    dump,
    fold,
    load,
)
from trainwright.core.exhibit import Exhibit
from trainwright.core.finding import Advice, Edit, Finding, Patch

FINDING = Finding("r", "warning", "w", "layer", {"n": 1.5}, "because", (Patch({"a.b": 1}), Edit("e"), Advice("d")))
EVENTS: list[Event] = [
    RunStarted(1, 0, 100, 10, "2026-01-01T00:00:00+00:00"),
    StepDone(3, 0, 30, (1.0, 2.0, 3.0), (0.1, 0.2, 0.3), 0.1, 0.01, 0.001, {"kl": 0.5}),
    EvalDone(3, 0, "valid", {"accuracy": 0.5, "loss": math.inf}, 0.1, True),
    Shown(3, "valid", (Exhibit("text", "t", {"a": [1, "b"]}),)),
    CheckpointSaved(3, "checkpoints/step-00000003", 0.1),
    Probed(3, {"layer": {"mean": 0.0}}),
    Found(3, FINDING),
    RunEnded(3, "finished", "done", 1.0, {"test/accuracy": 0.9}, {"constant": {"accuracy": 0.1}}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_an_event_survives_its_line(event: Event) -> None:
    line = dump(event)
    assert "\n" not in line
    assert load(line) == event


def test_nan_and_infinity_travel_as_strings() -> None:
    event = StepDone(1, 0, 1, (math.nan,), (-math.inf,), 0.1, 0.1, 0.1)
    line = dump(event)
    assert '"NaN"' in line
    assert '"-Infinity"' in line
    again = load(line)
    assert isinstance(again, StepDone)
    assert math.isnan(again.losses[0])
    assert again.norms == (-math.inf,)


def test_a_resumed_attempt_replaces_what_it_does_again() -> None:
    def step(n: int, loss: float) -> StepDone:
        return StepDone(n, 0, n, (loss,), (1.0,), 0.1, 0.1, 0.0)

    events: list[Event] = [
        EVENTS[0],
        *(step(n, 1.0) for n in range(1, 6)),
        EvalDone(5, 0, "valid", {"loss": 1.0}, 0.1),
        RunStarted(2, 3, 100, 10, "t"),
        *(step(n, 2.0) for n in range(4, 7)),
    ]
    view = fold(events)
    assert view.losses == {1: 1.0, 2: 1.0, 3: 1.0, 4: 2.0, 5: 2.0, 6: 2.0}
    assert view.evals == []
    assert view.step == 6
    assert len(view.attempts) == 2


@pytest.mark.parametrize(
    ("later", "steps"),
    [
        ([RunStarted(3, 25, 100, 10, "t")], [5, 30]),  # interrupted before it was there once more
        ([RunStarted(3, 25, 100, 10, "t"), RunStarted(4, 22, 100, 10, "t")], [5, 30]),
        ([RunStarted(3, 25, 100, 10, "t"), Found(28, FINDING), RunStarted(4, 26, 100, 10, "t")], [5, 30]),
        ([RunStarted(3, 12, 100, 10, "t")], [5]),  # where it goes back once more
        ([RunStarted(3, 0, 100, 10, "t", anew=True)], []),
        ([RunStarted(3, 0, 100, 10, "t", anew=True), RunStarted(4, 40, 100, 10, "t", back=2)], [5, 30]),
    ],
)
def test_what_was_found_in_steps_that_are_taken_again_is_told_whatever_interrupts_them(
    later: list[Event], steps: list[int]
) -> None:
    went_back = RunStarted(2, 20, 100, 10, "t", again=True)
    view = fold([RunStarted(1, 0, 100, 10, "t"), Found(5, FINDING), Found(30, FINDING), went_back, *later])
    assert [found.step for found in view.findings] == steps


def test_history_averages_the_training_loss_since_the_row_before() -> None:
    view = fold(
        [
            EVENTS[0],
            StepDone(2, 0, 2, (1.0, 3.0), (1.0, 1.0), 0.1, 0.1, 0.0),
            EvalDone(2, 1, "valid", {"loss": 5.0}, 0.1),
            StepDone(3, 1, 3, (7.0,), (1.0,), 0.1, 0.1, 0.0),
            EvalDone(3, 1, "valid", {"loss": 4.0}, 0.1),
        ]
    )
    assert [r["train/loss"] for r in view.history()] == [2.0, 7.0]
    assert [r["valid/loss"] for r in view.history()] == [5.0, 4.0]


def test_history_tells_penalties_apart_from_the_loss() -> None:
    def step(n: int, l2: float) -> StepDone:
        return StepDone(n, 0, n, (1.0,), (1.0,), 0.1, 0.1, 0.0, {"l2": l2})

    log = [RunStarted(1, 0, 3, 3, ""), step(1, 0.3), step(2, 0.2), EvalDone(2, 0, "valid", {"loss": 5.0}, 0.1)]
    view = fold([*log, step(3, 0.1), EvalDone(3, 1, "valid", {"loss": 4.0}, 0.1)])
    assert [(r["train/loss"], r["train/l2"]) for r in view.history()] == [(1.0, 0.2), (1.0, 0.1)]
    assert [r["train/l2"] for r in view.history(after=2)] == [0.1]


def test_live_and_replayed_views_are_equal() -> None:
    assert fold(EVENTS) == fold(load(dump(e)) for e in EVENTS)
