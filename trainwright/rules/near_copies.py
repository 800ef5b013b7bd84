"""Held-out samples that are nearly a training sample."""

from __future__ import annotations

import math

from trainwright.core.data_facts import DataFacts, Twins
from trainwright.core.facts import Facts
from trainwright.core.finding import Advice, Edit, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import percent

_SHARE, _LEAST = 0.02, 5


def check(evidence: Evidence) -> Finding | None:
    """More of them, with their neighbour's target, than chance and the width of the score's own error explain."""
    twins = evidence.facts.data.twins
    if twins.agreeing < _LEAST or twins.agreeing / twins.looked <= max(_SHARE, 0.5 / math.sqrt(twins.looked)):
        return None
    pairs = "; ".join(f"{a} beside {b}" for a, b in twins.pairs)
    return Finding(
        rule="near_copies",
        severity="warning",
        what=f"{twins.near} of {twins.looked} samples of {twins.part} ({percent(twins.near / twins.looked)}) are "
        f"nearly a training sample, {twins.agreeing} of them with its target",
        where=twins.part,
        evidence={
            "near": twins.near,
            "of them with the same target": twins.agreeing,
            "compared": twins.looked,
            "near is below, of the distance to the tenth neighbour": twins.within,
        },
        why="What is remembered of a training sample answers its near copy too: frames of one film, pictures that were "
        "cut or brightened, rows measured twice. The score then says how well is remembered, not what is understood. "
        f"Not sure? Look at {pairs}.",
        fixes=(
            Advice(
                "name in data.group the field that tells which records were made of one: they then stay in one part"
            ),
            Edit("make changed copies of records after the split, not before: augment in the recipe"),
        ),
    )


@rules.add("near_copies")
def near_copies() -> Rule:
    """Samples of a held-out part that lie much nearer to a training sample than samples of these data do.

    Up to 500 held-out samples beside up to 10,000 training samples: near is what lies within a share of the distance to
    the tenth neighbour that one sample in a thousand reaches by chance, at most 0.3. Said where five and more than
    2 % of them have the target of such a neighbour, and more than a standard error of the score. Exact copies are told
    apart (copies_across_parts). Tables with few different numbers, texts and files that are unpacked are not compared.
    """
    sick = Twins("test", 200, 40, 38, 0.3, (("record 7", "record 912"),))
    return Rule(
        "near_copies",
        check,
        sick=lambda: patient(Facts(data=DataFacts(twins=sick))),
        healthy=lambda: patient(Facts(data=DataFacts(twins=Twins("test", 500, 9, 4, 0.3)))),
    )
