"""Piano rolls in a JSON file: pieces as lists of steps, each the list of the pitches that sound."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, final

from pydantic import Field

from trainwright.core.errors import DataError
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import paths
from trainwright.data.fingerprint import digest
from trainwright.data.score import steps_of
from trainwright.data.source import Source

_PARTS = {"train": "train", "valid": "valid", "validation": "valid", "test": "test"}


@sources.add("piano_rolls")
@final
class PianoRolls(Source):
    """A JSON file of piano rolls: ``{"steps": [[60, 64, 67], …], "per_beat": …, "path": …}``.

    The file is a list of pieces, or an object of lists of pieces by part (train, valid or validation, test). A piece is
    a list of steps on an even grid, a step the list of the pitches that sound, numbers of MIDI from 21 to 108. What is
    no such piece is a bad sample.

    Args:
        path: the file; a relative path is also looked up under $TRAINWRIGHT_DATA.
        per_beat: steps of a beat: 1 for a grid of quarter notes, 4 for one of sixteenths.
    """

    def __init__(self, *, path: str, per_beat: Annotated[int, Field(ge=1, le=96)] = 1) -> None:
        self.path = paths.find(path, "data.path")
        self.per_beat = per_beat
        self._pieces, self._parts = _opened(self.path)

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"steps": steps_of(self._pieces[index], self.where(index)), "per_beat": self.per_beat,
                "path": self._path(index)}  # fmt: skip

    def fingerprint(self) -> str:
        """Of the file and the grid."""
        return digest("piano_rolls", self.path, self.per_beat)

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train, valid and test where the file has them."""
        return self._parts if len(self._parts) > 1 else {}

    def fields(self) -> Sequence[str]:
        """steps, per_beat and path."""
        return ["steps", "per_beat", "path"]

    def where(self, index: int) -> str:
        """``jsb.json, piece 3 of train``, counted from 0 in its part."""
        return f"{self.path.name}, {self._path(index)}"

    def _path(self, index: int) -> str:
        part = next((p for p, ids in self._parts.items() if index in ids), "")
        return f"piece {index - self._parts[part].start} of {part}" if part else f"piece {index}"


def looks_like(whole: Any) -> bool:
    """Whether a value out of JSON has the form of such a file, by its first piece."""
    try:
        pieces = next(iter(whole.values())) if isinstance(whole, Mapping) else whole
        return isinstance(pieces[0], list) and isinstance(pieces[0][0], list) and steps_of(pieces[0], "") != []
    except (DataError, StopIteration, IndexError, KeyError, TypeError):
        return False


def _opened(path: Any) -> tuple[list[Any], dict[str, range]]:
    try:
        whole = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "check the file and its permissions") from None
    except (ValueError, RecursionError) as error:
        raise DataError(str(path), f"is no JSON ({error})", "write a list of pieces, or one for each part") from None
    if isinstance(whole, list):
        whole = {"": whole}
    form = 'write {"train": [[[60, 64], [62]], …], "valid": …, "test": …}'
    if not isinstance(whole, dict) or not all(isinstance(pieces, list) for pieces in whole.values()):
        raise DataError(str(path), "holds no lists of pieces", form)
    names = [name for name in whole if name]
    if strange := next((n for n in names if n not in _PARTS), None):
        raise DataError(str(path), f"has a part '{strange}'", f"name parts {', '.join(_PARTS)}")
    pieces: list[Any] = []
    parts: dict[str, range] = {}
    for name in sorted(whole, key=lambda n: list(_PARTS).index(n) if n else 0):
        if name:
            parts[_PARTS[name]] = range(len(pieces), len(pieces) + len(whole[name]))
        pieces += whole[name]
    if not pieces:
        raise DataError(str(path), "holds no piece", form)
    return pieces, parts
