"""Takes steps aside at checkpoints of a module of the user's own, whose class nobody but the user can load again."""

from __future__ import annotations

import copy
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.batch import Batch
from trainwright.core.task import Task
from trainwright.data.part import Part
from trainwright.engine import checkpoint, disk
from trainwright.engine.state import Counters, TrainState, Weights
from trainwright.runs.assemble import Pieces
from trainwright.runs.directory import CAPTURES, CHECKPOINTS, write_json
from trainwright.runs.inspect.captured import Captured, written
from trainwright.runs.inspect.samples import caption, decisions
from trainwright.runs.inspect.taken import Stand, take
from trainwright.tasks.supervised import Supervised

SHARE = 0.01  # of the training's time, at most, that captures take before its end
FIRST = 0.2  # seconds that the first one is thought to take
LONGEST = 1.0  # seconds of one, or the share of the training's time, where that is more
BYTES, TOTAL = 24 << 20, 96 << 20  # of a file; of all files of a run
WHY = "none.json"  # says why there are no captures
LIGHT = 200_000_000  # weights, above which no copy is made while a network trains
_COPIES = 7  # of a weight that a file of two samples holds: itself, two moments, and per sample gradient and change


class Allowance:
    """How much of a training's time captures may take before its end.

    Args:
        began: when the training did, in seconds of any clock.
    """

    def __init__(self, began: float) -> None:
        self.began, self.spent, self.longest = began, 0.0, FIRST

    def allows(self, now: float) -> bool:
        """Whether one more, as long as the longest so far, stays within the share."""
        return now > self.began + (self.spent + self.longest) / SHARE

    def took(self, seconds: float) -> None:
        """One was made."""
        self.longest = max(seconds, self.longest) if self.spent else seconds
        self.spent += seconds


class Captures:
    """What the run's module does with a few samples, kept at its checkpoints.

    Everything is done on copies, on the CPU in float32; nothing of the training changes, its randomness neither.
    Before the end of a training captures take at most a hundredth of its time, and one is made in any case at the end.
    What somebody's module cannot do, such as be copied, is written down as the reason why there are none. Of a module
    whose weights are too many for that the step's values and gradients are kept, and its weights are left to the
    checkpoint; they have no gradient and no change.

    Args:
        pieces: of the attempt, which has begun.
        folder: of the run.
        steps: of the whole budget.
        samples: of the validation part, or where none lies at hand of the training part, that are captured; None for a
            network that can be built again.
    """

    def __init__(self, pieces: Pieces, folder: Path, steps: int, samples: int | None) -> None:
        self.pieces, self.folder, self.steps, self.samples = pieces, folder, steps, samples or 0
        self.part = "valid" if len(pieces.encoded.get("valid", ())) else "train"
        self._weights = sum(p.numel() for p in pieces.state.model.parameters())
        self._light = 4 * self._weights * _COPIES > BYTES
        self.why = self._unfit() if samples else "none are wanted"
        self._allowance = Allowance(time.perf_counter())
        self._batches: list[Batch] = []
        self._thread: threading.Thread | None = None
        self._last, self._went_back = -1, pieces.state.counters.rollbacks
        self._forget_after(pieces.state.counters.step)

    def after(self, save: Callable[[], None]) -> Callable[[], None]:
        """Saves a checkpoint, and captures where there is time for it."""

        def both() -> None:
            save()
            counters = self.pieces.state.counters
            if counters.rollbacks != self._went_back:
                self._forget_after(counters.back)
                self._went_back = counters.rollbacks
            if self._allowance.allows(time.perf_counter()):
                self._capture()

        return both

    def end(self) -> None:
        """Capture the last state, where it was not; return when all is on the disk."""
        if self._last != self.pieces.state.counters.step:
            self._capture()
        self._wait()
        if self.why and self.samples and self.pieces.runtime.first and not steps_of(self.folder):
            with suppress(OSError):
                (self.folder / CAPTURES).mkdir(exist_ok=True)
                write_json({"why": self.why}, self.folder / CAPTURES / WHY)

    def follow(self, folder: Path) -> None:
        """The run lies there now."""
        self._wait()
        self.folder = folder

    def _unfit(self) -> str:
        """Why nothing can be captured; empty otherwise."""
        if self.pieces.runtime.ranks.world > 1:
            return "several processes trained it together"
        if self._weights > LIGHT:
            return f"its {self._weights:,} weights are more than the {LIGHT:,} that are copied while a network trains"
        return ""

    def _capture(self) -> None:
        if self.why:
            return
        self._wait()
        began, step = time.perf_counter(), self.pieces.state.counters.step
        try:
            with self.pieces.state.aside(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = self._content(began + max(LONGEST, SHARE * (began - self._allowance.began)))
        except Exception as error:  # whatever somebody's module, loss or optimizer may raise
            self.why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        else:
            self._write(content, self.folder / CAPTURES / name_of(step))
            self._last = step
        self._allowance.took(time.perf_counter() - began)

    def _content(self, until: float) -> list[bytes | memoryview]:
        """The file's content; of fewer samples where all of them are too many bytes."""
        state, facts = self.pieces.state, {"step": self.pieces.state.counters.step, "part": self.part}
        captures = [self._taken(batch, until, facts) for batch in self._some()]
        facts |= {"rate": _rate(state.optimizer), "class": type(self.pieces.runtime.ranks.bare(state.model)).__name__}
        while captures:
            content = written(captures, facts)
            if sum(len(piece) for piece in content) <= BYTES:
                return content
            captures.pop()
        raise MemoryError(f"one sample alone is more than {BYTES >> 20} MB")

    def _taken(self, batch: Batch, until: float, facts: dict[str, Any]) -> Captured:
        state, task = _lightly(self.pieces) if self._light else _copied(self.pieces)
        config = self.pieces.config
        mine = self.pieces.state.counters
        state.counters.step, state.counters.epoch = mine.step, mine.epoch
        told: dict[str, Any] = {}

        def answered(model: nn.Module, batch: Batch) -> None:
            told.update(caption(task, model, batch))
            train = self.pieces.encoded.get("train")
            if "decisions" not in facts and isinstance(train, Part):
                plane = [tuple(x.shape[1:]) for x in batch.inputs.values()] == [(2,)]
                facts["decisions"] = decisions(task, model, train) if plane else None

        taken = take(
            task, batch, Stand(state, _rate(self.pieces.state.optimizer), self.steps, light=self._light),
            clip=None if config.clip == "none" else config.clip,
            clip_value=None if config.clip_value == "none" else config.clip_value,
            l1=config.l1, l2=config.l2, answered=answered, until=until,
        )  # fmt: skip
        return Captured(taken, told)

    def _some(self) -> list[Batch]:
        """The samples one by one, always the same, on the CPU."""
        if not self._batches:
            processor, encoded = self.pieces.task.processor, self.pieces.encoded.get(self.part)
            if encoded is not None:
                found = [processor.batch(encoded.rows(i, i + 1), None) for i in range(min(self.samples, len(encoded)))]
            else:
                several = self.pieces.some(self.samples)
                found = [_one(self.pieces.task, several, i) for i in range(several.size)]
            self._batches = [batch.to(torch.device("cpu")).cast(torch.float32) for batch in found]
        return self._batches

    def _write(self, content: list[bytes | memoryview], path: Path) -> None:
        """Beside the training; a disk that takes no more is no reason to end it."""

        def write() -> None:
            with suppress(OSError):
                path.parent.mkdir(exist_ok=True)
                disk.put(path, b"".join(content))
                (path.parent / WHY).unlink(missing_ok=True)
                _thin(path.parent)
                if self._light:
                    _forget_without_weights(path)

        self._thread = threading.Thread(target=write, name="capture", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # "can't start new thread"
            self._thread = None
            write()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _forget_after(self, step: int) -> None:
        """What was captured after a state that the run has gone back to is of steps that no longer count."""
        self._wait()
        for later in [s for s in steps_of(self.folder) if s > step]:
            with suppress(OSError):
                (self.folder / CAPTURES / name_of(later)).unlink()


def name_of(step: int) -> str:
    """Of the file with the captures of a step."""
    return f"step-{step:08}.safetensors"


def steps_of(folder: Path) -> list[int]:
    """The steps at which a run was captured, ascending."""
    names = [p.stem.removeprefix("step-") for p in (folder / CAPTURES).glob("step-*.safetensors")]
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _lightly(pieces: Pieces) -> tuple[TrainState, Task[Any]]:
    """Module and task alone, likewise, without gradients of weights, which would be as large as they are."""
    memo: dict[int, Any] = {}
    model: nn.Module = copy.deepcopy(pieces.runtime.ranks.bare(pieces.state.model), memo)
    task = copy.deepcopy(pieces.task, memo)
    model.requires_grad_(False).to(torch.device("cpu"), torch.float32)
    return TrainState({"model": Weights(model), "counters": Counters()}), task


def _copied(pieces: Pieces) -> tuple[TrainState, Task[Any]]:
    """Module, task and optimizer on the CPU in float32, with nothing in common with those that train.

    One memory for all three: what they share, such as weights within the loss, is shared by the copies.
    """
    state, memo = pieces.state, {}  # type: ignore[var-annotated]
    model: nn.Module = copy.deepcopy(pieces.runtime.ranks.bare(state.model), memo)
    task, optimizer = copy.deepcopy(pieces.task, memo), copy.deepcopy(state.optimizer, memo)
    resting = state.frozen.resting(state.counters.step) if state.frozen else set()
    for mine, theirs in zip(model.parameters(), pieces.runtime.ranks.bare(state.model).parameters(), strict=True):
        mine.requires_grad_(theirs.requires_grad and theirs not in resting)
    model.to(torch.device("cpu"), torch.float32)
    for entry in optimizer.state.values():
        for name, x in entry.items():
            if isinstance(x, Tensor):
                entry[name] = x.cpu().float()
    return TrainState.of(model, optimizer), task


def _rate(optimizer: Optimizer) -> float:
    """The multiplier of the base rates at the last step: a schedule of somebody's own is not asked twice."""
    group = optimizer.param_groups[0]
    base = float(group.get("initial_lr", group["lr"]))
    return float(group["lr"]) / base if base else 0.0


def _one(task: Task[Any], several: Batch, index: int) -> Batch:
    """A sample of a batch that somebody's loader made."""
    inputs, targets = ({k: v[index : index + 1] for k, v in part.items()} for part in (several.inputs, several.targets))
    weight = task.weigh(targets) if targets and isinstance(task, Supervised) else torch.tensor(1.0)
    return replace(several, inputs=inputs, targets=targets, weight=weight, ids=several.ids[index : index + 1], size=1)


def _forget_without_weights(path: Path) -> None:
    """Remove captures before this one whose weights are gone with their checkpoint."""
    run, mine = path.parent.parent, int(path.stem.removeprefix("step-"))
    kept = checkpoint.steps(run / CHECKPOINTS)
    for step in [s for s in steps_of(run) if s < mine and s not in kept]:
        (path.parent / name_of(step)).unlink()


def _thin(folder: Path) -> None:
    """Remove captures until all of them fit: each time the one whose neighbours are the closest, never the last."""
    while True:
        steps = steps_of(folder.parent)
        sizes = [(folder / name_of(s)).stat().st_size for s in steps]
        if sum(sizes) <= TOTAL or len(steps) < 3:
            return
        gaps = {steps[i]: steps[i + 1] - steps[i - 1] for i in range(1, len(steps) - 1)}
        (folder / name_of(min(gaps, key=lambda s: (gaps[s], s)))).unlink()
