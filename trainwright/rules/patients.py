"""Trainings made up of a few numbers, on which rules are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainwright.core.events import EvalDone, Examined, Probed, RunStarted, StepDone, advance, fold
from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Evidence


def patient(
    facts: Facts | None = None,
    losses: Sequence[float] = (),
    *,
    norms: Sequence[float] | None = None,
    lr: float | Sequence[float] = 1e-3,
    probes: Mapping[int, Mapping[str, Mapping[str, float]]] | None = None,
    evals: Mapping[int, Mapping[str, float]] | None = None,
    seconds: float = 0.01,
    waited: float = 0.0,
    over: bool = False,
) -> Evidence:
    """A training with these losses, one a step.

    Args:
        facts: measured before it.
        losses: of the steps.
        norms: of the gradient; 1 unless given.
        lr: of all steps, or of each.
        probes: step -> layer -> statistics.
        evals: step -> metrics of the validation part.
        seconds: of a step.
        waited: of these, for data.
        over: it has come to its end.
    """
    facts = facts or Facts(loss=LossFacts(guess=1.0, start=1.0))
    rates = [lr] * len(losses) if isinstance(lr, int | float) else list(lr)
    norms = [1.0] * len(losses) if norms is None else norms
    view = fold([RunStarted(1, 0, max(1, len(losses)), max(1, facts.per_epoch), ""), Examined(0, facts)])
    for step, (loss, norm, rate) in enumerate(zip(losses, norms, rates, strict=True), 1):
        advance(view, StepDone(step, 0, step, (loss,), (norm,), rate, seconds, waited))
        if step in (probes or {}):
            advance(view, Probed(step, (probes or {})[step]))
        if step in (evals or {}):
            advance(view, EvalDone(step, 0, "valid", (evals or {})[step], 0.0))
    return Evidence(view, facts, over)
