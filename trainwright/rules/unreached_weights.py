"""Layers that no sample goes through, and weights that no gradient reaches."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient


def check(evidence: Evidence) -> Finding | None:
    """By the first pass forward and backward."""
    facts = evidence.facts
    if not facts.unused and not facts.unreached:
        return None
    if not any(layer.gradient == layer.gradient for layer in facts.layers):
        return None  # nothing has a gradient: that is another trouble
    idle = facts.unused or facts.unreached
    what = (
        f"these layers have weights and no sample goes through them: {', '.join(facts.unused)}"
        if facts.unused
        else f"no gradient reaches these weights: {', '.join(facts.unreached)}"
    )
    return Finding(
        rule="unreached_weights",
        severity="warning",
        what=what,
        where=idle[0],
        evidence={"layers not called": len(facts.unused), "weights without a gradient": len(facts.unreached)},
        why="They stay as they were drawn. A layer that is made in __init__ and forgotten in forward, a detach() or "
        "a no_grad() before it does this.",
        fixes=(Advice("call them in forward, or remove them; rest those that shall not learn: requires_grad_(False)"),),
    )


@rules.add("unreached_weights")
def unreached_weights() -> Rule:
    """Layers that are never called, or weights that can learn and get no gradient.

    Seen in the first pass forward and backward.
    """
    layer = LayerFacts("fc", "linear", 10, gradient=0.1)
    return Rule(
        "unreached_weights",
        check,
        sick=lambda: patient(Facts(layers=(layer,), unused=("head",))),
        healthy=lambda: patient(Facts(layers=(layer,))),
    )
