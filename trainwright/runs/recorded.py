"""What a run's config.toml holds, and how it is written again when a later attempt changes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from trainwright.core.config import Budget
from trainwright.engine import disk
from trainwright.runs.assemble import Pieces
from trainwright.runs.directory import CONFIG, read_manifest
from trainwright.runs.edited import KEPT, edits
from trainwright.runs.private import safe
from trainwright.runs.recipe import Recipe, plain, write


def recorded(recipe: Recipe, pieces: Pieces, steps: int) -> dict[str, Any]:
    """The recipe as the run's config.toml has it: a budget in time has become one in steps."""
    values = recipe.written()
    values |= plain(pieces.config.model_dump(include={"pace", "precision"}))
    values["model"] = {k: v for k, v in values["model"].items() if k not in pieces.task.sizes()}
    if Budget.read(recipe.config.budget).unit == "seconds":
        values["budget"] = f"{steps} steps"
    return safe(values)


def rewrite(folder: Path, values: Mapping[str, Any], attempts: int) -> None:
    """A changed config.toml; what earlier attempts ran with stays beside it."""
    before = (folder / CONFIG).read_bytes()
    if edits(facts := read_manifest(folder), folder):  # somebody's, since the attempt before
        before = tomli_w.dumps(facts[KEPT]).encode()
    if before == tomli_w.dumps(dict(values)).encode():
        return
    if not (folder / f"config-{attempts}.toml").exists():  # else it is of a resume that came to no step
        disk.put(folder / f"config-{attempts}.toml", before)
    write(values, folder / CONFIG)


def silent(what: str, done: int, total: int) -> None:
    """Nobody is told."""
