"""The resume matrix: every task, saved at every kind of place, in every precision, ends as if it had not been stopped.

It is enumerated from the registries, so that what is added later joins by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.builtin import built, pictures
from tests.case import Case
from tests.tasks.cases import files
from tests.training import Class, cases, enrol
from trainwright.core.events import Event, Stop, as_dict
from trainwright.core.kinds import augmentations, optimizers, schedules, tasks
from trainwright.core.responsive import Responsive
from trainwright.core.task import Loss, Record
from trainwright.data.foreign import ForeignLoader
from trainwright.data.foreign_dataset import DatasetLoader
from trainwright.engine import checkpoint
from trainwright.engine.average import Average
from trainwright.engine.frozen import Frozen
from trainwright.engine.runtime import Runtime
from trainwright.runs.sameness import same

POINTS = ("first step", "mid-epoch", "within an accumulation", "last batch of an epoch", "evaluation")
PRECISIONS = ("float32", "bfloat16", "float16")
ALL = {case.name: case for case in cases()}
Begin = Callable[[], Class]


@dataclass(frozen=True)
class Ended:
    """What a training comes to: every part of its state, and every line of its log."""

    state: Mapping[str, Any]
    log: list[dict[str, Any]]


class PowerCut(BaseException):
    """The process is gone."""


def told(events: Iterable[Event]) -> list[dict[str, Any]]:
    """The log without what a clock says."""
    lines = [as_dict(event) for event in events]
    return [{k: v for k, v in line.items() if k not in ("seconds", "waited", "memory")} for line in lines]


def place(point: str, per_epoch: int) -> int:
    """The step after which a training is stopped."""
    assert per_epoch >= 3, "the data gives too few steps to have a middle of an epoch"
    known = {"first step": 1, "last batch of an epoch": per_epoch, "evaluation": per_epoch - 1}
    return known.get(point, per_epoch + 1)


def ended(learner: Class, events: list[Event]) -> Ended:
    return Ended(learner.state.state_dict(), told(events))


def run(learner: Class, until: int, folder: Path | None = None) -> list[Event]:
    """Train to a step, and save there as a run does; two epochs and a step are the whole budget."""
    state, per_epoch = learner.state, learner.loader.steps_per_epoch
    steps = 2 * per_epoch + 1

    def save() -> None:
        if folder is not None:
            checkpoint.save(state.state_dict(), folder, state.counters.step)

    return learner.train(min(until, steps), steps=steps, eval_every=per_epoch - 1, save=save, patience=99)[0]


def die_within_the_next_step(learner: Class) -> None:
    """Some micro-batches of the next step are done, and their gradients there, when the process ends."""
    taught, calls = learner.task.loss, iter(range(99))

    def cut(*given: Any) -> Loss:
        if next(calls) == 1:
            raise PowerCut
        return taught(*given)

    learner.task.loss = cut  # type: ignore[method-assign]
    with pytest.raises(PowerCut):
        run(learner, 99)


def unbroken(begin: Begin) -> Ended:
    learner = begin()
    return ended(learner, run(learner, 99))


def broken(begin: Begin, point: str, folder: Path) -> Ended:
    """The same training, stopped at a place and gone on with from the disk by another object."""
    first = begin()
    at = place(point, first.loader.steps_per_epoch)
    before = run(first, at, folder)
    if point == "within an accumulation":
        die_within_the_next_step(first)
    torch.manual_seed(99)  # whatever happened in between
    again = begin()
    path = checkpoint.at(folder, at)
    again.state.load_state_dict(checkpoint.load(path))
    return ended(again, before + run(again, 99))


def equal(begin: Begin, folder: Path, points: Iterable[str] = POINTS, whole: Ended | None = None) -> None:
    whole = whole or unbroken(begin)
    for point in points:
        got = broken(begin, point, folder / point)
        assert same(whole.state, got.state), point
        assert same(whole.log, got.log), point


def begun(name: str, precision: str, **options: Any) -> Class:
    return enrol(ALL[name], Runtime(precision=precision), batch_size=6, micro=2, **options)  # type: ignore[arg-type]


@cache
def whole(name: str, precision: str) -> Ended:
    return unbroken(partial(begun, name, precision))


@pytest.mark.parametrize("task", tasks.names())
def test_every_task_has_a_small_recipe_in_the_matrix(task: str) -> None:
    assert task in ALL, f"write a small case named '{task}' into tests/builtin.py"
    factory: Any = tasks[task]
    assert isinstance(ALL[task].make(), factory)


def crossed() -> Iterator[Any]:
    """All there is; what is not ``slow`` is every task at every place in float32, and at two places in each half.

    Those places take turns over the tasks: what a half precision adds to a state is the same for every task.
    """
    for turn, name in enumerate(ALL):
        for shift, precision in enumerate(PRECISIONS):
            for i, point in enumerate(POINTS):
                near = precision == "float32" or (i - turn - shift) % len(POINTS) in (0, 2)
                yield pytest.param(name, precision, point, marks=() if near else pytest.mark.slow)


@pytest.mark.parametrize(("name", "precision", "point"), list(crossed()))
def test_every_task_goes_on_exactly(name: str, precision: str, point: str, tmp_path: Path) -> None:
    equal(partial(begun, name, precision), tmp_path, [point], whole(name, precision))


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_goes_on_exactly(name: str, tmp_path: Path) -> None:
    make: Any = optimizers[name]
    equal(partial(begun, "tabular_classification", "float32", optimizer=make), tmp_path)


def scheduled(name: str) -> Class:
    learner = begun("supervised", "float32")
    learner.schedule = schedules[name](**({"patience": 0, "min_change": 1e9} if name == "plateau" else {}))
    if isinstance(learner.schedule, Responsive):
        learner.state.parts["schedule"] = learner.schedule
    return learner


@pytest.mark.parametrize("name", schedules.names())
def test_every_schedule_goes_on_exactly(name: str, tmp_path: Path) -> None:
    equal(partial(scheduled, name), tmp_path)


class Noisy(Dataset[Any]):
    """Items whose noise comes from all three global generators."""

    def __init__(self) -> None:
        self.items = ALL["supervised"].records(30, 1)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        noise = 0.1 * (torch.rand(5) + random.random() + np.random.rand())
        return torch.tensor(self.items[index]["x"]) + noise.float(), self.items[index]["y"]


def foreign(workers: int, **options: Any) -> ForeignLoader:
    loader = DataLoader(Noisy(), batch_size=6, shuffle=True, num_workers=workers, **options)
    return ForeignLoader(loader, micro=2, seed=3)


FETCHING = [("float32", 0), ("float32", 1), ("float32", 2), ("bfloat16", 2)]
FETCHED: dict[str, Callable[[int], Any]] = {
    "a Dataset": lambda workers: DatasetLoader(Noisy(), batch_size=6, micro=2, seed=3, workers=workers),
    "a DataLoader": foreign,
    "a DataLoader with a generator": lambda n: foreign(n, generator=torch.Generator().manual_seed(5)),
}


def fetching(kind: str, workers: int, precision: str) -> Class:
    learner = begun("supervised", precision)
    learner.loader = learner.state.parts["loader"] = FETCHED[kind](workers)
    return learner


@pytest.mark.parametrize(("precision", "workers"), FETCHING)
@pytest.mark.parametrize("kind", FETCHED)
def test_whatever_fetches_the_data_goes_on_exactly(kind: str, precision: str, workers: int, tmp_path: Path) -> None:
    equal(partial(fetching, kind, workers, precision), tmp_path)


@pytest.mark.parametrize(("precision", "workers"), FETCHING)
def test_pictures_that_are_unpacked_while_training_go_on_exactly(precision: str, workers: int, tmp_path: Path) -> None:
    def begin() -> Class:
        make = partial(tasks["image_classification"], gigabytes=0.0, size=(8, 8))
        case = Case("files", make, built("cnn", {"filters": (4,), "dense": (8,)}), lambda n, s: files(pictures(n, s)))
        learner = enrol(case, Runtime(precision=precision), batch_size=6, micro=2, workers=workers)  # type: ignore[arg-type]
        assert [c.kind for c in learner.loader.part.store.columns.values() if not c.target] == ["bytes"]
        return learner

    equal(begin, tmp_path)


def augmented(**options: Any) -> Class:
    def coloured(n: int, seed: int) -> list[Record]:
        shades = np.array([[1.0, 0.7, 0.4]])
        return [{**r, "image": (r["image"][..., None] * shades).astype(np.uint8)} for r in pictures(n, seed)]

    cnn = built("cnn", {"filters": (4,), "dense": (8,)})
    return enrol(Case("", lambda: tasks["image_classification"](**options), cnn, coloured), batch_size=6, micro=2)


CHANGES: dict[str, dict[str, Any]] = {
    **{name: {"augment": {name: True}} for name in augmentations.names()},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "everything": {"augment": dict.fromkeys(augmentations.names(), True), "mixup": 0.4, "cutmix": 1.0},
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_augmentation_goes_on_exactly(name: str, tmp_path: Path) -> None:
    begin = partial(augmented, **CHANGES[name])
    whole = unbroken(begin)
    assert not same(whole.state["model"], unbroken(partial(augmented, augment="none")).state["model"])
    equal(begin, tmp_path, ["mid-epoch", "last batch of an epoch"], whole)


def rich(precision: str = "float16") -> Class:
    """All that a state may hold: moments, an average, a scale, a plateau, resting weights, dropout and buffers."""

    def model_for(sizes: object) -> torch.nn.Module:
        layers = (torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 2))
        return torch.nn.Sequential(*layers)

    case = Case("rich", ALL["supervised"].make, model_for, ALL["supervised"].records)
    learner = enrol(case, Runtime(precision=precision), batch_size=6, micro=2)  # type: ignore[arg-type]
    state = learner.state
    state.frozen = Frozen(state.model, {"0.weight": 9})
    state.parts["ema"] = Average(state.model, 0.9)
    state.parts["schedule"] = schedules["plateau"](patience=0, factor=0.7, cooldown=1, min_change=1e-3)
    state.scaler.patience = 4  # type: ignore[union-attr]
    return learner


def test_all_that_a_state_may_hold_goes_on_exactly_together(tmp_path: Path) -> None:
    equal(rich, tmp_path)


def test_twenty_interruptions_equal_none(tmp_path: Path) -> None:
    whole, log = rich(), list[Event]()
    steps, options = 20, {"steps": 20, "eval_every": 3}
    expected, _ = whole.train(steps, **options)  # type: ignore[arg-type]
    learner = rich()
    for step in range(1, steps + 1):
        log += learner.train(step, **options)[0]  # type: ignore[arg-type]
        path = checkpoint.save(learner.state.state_dict(), tmp_path, step)
        learner = rich()
        learner.state.load_state_dict(checkpoint.load(path))
    assert same(whole.state.state_dict(), learner.state.state_dict())
    assert same(told(expected), told(log))


def test_patience_is_at_its_end_at_the_same_step(tmp_path: Path) -> None:
    def trained(learner: Class, until: int) -> tuple[list[Event], Stop | None]:
        return learner.train(until, steps=30, eval_every=2, patience=3, change=1e9)

    whole, first, again = (begun("supervised", "float32") for _ in range(3))
    expected, stop = trained(whole, 30)
    assert stop is not None
    assert stop.reason.endswith("in 3 evaluations")
    before, _ = trained(first, 5)
    again.state.load_state_dict(checkpoint.load(checkpoint.save(first.state.state_dict(), tmp_path, 5)))
    after, same_stop = trained(again, 30)
    assert same_stop == stop
    assert same(told(before + after), told(expected))


def test_the_control_forgets_the_randomness_and_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainwright.engine.randomness.Randomness.load_state_dict", lambda self, state: None)
    with pytest.raises(AssertionError):
        equal(rich, tmp_path, ["mid-epoch"])


def test_the_rich_state_has_every_part_there_is() -> None:
    from trainwright.engine.parts import _OURS

    assert set(rich().state.parts) == set(_OURS)
