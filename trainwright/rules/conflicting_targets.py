"""The same inputs with different targets."""

from __future__ import annotations

from trainwright.core.data_facts import Conflict, DataFacts
from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import failing, gravity, percent

_SHARE, _PART = 0.1, 0.5


def check(evidence: Evidence) -> Finding | None:
    """Many samples have a twin of another class: that bounds what can be reached."""
    found = evidence.facts.data.conflict
    if not found.rows or found.conflicting / found.rows <= _SHARE:
        return None
    way = (found.best - found.guess) / max(1e-9, 1 - found.guess)
    bad = failing(evidence)
    if not bad and way > _PART:
        return None
    grave = bad is not None and way <= _PART
    return Finding(
        rule="conflicting_targets",
        severity=gravity(evidence) if grave else "note",
        what=f"{found.conflicting:,} of {found.rows:,} training samples have a twin with the same inputs and another "
        f"target: no network whatever can say more than {percent(found.best)} of them right",
        where="the training data",
        evidence={
            "conflicting": found.conflicting,
            "rows": found.rows,
            "best possible": found.best,
            "largest class": found.guess,
            **(bad.numbers if bad else {}),
        },
        why="Either the labels are wrong for one of each pair, or the column that tells them apart was lost on the "
        "way. A pair looked at tells which.",
        fixes=(
            Advice("check that no column was left out, rounded or cut off before the data came here"),
            Advice("where people labelled records several times, keep one label each, by majority"),
        ),
    )


@rules.add("conflicting_targets")
def conflicting_targets() -> Rule:
    """Training samples whose inputs are the same to the last bit, and whose classes differ.

    More than a tenth of the samples. A note where the best possible answers leave less than half of the way from the
    largest class to 100 %; a warning or an error where nothing is learned as well.
    """
    sick, loss = Conflict(1000, 2, 900, 0.58, 0.5), LossFacts("cross_entropy", "logits", 0.69, 0.69)
    few = Conflict(1000, 2, 30, 0.98, 0.5)
    return Rule(
        "conflicting_targets",
        check,
        sick=lambda: patient(Facts(data=DataFacts(conflict=sick), loss=loss), [0.69] * 300, over=True),
        healthy=lambda: patient(Facts(data=DataFacts(conflict=few), loss=loss), [0.69] * 300, over=True),
        causes=("not_finite_data", "constant_target", "constant_input"),
    )
