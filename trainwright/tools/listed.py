"""Tables that list recordings: which column holds their paths, what is said of them, and where the files lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwright.core.kinds import sources
from trainwright.data import paths
from trainwright.data.audio import SUFFIXES
from trainwright.data.audio_files import COLUMNS
from trainwright.data.given import PARTS
from trainwright.data.layout import hidden
from trainwright.data.source import Source
from trainwright.data.transcripts import FIELDS

LABELS = ("label", "class", "category", "target")
_LOOKED_AT = 16  # rows


@dataclass(frozen=True, slots=True)
class Listed:
    """Recordings in a table."""

    spec: dict[str, Any]  # of the recipe's data section; paths are Path
    source: Source
    told: str  # the field of what is said, or of the class
    spoken: bool  # whether it is a transcript


def recordings(path: Path, table: Source) -> Listed | None:
    """What a table lists, where a column holds paths of recordings and another says what they are; None otherwise."""
    fields = list(table.fields())
    column = next((c for c in fields if _names(list(table.values(c)[:_LOOKED_AT]))), None)
    told = next((c for c in (*FIELDS, *LABELS) if c in fields and c != column), None)
    if column is None or told is None:
        return None
    usual = next(c for c in (*COLUMNS, column) if c in fields)
    spec: dict[str, Any] = {"source": "audio", "path": path}
    spec |= {} if usual == column else {"column": column}
    first = str(table.values(column)[0])
    real = paths.find(str(path), "PATH")
    if not (real.parent / first).exists():
        packed = [p for p in sorted(real.parent.glob("*.zip")) if not hidden(p.name)]
        spec |= {"files": path.parent / packed[0].name} if len(packed) == 1 else {}
    part = next((c for c in fields if c not in (column, told) and _tells_parts(list(table.values(c)))), None)
    options = {k: str(v) for k, v in spec.items() if k != "source"}
    return Listed(spec | ({"part": part} if part else {}), sources["audio"](**options), told, told in FIELDS)


def _names(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(v, str) and v.lower().endswith(SUFFIXES) for v in values)


def _tells_parts(values: Sequence[Any]) -> bool:
    return {str(v) for v in values} <= set(PARTS) and "train" in {str(v) for v in values}
