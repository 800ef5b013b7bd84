"""Steps whose loss or gradient was NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trainwright.core.events import StepSkipped, advance
from trainwright.core.finding import Advice, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number, rate_of, rounded
from trainwright.rules.remedies import Fix, scaled_inputs, usual_rate

_GROWN = 10.0  # times the loss of guessing, and the lowest there was


def check(evidence: Evidence) -> Finding | None:
    """One such step is proof; that it was not taken kept the weights whole."""
    skipped = evidence.view.skipped
    if not skipped:
        return _taken(evidence)
    first = skipped[0]
    losses = [v for step, v in evidence.view.losses.items() if step < first.step][-20:]
    rates = [e.lr for e in evidence.view.steps if e.step <= first.step] or [e.lr for e in evidence.view.steps]
    rate = rates[-1] if rates else evidence.facts.optimizer.lr
    known = bool(first.suspects)
    ended = evidence.view.ended
    broken = ended is not None and ended.outcome == "failed"
    slower = [Patch({"optimizer.lr": rounded(rate / f), "clip": 1.0}) for f in (10, 100) if rate == rate and not known]
    scaled = scaled_inputs(evidence.facts)
    usual = usual_rate(evidence.facts.optimizer.name)
    slower += [Patch({"optimizer.lr": usual})] if slower and rate / 200 > usual else []
    fixes: list[Fix] = [*slower, *([scaled] if scaled.repairs and not known else [])]
    return Finding(
        rule="not_finite_steps",
        severity="error" if broken or len(skipped) > 3 else "warning",
        what=f"{len(skipped)} {'step was' if len(skipped) == 1 else 'steps were'} not finite, the first is step "
        f"{first.step:,}: {first.what}" + ("" if known else _grew(evidence, losses, rate)),
        where=first.places[0] if known and first.places else f"step {first.step}",
        evidence={
            "steps": len(skipped),
            "first": first.step,
            **({"loss before": losses[-1]} if losses else {}),
            "learning rate": rate,
        },
        why=(
            "The records themselves hold numbers that are not finite."
            if known
            else "Numbers grew until they overflowed, or a logarithm or a quotient met 0"
            + (f": the loss before was {number(losses[-1])}." if losses else ".")
            + " `trainwright replay` of the incident names the first tensor."
        ),
        fixes=(*fixes, Advice("look for log, exp, sqrt and quotients in model and loss, and keep them away from 0")),
    )


def _grew(evidence: Evidence, losses: Sequence[float], rate: float) -> str:
    """What led there, where the loss rose from step to step: steps that are too long, and no logarithm of 0."""
    facts = evidence.facts.loss
    low = min((x for x in (*losses, facts.start) if math.isfinite(x)), default=math.nan)
    if not losses or not losses[-1] > _GROWN * max(low, facts.guess if math.isfinite(facts.guess) else low):
        return ""
    at = f" of {number(rate)}" if rate == rate else ""
    return f", behind losses that grew from {number(low)} to {number(losses[-1])}: the learning rate{at} is too high"


def _taken(evidence: Evidence) -> Finding | None:
    """In a loop of somebody's own nothing keeps such a step from being taken."""
    bad = [step for step, loss in evidence.view.losses.items() if not math.isfinite(loss)]
    if not bad:
        return None
    earlier = [v for step, v in evidence.view.losses.items() if step < bad[0]]
    before = earlier[-1:]
    rate = rate_of(evidence)
    at_once = "from the first step" if not before else f"it was {number(before[0])} the step before"
    return Finding(
        rule="not_finite_steps",
        severity="error",
        what=f"the loss of step {bad[0]:,} is {evidence.view.losses[bad[0]]}, {at_once}"
        + _grew(evidence, earlier[-20:], rate),
        where=f"step {bad[0]}",
        evidence={"steps": len(bad), "first": bad[0], "learning rate": rate},
        why="Numbers grew until they overflowed, or a logarithm or a quotient met 0. From then on all weights are NaN.",
        fixes=(
            *((Patch({"optimizer.lr": rounded(rate / 10), "clip": 1.0}),) if rate == rate else ()),
            Advice("look for log, exp, sqrt and quotients in model and loss, and keep them away from 0"),
        ),
    )


@rules.add("not_finite_steps")
def not_finite_steps() -> Rule:
    """Steps whose loss or gradient was NaN or infinite; they were not taken.

    Every step is looked at.
    """

    def sick() -> Evidence:
        evidence = patient(losses=[1.0, 5.0, 70.0])
        advance(evidence.view, StepSkipped(3, "the loss was NaN", float("nan"), float("nan"), 8, (1, 2)))
        return evidence

    return Rule(
        "not_finite_steps",
        check,
        sick=sick,
        healthy=lambda: patient(losses=[1.0, 0.9, 0.8]),
        causes=("not_finite_data", "inputs_not_scaled", "target_not_scaled"),
    )
