"""A penalty on the weights that is worth more than the task."""

from __future__ import annotations

import math

from trainwright.core.events import StepDone, View
from trainwright.core.facts import Facts, LossFacts, OptimizerFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import everywhere, gravity, number, percent, wanting

_SHRUNK = 0.2  # of their size at the first probe


def check(evidence: Evidence) -> Finding | None:
    """Nothing is learned, and penalties outweighed the loss at the start, or the weights melt away under decay."""
    bad = wanting(evidence)
    if bad is None:
        return None
    parts = {name: value for name, value in _first_parts(evidence.view).items() if name in ("l1", "l2")}
    strong = {name: value for name, value in parts.items() if value > bad.guess}
    left, decay = _left(evidence), evidence.facts.optimizer.decay
    if not strong and not (decay > 0 and left < _SHRUNK):
        return None
    if strong:
        name = max(strong, key=lambda n: strong[n])
        what = f"the penalty {name} was {number(strong[name])} when the training began, more than the loss of guessing "
        what += f"({number(bad.guess)}), and {bad.outcome}"
        patch = Patch(dict.fromkeys(strong, 0.0))
    else:
        what = f"weights shrank to {percent(left)} of their size under a decay of {number(decay)}, and {bad.outcome}"
        patch = Patch({"optimizer.weight_decay": 0.0})
    smaller = Patch({"optimizer.weight_decay": decay / 100}) if not strong else None
    return Finding(
        rule="penalty_too_strong",
        severity=gravity(evidence),
        what=what,
        where=next(iter(patch.changes)),
        evidence={**parts, "weight decay": decay, "weights left": left, **bad.numbers},
        why="What makes weights small wins over what makes answers right: the network says the same of everything.",
        fixes=(*([smaller] if smaller else []), patch),
    )


def _first_parts(view: View) -> dict[str, float]:
    return dict(view.steps[0].parts) if view.steps else {}


def _left(evidence: Evidence) -> float:
    """The median layer's weights at the latest probe beside the first one; 1 where that is not known."""
    probed = [p for p in evidence.view.probed if p.statistics]
    if len(probed) < 2:
        return 1.0
    first, last = (dict(everywhere(p, "weight")) for p in (probed[0], probed[-1]))
    ratios = sorted(last[n] / first[n] for n in first if n in last and first[n] > 0)
    found = ratios[len(ratios) // 2] if ratios else 1.0
    return found if math.isfinite(found) else 1.0


@rules.add("penalty_too_strong")
def penalty_too_strong() -> Rule:
    """A penalty, or a decay, that keeps the weights at 0.

    Where nothing is learned: ``l1`` or ``l2`` was more than the loss of guessing at the first steps, or the weights of
    the median layer shrank to a fifth between the first probe and the latest, with ``weight_decay``.
    """

    def decayed(loss: float) -> Evidence:
        facts = Facts(loss=LossFacts(guess=1.0, start=1.0), optimizer=OptimizerFacts("adamw", decay=10.0))
        seen = {n: {"fc": {"weight": w}} for n, w in ((10, 0.5), (200, 0.01))}
        evidence = patient(facts, [loss] * 300, probes=seen, over=True)
        first = evidence.view.steps[0]
        evidence.view.steps[0] = StepDone(1, 0, 1, first.losses, first.norms, first.lr, 0.01, 0.0, {"l2": 0.2})
        return evidence

    return Rule("penalty_too_strong", check, sick=lambda: decayed(1.0), healthy=lambda: decayed(0.5))
