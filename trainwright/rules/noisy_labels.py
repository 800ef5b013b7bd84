"""Labels that are wrong here and there."""

from __future__ import annotations

import math

from trainwright.core.counting import wilson
from trainwright.core.data_facts import DataFacts, Labels
from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import erring, percent

_LEAST = 0.02  # of the labels, the lower bound
_SHARE = 0.5  # of what the model says wrong, the part that is no matter of doubt; and of guessing, all of it
_STEEP = 2.5  # standard errors
_CLEAN = 0.75  # of the share of all, the share in the cleanest class


def check(evidence: Evidence) -> Finding | None:
    """Sure answers are contradicted as often as less sure ones, in every class, by a model that else knows the data."""
    found = evidence.facts.data.labels
    if not found.sure or not found.wrong:
        return None
    share, wrong = found.against / found.sure, found.wrong / found.rows
    low, high = wilson(found.against, found.sure)
    if low <= _LEAST or wrong > _SHARE * found.guess:
        return None
    later = found.against - found.surest
    border = low < _SHARE * wrong or (later - found.surest) > _STEEP * math.sqrt(found.against)
    if border or found.cleanest < _CLEAN * share or _explained(evidence, low):
        return None
    told = erring(evidence)
    return Finding(
        rule="noisy_labels",
        severity="warning",
        what=f"about {percent(share)} of the labels look wrong ({percent(low)} to {percent(high)}): of the "
        f"{found.sure:,} training samples of which a simple model is surest without having seen them, "
        f"{found.against:,} are labelled otherwise, and hardly fewer where it is surest of all",
        where="the training data",
        evidence={
            "share": share,
            "low": low,
            "high": high,
            "sure": found.sure,
            "contradicted": found.against,
            "contradicted, of the surest half": found.surest,
            "wrong of all": wrong,
            "guessing": found.guess,
            **({"network, wrong on valid": told} if math.isfinite(told) else {}),
        },
        why="What is merely hard is wrong at the borders between classes; this is wrong in their middle. A network "
        "learns wrong labels by heart once it has nothing else to learn, and no score on such labels can be better "
        f"than about {percent(1 - share)}. Not sure? It may also be chance, or a column that is missing: "
        "the samples named here tell.",
        fixes=(
            Advice(f"look at these first, which are contradicted most clearly: {'; '.join(found.shown)}"),
            Advice("label them again, or by the majority of several people; leave out what nobody can tell"),
            Advice(
                "until then an early stop (patience), or label_smoothing of the cross-entropy, keeps the network from "
                "learning them by heart"
            ),
        ),
    )


def _explained(evidence: Evidence, low: float) -> bool:
    """Whether the network says so many labels right, of samples it has seen and of others, that they must be right."""
    found = evidence.facts.data.labels
    return (1 - found.learned) * found.guess < low and erring(evidence) < low


@rules.add("noisy_labels")
def noisy_labels() -> Rule:
    """Labels that contradict what all other samples say beyond doubt.

    At the end of a training that does not answer everything right, a ridge classifier over random features of up to
    2,000 training samples says of each, left out of its fit, what it is. Of the half of which it is surest, counted by
    margin within each class, more than 2 % of the labels are others (the lower 95 % bound); these are at least half of
    all that it says wrong; as many in the surer half of that half as in the other; in no class far fewer; and it says
    no more than half as much wrong as guessing. So overlapping classes, where errors lie at the borders, are let pass.
    Chance, or a column that is missing, can look alike: the samples are named. Not asked where many samples have the
    inputs of another, or where the network itself says nearly all right.
    """

    def seen(against: int, surest: int, wrong: int) -> Evidence:
        labels = Labels(1000, wrong, 500, against, surest, 0.5, 0.13, math.nan, ("record 7", "record 12"))
        return patient(Facts(data=DataFacts(labels=labels), loss=LossFacts(guess=0.69)), [0.4] * 300, over=True)

    return Rule(
        "noisy_labels",
        check,
        sick=lambda: seen(50, 24, 110),
        healthy=lambda: seen(50, 10, 250),
        causes=("not_finite_data", "constant_input", "constant_target", "conflicting_targets", "no_signal"),
    )
