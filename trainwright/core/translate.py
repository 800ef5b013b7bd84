"""Keys that other training systems use become ours, and one line is said for each; what contradicts is an error."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from trainwright.core.aliases import ALIASES, GATHERED, REFUSED, VALUES, WITHIN, Alias
from trainwright.core.errors import UserError

Has = Callable[[str, str, str], bool]  # (section, name of what it specifies, option) -> whether that has the option
SECTIONS = ("task", "data", "model", "init", "optimizer", "schedule")


def translated(
    given: Mapping[str, Any], known: Collection[str], batch_size: Any = None
) -> tuple[dict[str, Any], list[str]]:
    """``given`` with every key at its top level that is somebody else's replaced, and what was said.

    What comes out may have dotted keys. Keys that nobody has stay for the check to refuse.

    Args:
        given: a recipe, or changes to one; dotted keys are left alone, but for the values of some.
        known: the keys of a recipe.
        batch_size: of the recipe that is changed, for what is counted in batches.

    Raises UserError for a name that has no counterpart, for a value that has none, and for two that contradict.
    """
    out: dict[str, Any] = {}
    whose: dict[str, str] = {}
    said: list[str] = []
    gathered = {name: value for name, value in given.items() if name in GATHERED}
    for name, value in given.items():
        if name not in gathered:
            _take(name, value, known, out, whose, said)
    for name, value in gathered.items():
        said.append(_gather(name, value, out, batch_size))
    for key in out:
        _apart(key, out, whose)
    return out, said


def translated_within(spec: Mapping[str, Any], section: str, name: str, has: Has) -> tuple[dict[str, Any], list[str]]:
    """One section of a recipe with the keys of others replaced, where what it names has ours and not theirs."""
    out: dict[str, Any] = {}
    said: list[str] = []
    name = str(_inner(f"{section}.name", name)[0])
    for option, given in spec.items():
        value, line = _inner(f"{section}.{option}", given)
        said += [line] if line else []
        alias = _within(section, option, name, has)
        if alias is None and option in REFUSED and not has(section, name, option):
            raise UserError(f"{section}.{option}", *REFUSED[option])
        ours = alias.key.partition(".")[2] if alias else option
        if ours in out or (alias and ours in spec):
            if (out[ours] if ours in out else spec[ours]) == value:
                continue
            raise UserError(f"{section}.{option}", f"contradicts {section}.{ours}", "write one of them")
        out[ours] = value
        if alias:
            said.append(f"{section}.{option} is called {alias.key} here" + (f"; {alias.note}" if alias.note else ""))
    return out, said


def _inner(key: str, value: Any) -> tuple[Any, str]:
    """A value of a section, or the name within its value, as it is written here; and a line where that differs."""
    if isinstance(value, Mapping) and f"{key}.name" in VALUES and "name" in value:
        meant, line = _inner(f"{key}.name", value["name"])
        return {**value, "name": meant}, line
    if key not in VALUES or isinstance(value, Mapping):
        return value, ""
    meant = _valued(key, VALUES[key], value)
    return meant, "" if meant == value else f"{key} = {value!r} is written {meant!r} here"


def _take(
    name: str, value: Any, known: Collection[str], out: dict[str, Any], whose: dict[str, str], said: list[str]
) -> None:
    """One key: ours, somebody's, or nobody's."""
    key, meant, line = name, value, ""
    if name in known or "." in name:
        meant = _valued(name, VALUES[name], value) if name in VALUES else value
        line = "" if meant == value else f"{name} = {value!r} is written {meant!r} here"
    elif name in REFUSED:
        raise UserError(name, *REFUSED[name])
    elif name in ALIASES:
        alias = ALIASES[name]
        key, meant = alias.key, value if alias.value is None else _valued(name, alias.value, value)
        line = _line(alias, value, meant)
        if meant is None:
            said.append(line)
            return
    if key in out and out[key] != meant:
        raise UserError(name, f"contradicts {whose[key]}: both say {key}", "write one of them")
    out[key], whose[key] = meant, name
    said += [line] if line else []


def _line(alias: Alias, value: Any, meant: Any) -> str:
    if meant is None:
        return f"{alias.name} = {_shown(value)} is what {alias.key} is by itself"
    ours = f"{alias.name} is called {alias.key} here"
    if type(meant) is not type(value) or meant != value:
        ours = f"{alias.name} = {_shown(value)} is {alias.key} = {_shown(meant)} here"
    return f"{ours}; {alias.note}" if alias.note else ours


def _gather(name: str, value: Any, out: dict[str, Any], batch_size: Any) -> str:
    """Batches added up before a step: a larger batch, computed in as many micro-batches."""
    size = out.get("batch_size", batch_size)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(name, f"{value!r} is not a number of batches", "write a whole number, such as 4")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        instead = "write batch_size, the samples of a step, and micro_batch, those computed at once"
        raise UserError(name, "multiplies a batch_size that the recipe does not give", instead)
    times = max(1, round(value / size)) if name == "nbs" else value
    if out.get("micro_batch", size) != size:
        raise UserError(name, "contradicts micro_batch", "write batch_size and micro_batch alone")
    if times == 1:
        return f"{name} = {value} adds nothing up: batch_size is the whole of an optimizer step here"
    out["batch_size"], out["micro_batch"] = size * times, size
    return f"{name} = {value} with batch_size = {size} is batch_size = {size * times}, micro_batch = {size} here"


def _apart(key: str, out: Mapping[str, Any], whose: Mapping[str, str]) -> None:
    """``optimizer.lr`` beside a section that says another; its name alone says nothing against it."""
    *path, last = key.split(".")
    here: Any = out.get(path[0]) if path else None
    for part in path[1:]:
        here = here.get(part) if isinstance(here, Mapping) else None
    if isinstance(here, Mapping) and last in here and here[last] != out[key]:
        raise UserError(whose[key], f"contradicts {key}, which is {here[last]!r}", "write one of them")


def _within(section: str, option: str, name: str, has: Has) -> Alias | None:
    if has(section, name, option):
        return None
    fitting = WITHIN.get(f"{section}.{option}", ())
    return next((a for a in fitting if has(section, name, a.key.partition(".")[2])), None)


def _valued(name: str, change: Callable[[Any], Any], value: Any) -> Any:
    try:
        return change(value)
    except ValueError as error:
        raise UserError(name, str(error)) from None


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
