"""Trials: from one state of a run, on the same batches, no change, another seed and some fixes, judged side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.config import Budget
from trainwright.core.errors import NumericsError, TrainwrightError
from trainwright.core.events import Branch, Event, Stop, Tried
from trainwright.core.facts import Facts
from trainwright.core.task import Progress
from trainwright.engine.guard import Guard, Policy
from trainwright.engine.loop import Cadence, fit
from trainwright.engine.memory import ran_out
from trainwright.engine.randomness import randomness_kept
from trainwright.rules.reading import NO_BETTER
from trainwright.runs.assemble import Pieces
from trainwright.runs.causes import corrected, said
from trainwright.runs.figures import number
from trainwright.runs.remedy import Remedy
from trainwright.runs.weighing import Judged, Weighed, best_of, weigh

SHARE = 0.02  # of the planned steps, for each branch
FLOOR, PART = 200, 0.5  # at least so many steps, or an epoch, but no more than that part of the plan
LEAST = 20  # in any case
_SAMPLES = 2000  # that judge
_SOME = 1000  # training samples, where nothing is held out
MOST = 6  # fixes that are tried at once
_ENDS = ("last_activation", "answers")  # repairs after which outputs are of another kind


class Build(Protocol):
    """Makes the pieces of a branch: never those of the run itself."""

    def __call__(self, keys: Mapping[str, Any], *, seed: int | None = None) -> Pieces:
        """The run's configuration with these dotted keys set, and another seed of weights and order where one is given.

        UserError where that is no training.
        """
        ...


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried.

    Args:
        build: makes each branch.
        start: the state from which all go on; None is their first step.
        step: of it.
        plan: steps of the whole budget.
        per_epoch: steps of an epoch.
        seed: the run's.
        facts: measured before the first step.
        asked: a person's wish to stop.
        contradicted: whether the pieces of a branch still contradict themselves; None where that is not the question.
    """

    build: Build
    start: Mapping[str, Any] | None
    step: int
    plan: int
    per_epoch: int
    seed: int
    facts: Facts
    asked: Callable[[], Stop | None] = lambda: None
    contradicted: Callable[[Pieces], bool] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial."""

    event: Tried
    won: Remedy | None  # of all, also of those that a person must agree to
    sure: tuple[tuple[Remedy, float], ...] = ()  # all that are good enough, with what they reached; the best first
    reference: float = math.nan  # what no change reached
    stopped: Stop | None = None
    fixes: tuple[Remedy, ...] = ()  # that were tried
    by_answers: bool = False  # not by losses
    guess: float = math.nan  # what one and the same answer reaches, where losses were compared

    def reached(self, remedy: Remedy) -> float:
        """What one of those that are good enough reached."""
        return next((mean for fix, mean in self.sure if fix is remedy), math.nan)

    def learned(self, remedy: Remedy) -> bool:
        """Whether it learned anything; where answers were compared, what won for sure did."""
        return not self.reached(remedy) > NO_BETTER * self.guess


def length(plan: int, per_epoch: int) -> int:
    """Steps of each branch: 2 % of the plan; of a short one up to half of it, for 200 steps or one epoch."""
    floor = min(max(FLOOR, min(per_epoch, 5 * FLOOR)), int(PART * plan))
    return max(min(LEAST, plan), int(SHARE * plan), floor)


class _StoppedError(Exception):
    def __init__(self, stop: Stop) -> None:
        self.stop = stop


def tried(
    trial: Trial,
    rule: str,
    fixes: Sequence[Remedy],
    longer: int = 1,
    earlier: Sequence[Outcome] | None = (),
    most: int = MOST,
) -> Outcome:
    """Run all branches and compare; the run's own state, randomness and log are not touched.

    Args:
        trial: where all begin.
        rule: that found what is wrong.
        fixes: that are tried, the first few.
        longer: times the usual length.
        earlier: trials for the same finding; None where the trial is to tell nothing of its cause.
        most: fixes that are tried.
    """
    fixes = fixes[:most]
    steps = min(longer * length(trial.plan, trial.per_epoch), trial.plan - trial.step)
    by_answers = any(means_another(f) for f in fixes)
    judge = _Judge(trial.facts, by_answers)
    try:
        same, start = _control(trial, judge, steps)
        seed, _ = _ran(trial, judge, {}, steps, seed=trial.seed + 1)
        results = [_ran(trial, judge, f.keys, steps) for f in fixes]
    except _StoppedError as stopped:
        return Outcome(Tried(trial.step, rule, trial.step, steps, judge.words, ()), None, stopped=stopped.stop)
    judged = [j for j, _ in results]
    guess = math.nan if by_answers else trial.facts.loss.guess
    weighed = [weigh(j, same, seed, start, guess) for j in judged]
    means = [j.mean(start) for j in judged]
    gone = [not c for _, c in results]
    sure = [i for i in range(len(fixes)) if weighed[i].better or _cured(trial, judged[i], weighed[i], gone[i])]
    sure.sort(key=lambda i: (not weighed[i].better, means[i]))
    first = best_of(weighed, means)
    if first is not None:
        sure = [first, *(i for i in sure if i != first)]
    won = sure[0] if sure else None
    branches = (
        Branch("no change", same.mean(), 0.0, same.trouble),
        Branch("another seed", seed.mean(), 0.0, seed.trouble),
        *(Branch(f.what, j.mean(), w.error, j.trouble) for f, j, w in zip(fixes, judged, weighed, strict=True)),
    )
    place = "the start" if trial.step == 0 else f"step {trial.step:,}"
    name = "" if won is None else fixes[won].what
    text = _told(branches, name, None if won is None else weighed[won], f"{steps:,} steps from {place}", judge.words)
    best = tuple((fixes[i], means[i]) for i in sure)
    cause = "" if first is None or earlier is None else _cause(rule, fixes, [f for f, _ in best], earlier)
    text += said(rule, cause)
    event = Tried(trial.step, rule, trial.step, steps, judge.words, branches, name, text, cause)
    return Outcome(
        event, fixes[won] if won is not None else None, best, same.mean(), None, tuple(fixes), by_answers, guess
    )


def means_another(fix: Remedy) -> bool:
    """Whether the loss means something else with it: it is another, or compares with outputs of another kind."""
    return "task.loss" in fix.keys or any(r["name"] in _ENDS for r in fix.keys.get("repairs", ()))


def _cause(rule: str, fixes: Sequence[Remedy], sure: Sequence[Remedy], earlier: Sequence[Outcome]) -> str:
    """What this and the earlier trials say of the cause that was named."""
    before = [fix for outcome in earlier for fix in outcome.fixes]
    good = [fix for outcome in earlier for fix, _ in outcome.sure]
    return corrected(rule, [*before, *fixes], [*sure, *good])


def _cured(trial: Trial, judged: Judged, weighed: Weighed, gone: bool) -> bool:
    """A contradiction that is gone needs no gain, where nothing is lost."""
    return trial.contradicted is not None and gone and judged.each is not None and not weighed.worse


def _control(trial: Trial, judge: _Judge, steps: int) -> tuple[Judged, float]:
    """No change, and the mean before it; with what a network that says one thing would reach where that is known."""
    pieces = trial.build({})
    try:
        with randomness_kept(pieces.runtime.device):
            _begin(trial, pieces)
            before = judge(pieces)
            start = before.mean()
            guess = trial.facts.loss.guess
            if not judge.by_answers and math.isfinite(guess):
                start = max(start, guess) if math.isfinite(start) else guess
            _steps(trial, pieces, steps, trial.plan)
            return judge(pieces), start
    except _StoppedError:
        raise
    except Exception as error:
        return Judged(None, _why(error)), math.inf if math.isnan(trial.facts.loss.guess) else trial.facts.loss.guess
    finally:
        pieces.close()


def _ran(
    trial: Trial, judge: _Judge, keys: Mapping[str, Any], steps: int, seed: int | None = None
) -> tuple[Judged, bool]:
    """One branch, and whether it still contradicts itself."""
    pieces: Pieces | None = None
    still = False
    try:
        pieces = trial.build(keys, seed=seed)
        with randomness_kept(pieces.runtime.device):
            if trial.contradicted is not None and keys:
                still = trial.contradicted(pieces)
            _begin(trial, pieces, seed)
            plan = trial.plan
            if "budget" in keys:  # more steps are judged when they are taken
                plan = Budget.read(keys["budget"]).steps(trial.per_epoch)
                steps = max(steps, plan - trial.step)
            _steps(trial, pieces, steps, plan)
            return judge(pieces), still
    except _StoppedError:
        raise
    except Exception as error:  # a fix that cannot be made, or a training that breaks down, is an answer too
        return Judged(None, _why(error)), still
    finally:
        if pieces is not None:
            pieces.close()


def _why(error: Exception) -> str:
    what = " ".join(str(error).split())[:200]
    if isinstance(error, NumericsError):
        return "its numbers are not finite"
    if isinstance(error, TrainwrightError):
        return what
    return "memory ran out" if ran_out(error) else f"{type(error).__name__}: {what}"


def _begin(trial: Trial, pieces: Pieces, seed: int | None = None) -> None:
    """The state from which the branch goes on, with its randomness, or with another's."""
    pieces.state.random.seed(pieces.config.seed)
    if trial.start is not None:
        pieces.state.load_state_dict(trial.start)
        if seed is not None:
            pieces.state.random.seed(seed)


def _steps(trial: Trial, pieces: Pieces, steps: int, plan: int) -> None:
    config, state = pieces.config, pieces.state

    def observe(event: Event) -> Stop | None:
        return None

    stop = fit(
        state,
        pieces.task,
        pieces.groups,
        pieces.runtime,
        observe,
        cadence=Cadence(steps=plan, until=trial.step + steps, log=max(1, steps)),
        schedule=pieces.schedule,
        clip=None if config.clip == "none" else config.clip,
        asked=trial.asked,
        step_fn=pieces.step,
        guard=Guard(state, pieces.runtime, plan, Policy("skip", max(3, steps // 4), 0)),
    )
    if stop is not None:
        raise _StoppedError(stop)


@dataclass(slots=True)
class _Judge:
    """A number for each of the held-out samples: the loss, or where fixes change the loss, how wrong the answer is.

    Args:
        facts: what targets and loss are.
        by_answers: go by the answers.
    """

    facts: Facts
    by_answers: bool
    words: str = ""

    @torch.no_grad()
    def __call__(self, pieces: Pieces) -> Judged:
        """Of the state's weights as they are served."""
        state = pieces.state
        with state.aside(), state.served():
            state.model.eval()
            each = torch.cat([self._of(pieces, batch) for batch in self._batches(pieces)])
        if not bool(torch.isfinite(each).all()):
            return Judged(None, "its loss is not finite")
        return Judged(each.double().cpu())

    def _batches(self, pieces: Pieces) -> list[Batch]:
        what = "how wrong its answers are" if self.by_answers else "the loss"
        if "valid" in pieces.evaluations:
            self.words = f"{what} on the validation part"
            found: list[Batch] = []
            for batch in pieces.evaluations["valid"]():
                found.append(batch)
                if sum(b.size for b in found) >= _SAMPLES:
                    break
            if found:
                return found
        self.words = f"{what} on training samples, as nothing is held out"
        return [pieces.some(_SOME)]

    def _of(self, pieces: Pieces, batch: Batch) -> Tensor:
        runtime = pieces.runtime
        batch = runtime.take(batch)
        model = runtime.ranks.bare(pieces.state.model)
        said: list[Any] = []
        hook = model.register_forward_hook(lambda _m, _i, made: said.append(made))
        try:
            with runtime.autocast():
                loss = pieces.task.loss(pieces.state.model, batch, Progress())
        finally:
            hook.remove()
        if self.by_answers:
            target = next(iter(batch.targets.values()))
            named = pieces.config.task.get("loss")
            return wrong(said[-1], target, self.facts, logits=named in ("binary_cross_entropy", "cross_entropy"))
        weight = max(float(batch.weight), 1e-12)
        if loss.each is None:
            return (loss.sum / weight).detach().float().reshape(1)
        return loss.each.detach().float() * (batch.size / weight)


def wrong(output: Tensor, target: Tensor, facts: Facts, *, logits: bool) -> Tensor:
    """(N,) how wrong each answer is, whatever the loss: 1 for another class, else the squared error.

    Args:
        output: (N, …) of the model.
        target: (N, …).
        facts: how the targets are coded.
        logits: whether a single output is above 0 for yes, not above a half.
    """
    output, coding = output.detach().float(), facts.target.coding
    n = len(output)
    if coding == "one_hot" and target.ndim > 1:
        return (output.reshape(n, -1).argmax(1) != target.reshape(n, -1).argmax(1)).float()
    if output.ndim > 1 and output.shape[1] > 1 and coding in ("classes", "binary"):
        return (output.argmax(1).reshape(n, -1) != target.reshape(n, -1).long()).float().mean(1)
    if coding in ("binary", "several"):
        yes = output.reshape(n, -1) > (0.0 if logits or facts.loss.wants == "logits" else 0.5)
        return (yes != (target.reshape(n, -1) > 0.5)).float().mean(1)
    if coding == "classes":
        return (output.reshape(n, -1).round() != target.reshape(n, -1)).float().mean(1)
    return (output.reshape(n, -1) - target.reshape(n, -1).float()).square().mean(1)


def _told(branches: Sequence[Branch], won: str, weighed: Weighed | None, length: str, judge: str) -> str:
    """All in a sentence: what was reached with and without."""
    same, seed = branches[:2]
    rest = f"no change reaches {_reached(same)}, another seed {_reached(seed)}"
    best = next((b for b in branches[2:] if b.what == won), None)
    if best is None or weighed is None:
        others = ", ".join(f"{b.what} {_reached(b)}" for b in branches[2:])
        return f"tried for {length}, by {judge}: {rest}; nothing was better for sure ({others})"
    surely = f"a gain of {number(weighed.gain)} ± {number(weighed.error)}"
    end = surely if weighed.better else "no surely better, but the contradiction is gone and nothing is lost"
    lost = [f"“{b.what}” ({b.trouble})" for b in branches[2:] if b.trouble]
    failed = f"; what came to nothing: {', '.join(lost)}" if lost else ""
    return f"tried for {length}, by {judge}: {rest}, and with “{best.what}” it is {_reached(best)}: {end}{failed}"


def _reached(branch: Branch) -> str:
    return f"nothing ({branch.trouble})" if branch.trouble else number(branch.loss)
