"""A memory of so many steps that each is lost among those before it."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts, OptimizerFacts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number, rate_of, wanting
from trainwright.rules.remedies import usual_rate

_REMEMBERED = 200.0  # steps
_USUAL = 0.9  # ten steps


def check(evidence: Evidence) -> Finding | None:
    """Nothing is learned, and the optimizer adds up hundreds of steps."""
    bad, optimizer = wanting(evidence), evidence.facts.optimizer
    if bad is None or not 0 <= optimizer.momentum < 1 or 1 / (1 - optimizer.momentum) < _REMEMBERED:
        return None
    steps, rate, plain = 1 / (1 - optimizer.momentum), rate_of(evidence), "adam" not in optimizer.name
    sum_up = f"; its steps add up to a rate of {number(rate * steps)}" if plain and rate == rate else ""
    fix = {"optimizer.momentum": _USUAL} if plain else {"optimizer.betas": [_USUAL, 0.999]}
    fixes = [Patch(fix), Patch({**fix, "optimizer.lr": usual_rate(optimizer.name)})]
    return Finding(
        rule="momentum_too_high",
        severity=bad.severity,
        what=f"a momentum of {optimizer.momentum:g} remembers {number(steps)} steps{sum_up}, and {bad.outcome}",
        where="optimizer.momentum" if plain else "optimizer.betas",
        evidence={"momentum": optimizer.momentum, "steps remembered": steps, "learning rate": rate, **bad.numbers},
        why="A wrong turn is followed for as long as it is remembered, and all steps of that time point the same way: "
        "the network runs far past what it was looking for, and swings back as far.",
        fixes=(*fixes, *([Patch({"optimizer": {"name": "adam", "lr": 1e-3}})] if plain else [])),
    )


@rules.add("momentum_too_high")
def momentum_too_high() -> Rule:
    """A momentum (Adam: the first of its betas) that remembers 200 steps and more, where nothing is learned.

    What is remembered is 1 / (1 - momentum): ten steps at 0.9, a thousand at 0.999. Exact.
    """
    loss = LossFacts("cross_entropy", "logits", 1.1, 1.1)
    long = Facts(loss=loss, optimizer=OptimizerFacts("sgd", 0.1, momentum=0.999))
    usual = Facts(loss=loss, optimizer=OptimizerFacts("sgd", 0.1, momentum=0.9))
    return Rule(
        "momentum_too_high",
        check,
        sick=lambda: patient(long, [3.0] * 300, over=True),
        healthy=lambda: patient(usual, [3.0] * 300, over=True),
        causes=("not_finite_data", "constant_target", "constant_input", "no_gradient", "not_in_optimizer"),
    )
