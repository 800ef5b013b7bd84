"""The secrets of a recipe: which values they are, and the recipe without them, as files of a run hold it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainwright.core.errors import UserError
from trainwright.core.kinds import KINDS
from trainwright.core.redaction import HIDDEN, Hide, secrets_of, without_secrets
from trainwright.core.redaction import hiding as hiding_known


def safe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with `HIDDEN` in the place of every secret."""
    return {key: without_secrets(value, _named(key, value)) for key, value in recipe.items()}


def hiding(recipe: Mapping[str, Any]) -> Hide:
    """What keeps the secrets of this recipe, and of the environment, out of a text."""
    return hiding_known(value for _, value in _secrets(recipe))


def must_be_given(recipe: Mapping[str, Any], where: str) -> None:
    """UserError where a recipe that was read from a run's files lacks a secret that nobody gave again."""
    for key, value in _secrets(recipe):
        if HIDDEN in value:
            what = f"is a secret, which no file of a run holds, so {where} does not have it"
            raise UserError(key, what, f"give it again: {key}=…")


def hidden_keys(recipe: Mapping[str, Any]) -> set[str]:
    """The dotted keys of the secrets that the files of a run lack."""
    return {key for key, value in _secrets(recipe) if HIDDEN in value}


def _secrets(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in recipe.items():
        yield from secrets_of(value, key, _named(key, value))


def _named(section: str, spec: Any) -> bool:
    """Whether names within a section tell secrets: in ours they are columns and weights at most, never secrets."""
    kind = {"data": "source", "metrics": "metric", "observers": "observer"}.get(section, section)
    if kind not in KINDS:
        return False
    many = list(spec.values()) if section == "metrics" and isinstance(spec, Mapping) else spec
    specs = many if isinstance(many, list | tuple) else [many]
    names = [s.get("source" if section == "data" else "name") for s in specs if isinstance(s, Mapping)]
    return not all(_ours(kind, name) for name in names)


def _ours(kind: str, name: Any) -> bool:
    registry = KINDS[kind]
    return isinstance(name, str) and name in registry and registry[name].__module__.startswith("trainwright.")
