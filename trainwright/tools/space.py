"""What a search looks through: dotted keys of a recipe with their ranges, checked against the recipe."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trainwright.core.config import patched
from trainwright.core.errors import UserError
from trainwright.core.kinds import KINDS
from trainwright.core.schema import options
from trainwright.data.split import split_options
from trainwright.runs.recipe import Recipe, read
from trainwright.tools.spans import fractional, suggested

_HOW = "write it as key=1e-5..1e-1:log, key=2..6, or key=adamw,sgd"
_RANGE = re.compile(r"\s*(?P<low>[^.,\s][^,\s]*?)\s*\.\.\s*(?P<high>[^,\s:]+)\s*(?P<more>(:[^:,]*)*)\s*")
_AUTO = "auto"
_NAMED = ("task", "model", "init", "optimizer", "schedule", "step")  # sections with a name
# a search that moved these would compare scores that cannot be compared, or choose by the test part
_NEVER = {
    "format": "", "name": "", "plugins": "", "tune": "", "score": "", "observers": "", "metrics": "", "device": "",
    "monitor": "it says what is sought", "doctor": "", "ranks": "", "parallel": "", "init_from": "",
    "seed": "it divides the data, so scores could not be compared; train --seeds tells what it matters",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Range:
    """The values of one key: those between two ends, or one of a few."""

    key: str
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None
    points: int | None = None  # for a grid
    choices: tuple[Any, ...] | None = None

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be legal for all to be."""
        return self.choices if self.choices is not None else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of its."""
        if self.choices is not None:
            return any(value == c and type(value) is type(c) for c in self.choices)
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        assert self.low is not None
        assert self.high is not None
        near = self.step is None or math.isclose((value - self.low) / self.step % 1, 0, abs_tol=1e-9)
        return self.low <= value <= self.high and near

    def grid(self) -> list[Any]:
        """Every value; UserError where there are too many to count."""
        if self.choices is not None:
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.points is not None:
            return _spaced(self, self.points)
        if self.step is None and not self.whole:
            instead = f"write its values, {self.key}=1,2,3, or how many there are: {text_of(self)}:points=5"
            raise UserError(self.key, "has no end of values, and a grid needs some", instead)
        step = self.step or 1
        return [self.low + i * step for i in range(int((self.high - self.low) / step + 1e-9) + 1)]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {k: v for k, v in asdict(self).items() if v is not None and v is not False}


Space = dict[str, Range]


def text_of(span: Range) -> str:
    """A range as a person writes it."""
    if span.choices is not None:
        return f"{span.key}={','.join(c if isinstance(c, str) else json.dumps(c) for c in span.choices)}"
    more = [":log"] if span.log else []
    more += [f":step={span.step:g}"] if span.step is not None else []
    return f"{span.key}={span.low:g}..{span.high:g}{''.join(more)}"


def asked_space(texts: Sequence[str], table: Mapping[str, Any] | None, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and their unread ranges: those of the command line, else of the recipe's table ``[tune.space]``.

    Raises UserError for a key that stands twice, or is set by the same command.
    """
    asked: dict[str, Any] = {}
    for text in texts:
        key, sign, span = text.partition("=")
        key = key.strip()
        if not key or (sign and not span.strip()):
            raise UserError(f"--space {text}", "names no key and range", _HOW)
        if key in asked:
            raise UserError(key, "is searched twice", "name one range for it")
        asked[key] = span.strip() if sign else _AUTO
    asked = asked or dict(_flat(table or {}))
    if not asked:
        instead = "name what to search: --space optimizer.lr=1e-5..1e-1:log, or a table [tune.space] in the recipe"
        raise UserError("space", "is empty, so there is nothing to search", instead)
    for key in asked:
        if held := next((k for k in fixed if _same(k, key)), None):
            raise UserError(key, f"is searched, and {held} is set by the same command", "leave one of them out")
    return asked


def ends(key: str, texts: Sequence[str]) -> tuple[float, float]:
    """The two ends of the one range that is written for a key; UserError for anything else."""
    asked = asked_space(texts, None, {})
    if list(asked) != [key] or not (found := _RANGE.fullmatch(asked[key])):
        raise UserError("--space", f"is the range of {key} here", f"write --space {key}=1e-7..10, or leave it out")
    span = _between(key, asked[key], found)
    assert span.low is not None
    assert span.high is not None
    return float(span.low), float(span.high)


def read_space(asked: Mapping[str, Any], recipe: Recipe, source: Mapping[str, Any]) -> Space:
    """Every range, legal for the recipe; names (``optimizer.name``) first.

    Args:
        asked: keys and texts, lists or tables.
        recipe: it belongs to.
        source: the same recipe as it was given.
    """
    order = sorted(asked, key=lambda k: (not k.endswith(".name"), list(asked).index(k)))
    space: Space = {}
    for key in order:
        _may(key, recipe)
        space[key] = _typed(_range(key, asked[key], recipe, space), recipe, space)
        _legal(space[key], space, source)
    return space


def changes_of(space: Space, values: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial with these values changes in its recipe.

    Where a name is searched, the recipe's other options of that section are kept where the named thing has them.
    """
    sections: dict[str, Any] = {}
    for key, value in values.items():
        section, _, option = key.partition(".")
        if option == "name" and section in _NAMED:
            known, given = options(KINDS[section][value]), recipe.get(section)
            kept = {k: v for k, v in given.items() if k in known} if isinstance(given, Mapping) else {}
            sections[section] = {**kept, "name": value}
    within = {k: v for k, v in values.items() if k.partition(".")[0] in sections and not k.endswith(".name")}
    others = {k: v for k, v in values.items() if k.partition(".")[0] not in sections}
    return {**patched(sections, within), **others}


def applies(key: str, space: Space, values: Mapping[str, Any]) -> bool:
    """Whether what the values name has the option that the key is."""
    section, _, option = key.partition(".")
    name = values.get(f"{section}.name")
    if section not in _NAMED or option == "name" or f"{section}.name" not in space or name is None:
        return True
    return option.partition(".")[0] in options(KINDS[section][name])


def own_values(space: Space, recipe: Recipe) -> dict[str, Any] | None:
    """What the recipe itself says of the keys; None where it says something that is not searched."""
    whole, found = recipe.written(), dict[str, Any]()
    for key, span in space.items():
        value = _at(whole, key)
        if not applies(key, space, found):
            continue
        if not span.holds(value):
            return None
        found[key] = value
    return found


def _may(key: str, recipe: Recipe) -> None:
    """UserError for a key that must not be searched."""
    top, _, rest = key.partition(".")
    if top in _NEVER:
        what = "cannot be searched" + (f": {_NEVER[top]}" if _NEVER[top] else "")
        raise UserError(key, what, "leave it out")
    if top == "data" and (rest in options(split_options) or rest in ("source", "set", "path")):
        raise UserError(key, "cannot be searched: trials on other data could not be compared", "leave it out")
    if top == "task" and not rest.startswith(("loss", "augment")) and rest in ("target", "name", "ignore"):
        raise UserError(key, "cannot be searched: trials of other tasks could not be compared", "leave it out")


def _range(key: str, told: Any, recipe: Recipe, space: Space) -> Range:
    if isinstance(told, Mapping):
        return _of_table(key, told)
    if isinstance(told, list | tuple):
        return _choices(key, list(told))
    if not isinstance(told, str):
        raise UserError(key, f"{told!r} is no range", _HOW)
    if told == _AUTO:
        return Range(key, **suggested(key, recipe, _names(key, space)))
    if found := _RANGE.fullmatch(told):
        return _between(key, told, found)
    return _choices(key, _listed(key, told))


def _typed(span: Range, recipe: Recipe, space: Space) -> Range:
    """``0..1`` of an option that takes fractions has all of them between its ends, not two values."""
    if span.choices is not None or not span.whole or not fractional(span.key, recipe, _names(span.key, space)):
        return span
    assert span.low is not None
    assert span.high is not None
    return replace(span, low=float(span.low), high=float(span.high))


def _between(key: str, told: str, found: re.Match[str]) -> Range:
    low, high = (_number(key, found[end]) for end in ("low", "high"))
    more: dict[str, Any] = {}
    for word in found["more"].split(":")[1:]:
        name, _, value = word.strip().partition("=")
        if name == "log" and not value:
            more["log"] = True
        elif name in ("step", "points") and value:
            more[name] = _number(key, value)
        else:
            raise UserError(key, f"'{word}' says nothing of the range {told}", "write :log, :step=0.1 or :points=5")
    return _checked(key, {"low": low, "high": high, **more})


def _of_table(key: str, told: Mapping[str, Any]) -> Range:
    known = ("low", "high", "log", "step", "points", "choices")
    if odd := [k for k in told if k not in known]:
        raise UserError(f"{key}.{odd[0]}", "unknown option of a range", f"write some of: {', '.join(known)}")
    if "choices" in told:
        return _choices(key, list(told["choices"]))
    for name in ("low", "high"):
        if not isinstance(told.get(name), int | float) or isinstance(told.get(name), bool):
            raise UserError(key, f"{name} is missing, or no number", "write { low = 1e-5, high = 1e-1, log = true }")
    return _checked(key, told)


def _checked(key: str, told: Mapping[str, Any]) -> Range:
    """UserError where nothing lies between the ends, or no logarithm is."""
    low, high, log, step = told["low"], told["high"], bool(told.get("log")), told.get("step")
    points = told.get("points")
    if isinstance(low, int) != isinstance(high, int) or isinstance(step, float):
        low, high = float(low), float(high)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(key, f"{low:g}..{high:g} has no end", "write two numbers")
    if not low < high:
        raise UserError(key, f"the range {low:g}..{high:g} is empty", "write the smaller end first")
    if log and low <= 0:
        what = f"the range {low:g}..{high:g} reaches 0 or below, where no logarithm is"
        raise UserError(key, what, "begin above 0, or leave :log out")
    if step is not None and (step <= 0 or step > high - low or log):
        what = f"step {step:g} does not fit the range {low:g}..{high:g}{' on a logarithmic scale' if log else ''}"
        raise UserError(key, what, "write a smaller step above 0, without :log")
    if points is not None and (not isinstance(points, int) or points < 2):
        raise UserError(key, f"{points} points are no grid", "write a whole number of 2 or more")
    return Range(key, low, high, log, step, points)


def _choices(key: str, values: list[Any]) -> Range:
    if len(values) < 2:
        told = f"{values[0]!r} alone is" if values else "nothing is"
        raise UserError(key, f"{told} no choice", f"{_HOW}; or set it: --set {key}=…")
    for i, value in enumerate(values):
        if any(value == v and type(value) is type(v) for v in values[:i]):
            raise UserError(key, f"names {value!r} twice", "name every choice once")
    return Range(key, choices=tuple(values))


def _listed(key: str, told: str) -> list[Any]:
    """``adamw,sgd``, ``32,64,128`` or ``[64,64],[128]`` as values."""
    try:
        found: list[Any] = tomllib.loads(f"x = [{told}]")["x"]
        return found
    except tomllib.TOMLDecodeError:
        if "[" in told or "{" in told:
            raise UserError(key, f"{told} is no list of TOML values", _HOW) from None
    return [_word(word.strip()) for word in told.split(",") if word.strip()]


def _word(word: str) -> Any:
    try:
        return tomllib.loads(f"x = {word}")["x"]
    except tomllib.TOMLDecodeError:
        return word


def _number(key: str, word: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(word.replace("_", ""))
        except ValueError:
            continue
    raise UserError(key, f"'{word}' is no number", _HOW)


def _legal(span: Range, space: Space, source: Mapping[str, Any]) -> None:
    """UserError unless the recipe can be read with the ends of the range, and with every choice."""
    section, _, option = span.key.partition(".")
    names = _names(span.key, space) if option != "name" else []
    able = [n for n in names if option.partition(".")[0] in options(KINDS[section][n])]
    if names and not able:
        raise UserError(span.key, f"is an option of none of {', '.join(names)}", "leave it out")
    for value in span.ends:
        if option == "name" and section in _NAMED and value not in KINDS[section]:
            read(source, {span.key: value})  # raises, and says what there is
        named = {f"{section}.name": able[0]} if able else {}
        read(source, changes_of(space, {**named, span.key: value}, source))


def _names(key: str, space: Space) -> list[str]:
    """The names that the section of a key may have, where they are searched."""
    span = space.get(f"{key.partition('.')[0]}.name")
    return [str(c) for c in span.choices or ()] if span else []


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``[tune.space] optimizer.lr = …`` is a table in a table; a range may be one too."""
    for key, value in table.items():
        if isinstance(value, Mapping) and not {"low", "high", "choices"} & set(value):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _same(one: str, other: str) -> bool:
    """Whether setting one sets the other."""
    return one == other or other.startswith(f"{one}.")


def _spaced(span: Range, count: int) -> list[Any]:
    low, high = float(span.low or 0), float(span.high or 0)
    if span.log:
        found = [low * (high / low) ** (i / (count - 1)) for i in range(count)]
    else:
        found = [low + (high - low) * i / (count - 1) for i in range(count)]
    return sorted({round(v) for v in found}) if span.whole else found


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
