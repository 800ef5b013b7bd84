"""The range of a key that is only named, as the signature behind it says: a `Span`, all its names, or both its ends."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from trainwright.core.config import RunConfig
from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.kinds import KINDS, sources
from trainwright.core.schema import shape_of
from trainwright.core.span import Span
from trainwright.runs.recipe import Recipe

_SECTIONS = ("task", "model", "init", "optimizer", "schedule", "step")
_NEAR = 0.01  # of a range, that an end which is excluded is kept away from


def suggested(key: str, recipe: Recipe, names: Sequence[str]) -> dict[str, Any]:
    """``{"low", "high", "log"}`` or ``{"choices"}`` of a key; UserError where its signature suggests nothing.

    Args:
        key: dotted.
        recipe: says what its section names.
        names: that its section may have, where they are searched.
    """
    hint = _hint(key, recipe, names)
    if span := next((m for m in _metadata(hint) if isinstance(m, Span)), None):
        whole = int in set(_plain(hint)) and float not in set(_plain(hint))
        low, high = (int(span.low), int(span.high)) if whole else (float(span.low), float(span.high))
        return {"low": low, "high": high, "log": span.log}
    kinds = set(_plain(hint))
    if kinds == {bool}:
        return {"choices": (False, True)}
    if choices := _choices(hint):
        return {"choices": tuple(choices)}
    ends = _ends(hint, int in kinds and float not in kinds) if kinds & {int, float} else None
    if ends is None:
        raise UserError(key, "its signature suggests no range", f"write one: --space {key}=LOW..HIGH, or {key}=A,B")
    return {"low": ends[0], "high": ends[1]}


def fractional(key: str, recipe: Recipe, names: Sequence[str]) -> bool:
    """Whether the option of a key takes numbers that are not whole."""
    try:
        kinds = set(_plain(_hint(key, recipe, names)))
    except UserError:  # of a table within a section: what it takes is told where it is read
        return False
    return float in kinds and int not in kinds


def _hint(key: str, recipe: Recipe, names: Sequence[str]) -> Any:
    """The type of a key with its notes."""
    top, _, rest = key.partition(".")
    if not rest:
        if top not in RunConfig.model_fields:
            raise UserError(key, "is no key of a recipe", did_you_mean(key, RunConfig.model_fields))
        field = RunConfig.model_fields[top]
        return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    if rest == "name" and top in _SECTIONS:
        known = f"such as {key}={','.join(KINDS[top].names()[:2])}"
        raise UserError(key, "has too many names to try them all", f"name some, {known}")
    if top not in (*_SECTIONS, "data"):
        raise UserError(key, "its signature suggests no range", f"write one: --space {key}=LOW..HIGH")
    if top == "task" and rest.startswith("loss."):
        return _noted(key, _loss(recipe), KINDS["loss"], rest.partition(".")[2])
    chosen = list(names) or [getattr(recipe.config, top)["source" if top == "data" else "name"]]
    registry: Any = sources if top == "data" else KINDS[top]
    return _noted(key, chosen, registry, rest)


def _noted(key: str, chosen: Sequence[str], registry: Any, option: str) -> Any:
    fields = {n: f for c in chosen if c in registry for n, f in shape_of(registry[c]).model_fields.items()}
    if option not in fields:
        raise UserError(key, f"unknown option of {', '.join(chosen)}", did_you_mean(option, fields))
    field = fields[option]
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _loss(recipe: Recipe) -> list[str]:
    """The name of the task's loss, where it has one."""
    told = recipe.task.get("loss")
    name = told.get("name") if isinstance(told, Mapping) else told
    return [name] if isinstance(name, str) else []


def _metadata(hint: Any) -> Iterator[Any]:
    """Every note beside a type, and beside the members of a union."""
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        yield from (n for m in notes for n in (m, *getattr(m, "metadata", ())))
        yield from _metadata(inner)
    elif get_origin(hint) in (Union, types.UnionType):
        for arg in get_args(hint):
            yield from _metadata(arg)


def _plain(hint: Any) -> Iterator[Any]:
    """The types a value may have, those with a range first."""
    if get_origin(hint) is Annotated:
        yield from _plain(get_args(hint)[0])
    elif get_origin(hint) in (Union, types.UnionType):
        for arg in get_args(hint):
            yield from _plain(arg)
    elif inspect.isclass(hint):
        yield hint


def _choices(hint: Any) -> list[Any]:
    if get_origin(hint) is Annotated:
        return _choices(get_args(hint)[0])
    return list(get_args(hint)) if get_origin(hint) is Literal and len(get_args(hint)) > 1 else []


def _ends(hint: Any, whole: bool) -> tuple[float | int, float | int] | None:
    """Both ends of a number, an excluded one moved inwards; None where one is missing."""
    bounds: Mapping[str, float] = {
        name: float(value)
        for note in _metadata(hint)
        for name in ("ge", "gt", "le", "lt")
        if (value := getattr(note, name, None)) is not None
    }
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is None or high is None:
        return None
    apart = 1.0 if whole else (high - low) * _NEAR
    low, high = low + apart * ("gt" in bounds), high - apart * ("lt" in bounds)
    return (int(low), int(high)) if whole else (low, high)
