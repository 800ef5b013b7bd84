"""More left out than a network of this size can do without."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts, LossFacts
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import gravity, percent, wanting
from trainwright.rules.remedies import less_dropout
from trainwright.rules.upstream import BEFORE_BEGINNING

_HIGH = 0.5


def check(evidence: Evidence) -> Finding | None:
    """Rates above a half, or several at it, where nothing is learned."""
    bad = wanting(evidence)
    rates = [layer.option for layer in evidence.facts.layers if "dropout" in layer.kind and layer.option > 0]
    high = [r for r in rates if r > _HIGH]
    if bad is None or not (high or sum(r >= _HIGH for r in rates) >= 3):
        return None
    kept = 1.0
    for r in rates:
        kept *= 1 - r
    return Finding(
        rule="too_much_dropout",
        severity=gravity(evidence),
        what=f"{len(rates)} dropouts of up to {max(rates):g} leave {percent(kept)} of the ways through the network, "
        f"and {bad.outcome}",
        where=next(x.name for x in evidence.facts.layers if x.option == max(rates)),
        evidence={"dropouts": len(rates), "highest rate": max(rates), "share kept": kept, **bad.numbers},
        why="Dropout helps a network that learns too well. One that learns nothing cannot spare its units.",
        fixes=(
            less_dropout(),
            Edit("leave dropout out until the training loss falls", ({"name": "dropout", "most": 0.0},)),
        ),
    )


@rules.add("too_much_dropout")
def too_much_dropout() -> Rule:
    """Dropout rates above 0.5, or three and more of 0.5, where nothing is learned."""
    loss = LossFacts(guess=1.0, start=1.0)
    high, usual = (LayerFacts("drop", "dropout", option=rate) for rate in (0.9, 0.5))
    return Rule(
        "too_much_dropout",
        check,
        sick=lambda: patient(Facts(layers=(high,), loss=loss), [1.0] * 300, over=True),
        healthy=lambda: patient(Facts(layers=(usual,), loss=loss), [1.0] * 300, over=True),
        causes=BEFORE_BEGINNING,
    )
