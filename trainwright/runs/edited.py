"""What somebody changed in a run's config.toml since the run wrote it: the manifest holds what was written."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from trainwright.core.errors import UserError
from trainwright.core.redaction import HIDDEN
from trainwright.runs.changed import Changes, changed, told
from trainwright.runs.directory import CONFIG, spelled
from trainwright.runs.stored import stored_config

KEPT = "config"  # key of the manifest
_GUARDED = ("source", "valid", "test", "split", "group", "time", "ranges", "part")  # other options: by a fingerprint


def as_written(folder: Path) -> dict[str, Any]:
    """The run's config.toml, as JSON has it."""
    content: dict[str, Any] = json.loads(json.dumps(spelled(stored_config(folder / CONFIG)), default=str))
    return content


def edits(manifest: Mapping[str, Any], folder: Path) -> Changes:
    """What is another in config.toml than the run wrote; secrets apart, which no file holds."""
    kept = manifest.get(KEPT)
    if not isinstance(kept, Mapping):  # of an older version
        return {}
    found = changed(kept, as_written(folder))
    return {key: pair for key, pair in found.items() if not any(isinstance(v, str) and HIDDEN in v for v in pair)}


def must_be_as_written(
    manifest: Mapping[str, Any], folder: Path, for_good: Collection[str], but: Collection[str] = ()
) -> None:
    """UserError where config.toml is another in what cannot change in a run.

    Args:
        manifest: of the run.
        folder: of the run.
        for_good: dotted keys, and sections with all their keys.
        but: dotted keys that are the doctor's to set, and not yet in both.
    """
    found = {k: pair for k, pair in edits(manifest, folder).items() if _for_good(k, for_good) and not _among(k, but)}
    if found:
        what = f"is not what this run was trained with ({told(found)})"
        again = "tw.fit(…)" if manifest.get("kind") == "own" else f"trainwright train {folder / CONFIG}"
        instead = f"put it back, or start a new run with it: {again}"
        raise UserError(str(folder / CONFIG), what, instead)


def _for_good(key: str, for_good: Collection[str]) -> bool:
    section, _, option = key.partition(".")
    if section == "data":
        return option.partition(".")[0] in _GUARDED
    return section in for_good or key in for_good


def _among(key: str, keys: Collection[str]) -> bool:
    """Whether a dotted key is one of these, within one of them, or the table around one."""
    return any(f"{a}.".startswith(f"{b}.") for one in keys for a, b in ((key, one), (one, key)))
