"""What a finding proposes, as changes of a run's configuration, and whether a person must agree to them first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainwright.core.config import RunConfig
from trainwright.core.finding import Advice, Edit, Finding, Patch
from trainwright.core.kinds import repairs
from trainwright.core.redaction import redacted
from trainwright.runs.causes import taken_away

_MINE = ("task", "data", "model", "freeze", "unfreeze", "rates", "budget")  # what a person designed
_COSTS = ("budget",)  # more of it is no repair, unless it was so short that nothing can be learned
_SHORT = "stopped_early"  # the rule that says so
_LIVE = ("optimizer.lr", "optimizer.weight_decay", "schedule", "clip", "clip_value", "l1", "l2")  # weights stay useful


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change that can be made without a person."""

    what: str  # in words
    keys: Mapping[str, Any]  # dotted -> value, of the configuration; ``repairs`` with those that were there before
    consent: bool  # it changes what a person designed
    anew: bool  # only a training from the start tells
    cause: str = ""  # the rule whose cause it takes away; "" where it is of no single one


def remedies(finding: Finding, config: RunConfig) -> list[Remedy]:
    """Those of a finding that can be made and change something, the likeliest first; advice is a person's to follow."""
    longer = finding.rule == _SHORT and finding.severity != "note"
    return list({str(sorted(r.keys.items(), key=str)): r for r in _each(finding.fixes, config, longer)}.values())


def _each(fixes: tuple[Patch | Edit | Advice, ...], config: RunConfig, longer: bool) -> Iterator[Remedy]:
    now = config.model_dump()
    new: tuple[Mapping[str, Any], ...]
    for fix in fixes:
        match fix:
            case Patch():
                keys, new = _news(fix.changes, now), ()
                what = written(keys, config)
            case Edit():
                keys, new = _news(fix.keys, now), tuple(r for r in fix.repairs if not _made(r, config))
                what = f"{fix.what} ({written(keys, config)})" if "task.loss" in keys else fix.what
            case _:
                continue
        if not (keys or new) or (not longer and any(key in _COSTS for key in keys)):
            continue
        consent = _designed(keys) or any(bool(repairs.tags(r["name"]).get("consent", True)) for r in new)
        more: dict[str, Any] = {"repairs": [*config.repairs, *map(dict, new)]} if new else {}
        cause = taken_away(keys, new, _at("optimizer.lr", now))
        yield Remedy(what, {**keys, **more}, consent, bool(new) or not _live(keys), cause)


def _news(keys: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are another than they are now."""
    return {key: value for key, value in keys.items() if _at(key, now) != value}


def _at(key: str, now: Mapping[str, Any]) -> Any:
    here: Any = now
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _made(repair: Mapping[str, Any], config: RunConfig) -> bool:
    """Whether it is there already, with these options."""
    return any(all(old.get(k) == v for k, v in repair.items()) for old in config.repairs)


def written(keys: Mapping[str, Any], config: RunConfig) -> str:
    """``optimizer.lr: 3 -> 0.3``, as it reads in a log."""
    return redacted(", ".join(_change(key, value, config) for key, value in keys.items()))


def _change(key: str, value: Any, config: RunConfig) -> str:
    now = _at(key, config.model_dump())
    before = "" if now is None or isinstance(now, Mapping) else f"{_said(now)} -> "
    return f"{key}: {before}{_said(value)}"


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = ", ".join(f"{k} {_said(v)}" for k, v in value.items() if k != "name")
        return f"{value.get('name', '')}{f' ({rest})' if rest else ''}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _designed(keys: Mapping[str, Any]) -> bool:
    return any(key.partition(".")[0] in _MINE for key in keys)


def _live(keys: Mapping[str, Any]) -> bool:
    return all(key in _LIVE for key in keys)
