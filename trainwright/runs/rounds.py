"""What is tried against a finding, in which order: what it proposes, what usually helps, everything at once, longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trainwright.core.config import RunConfig
from trainwright.core.events import View
from trainwright.core.facts import Facts
from trainwright.core.finding import Edit, Evidence, Finding, Patch
from trainwright.rules.reading import failing, rate_of, rounded
from trainwright.rules.remedies import general, together, usual
from trainwright.runs.remedy import Remedy, remedies
from trainwright.runs.trials import MOST

_WEAK = ("below_linear", "not_finite_steps")  # rules after which the usual settings are tried as well
_USUAL = "usual settings"  # in the place of a rule: they were tried
_LONGER = 2  # times, where the first trials decided nothing
_MANY = 8  # that are tried at once, where it may be several things
_FACTORS = (3.0, 1 / 3, 10.0)  # of the rate


class Round(NamedTuple):
    """One trial."""

    fixes: list[Remedy]
    longer: int  # times as long as usual
    most: int = MOST  # fixes


def rounds(
    finding: Finding, others: Sequence[Finding], evidence: Evidence, config: RunConfig, considered: list[str]
) -> Iterator[Round]:
    """First what the finding proposes.

    Where nothing is learned and that does not help, what usually does, with what all findings propose at once: it may
    be several things that are wrong, and then no single change shows. Then once more for longer.

    Args:
        finding: what is treated.
        others: all that was found in this attempt, it included.
        evidence: of the run.
        config: as it is now.
        considered: rules whose fixes were tried; that the usual settings were is added to it.
    """
    fixes = remedies(finding, config)
    if fixes:
        yield Round(fixes, 1)
    weak = failing(evidence) is not None or finding.rule in (*_WEAK, "stopped_early")
    if not weak or _USUAL in considered:
        return
    considered.append(_USUAL)
    known = {fix.what for fix in fixes}
    whole = [r for r in _whole(evidence.facts, [finding, *others], config) if r.what not in known]
    usual_ones = _made(general(evidence), config)
    more = [r for r in usual_ones if r.what not in known]
    if whole or more:
        yield Round([*more[-2:], *whole, *more[:-2]], 1, _MANY)
    yield Round([*more[-2:], *whole, *fixes, *more[:-2]], _LONGER)


def in_doubt(view: View, considered: Sequence[str]) -> bool:
    """Whether a training that is over learned nothing, and the usual settings were not tried."""
    facts = view.examined.facts if view.examined else None
    return facts is not None and _USUAL not in considered and failing(Evidence(view, facts, True)) is not None


def after_repair(others: Sequence[Finding], evidence: Evidence, config: RunConfig) -> list[Remedy]:
    """What is worth a trial for a run that was repaired: other rates, the usual settings, and what was only noted.

    The repair that won a short trial is the first that helped, not the best there is.
    """
    facts, rate = evidence.facts, rate_of(evidence)
    rates = [Patch({"optimizer.lr": rounded(rate * f)}) for f in _FACTORS] if rate > 0 else []
    found = together(facts, others)
    single = [*found] if len(found) > 1 else []
    whole = [_at_once(found)] if found else []
    return _made([*whole, *usual(facts, found), *(usual(facts) if found else ()), *rates, *single], config)


def _whole(facts: Facts, findings: Sequence[Finding], config: RunConfig) -> list[Remedy]:
    """Everything that is found, at once, with the usual settings."""
    found = together(facts, findings)
    return _made(usual(facts, found), config) if found else []


def _at_once(found: Sequence[Edit | Patch]) -> Edit:
    keys: dict[str, Any] = {}
    repairs: list[Mapping[str, Any]] = []
    for fix in found:
        keys |= fix.keys if isinstance(fix, Edit) else fix.changes
        repairs += fix.repairs if isinstance(fix, Edit) else ()
    words = ", and ".join(fix.what for fix in found if isinstance(fix, Edit))
    return Edit(words or "a longer budget", tuple(repairs), keys)


def _made(fixes: Sequence[Any], config: RunConfig) -> list[Remedy]:
    """As changes of this configuration; a budget is among them only where a finding says that it is too short."""
    return remedies(Finding("stopped_early", "warning", "", fixes=tuple(fixes)), config)
