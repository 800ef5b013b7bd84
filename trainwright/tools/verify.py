"""Proof that a run is what its files say: some of its steps are trained again elsewhere, and compared bit for bit."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from trainwright.core.config import Budget
from trainwright.core.errors import CheckpointError, NumericsError, RanksError, UserError
from trainwright.core.events import View
from trainwright.engine import checkpoint
from trainwright.engine.ranks import launched
from trainwright.observers.pause import Pause
from trainwright.runs.changed import told as changes
from trainwright.runs.directory import CHECKPOINTS, CONFIG, MANIFEST, PROCESSOR, owner
from trainwright.runs.edited import edits
from trainwright.runs.gathered import same_data
from trainwright.runs.learned import read_learned
from trainwright.runs.likeness import reasons
from trainwright.runs.run import Run, open_run
from trainwright.runs.sameness import same
from trainwright.runs.stored import stored_config
from trainwright.runs.train import resume, train

_STEPS = 50  # that are trained again, unless another number is asked for
_ONE = {"losses": "loss", "gradient norms": "gradient norm", "evaluations": "evaluation"}
_MINE = ("out", "resume", "log_every", "save_every", "eval_every", "observers", "quiet")  # of a call of tw.fit


@dataclass(frozen=True, slots=True)
class Deviation:
    """The first thing that came out otherwise."""

    step: int
    what: str  # "loss", "gradient norm", "valid accuracy", or a part of the state
    was: float | None  # None where it has no single number
    now: float | None
    size: float  # of the difference; NaN where it has none

    def __str__(self) -> str:
        numbers = "" if self.was is None or self.now is None else f" was {self.was!r}, is {self.now!r}"
        by = "" if math.isnan(self.size) else f", a difference of {self.size:.3g}"
        return f"step {self.step:,}: {self.what}{numbers or ' is not what it was'}{by}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was trained again, and what was found."""

    run: Path
    first: int  # steps taken before: those of the checkpoint it began from; 0 is the seed
    last: int
    numbers: Mapping[str, int]  # how many losses, gradient norms and evaluations were compared
    states: tuple[int, ...]  # steps whose whole state was compared
    deviation: Deviation | None = None
    why: tuple[str, ...] = ()  # it may have come out otherwise

    @property
    def exact(self) -> bool:
        """Whether every number is what it was, bit for bit."""
        return self.deviation is None

    def as_json(self) -> dict[str, Any]:
        """For a machine."""
        return {**asdict(self), "run": str(self.run), "exact": self.exact}

    def lines(self) -> list[tuple[str, str]]:
        """For a person, label by label."""
        since = f"the checkpoint of step {self.first:,}" if self.first else "the seed"
        states = f", the state of step {' and '.join(f'{s:,}' for s in self.states)}" if self.states else ""
        told = [
            ("run", str(self.run)),
            ("again", f"steps {self.first + 1:,} to {self.last:,}, from {since}"),
            ("compared", ", ".join(f"{n:,} {_ONE[k] if n == 1 else k}" for k, n in self.numbers.items()) + states),
        ]
        if self.deviation is None:
            return [*told, ("exact", "every number is what it was, bit for bit")]
        return [*told, ("differs", str(self.deviation)), *(("why", reason) for reason in self.why)]


def verify(
    run: str | Path | Run,
    *,
    steps: int | None = None,
    start: int | None = None,
    again: Callable[..., Run] | None = None,
) -> Verified:
    """Train some steps of a run again, in another place, and compare; the run is not touched.

    Every loss, gradient norm and evaluation of these steps is compared, and the whole state where a checkpoint is left.

    Args:
        run: the run, or its folder.
        steps: how many; about 50 unless given, up to a checkpoint where one is near.
        start: step of the checkpoint to begin from, 0 for the seed; the newest that serves unless given.
        again: for a run of a module of your own, the call that made it: ``lambda **more: tw.fit(net(), data, …,
            **more)``; it is given where to train, and how often to log, evaluate and save.
    """
    opened = run if isinstance(run, Run) else open_run(run)
    _must_be_repeatable(opened, again)
    read_learned(opened.path / PROCESSOR)
    view, manifest = opened.view, opened.manifest
    stretch = _stretch(opened.path, view, steps, start, manifest["kind"] == "own")
    with tempfile.TemporaryDirectory(prefix="trainwright-verify-") as place:
        repeated = _Again(opened, stretch, Path(place) / "run", manifest, again)
        found: Deviation | None = None
        states: list[int] = []
        for end in stretch.ends:
            now = repeated.train_to(end)
            found = _deviation(view, now.view, stretch.first, end)
            if found is None and end in stretch.saved:
                states.append(end)
                found = _state_deviation(opened.path, now.path, end)
            if found:
                break
        numbers = _counted(view, stretch.first, found.step if found else stretch.last)
        why = _reasons(opened, repeated.run.manifest, stretch.attempt) if found else ()
    return Verified(opened.path, stretch.first, stretch.last, numbers, tuple(states), found, why)


def _must_be_repeatable(run: Run, again: Callable[..., Run] | None) -> None:
    manifest = run.manifest
    own, ranks = manifest["kind"] == "own", manifest["plan"]["ranks"]
    if own and again is None:
        what = f"trained a module of your own ({manifest['model']['class']}), which its files cannot name"
        instead = f'in Python, tw.verify("{run.path}", again=lambda **more: tw.fit(net(), data, …, **more))'
        raise UserError(str(run.path), what, instead)
    if not own and again is not None:
        raise UserError("again", "is for runs of a module of your own; this one has a recipe", "leave it out")
    if ranks > 1 and (own or launched() is not None):
        what = f"was trained by {ranks} processes" + (" of a program of your own" if own else "")
        instead = "verify a run of one process" if own else "verify it in a single process, which starts them"
        raise UserError(str(run.path), what, instead)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Which steps are trained again."""

    first: int
    last: int
    saved: tuple[int, ...]  # the newest sound checkpoint behind the first step, up to the last
    attempt: int  # from 1: the one that took them
    config: Path  # what it was trained with
    budget: int  # steps

    @property
    def ends(self) -> list[int]:
        """Where to look, in order."""
        return sorted({*self.saved, self.last})


def _stretch(folder: Path, view: View, steps: int | None, start: int | None, own: bool) -> _Stretch:
    """The steps that were asked for; where nothing was, the newest ones that end at a checkpoint."""
    if not view.losses or not view.attempts:
        raise UserError(str(folder), "has no step in its log, or not how its attempts began", "train it first")
    if steps is not None and steps < 1:
        raise UserError("--steps", f"{steps} is no number of steps", "write 1 or more")
    sound = _sound(folder)
    span = steps or _STEPS
    begins = [s for s in (0, *sound) if s < view.step]
    likely = begins[1:] if own and len(begins) > 1 else begins  # the first weights of a module are its caller's
    if start is not None and start not in begins:
        there = ", ".join(map(str, begins))
        raise UserError("--from", f"no step can be trained again from step {start}", f"write one of: {there}")
    first = start if start is not None else _begin(folder, view, likely, sound, span)
    attempt, limit = _attempt(folder, view, first)
    last = min(first + span, view.step, limit)
    saved = tuple(c for c in sound if first < c <= last)[-1:]
    if steps is None and saved:
        last = saved[-1]
    return _Stretch(first, last, saved, attempt, _config(folder, attempt, view), view.attempts[attempt - 1].steps)


def _begin(folder: Path, view: View, begins: list[int], sound: list[int], span: int) -> int:
    """The farthest place from which the newest checkpoint can be reached; else the newest place there is."""
    for end in reversed(sound):
        if near := [s for s in begins if end - span <= s < end <= _attempt(folder, view, s)[1]]:
            return near[0]
    return begins[-1]


def _sound(folder: Path) -> list[int]:
    found = []
    mine = owner(folder)
    for step in checkpoint.steps(folder / CHECKPOINTS):
        with suppress(CheckpointError):
            checkpoint.verify(checkpoint.at(folder / CHECKPOINTS, step), mine)
            found.append(step)
    return found


def _attempt(folder: Path, view: View, first: int) -> tuple[int, int]:
    """The attempt that took the step behind ``first``, and the step up to which its configuration held."""
    begins = [a.from_step for a in view.attempts]
    attempt = max(i for i, begin in enumerate(begins, 1) if begin <= first)
    mine = _config(folder, attempt, view)
    other = [begins[i - 1] for i in range(attempt + 1, len(begins) + 1) if _config(folder, i, view) != mine]
    return attempt, min(other, default=view.step)


def _config(folder: Path, attempt: int, view: View) -> Path:
    """What an attempt was trained with: kept under the number of the last attempt that had it."""
    kept = (folder / f"config-{i}.toml" for i in range(attempt, len(view.attempts)))
    return next((path for path in kept if path.is_file()), folder / CONFIG)


class _Again:
    """The same steps in a folder of their own."""

    def __init__(
        self,
        run: Run,
        stretch: _Stretch,
        folder: Path,
        manifest: Mapping[str, Any],
        call: Callable[..., Run] | None,
    ) -> None:
        self.stretch, self.folder, self.manifest, self.call = stretch, folder, manifest, call
        if stretch.first:
            saved = checkpoint.at(run.path / CHECKPOINTS, stretch.first)
            (folder / CHECKPOINTS).mkdir(parents=True)
            shutil.copytree(saved, folder / CHECKPOINTS / f"step-{stretch.first:08d}")
            for name in (MANIFEST, PROCESSOR):
                shutil.copy(run.path / name, folder / name)
            shutil.copy(stretch.config, folder / CONFIG)
        self.changes = _quietly(stretch, run.view)
        self.ranks = manifest["plan"]["ranks"]  # a program that starts them itself writes another number

    @property
    def run(self) -> Run:
        return Run(self.folder)

    def train_to(self, end: int) -> Run:
        """Begin or go on; a training that broke off is what is compared."""
        try:
            self._call(end) if self.call else self._recipe(end)
        except NumericsError:
            pass
        except RanksError as error:
            if error.exit_code != NumericsError.exit_code:
                raise
        same_data(self.manifest["data"], self.run.manifest["data"], self.folder)
        ended = self.run.view.ended
        if ended and ended.outcome == "interrupted" and ended.reason != Pause(step=end).reason:
            raise KeyboardInterrupt
        return self.run

    def _recipe(self, end: int) -> None:
        pause = {"observers": [{"name": "pause", "step": end}], "ranks": self.ranks}
        if (self.folder / MANIFEST).is_file():
            resume(self.folder, {**self.changes, **pause}, quiet=True)
        else:
            train(self.stretch.config, {**self.changes, **pause}, out=self.folder, quiet=True)

    def _call(self, end: int) -> None:
        assert self.call is not None
        where = "resume" if (self.folder / MANIFEST).is_file() else "out"
        more = {**self.changes, where: self.folder, "observers": [Pause(step=end)], "quiet": True}
        try:
            made = self.call(**more)
        except TypeError as error:
            if "argument" not in str(error):
                raise
            said = f"give tw.fit **more behind your own arguments, and leave {', '.join(_MINE)} to it"
            raise UserError("again", f"cannot be called so: {error}", said) from error
        if not isinstance(made, Run) or made.path != self.folder:
            raise UserError("again", "returned no run of this place", "return what tw.fit(…, **more) returns")


def _quietly(stretch: _Stretch, view: View) -> dict[str, Any]:
    """What is changed for the repetition, none of which changes a number."""
    every = stored_config(stretch.config)["eval_every"]
    if Budget.read(every).unit == "seconds" and view.evals:  # as many steps as they were then
        every = f"{view.evals[0].step} steps"
    return {"log_every": 1, "save_every": f"{stretch.budget} steps", "eval_every": every}


def _numbers(view: View, first: int, last: int) -> Iterator[tuple[int, str, str, float]]:
    """(step, kind, name, value) of all that was logged of some steps, in order."""
    for step in range(first + 1, last + 1):
        for kind, found in (("losses", view.losses), ("gradient norms", view.norms)):
            if step in found:
                yield step, kind, _ONE[kind], found[step]
        for e in view.evals:
            if e.step == step:
                yield from ((step, "evaluations", f"{e.part} {name}", value) for name, value in e.metrics.items())


def _counted(view: View, first: int, last: int) -> dict[str, int]:
    found = list(_numbers(view, first, last))
    counted = {kind: sum(k == kind for _, k, _, _ in found) for kind in ("losses", "gradient norms")}
    evaluated = len({step for step, kind, _, _ in found if kind == "evaluations"})
    return {**counted, **({"evaluations": evaluated} if evaluated else {})}


def _deviation(was: View, now: View, first: int, last: int) -> Deviation | None:
    there = {(step, name): value for step, _, name, value in _numbers(now, first, last)}
    for step, _, name, value in _numbers(was, first, last):
        other = there.get((step, name))
        if other is None:
            return Deviation(step, f"{name} (the training ended before)", None, None, math.nan)
        if not same(value, other):
            return Deviation(step, name, value, other, abs(value - other))
    return None


def _state_deviation(run: Path, again: Path, step: int) -> Deviation | None:
    before, now = (_learned(checkpoint.load(checkpoint.at(p / CHECKPOINTS, step))) for p in (run, again))
    for part in sorted(before.keys() | now.keys(), key=lambda name: (name != "model", name)):
        if not same(before.get(part), now.get(part)):
            return Deviation(
                step, f"the part '{part}' of the state", None, None, _farthest(before.get(part), now.get(part))
            )
    return None


def _learned(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state without what depends on when checkpoints are saved: here that is another time."""
    return {**state, "counters": {k: v for k, v in state["counters"].items() if k != "home"}}


def _farthest(a: Any, b: Any) -> float:
    """Between two parts of a state, over all their tensors."""
    if isinstance(a, torch.Tensor):
        fits = isinstance(b, torch.Tensor) and a.shape == b.shape and a.numel() > 0
        return float((a.double() - b.double()).abs().max()) if fits else math.nan
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        found = [_farthest(a[k], b.get(k)) for k in a]
        return max((x for x in found if not math.isnan(x)), default=math.nan)
    return math.nan


def _reasons(run: Run, now: Mapping[str, Any], attempt: int) -> tuple[str, ...]:
    """Why numbers may be others."""
    before = run.manifest
    told = reasons(before, now)
    told += [f"config.toml was changed since: {changes(found)}"] if (found := edits(before, run.path)) else []
    told += [
        f"{name} was {was!r}, is {here!r}"
        for name, was, here in (
            ("trainwright", before["versions"]["trainwright"], now["versions"]["trainwright"]),
            ("python", before["versions"]["python"], now["versions"]["python"]),
            ("commit of the working folder", before["commit"], now["commit"]),
        )
        if was != here
    ]
    told += [f"attempt {a.attempt}: {a.note}" for a in run.view.attempts[attempt - 1 :] if "approximate" in a.note]
    usual = "all that is known to decide is as it was: an operation may not be deterministic, or code of yours changed"
    return tuple(told) or (usual,)
