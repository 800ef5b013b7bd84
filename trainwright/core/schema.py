"""The signature is the schema: one reading of a callable checks recipes and drives every form, table and help page."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.types import Strict

from trainwright.core.errors import UserError, did_you_mean


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword-only parameter, as a person should see it."""

    name: str
    type: str  # "float", "int or 'all'"
    default: Any
    required: bool
    range: str  # "0 ≤ x ≤ 1", or ""
    doc: str


def shape_of(target: Callable[..., Any], later: Collection[str] = ()) -> type[BaseModel]:
    """A pydantic model with one field per keyword-only parameter of ``target``, but for those given ``later``."""
    body = vars(target).get("__init__", target) if isinstance(target, type) else target
    hints = get_type_hints(body, include_extras=True)
    fields: dict[str, Any] = {}
    for p in inspect.signature(target).parameters.values():
        if p.kind is p.KEYWORD_ONLY and p.name not in later:
            fields[p.name] = (_lenient(hints.get(p.name, Any)), ... if p.default is p.empty else p.default)
    name = getattr(target, "__name__", "options")
    config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )
    return create_model(name, __config__=config, **fields)


def check(
    target: Callable[..., Any], given: Mapping[str, Any], where: str, later: Collection[str] = ()
) -> dict[str, Any]:
    """``given`` completed with every default; UserError unless ``target(**given)`` is a legal call.

    Options named in ``later`` are the caller's to add.
    """
    return validate(shape_of(target, later), given, where)


def required(target: Callable[..., Any]) -> list[str]:
    """The options of ``target`` that have no default."""
    return [name for name, field in shape_of(target).model_fields.items() if field.is_required()]


def validate(shape: type[BaseModel], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``given`` checked against a pydantic model, complete, with the model's messages turned into ours."""
    try:
        whole = shape.model_validate(dict(given))
    except ValidationError as error:
        raise _explained(error, shape, where) from None
    return {name: getattr(whole, name) for name in shape.model_fields}


def options(target: Callable[..., Any]) -> dict[str, Option]:
    """Every option of ``target`` in the order of its signature."""
    return options_of(shape_of(target), described(inspect.getdoc(target) or ""))


def options_of(shape: type[BaseModel], docs: Mapping[str, str]) -> dict[str, Option]:
    """Every field of a pydantic model, with its description or the one in ``docs``."""
    return {
        name: Option(
            name=name,
            type=type_text(field.annotation),
            default=None if field.is_required() else field.get_default(call_default_factory=True),
            required=field.is_required(),
            range=_range_text(field),
            doc=field.description or docs.get(name, ""),
        )
        for name, field in shape.model_fields.items()
    }


def json_schema(target: Callable[..., Any]) -> dict[str, Any]:
    """JSON Schema of the options of ``target``."""
    return shape_of(target).model_json_schema()


def described(doc: str) -> dict[str, str]:
    """The ``Args:`` part of a docstring, name by name."""
    part = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc + "\n", re.MULTILINE)
    if not part:
        return {}
    lines = inspect.cleandoc(part.group(1)).splitlines()
    out: dict[str, str] = {}
    last = ""
    for line in lines:
        start = re.match(r"^(\w+): *(.*)$", line)
        if start:
            last = start.group(1)
            out[last] = start.group(2)
        elif last and line.strip():
            out[last] += " " + line.strip()
    return out


def summary(doc: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(doc or "").split("\n\n")[0].split())


def source(doc: str | None) -> str:
    """What stands after ``Source:`` in a docstring."""
    found = re.search(r"^Source: *((?:.+\n?)+)", inspect.cleandoc(doc or ""), re.MULTILINE)
    return " ".join(found.group(1).split()) if found else ""


def type_text(hint: Any) -> str:
    """A type as a person would say it: ``number``, ``one of 'a', 'b'``, ``list of numbers``."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_text(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(a) for a in args)
    if origin is Literal:
        return " or ".join(repr(a) for a in args)
    if origin in (tuple, list):
        inner = [a for a in args if a is not Ellipsis]
        return f"list of {type_text(inner[0])}" if len(set(inner)) == 1 else f"[{', '.join(map(type_text, inner))}]"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return "table"
    names = {
        float: "number",
        int: "whole number",
        str: "text",
        bool: "true or false",
        type(None): "none",
        dict: "table",
    }
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _lenient(hint: Any) -> Any:
    """Recipes have lists where Python has tuples; all else stays strict."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is tuple:
        return Annotated[hint, Strict(False)]
    if origin in (Union, types.UnionType):
        return Union[tuple(_lenient(a) for a in args)]  # noqa: UP007 - built at run time
    if origin is Annotated and get_origin(args[0]) is tuple:
        return Annotated[(hint, Strict(False))]
    return hint


def _range_text(field: FieldInfo) -> str:
    """``0 ≤ x < 1``; of the numbers of a list, ``each 0 ≤ x < 1``."""
    own = _bounds(_notes(field.annotation, field.metadata))
    return own or " ".join(["each", *inner] if (inner := [t for t in _inner(field.annotation) if t][:1]) else [])


def _inner(hint: Any) -> Iterator[str]:
    """The ranges of the elements of a list, or of a list that a union allows."""
    for arg in get_args(hint):
        if get_origin(hint) in (tuple, list) and get_origin(arg) is Annotated:
            yield _bounds(_notes(None, arg.__metadata__))
        elif arg is not Ellipsis:
            yield from _inner(arg)


def _bounds(notes: Iterable[Any]) -> str:
    low = high = ""
    for note in notes:
        for key, sign in (("ge", "≤"), ("gt", "<")):
            if (value := getattr(note, key, None)) is not None:
                low = f"{value:g} {sign} "
        for key, sign in (("le", "≤"), ("lt", "<")):
            if (value := getattr(note, key, None)) is not None:
                high = f" {sign} {value:g}"
    return f"{low}x{high}" if low or high else ""


def _notes(hint: Any, metadata: Iterable[Any]) -> list[Any]:
    """Every bound of a type: its own, and those within a union."""
    notes = [n for m in metadata for n in (m, *getattr(m, "metadata", ()))]
    for arg in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ():
        if get_origin(arg) is Annotated:
            notes += _notes(None, arg.__metadata__)
    return notes


def _explained(error: ValidationError, shape: type[BaseModel], where: str) -> UserError:
    """The first mistake in our words; others follow on lines of their own."""
    messages: dict[str, tuple[str, str]] = {}
    for e in error.errors(include_url=False, include_context=True):
        key = str(e["loc"][0]) if e["loc"] else ""
        place = ".".join(p for p in (where, key) if p)
        messages.setdefault(place, _sentence(e, key, shape))
    (first, (what, instead)), *others = messages.items()
    for place, (w, i) in others:
        instead += f"\n{place}: {w}" + (f"; {i}" if i else "")
    return UserError(first, what, instead)


def _sentence(e: Any, key: str, shape: type[BaseModel]) -> tuple[str, str]:
    if e["type"] == "extra_forbidden":
        return "unknown option", did_you_mean(key, shape.model_fields)
    field = shape.model_fields.get(key)
    expected = type_text(field.annotation) if field else "something else"
    span = _range_text(field) if field else ""
    if e["type"] == "missing":
        return "required, but missing", f"give {expected}" + (f" ({span})" if span else "")
    if e["type"] == "value_error":
        return str(e["ctx"]["error"]), ""
    inner = [str(p) for p in e["loc"][1:] if isinstance(p, int)]
    shown = repr(e["input"]) + (f" (at position {inner[0]})" if inner else "")
    if span and e["type"].startswith(("greater", "less")):
        return f"{shown} is out of range", f"write a {expected} with {span}"
    hint = ""
    if isinstance(e["input"], str) and expected in ("number", "whole number"):
        try:
            hint = f": {float(e['input']):g} without quotes"
        except ValueError:
            hint = ""
    return f"{shown} is not valid", f"write {expected}{hint}" + (f" with {span}" if span else "")
