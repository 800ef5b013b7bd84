"""What a person typed: settings, run folders, files to write; each checked before any work is done."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from datetime import time as dtime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from trainwright.core.errors import UserError

_SHORT = {"epochs": "budget", "lr": "optimizer.lr"}  # everyday names, also as key=value


def settings_of(assignments: Sequence[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values of ``key=value`` texts and flags; a key given twice must say the same."""
    out: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    for text in assignments:
        key, sign, value = text.partition("=")
        key = key.strip().strip("\"'")
        if not sign or not key:
            raise UserError(text, "is not a setting", "write key=value, such as optimizer.lr=3e-4")
        meant = value_of(value, key)
        if key == "epochs" and isinstance(meant, int | float) and not isinstance(meant, bool):
            meant = in_epochs(meant)
        key = _SHORT.get(key, key)
        if key in out and out[key] != meant:
            raise UserError(key, f"is set twice, to {out[key]!r} and to {meant!r}", "set it once")
        out[key] = meant
    return out


def value_of(text: str, key: str) -> Any:
    """A TOML value; a bare word is text, and so is what TOML would read as a date."""
    text = text.strip()
    try:
        read = tomllib.loads(f"x = {text}\n")
        if read.keys() == {"x"} and not isinstance(read["x"], date | dtime):
            return _without_dates(read["x"])
    except ValueError as error:
        if text[:1] in ("[", "{", '"', "'"):
            raise UserError(key, f"{text} is not a TOML value: {error}", 'write [32, 64], {a = 1} or "text"') from None
        with contextlib.suppress(ValueError):
            return float(text) if text.lstrip("+-")[:1] == "." or text.endswith(".") else text  # .5 and 5.
    return text


def _without_dates(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_dates(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_dates(v) for v in value]
    return str(value) if isinstance(value, date | dtime) else value


def in_epochs(amount: float) -> str:
    """A budget: ``20 epochs``."""
    return f"{int(amount) if amount == amount // 1 else amount} epochs"


def run_folder(text: str) -> Path:
    """The folder of a run; where there is none, what a run folder is, and which are near."""
    folder = Path(text).expanduser()
    if (folder / "manifest.json").is_file():
        return folder
    if (folder / "study.json").is_file():  # as runs.directory has it, which loads torch
        instead = f"go on with it: trainwright tune {text}; the best of it, trained again, is {folder / 'best'}"
        raise UserError(text, "holds a search", instead)
    if (folder / "folds.json").is_file():
        instead = f"go on with it: trainwright crossval {text}; its runs are {folder / 'fold-1'} and so on"
        raise UserError(text, "holds a cross-validation", instead)
    around = [
        p for f in dict.fromkeys((folder, folder.parent, Path("runs"))) if f.is_dir() for p in sorted(f.iterdir())
    ]
    there = list(dict.fromkeys(str(p) for p in around if (p / "manifest.json").is_file()))
    near = get_close_matches(str(folder), there, 3, cutoff=0.5) or there[-3:]
    what = "is not the folder of a run" if folder.exists() else "does not exist"
    meant = f"; did you mean {' or '.join(near)}?" if near else "; there are none here yet"
    raise UserError(text, what, f"name a folder made by `trainwright train` (it holds manifest.json){meant}")


def new_file(out: str) -> Path:
    """Where answers go, checked before any work is done."""
    target = Path(out).expanduser()
    if target.suffix not in (".csv", ".jsonl"):
        raise UserError("--out", f"'{out}' has no known suffix", "write a name that ends in .csv or .jsonl")
    if target.exists():
        raise UserError("--out", f"'{out}' exists", "choose another name; nothing was overwritten")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise UserError("--out", f"the folder of '{out}' is not there or cannot be written", "choose another place")
    return target


def healing(heal: bool, yes: bool) -> dict[str, Any]:
    """What --heal and --yes set."""
    return {"doctor.mode": "heal" if heal else None, "doctor.yes": True if yes else None}


def in_all(processes: int | None, nodes: int) -> int | None:
    """What --processes and --nodes set: the processes of all machines; None leaves that to the recipe."""
    if nodes > 1:  # before torch is loaded: what its sockets say of a link that is cut is told in our words
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if processes is None:
        return None
    if processes < 1:
        raise UserError("--processes", f"{processes} processes are none", "write how many there shall be, such as 2")
    if "RANK" in os.environ:
        raise UserError("--processes", "is said by torchrun, which started this process", "leave it out")
    return processes * max(nodes, 1)


def started_again() -> bool:
    """Whether torchrun started this process in the place of one that was lost."""
    return "RANK" in os.environ and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def recipe_first(asked: list[str], config: str | None, *, resuming: bool) -> tuple[str, tuple[str, ...]]:
    """The recipe, and the settings behind it; a run that is resumed has its own recipe."""
    first = asked[0] if asked and ("=" not in asked[0] or Path(asked[0]).exists()) else None
    if resuming:
        if first is not None or config is not None:
            raise UserError(first or str(config), "a run goes on with its own recipe", "leave the recipe out")
        return "", tuple(asked)
    if config is not None:
        if first is not None:
            raise UserError(first, "and --config both name a recipe", "name one of them")
        return config, tuple(asked)
    if first is None and asked:
        raise UserError(
            asked[0], "is a setting, not a recipe", "write the recipe first: trainwright train digits lr=0.01"
        )
    if first is None:
        raise click.UsageError("Missing argument 'RECIPE|NAME'.", click.get_current_context())
    return first, tuple(asked[1:])


def alone(given: int | None, other: str, instead: str, flag: str = "--seeds") -> None:
    """UserError where the flag is given."""
    if given is not None:
        raise UserError(flag, f"does not go together with {other}", instead)
