"""Heals a run: ends an attempt where something is wrong, tries what may help, and goes on with what won.

What was done stands in the log, and what a resume must know in `healing.json`, which is written before anything is
moved, so that a run that is killed in the middle goes on with what was decided.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainwright.core.errors import CheckpointError, NumericsError, UserError
from trainwright.core.events import Event, Examined, Found, Observer, Repaired, RunEnded, RunStarted, View, fold
from trainwright.core.finding import Evidence, Finding
from trainwright.engine import checkpoint
from trainwright.rules.diagnosis import all_rules
from trainwright.runs.assemble import Pieces
from trainwright.runs.attempt import Attempt, attempt, teller_of
from trainwright.runs.decided import LEFT, Record, as_it_was, bring_back, leave, over, taken, taken_back
from trainwright.runs.directory import CHECKPOINTS, CONFIG, EVENTS, owner, whole_events
from trainwright.runs.doctoring import Doctor
from trainwright.runs.lock import Lock
from trainwright.runs.remedy import Remedy, remedies
from trainwright.runs.rounds import Round, after_repair, in_doubt, rounds
from trainwright.runs.signals import Interruption
from trainwright.runs.stored import stored_config
from trainwright.runs.trials import Outcome, Trial, length, means_another, tried
from trainwright.runs.workshop import Workshop

_SURE = ("not_finite_steps",)  # one of them that was skipped does no harm
_IMPROVED, _LONGER = 2, 2  # times that a repaired run is tried to be improved; times as long as usual, for that
_WORTH = 0.05  # of what is left of the loss: less is not worth another attempt
_GOOD = 0.03  # of the loss of guessing: what is left below it is not worth a trial
_MANY = 8  # fixes that are tried then
_UNHELPED = ("no_signal", "constant_target", "constant_input", "conflicting_targets")  # no settings help there
_AGAIN = "; since that was repaired, other settings are tried once more"
_LEARNED = 0.9  # of the loss of guessing: below it there is something to keep


def treatable(workshop: Workshop, record: Record) -> Callable[[Finding], bool]:
    """Which findings end an attempt: those for which something can be tried that was not tried yet."""

    def asked(finding: Finding) -> bool:
        if finding.severity == "note" or (finding.rule in _SURE and finding.severity != "error"):
            return False
        if finding.rule in record.considered or record.spent:
            return False
        return bool(remedies(finding, workshop.config))

    return asked


def healing(a: Attempt, workshop: Workshop) -> Attempt:
    """Train, treat and train again, until nothing is left to be tried; the last attempt, which is over.

    Args:
        a: the first one.
        workshop: makes the others.
    """
    record = Record.read(a.folder)
    a.treats, a.begun = treatable(workshop, record), record.begun(a.folder)
    while True:
        trouble: NumericsError | None = None
        ended: RunEnded | None = None
        try:
            ended = attempt(a)
        except NumericsError as error:
            trouble = error
        following = None
        if ended is None or ended.outcome in ("finished", "healing"):
            following = _Case(a, workshop, record, ended).following()
        if following is None:
            if trouble is not None:
                raise trouble
            if ended is not None and ended.outcome == "finished":
                shutil.rmtree(a.folder / LEFT, ignore_errors=True)
            return a
        a = following


_Chosen = tuple[Remedy, Outcome, Mapping[str, Any] | None]  # what is taken, how it was found, from which state


@dataclass(slots=True)
class _Case:
    """A run between two attempts."""

    a: Attempt
    workshop: Workshop
    record: Record
    ended: RunEnded | None  # None where it broke down
    stopped: bool = False

    def following(self) -> Attempt | None:
        """The next attempt; None where the run is over."""
        with self._speaking() as tell:
            view, found = _latest(self.a.folder)
            told = view.ended  # with the verdict
            bad = told is None or told.outcome in ("healing", "failed") or told.verdict in ("SUSPECT", "FAILED")
            asked = treatable(self.workshop, self.record)
            treated = [pair for pair in found if asked(pair[1])]
            for step, finding in (treated or self._resort(view, found)) if bad else ():
                if not asked(finding) and treated:
                    continue
                chosen = self._treated(view, step, finding, [f for _, f in found], tell)
                if self.stopped:
                    return None
                if chosen is not None:
                    return self._taken(view, finding, *chosen)
            back = self._taken_back(view, bad)
            back = back or self._improved(view, [f for _, f in found], tell)
        if back is not None or self.stopped:
            return back
        if self.ended is not None and self.ended.outcome == "healing":  # nothing helped: as if nobody had looked
            return self._go_on([finding for _, finding in found])
        return None

    def _resort(self, view: View, found: Sequence[tuple[int, Finding]]) -> list[tuple[int, Finding]]:
        """The gravest finding, where none proposes anything that was not tried: the usual settings may help then."""
        record = self.record
        over = self.ended is not None and self.ended.outcome == "finished"
        if not over or record.undone or record.spent or not in_doubt(view, record.considered):
            return []
        grave = [(step, f) for step, f in found if f.severity != "note" and f.rule not in _UNHELPED]
        first = sorted(grave, key=lambda pair: pair[1].severity != "error")[:1]
        return [(step, replace(f, fixes=())) for step, f in first]

    def _treated(
        self, view: View, step: int, finding: Finding, others: Sequence[Finding], tell: Observer
    ) -> _Chosen | None:
        """The remedy that is taken, how it was found, and the state to go on from; of those that learn nothing, the
        best one, where no other is good enough.
        """
        before = [*self.record.considered]
        self.record.considered.append(finding.rule)
        facts = view.examined.facts if view.examined else None
        if facts is None:
            return None
        evidence = Evidence(view, facts, self.ended is None or self.ended.outcome != "healing")
        earlier: list[Outcome] = []
        held: list[_Chosen] = []
        for chosen in rounds(finding, others, evidence, self.workshop.config, self.record.considered):
            fixes = [r for r in chosen.fixes if r.what not in self.record.undone]
            start, state = self._origin(view, fixes)
            live = [r for r in fixes if not r.anew] if state is not None else fixes
            outcome = self._tried(view, finding, chosen._replace(fixes=live), start, state, step == 0, earlier)
            if outcome.stopped is not None:
                self.record.considered = before
                self._interrupted(outcome.stopped.reason, tell)
                return None
            tell(outcome.event)
            remedy = self._agreed(finding, outcome, start, tell)
            if remedy is not None:
                held.append((remedy, outcome, state))
                if outcome.learned(remedy):
                    return held[-1]
            earlier.append(outcome)
        self.record.write(self.a.folder)
        return min(held, key=lambda c: c[1].reached(c[0]), default=None)

    def _agreed(self, finding: Finding, outcome: Outcome, start: int, tell: Observer) -> Remedy | None:
        """The best that may be taken; what is better and needs a person's word is offered."""
        doctor = self.workshop.config.doctor
        for remedy, _ in outcome.sure:
            if doctor.get("mode") == "heal" and (doctor.get("yes") or not remedy.consent):
                return remedy
            if remedy.what == outcome.event.won:
                why = "it changes what you designed: --yes (doctor.yes = true) takes it"
                if doctor.get("mode") != "heal":
                    why = 'the doctor was asked to change nothing: --heal (doctor.mode = "heal") takes it'
                tell(Repaired(start, finding.rule, finding.what, remedy.what, remedy.keys, "offered", why))
        return None

    def _improved(self, view: View, others: Sequence[Finding], tell: Observer) -> Attempt | None:
        """A run that was repaired and came to its end, with what makes it clearly better; at most twice."""
        record, last = self.record, self.record.taken[-1] if self.record.taken else None
        facts = view.examined.facts if view.examined else None
        finished = self.ended is not None and self.ended.outcome == "finished"
        spent = record.improved >= _IMPROVED or record.spent
        if last is None or facts is None or not finished or spent or reached(view) < _GOOD * facts.loss.guess:
            return None
        what = f"{str(last['trouble']).removesuffix(_AGAIN)}{_AGAIN}"
        finding = Finding(str(last["rule"]), "note", what)
        fixes = after_repair(others, Evidence(view, facts, True), self.workshop.config)
        outcome = self._tried(view, finding, Round(fixes, _LONGER, _MANY), 0, None, False, None)
        if outcome.stopped is not None:
            self._interrupted(outcome.stopped.reason, tell)
            return None
        record.improved += 1
        tell(outcome.event)
        remedy = self._agreed(finding, outcome, 0, tell)
        record.write(self.a.folder)
        if remedy is None or not outcome.reached(remedy) < (1 - _WORTH) * outcome.reference:
            return None
        return self._taken(view, finding, remedy, outcome, None, reached(view))

    def _tried(
        self,
        view: View,
        finding: Finding,
        chosen: Round,
        start: int,
        state: Mapping[str, Any] | None,
        at_once: bool,
        earlier: Sequence[Outcome] | None,
    ) -> Outcome:
        begun, proof = view.attempts[-1], at_once and finding.severity == "error"
        assert view.examined is not None
        with Interruption() as interruption:
            trial = Trial(
                build=self.workshop.build,
                start=state,
                step=start,
                plan=begun.steps,
                per_epoch=begun.steps_per_epoch,
                seed=self.workshop.config.seed,
                facts=view.examined.facts,
                asked=interruption.asked,
                contradicted=_contradicts(finding.rule, begun.steps) if proof else None,
            )
            return tried(trial, finding.rule, chosen.fixes, chosen.longer, earlier, chosen.most)

    def _origin(self, view: View, fixes: Sequence[Remedy]) -> tuple[int, Mapping[str, Any] | None]:
        """(step, state) from which to go on: the start, unless something was learned that a fix can keep."""
        guess = view.examined.facts.loss.guess if view.examined else math.nan
        best = min((e for e in view.evals if "loss" in e.metrics), key=lambda e: e.metrics["loss"], default=None)
        learned = best is not None and best.metrics["loss"] < _LEARNED * guess
        if not learned or best is None or not any(not f.anew for f in fixes):
            return 0, None
        steps = view.attempts[-1].steps
        folder = self.a.folder / CHECKPOINTS
        if best.step + length(steps, view.attempts[-1].steps_per_epoch) > steps:
            return 0, None  # too little is left of the budget
        for step in sorted(checkpoint.steps(folder), key=lambda s: (abs(s - best.step), s)):
            try:
                return step, checkpoint.load(checkpoint.at(folder, step), owner(self.a.folder))
            except CheckpointError:
                continue
        return 0, None

    def _taken(
        self,
        view: View,
        finding: Finding,
        remedy: Remedy,
        outcome: Outcome,
        state: Mapping[str, Any] | None,
        before_it: float = math.nan,
    ) -> Attempt:
        """The attempt with it, from the start or from a checkpoint; what is decided is written down first.

        It must reach what the attempt ``before_it`` did, where that is said, else what no change did in the trial.
        """
        record, folder = self.record, self.a.folder
        before, number = dict(record.keys), view.attempts[-1].attempt
        reference = before_it if math.isfinite(before_it) else outcome.reference
        changes_loss = means_another(remedy) or (outcome.by_answers and reference is not before_it)
        step = 0 if state is None else int(state["counters"]["step"])
        record.taken.append(
            {
                "rule": finding.rule,
                "trouble": finding.what,
                "what": remedy.what,
                "why": outcome.event.text,
                "keys": dict(remedy.keys),
                "was": as_it_was(remedy.keys, stored_config(folder / CONFIG)),
                "before": before,
                "attempt": number,
                "reference": None if changes_loss or not math.isfinite(reference) else reference,
                "left": f"attempt-{number}",
                "step": step,
            }
        )
        record.keys, record.considered = over(record.keys, remedy.keys), []
        record.pending = True
        record.write(folder)
        if state is None:
            leave(folder, number)
        else:
            checkpoint.forget_after(folder / CHECKPOINTS, step)
        following = self.workshop.again(self.a, record.keys, resumed=state is not None)
        following.opening = [taken(record.taken[-1])]
        following.begun = record.begun(folder)
        following.treats = treatable(self.workshop, record)
        return following

    def _taken_back(self, view: View, bad: bool) -> Attempt | None:
        """The attempt before, where the last repair did not hold: what it was for is still there, or it is worse."""
        if self.ended is None or self.ended.outcome != "finished" or not self.record.taken:
            return None
        last = self.record.taken[-1]
        record, folder = self.record, self.a.folder
        now, reference = reached(view), last["reference"]
        if not (folder / LEFT / last["left"]).is_dir() or reference is None or not now > reference:
            return None
        why = f"the loss on the validation part is {now:g}, and without it {reference:g} was reached"
        record.back = {**record.taken.pop(), "failed": why}
        record.undone.append(last["what"])
        record.keys, record.pending = dict(last["before"]), False
        record.improved = _IMPROVED if record.improved else 0  # what was tried after it is not tried again
        record.considered = [last["rule"]]
        record.write(folder)
        bring_back(folder, record.back)
        following = self.workshop.again(self.a, record.keys, resumed=True)
        following.back = int(last["attempt"])
        following.opening = [taken_back(record.back)]
        following.begun = record.begun(folder)
        following.treats = treatable(self.workshop, record)
        return following

    def _go_on(self, said: Sequence[Finding]) -> Attempt:
        following = self.workshop.again(self.a, self.record.keys, resumed=True)
        following.said = said
        following.treats = treatable(self.workshop, self.record)
        return following

    def _interrupted(self, reason: str, tell: Observer) -> None:
        """A person's wish, heard in a trial: the run ends as one that is resumed later."""
        self.stopped = True
        step = self.a.pieces.state.counters.step
        tell(RunEnded(step, "interrupted", reason, 0.0))

    @contextmanager
    def _speaking(self) -> Iterator[Observer]:
        """One writer, who tells log, console and observers."""
        lock = Lock(self.a.folder)
        tell, _, close = teller_of(self.a)
        try:
            yield tell
        finally:
            close()
            lock.release()


def must_heal(config: Any, ranks: int, own: Sequence[str] = ()) -> bool:
    """Whether the recipe asks for trials; UserError where they cannot be made.

    Args:
        config: of the run.
        ranks: processes that train together.
        own: parts of the training that are code of the caller's and cannot be made again.
    """
    doctor = config.doctor
    if doctor.get("yes") and doctor.get("mode") != "heal":
        instead = 'write doctor = { mode = "heal", yes = true }, or leave it out'
        raise UserError("doctor.yes", "agrees to repairs, and this doctor makes none", instead)
    if doctor.get("mode") != "heal" and not (doctor.get("trials") and doctor.get("mode") == "advise"):
        return False
    if ranks > 1:
        raise UserError("doctor.mode", "heals one process only", 'train on one, or write doctor = "advise"')
    if own:
        what = f"cannot try anything beside {', '.join(own)} of your own, of which there is only one"
        raise UserError("doctor.mode", what, 'write doctor = "advise"')
    return True


def reached(view: View) -> float:
    """The lowest loss of an attempt's evaluations; NaN where there were none."""
    return min((e.metrics["loss"] for e in view.evals if "loss" in e.metrics), default=math.nan)


def _latest(folder: Path) -> tuple[View, list[tuple[int, Finding]]]:
    """The run, and what the latest attempt found."""
    events: list[Event] = [e for e in whole_events(folder / EVENTS) if e is not None]
    found: list[tuple[int, Finding]] = []
    over = False
    for event in events:
        if isinstance(event, RunStarted):
            found = [] if over else found  # one that went back by itself goes on with the same trouble
            over = False
        over = over or isinstance(event, RunEnded)
        if isinstance(event, Found):
            found.append((event.step, event.finding))
    return fold(events), found


def _contradicts(rule: str, steps: int) -> Callable[[Pieces], bool]:
    """Whether the rule still finds it in these pieces."""

    def still(pieces: Pieces) -> bool:
        examined: Examined = Doctor(pieces, steps).examined()
        view = fold([RunStarted(1, 0, steps, pieces.per_epoch, ""), examined])
        answer = all_rules()[rule].check(Evidence(view, examined.facts))
        return isinstance(answer, Finding) and answer.severity == "error"

    return still
