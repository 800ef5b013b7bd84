"""How to run, found by measuring before the first step, on a rehearsal that leaves no trace.

Each candidate is tried against the best so far: blocks of the same steps from the same state, in the order A B B A, so
that a machine that grows slower or faster favours none. It is taken where it is faster beyond doubt and gives the
plain plan's losses and gradients within its tolerance. All of it takes at most 2 % of the training that is foreseen.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from trainwright.core.config import Budget, Plan, RunConfig
from trainwright.core.errors import UserError
from trainwright.core.schema import validate
from trainwright.core.task import Progress
from trainwright.data.loader import Loader
from trainwright.engine.abilities import PLANNED, clock_of, release
from trainwright.engine.allocator import memory_kept, settle
from trainwright.engine.layout import channels_last
from trainwright.engine.memory import ran_out
from trainwright.engine.quick_dropout import quick_dropout
from trainwright.engine.reorder import pool_first
from trainwright.runs.assemble import Pieces
from trainwright.runs.candidates import CANDIDATES, FUSED, LEAST, SAME, Candidate, bare, device_of, fewer_threads
from trainwright.runs.compiling import compile_blocks, compile_in_rehearsal
from trainwright.runs.directory import CONFIG
from trainwright.runs.halved import halved_where_much
from trainwright.runs.shelved import Shelved
from trainwright.runs.stored import stored_config

_SHARE = 0.02  # of the training that is foreseen
_BLOCKS = 3, 4  # steps; the first of each is not timed; few where there is time for little
_SHORT = "not tried, the training is too short for it to pay"
_LITTLE = 40  # steps
_WHOLE = 2**31  # samples


@dataclass(slots=True)
class Tried:
    """What blocks of one plan took and gave."""

    seconds: list[float] = field(default_factory=list)  # of the thread that trains
    walls: list[float] = field(default_factory=list)  # by the clock on the wall
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    cold: float = 0.0  # seconds of the first steps, which are not timed

    def add(self, other: Tried) -> None:
        """What one more block took and gave."""
        for name in ("seconds", "walls", "losses", "norms"):
            getattr(self, name).extend(getattr(other, name))

    @property
    def typical(self) -> float:
        """Median seconds of a step."""
        return _median(self.seconds)


def plan(pieces: Pieces) -> None:
    """Choose how this run is carried out, or follow what its recipe says, and have the pieces do so.

    ``pieces.config`` names the plan and the precision afterwards, and ``pieces.pace`` says why, a line each.
    """
    asked = pieces.config.pace
    if asked == "auto":
        with memory_kept(device_of(pieces).type == "cpu"):  # as it will be
            chosen, pieces.pace = _measured(pieces) if _may(pieces) else (Plan(), [])
        follow(pieces, chosen)
    else:
        follow(pieces, asked)


def follow(pieces: Pieces, chosen: Plan | Literal["auto", "plain"]) -> None:
    """Have the pieces run so from now on; nothing is measured."""
    precision, pace = pieces.config.precision, "plain" if chosen == "auto" else chosen
    if precision == "auto":
        precision = "bfloat16" if isinstance(pace, Plan) and pace.bfloat16 else "float32"
    pieces.runtime = replace(pieces.runtime, precision=precision)
    pieces.config = pieces.config.model_copy(update={"pace": pace, "precision": precision})
    if isinstance(pace, Plan):
        back, close = _arranged(pieces, pace, compile_blocks), pieces.close
        pieces.close = lambda: (back(), close())[1]  # the module may be the caller's


def as_it_ran(config: RunConfig, before: Mapping[str, Any]) -> RunConfig:
    """A call that leaves pace and precision open, with those of the run that it goes on with.

    Args:
        config: of the call.
        before: config.toml of the run.
    """
    found = {}
    if config.pace == "auto":
        pace = before.get("pace", "plain")
        found["pace"] = Plan(**validate(Plan, pace, f"{CONFIG}: pace")) if isinstance(pace, Mapping) else pace
    if config.precision == "auto":
        found["precision"] = before.get("precision", "float32")
    return config.model_copy(update=found)


def shared(folders: Iterable[Path]) -> dict[str, Any]:
    """What has a training follow the plan that one of these runs found or was given; nothing where none has one yet.

    Trainings that are compared with each other then differ in nothing else, and only the first of them measures.

    Args:
        folders: of runs of the same recipe, there or not.
    """
    for folder in folders:
        if (folder / CONFIG).is_file():
            config = stored_config(folder / CONFIG)
            if isinstance(config.get("pace"), Mapping):
                return {"pace": dict(config["pace"]), "precision": config["precision"]}
    return {}


def _may(pieces: Pieces) -> bool:
    """Whether measuring can pay, and is known to be right: one process, with the usual step."""
    known = device_of(pieces).type in PLANNED and pieces.runtime.ranks.world == 1
    if not known or pieces.config.step["name"] != "standard":
        return False
    amount = Budget.read(pieces.config.budget)
    return amount.unit == "seconds" or amount.steps(pieces.per_epoch) * _SHARE >= 4 * _BLOCKS[0] + 2


def _measured(pieces: Pieces) -> tuple[Plan, list[str]]:
    try:
        return _Rehearsal(pieces).chosen()
    except Exception as error:
        if not ran_out(error):
            raise
    release(device_of(pieces))
    return Plan(), ["nothing was measured: memory ran out with a copy of the state beside the training"]


def _arranged(
    pieces: Pieces, plan: Plan, compiled: Callable[[Pieces], Callable[[], None]] = compile_in_rehearsal
) -> Callable[[], None]:
    """Have model and optimizer work as a plan says; returns what puts the model back."""
    _fused(pieces.state.optimizer, plan.fused)
    with ExitStack() as backs:
        if 0 < plan.threads < (all_of_them := torch.get_num_threads()):
            torch.set_num_threads(plan.threads)
            backs.callback(torch.set_num_threads, all_of_them)
        if plan.quick_dropout:
            backs.callback(quick_dropout(bare(pieces)))
        if plan.pool_first:
            backs.callback(pool_first(bare(pieces)))
        if plan.channels_last and pieces.runtime.ranks.mode == "single":
            backs.callback(channels_last(bare(pieces), pieces.state.optimizer))
        if plan.compiled:
            backs.callback(compiled(pieces))
        return backs.pop_all().close


def _fused(optimizer: torch.optim.Optimizer, on: bool) -> None:
    """Have torch's own optimizers update each tensor in one pass, or as they were made."""
    if on and type(optimizer) in FUSED:
        for group in optimizer.param_groups:
            group["fused"], group["foreach"] = True, False


class _Rehearsal:
    """Steps that leave no trace, timed under one plan and another."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces, self.state = pieces, pieces.state
        amount = Budget.read(pieces.config.budget)
        timed = amount.unit == "seconds"  # such a budget runs by the clock on the wall
        self.tick = clock_of(device_of(pieces))
        self.clock = time.perf_counter if timed and device_of(pieces).type == "cpu" else self.tick
        self.began = self.clock()
        self.before = Shelved(pieces.state.state_dict())
        self.buffers = pieces.state.buffers_kept()  # also those that are no part of a checkpoint
        self.given = [copy.deepcopy(_options(g)) for g in pieces.state.optimizer.param_groups]
        self.size = _BLOCKS[timed or amount.steps(pieces.per_epoch) * _SHARE >= _LITTLE]
        self.first: Tried | None = None
        self.state.model.train()
        if isinstance(loader := pieces.groups, Loader):
            with halved_where_much(pieces, loader):
                self.groups = [next(loader) for _ in range(self.size)]
        else:  # a caller's own does not begin anew: there is one batch
            self.groups = [[pieces.some(_WHOLE)] for _ in range(self.size)]

    def chosen(self) -> tuple[Plan, list[str]]:
        """The fastest plan that is right, and what was found out, a line for each candidate."""
        best, told = Plan(), dict[str, str]()
        try:
            self.first = self._block(best, Tried(), self.size)  # of the plain plan, and so of the first trial
            steps = self.first.walls if self.clock is time.perf_counter else self.first.seconds
            once = min(steps)  # the first steps of a training are slower than those that it will be made of
            self.warm = max(0.0, self.first.cold - once)
            self.began += self.warm  # what torch loads with a first step, it loads in any case
            began = self.clock()
            self._restore()
            self.block = self.clock() - began + self.size * once
            self.end = self.began + self._limit(once)
            left = list[Candidate]()
            for candidate in (c for c in (*CANDIDATES, *fewer_threads()) if c.fits(self.pieces)):
                if not self._time_for(candidate):  # nor to look at the data
                    told[candidate.name] = _SHORT
                elif against := candidate.against(self.pieces):
                    told[candidate.name] = f"not tried, {against}"
                else:
                    left.append(candidate)
            best, settled = self._together([c for c in left if c.joins and not c.cost(self.pieces)], told)
            left = [c for c in left if c not in settled]
            before: Plan | None = None
            while left and before != best:  # what gained nothing may gain beside what was taken after it
                before, again = best, list[Candidate]()
                for candidate in left:
                    if not self._time_for(candidate):
                        told.setdefault(candidate.name, _SHORT)
                        continue
                    faster, told[candidate.name] = self._against(best, candidate)
                    if faster:
                        best = best.model_copy(update=candidate.changes)
                    elif faster is not None and not candidate.cost(self.pieces):
                        again.append(candidate)
                left = again
        finally:
            try:
                self._restore()
            except Exception as error:  # whatever it is, no training may begin with what is left of the rehearsal
                what = f"after plans were tried, the state could not be put back ({type(error).__name__}: {error})"
                raise UserError("pace", what, 'write pace = "plain", which tries none') from error
            finally:
                self.before.close()
        return best, [f"{name}: {what}" for name, what in told.items()]

    def _together(self, members: Sequence[Candidate], told: dict[str, str]) -> tuple[Plan, Sequence[Candidate]]:
        """All at once, for many trainings have time for one trial, and some gain only together; then each left out.

        Returns the plan, and what need not be tried by itself: nothing where all together are not faster or not right.
        """
        plain = Plan()
        while len(members) > 1 and self._time_for(members[0]):
            changes = {name: value for c in members for name, value in c.changes.items()}
            loss, gradient = max(c.loss for c in members), max(c.gradient for c in members)
            everything = replace(members[0], changes=changes, loss=loss, gradient=gradient, least=LEAST)
            faster, line = self._against(plain, everything)
            told.update({c.name: line.replace("taken", "taken with the others", 1) for c in members})
            if faster:
                return self._each_left_out(Plan(**changes), members, told), members
            if faster is not None:
                break
            members = [c for c in members if c.loss < loss]  # without what may change most
        return plain, ()

    def _each_left_out(self, best: Plan, members: Sequence[Candidate], told: dict[str, str]) -> Plan:
        """The plan without those of its members that slow it down; the last, which changes most, first."""
        for candidate in reversed(members):
            if not self._time_for(candidate):
                break
            without = replace(candidate, changes={name: getattr(Plan(), name) for name in candidate.changes})
            hinders, line = self._against(best, without, left_out=True)
            told[candidate.name] = line or told[candidate.name]
            best = best.model_copy(update=without.changes) if hinders else best
        return best

    def _time_for(self, candidate: Candidate) -> bool:
        """Whether one more trial stays within what the training allows."""
        blocks = 4 if self.first is None else 3
        more = self.warm + candidate.cost(self.pieces)  # another plan's first step may load as much
        return self.clock() + blocks * self.block + more <= self.end

    def _against(self, best: Plan, candidate: Candidate, left_out: bool = False) -> tuple[bool | None, str]:
        """Whether a candidate is faster, or None where it is not right, and a line about it.

        Args:
            best: what it is tried against.
            candidate: with its changes.
            left_out: it is a part of ``best``, and its changes leave it out; True is then that this is better.
        """
        other = best.model_copy(update=candidate.changes)
        now, then, self.first = self.first, Tried(), None
        try:
            if now is None:
                now = self._block(best, Tried(), self.size)
            for plan, tried in ((other, then), (other, then), (best, last := Tried())):
                self._block(plan, tried, self.size)
            now.add(last)
        except Exception as error:  # whatever a candidate cannot do, the plain plan can
            return None, "" if left_out else f"not taken, it fails ({type(error).__name__}: {str(error)[:100]})"
        found, line = _verdict(now, then, candidate, left_out)
        self.first = None if found else last  # of the next trial, where the plan stays
        return found, line

    def _block(self, plan: Plan, tried: Tried, steps: int) -> Tried:
        """So many steps from the first state under a plan; all but the first are timed."""
        self._restore()
        pieces, runtime = self.pieces, self.pieces.runtime
        back = _arranged(pieces, plan)
        runtime = replace(runtime, precision="bfloat16") if plan.bfloat16 else runtime
        try:
            for i, group in enumerate(self.groups[:steps]):
                start, wall, cold = self.tick(), time.perf_counter(), self.clock()
                step = pieces.step(
                    self.state, pieces.task, group, runtime, clip=None, multiplier=1.0, progress=Progress()
                )
                tried.losses.append(float(step.loss))
                tried.norms.append(float(step.norm))
                if not i:
                    tried.cold += self.clock() - cold
                else:
                    tried.seconds.append(self.tick() - start)
                    tried.walls.append(time.perf_counter() - wall)
        finally:
            back()
        return tried

    def _restore(self) -> None:
        if self.before.large:  # so that neither a block nor its beginning holds more than a training would
            self.state.optimizer.state.clear()
            settle()
        self.state.load_state_dict(self.before.take())
        self.buffers()
        for group, given in zip(self.state.optimizer.param_groups, self.given, strict=True):
            group.update(given)

    def _limit(self, step: float) -> float:
        """Seconds that all of it may take."""
        amount = Budget.read(self.pieces.config.budget)
        foreseen = amount.amount if amount.unit == "seconds" else amount.steps(self.pieces.per_epoch) * step
        return _SHARE * foreseen


def _verdict(now: Tried, then: Tried, candidate: Candidate, left_out: bool) -> tuple[bool | None, str]:
    """As `_Rehearsal._against` says it."""
    off = max(_apart(a, b) for a, b in zip(now.losses, then.losses, strict=True))
    turned = max(_apart(a, b) for a, b in zip(now.norms, then.norms, strict=True))
    with_it, without = (now, then) if left_out else (then, now)
    times = f"{with_it.typical * 1e3:.3g} ms a step instead of {without.typical * 1e3:.3g}"
    taken = f"taken, {times}; losses {off:.1g} off"
    if not (off <= candidate.loss and turned <= candidate.gradient):
        wrong = f"not taken, its losses are {off:.2g} off (gradients {turned:.2g}); {times}"
        return (True if left_out else None), wrong
    if left_out:
        return (True, f"not taken, slower; {times}") if _hinders(now.seconds, then.seconds) else (False, taken)
    if not _faster(now.seconds, then.seconds, candidate.least):
        return False, f"not taken, not faster beyond doubt; {times}"
    return True, taken


def _options(group: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in group.items() if k in ("fused", "foreach")}


def _apart(a: float, b: float) -> float:
    """Relative difference; infinite where either is not finite."""
    return abs(a - b) / max(abs(a), abs(b), 1e-12) if math.isfinite(a) and math.isfinite(b) else math.inf


def _faster(now: Sequence[float], then: Sequence[float], least: float) -> bool:
    """Whether it is so many times as fast, and faster in the first half of the blocks as well as in the second."""
    half = len(now) // 2
    pairs = [(now, then), (now[:half], then[:half]), (now[half:], then[half:])]
    ratios = [_median(a) / _median(b) for a, b in pairs]
    return ratios[0] >= least and min(ratios) > 1


def _hinders(with_it: Sequence[float], without: Sequence[float]) -> bool:
    """Whether it is faster without a part of what is faster together."""
    return _faster(with_it, without, SAME)


def _median(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]
