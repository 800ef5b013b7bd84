"""Records of one owner in training and in a held-out part."""

from __future__ import annotations

from trainwright.core.data_facts import DataFacts, Kin
from trainwright.core.facts import Facts
from trainwright.core.finding import Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import number, percent

_SHARED, _ERRORS, _BEYOND = 0.2, 5.0, 0.1


def check(evidence: Evidence) -> Finding | None:
    """Held-out records belong to groups that are trained on, and the target depends on the group."""
    kin = evidence.facts.data.group
    if kin.shared <= _SHARED or not kin.alike - kin.chance > max(_BEYOND, _ERRORS * kin.error):
        return None
    return Finding(
        rule="groups_across_parts",
        severity="warning",
        what=f"{percent(kin.shared)} of the held-out records are of a '{kin.field}' that is trained on, and records of "
        f"one '{kin.field}' have the same target far more often than chance ({number(kin.alike)}, {number(kin.chance)} "
        "at random)",
        where=kin.field,
        evidence={
            "shared": kin.shared,
            "groups": kin.groups,
            "alike": kin.alike,
            "by chance": kin.chance,
            "standard error": kin.error,
        },
        why="A network that recognizes whose record it is knows the answer. The score then holds for new records of "
        "the same owners, and says nothing of new ones.",
        fixes=(Patch({"data.group": kin.field}),),
    )


@rules.add("groups_across_parts")
def groups_across_parts() -> Rule:
    """A field such as patient_id, whose records lie in training and in a held-out part, and which tells of the target.

    A field is known by its name (patient, user, speaker, session, …), ten values at least, each for two records and
    more. More than a fifth of the held-out records are of a group that is trained on, and neighbours within a group
    agree (or correlate) by 0.1 and by five standard errors more than chance. Nothing is said where ``data.group`` or
    another manner than a random split is chosen.
    """
    return Rule(
        "groups_across_parts",
        check,
        sick=lambda: patient(Facts(data=DataFacts(group=Kin("patient_id", 80, 0.95, 0.93, 0.52, 0.02)))),
        healthy=lambda: patient(Facts(data=DataFacts(group=Kin("speaker", 60, 1.0, 0.11, 0.1, 0.02)))),
    )
