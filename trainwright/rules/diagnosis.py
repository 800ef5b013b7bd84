"""The diagnosis of a run: its events, one by one, through all rules; the same live and when a log is read again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trainwright.core.events import (
    EvalDone,
    Event,
    Examined,
    Found,
    Probed,
    Repaired,
    RunEnded,
    RunStarted,
    StepSkipped,
    View,
    advance,
    lasting,
)
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.reading import LITTLE, by_heart, failing, standing

_RANK = {"note": 0, "warning": 1, "error": 2}
_DOUBTED = 0.4  # of the loss of guessing: below it simple models are not asked
_ROOM = 0.1  # of the loss of guessing: below it labels are not asked
_TOLD_APART = ("classes", "one_hot", "binary")
_WHEN = (Examined, Probed, StepSkipped, EvalDone, RunEnded)


def all_rules() -> dict[str, Rule]:
    """By name."""
    return {name: rules.make(name, {}) for name in rules.names()}


@dataclass(slots=True)
class Diagnosis:
    """What is wrong with a run, as far as its events tell.

    Args:
        rules: that are asked; all there are unless given.
    """

    rules: Mapping[str, Rule] = field(default_factory=all_rules)
    view: View = field(default_factory=View)
    said: dict[str, Finding] = field(default_factory=dict)  # by rule, the gravest
    asked_for_signal: bool = False
    asked_at_end: bool = False
    asked_for_labels: bool = False
    now: list[Finding] = field(default_factory=list)  # what held when the rules were last asked, consequences too
    others: list[Found] = field(default_factory=list)  # findings of the log that are not of these rules
    passed: dict[str, Finding] = field(default_factory=dict)  # said in steps that the run has gone back behind
    settled: int = 0  # of the others, the first ones, likewise

    def take(self, event: Event) -> list[Finding]:
        """One more event; returns what is newly found, the most upstream first."""
        if isinstance(event, Found):
            self.others += [] if event.finding.rule in self.rules else [event]
            return []
        before = self.view.ended
        advance(self.view, event)
        if isinstance(event, RunStarted):
            goes_on = before is not None and before.outcome == "healing" and before.step == event.from_step
            if event.again:
                self.passed = dict(self.said)
            elif self.view.went_back < 0:
                self.passed = {}
            if not (event.again or (goes_on and not (event.anew or event.back))):
                self.said = dict(self.passed)
            self.now = []
            self.others, self.settled = lasting(self.view, event, self.others, self.settled, lambda e: e.step)
        if not isinstance(event, _WHEN) or self.view.examined is None:
            return []
        return self._asked(isinstance(event, RunEnded) and event.outcome in ("finished", "stopped", "failed"))

    def puzzled(self, over: bool = False) -> bool:
        """Whether nothing is learned that holds, and it is not known yet whether there is anything to learn."""
        examined = self.view.examined
        if examined is None or self.asked_for_signal or not math.isnan(examined.facts.signal):
            return False
        evidence = Evidence(self.view, examined.facts, over)
        self.asked_for_signal = failing(evidence) is not None or by_heart(evidence) is not None
        return self.asked_for_signal

    def far(self) -> bool:
        """Whether at the end the loss is so far from 0 that it is worth asking how much was learned; asked once."""
        examined = self.view.examined
        if examined is None or self.asked_at_end:
            return False
        self.asked_at_end = True
        now = standing(Evidence(self.view, examined.facts, True))
        return now is not None and now.loss > _DOUBTED * now.guess

    def doubtful(self, reached: float) -> bool:
        """Whether something would be believed, did simple models do far better than a network that reached so much."""
        examined = self.view.examined
        if examined is None or reached < LITTLE:
            return examined is not None
        behind = replace(examined.facts, signal=1.0, signal_error=0.0, reached=LITTLE)
        found = [self._all(Evidence(self.view, facts, True, {})) for facts in (examined.facts, behind)]
        return any(
            _RANK[f.severity] > _RANK[found[0][n].severity] if n in found[0] else True for n, f in found[1].items()
        )

    def unsure(self) -> bool:
        """Whether classes are told, and at the end the loss leaves room for labels that are wrong; asked once."""
        examined = self.view.examined
        if examined is None or self.asked_for_labels or examined.facts.target.coding not in _TOLD_APART:
            return False
        self.asked_for_labels = True
        now = standing(Evidence(self.view, examined.facts, True))
        seen = [e.metrics["loss"] for e in self.view.evals if e.part == "valid" and "loss" in e.metrics]
        return now is not None and max(now.loss, min(seen, default=0.0)) > _ROOM * now.guess

    def ending(self) -> list[Finding]:
        """What is found when the training has come to its end, before its last event is written."""
        return self._asked(True) if self.view.examined is not None else []

    @property
    def verdict(self) -> str:
        """By what still holds, and by what others found: a trouble that went away spoils nothing."""
        ended = self.view.ended
        if ended is not None and ended.outcome == "failed":
            return "FAILED"
        found = verdict([*self.now, *(e.finding for e in self.others)])
        return "REPAIRED" if found == "HEALTHY" and in_force(self.view.repairs) else found

    def _asked(self, over: bool) -> list[Finding]:
        assert self.view.examined is not None
        found = self._all(Evidence(self.view, self.view.examined.facts, over, {}))
        self.now = list(found.values())
        new = [f for name, f in found.items() if self._is_news(name, f)]
        causes = {**self.said, **found}
        told = [f for f in new if not self._explained(f, causes)]
        told = [replace(f, consequences=self._follow(f.rule, found)) for f in told]
        for finding in told:
            self.said[finding.rule] = finding
        return sorted(told, key=lambda f: self._depth(f.rule))

    def _all(self, evidence: Evidence) -> dict[str, Finding]:
        answers = {name: rule.check(evidence) for name, rule in self.rules.items()}
        return {name: answer for name, answer in answers.items() if isinstance(answer, Finding)}

    def _is_news(self, name: str, finding: Finding) -> bool:
        before = self.said.get(name)
        return before is None or _RANK[finding.severity] > _RANK[before.severity]

    def _explained(self, finding: Finding, found: Mapping[str, Finding]) -> bool:
        """Whether something upstream of it was found that is as grave; a note explains nothing."""
        rank = max(1, _RANK[finding.severity])
        return any(c in found and _RANK[found[c].severity] >= rank for c in self.rules[finding.rule].causes)

    def _follow(self, name: str, found: Mapping[str, Finding]) -> tuple[str, ...]:
        """What was found that this explains."""
        return tuple(f.what for n, f in found.items() if n != name and name in self.rules[n].causes)

    def _depth(self, name: str) -> int:
        return sum(c in self.rules for c in self.rules[name].causes)


def in_force(repairs: Iterable[Repaired]) -> list[Repaired]:
    """Those that were taken, and not taken back."""
    found: list[Repaired] = []
    for repair in repairs:
        if repair.state == "taken":
            found.append(repair)
        elif repair.state == "taken back":
            found = [r for r in found if r.what != repair.what]
    return found


def diagnosed(events: Iterable[Event], names: Mapping[str, Rule] | None = None) -> list[tuple[int, Finding]]:
    """(step, finding) of a whole log."""
    diagnosis = Diagnosis() if names is None else Diagnosis(names)
    out: list[tuple[int, Finding]] = []
    for event in events:
        out += [(int(_step(event)), f) for f in diagnosis.take(event)]
    return out


def _step(event: Any) -> int:
    return getattr(event, "step", getattr(event, "from_step", 0))


def verdict(findings: Iterable[Finding]) -> str:
    """HEALTHY, SUSPECT or FAILED, by the gravest."""
    gravest = max((_RANK[f.severity] for f in findings), default=0)
    return ("HEALTHY", "SUSPECT", "FAILED")[gravest]
