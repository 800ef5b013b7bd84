"""A recipe as a person would write it: one key a line, sections inline, a comment where there is a reason."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainwright.core.errors import UserError

_WIDTH = 118


class Line(NamedTuple):
    """A key, its value, and a comment above it; a blank line goes before a comment."""

    key: str
    value: Any
    comment: str = ""


def written(lines: Sequence[Line], folder: Path) -> str:
    """The text; paths become relative to ``folder``, where the recipe will lie."""
    out: list[str] = []
    for line in lines:
        if line.comment:
            out += [""] if out else []
            out += [f"# {row}" for row in textwrap.wrap(line.comment, _WIDTH, break_long_words=False)]
        out.append(f"{_key(line.key)} = {inline(line.value, folder)}")
    return "\n".join(out) + "\n"


def free(out: str | Path) -> Path:
    """Where the recipe goes, checked before any work is done."""
    file = Path(out).expanduser()
    if file.suffix != ".toml":
        raise UserError("--out", f"'{out}' has another suffix", "write a name that ends in .toml")
    if os.path.lexists(file):
        raise UserError("--out", f"'{out}' exists", "choose another name with --out; nothing was overwritten")
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise UserError("--out", f"the folder of '{out}' is not there or cannot be written", "choose another place")
    return file


def inline(value: Any, folder: Path = Path()) -> str:
    """A value on one line."""
    match value:
        case Mapping():
            return (
                "{ " + ", ".join(f"{_key(k)} = {inline(v, folder)}" for k, v in value.items()) + " }" if value else "{}"
            )
        case list() | tuple():
            return "[" + ", ".join(inline(v, folder) for v in value) + "]"
        case bool():
            return str(value).lower()
        case Path():
            return json.dumps(_relative(value, folder), ensure_ascii=False)
        case str():
            return json.dumps(value, ensure_ascii=False)
    return str(value)


def _relative(path: Path, folder: Path) -> str:
    """As it is found from the recipe.

    What lies under $TRAINWRIGHT_DATA stays as it was written, and so does a path from the root to another place than
    the recipe's folder: the way up to the root and down again would break as soon as the recipe is moved.
    """
    given = path.expanduser()
    elsewhere = path.is_absolute() and not given.resolve().is_relative_to(folder.resolve())
    if elsewhere or not given.exists():
        return path.as_posix()
    try:
        return Path(os.path.relpath(given.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return given.resolve().as_posix()


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else json.dumps(text, ensure_ascii=False)
