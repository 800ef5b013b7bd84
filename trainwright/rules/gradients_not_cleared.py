"""Gradients of earlier batches that are still there when the next backward pass begins."""

from __future__ import annotations

from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import figure, number

_TIMES = 2


def check(evidence: Evidence) -> Finding | None:
    """Behind a step of the optimizer, twice; an accumulation without a step between does not count."""
    left = [figure(p, "", "uncleared") for p in evidence.view.probed]
    full = [x for x in left if x > 0]
    if len(full) < _TIMES:
        return None
    return Finding(
        rule="gradients_not_cleared",
        severity="error",
        what="when the backward pass begins, the gradients of the step before are still there "
        f"(their norm is {number(full[-1])}): each step moves by the sum of all batches until now",
        where="the loop",
        evidence={"times": len(full), "norm": full[-1]},
        why="The gradients add up, so the direction is that of long ago and its length grows with every step.",
        fixes=(Edit("call optimizer.zero_grad() before loss.backward(), once for each step"),),
    )


@rules.add("gradients_not_cleared")
def gradients_not_cleared() -> Rule:
    """Gradients are not cleared between steps.

    Exact, at the first steps and at probes, in a loop of your own.
    """
    left, clear = ({n: {"": {"uncleared": v}} for n in (2, 3, 50)} for v in (0.7, 0.0))
    return Rule(
        "gradients_not_cleared",
        check,
        sick=lambda: patient(losses=[1.0] * 60, probes=left),
        healthy=lambda: patient(losses=[1.0] * 60, probes=clear),
    )
