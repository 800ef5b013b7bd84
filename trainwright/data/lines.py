"""The lines of a text file, each decoded when it is asked for, so that one in a wrong encoding spoils no other."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np

from trainwright.data import encodings


@final
class Lines:
    """Lines by number, from 0; line ends are those of any system.

    Args:
        path: the file, which may be packed (.gz, .bz2, .xz).
        encoding: of its text, by Python's name.
        blank: whether lines with nothing in them count.
    """

    def __init__(self, path: Path, encoding: str, *, blank: bool) -> None:
        self.name = path.name
        self._data = encodings.utf8(path, encoding)
        ends = np.flatnonzero(np.frombuffer(self._data, np.uint8) == ord("\n"))
        starts = np.concatenate(([0], ends + 1))
        stops = np.concatenate((ends, [len(self._data)]))
        kept = starts < len(self._data)  # no line begins behind the last line end
        if not blank:
            kept &= np.array([bool(self._data[a:b].strip()) for a, b in zip(starts, stops, strict=True)], bool)
        self._starts, self._stops, self._numbers = starts[kept], stops[kept], np.flatnonzero(kept) + 1
        self.blank = len(starts) - int(kept.sum()) - int(starts[-1] >= len(self._data))  # lines that were left out

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> str:
        """A line without its end and blanks around it; `DataError` where it is not in the encoding."""
        data = self._data[self._starts[index] : self._stops[index]]
        return encodings.decoded(data, self.where(index)).strip()

    def where(self, index: int) -> str:
        """``train.de, line 17``, as an editor counts."""
        return f"{self.name}, line {int(self._numbers[index])}"
