"""The files of a run as they are read back: whole, and of the form they were written in; anybody may have made them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from trainwright.core.errors import UserError

_LARGEST = 1 << 28  # bytes of a file that a run's own words and numbers are in


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())


class _Bad(_Part):
    records: list[int] = []


class _Data(_Part):
    fingerprint: str
    bad_samples: _Bad = _Bad()
    damaged: list[str] = []


class _Model(_Part):
    parameters: int
    layers: list[Any] = []


class _Monitor(_Part):
    name: str
    better: str


class _Manifest(_Part):
    """What every reader of a manifest relies on."""

    id: str = ""  # of runs that an older version began
    unsigned: int = -1
    kind: str
    written: str
    versions: dict[str, Any]
    machine: dict[str, Any]
    plan: dict[str, Any]
    attempts: list[dict[str, Any]]
    data: _Data
    model: _Model
    monitor: _Monitor


def stored_json(path: Path) -> dict[str, Any]:
    """A JSON object; UserError for anything else."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}, no object")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise damaged(path, error) from None
    return content


def stored_manifest(path: Path) -> dict[str, Any]:
    """A run's manifest, with all that is read out of it later."""
    content = stored_json(path)
    try:
        _Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise damaged(path, ValueError(f"{where}: {first['msg'].lower()}")) from None
    return content


def stored_config(path: Path) -> dict[str, Any]:
    """A run's config.toml."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> UserError:
    """The message for a file that is not what a run writes."""
    why = " ".join(str(getattr(error, "strerror", None) or error).split())
    kind = type(error).__name__
    what = f"is damaged: {why[:200]}" if why and kind != "KeyError" else f"is damaged ({kind} {why[:200]})"
    return UserError(str(path), what, "take the folder's copy, or train again from its config.toml")
