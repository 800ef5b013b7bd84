"""Tags and a note of a person about a run, in a file of their own beside its log; the log is never touched."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from trainwright.runs.directory import NOTES
from trainwright.studio.files import Place, UnreadableError

_TAGS, _LONG, _NOTE = 20, 40, 20_000  # tags of a run, characters of one, characters of a note


def read(place: Place) -> dict[str, Any]:
    """``tags`` and ``note``; empty where there are none, or where the file is not what is written here."""
    try:
        told = json.loads(place.text(NOTES))
    except (UnreadableError, ValueError, RecursionError):
        told = {}
    return _tidy(told if isinstance(told, Mapping) else {})


def age(place: Place) -> float:
    """When they were written; 0 where they were not."""
    with suppress(OSError):
        return os.lstat(place.path / NOTES).st_mtime
    return 0.0


def write(place: Place, told: Mapping[str, Any]) -> dict[str, Any]:
    """Put them in place of those that are there; UnreadableError where the folder takes none."""
    tidy = _tidy(told)
    draft = f".{NOTES}-{secrets.token_hex(4)}"
    try:
        with place.folder() as folder:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
            try:
                with open(handle, "w", encoding="utf-8") as file:
                    json.dump(tidy, file, ensure_ascii=False, indent=1)
                os.replace(draft, NOTES, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:  # a full disk: nothing half-written stays
                with suppress(OSError):
                    os.unlink(draft, dir_fd=folder)
                raise
    except (OSError, NotImplementedError) as error:
        why = error.strerror if isinstance(error, OSError) else "this system cannot"
        raise UnreadableError(f"the note cannot be written: {why}") from None
    return tidy


def _tidy(told: Mapping[str, Any]) -> dict[str, Any]:
    tags, note = told.get("tags"), told.get("note")
    given = [" ".join(t.split())[:_LONG] for t in tags if isinstance(t, str)] if isinstance(tags, list) else []
    kept = list(dict.fromkeys(t for t in given if t))[:_TAGS]
    return {"tags": kept, "note": note[:_NOTE] if isinstance(note, str) else ""}
