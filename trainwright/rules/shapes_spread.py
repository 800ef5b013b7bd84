"""Output and target of shapes that an element-wise loss spreads over each other."""

from __future__ import annotations

from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient


def check(evidence: Evidence) -> Finding | None:
    """The loss compared more pairs than there are targets."""
    loss = evidence.facts.loss
    if not loss.broadcast:
        return None
    said, asked = evidence.facts.output.values.shape, evidence.facts.target.values.shape
    to = "flat" if said == (*asked, 1) else "column" if asked == (*said, 1) else ""
    words = "give both one shape: output.squeeze(-1), target.unsqueeze(-1), or as many outputs as targets"
    return Finding(
        rule="shapes_spread",
        severity="error",
        what=f"output and target have different shapes, and the loss compared every one with others: {loss.broadcast}",
        where="the loss",
        evidence={"loss at the start": loss.start},
        why="Each output is compared with the targets of other samples too: the best it can do is to say their mean.",
        fixes=(Edit(words, ({"name": "output_shape", "to": to},) if to else ()),),
    )


@rules.add("shapes_spread")
def shapes_spread() -> Rule:
    """An element-wise loss over output and target of different shapes, such as (N, 1) and (N,), which become (N, N).

    Measured on the first batch.
    """
    return Rule(
        "shapes_spread",
        check,
        sick=lambda: patient(Facts(loss=LossFacts("mse", broadcast="(32, 1) and (32,) became (32, 32)"))),
        healthy=lambda: patient(Facts(loss=LossFacts("mse"))),
    )
