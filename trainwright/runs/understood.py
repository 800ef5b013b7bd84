"""A recipe and changes to it in our own words, whatever words they were written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainwright.core.config import RunConfig, patched
from trainwright.core.kinds import KINDS, models
from trainwright.core.schema import options
from trainwright.core.translate import SECTIONS, translated, translated_within

_KEYS = frozenset(RunConfig.model_fields)


def understood(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The recipe with the changes, every key as it is called here, and a line for each that was not.

    A change counts more than what the recipe says, whatever either is called.
    """
    base, said = translated(raw, _KEYS)
    whole = _put({}, base)
    for section in SECTIONS:
        if isinstance(whole.get(section), Mapping):
            whole[section], more = translated_within(whole[section], section, _named(whole, section), _has)
            said += more
    meant, more = in_our_words(changes, whole)
    return _put(whole, meant), [*said, *more]


def in_our_words(changes: Mapping[str, Any], whole: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Dotted changes to a recipe that is in our words already."""
    meant, said = translated(changes, _KEYS, whole.get("batch_size"))
    after = _put(whole, {k: v for k, v in meant.items() if k in SECTIONS or k.endswith((".name", ".source"))})
    out: dict[str, Any] = {}
    for key, value in meant.items():
        section, _, option = key.partition(".")
        if section not in SECTIONS or not option or "." in option:
            inner, more = {key: value}, list[str]()
        else:
            spec, more = translated_within({option: value}, section, _named(after, section), _has)
            inner = {f"{section}.{ours}": v for ours, v in spec.items()}
        out |= inner
        said += more
    return out, said


def _put(whole: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Whole sections first, so that a dotted key is never lost."""
    return patched(whole, dict(sorted(settings.items(), key=lambda item: item[0].count("."))))


def _named(whole: Mapping[str, Any], section: str) -> str:
    """What a section specifies, by its name or by itself."""
    spec = whole.get(section)
    given = spec.get("source" if section == "data" else "name") if isinstance(spec, Mapping) else spec
    if isinstance(given, str):
        return given
    default = RunConfig.model_fields[section].get_default(call_default_factory=True)
    if isinstance(default, Mapping) and "name" in default:
        return str(default["name"])
    return models.default_for(_named(whole, "task")) or "" if section == "model" else ""


def _has(section: str, name: str, option: str) -> bool:
    """Whether what a section names has an option."""
    if section == "data":
        from trainwright.data.split import split_options

        if option in options(split_options):
            return True
    registry = KINDS["source" if section == "data" else section]
    return name in registry and option in options(registry[name])
