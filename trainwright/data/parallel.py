"""Parallel texts: two files whose lines belong together, as translators have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import encodings, paths
from trainwright.data.fingerprint import digest
from trainwright.data.lines import Lines
from trainwright.data.source import Source

_FIELDS = ("source", "target")


@sources.add("parallel")
@final
class Parallel(Source):
    """Line i of one file with line i of another: ``{"source": …, "target": …}``.

    Both files must have as many lines. A line with nothing in it, or in another encoding, is a bad sample, since its
    partner would else meet another line. Other files of the same kind may be named as data.valid and data.test.

    Args:
        path: the file of the source texts, packed (.gz, .bz2, .xz) or not, such as train.de.gz; a relative path is also
            looked up under $TRAINWRIGHT_DATA.
        languages: what the names of both files differ in, source first: ["de", "en"] finds train.en.gz beside.
        encoding: of the texts, by Python's name.
    """

    def __init__(self, *, path: str, languages: tuple[str, str], encoding: str = "utf-8") -> None:
        encodings.known(encoding)
        self.path = paths.find(path, "data.path")
        if not self.path.is_file():
            raise DataError("data.path", f"{self.path} is a folder", "name the file of the source texts")
        self.languages = languages
        self.other = _partner(self.path, *languages)
        self._pair = [Lines(p, encoding, blank=True) for p in (self.path, self.other)]
        first, second = map(len, self._pair)
        if first != second:
            what = f"{self.path.name} has {first:,} lines, and {self.other.name} {second:,}"
            raise DataError("data.path", what, "line i of one must belong to line i of the other: find what is missing")
        if not first:
            raise DataError("data.path", f"{self.path.name} and {self.other.name} are empty", "give files with text")

    def __len__(self) -> int:
        return len(self._pair[0])

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {field: lines[index] for field, lines in zip(_FIELDS, self._pair, strict=True)}

    def fingerprint(self) -> str:
        """Of both files' content."""
        return digest("parallel", self.path, self.other)

    def fields(self) -> Sequence[str]:
        """source and target."""
        return list(_FIELDS)

    def values(self, field: str) -> Sequence[Any]:
        """One side of every record."""
        if field not in _FIELDS:
            raise DataError(self.path.name, f"no field is named '{field}'", did_you_mean(field, _FIELDS))
        lines = self._pair[_FIELDS.index(field)]
        return [lines[i] for i in range(len(lines))]

    def where(self, index: int) -> str:
        """``train.de and train.en, line 17``."""
        return f"{self.path.name} and {self._pair[1].where(index)}"


def _partner(path: Path, source: str, target: str) -> Path:
    """The file of the target texts: the same name with the other language, packed in any way or not."""
    parts = path.name.split(".")
    if source not in parts or source == target:
        instead = f'the name of the file must have ".{source}" in it, and the other file ".{target}"'
        raise UserError("data.languages", f"{source!r} and {target!r} do not go with {path.name}", instead)
    at = len(parts) - 1 - parts[::-1].index(source)
    parts[at] = target
    whole, bare = ".".join(parts), ".".join(parts[: at + 1])
    names = list(dict.fromkeys([whole, bare, *(f"{bare}{packed}" for packed in (".gz", ".bz2", ".xz"))]))
    found = next((n for n in names if (path.parent / n).is_file()), None)
    if found is None:
        what = f"{whole} is not beside {path.name}"
        raise DataError("data.languages", what, "put the file of the target texts beside the other")
    return path.parent / found
