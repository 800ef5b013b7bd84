"""Several sources as one, each a part of its own: training records here, test records there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, final

from trainwright.core.errors import DataError, UserError
from trainwright.core.task import Record
from trainwright.data.fingerprint import digest
from trainwright.data.source import Source
from trainwright.data.table import Table

PARTS = ("train", "valid", "test")


@final
class Joined(Source):
    """The records of several sources, end to end, each of them a part.

    Sources must agree in their fields. One field may be absent from a part, as a test file without labels lacks its
    target: its records are then without it, `lacking` says so, and asking for its `values` raises `DataError`.
    Columns that only another part has stay in its records and are not among the `fields`.

    Args:
        sources: by part; "train" must be among them, "valid" and "test" may.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        if "train" not in sources or not set(sources) <= set(PARTS):
            raise UserError(
                "data", f"parts {', '.join(sources) or '(none)'}", "give train, and valid and test where they exist"
            )
        self.sources = {part: sources[part] for part in PARTS if part in sources}
        self._stops = list(accumulate(len(s) for s in self.sources.values()))
        self._fields = list(self.sources["train"].fields())
        self._lacking = {p: self._absent(s) for p, s in self.sources.items()}
        for part, names in self._lacking.items():
            if len(names) > 1:
                what = f"lacks {len(names)} fields of the train part: {', '.join(names)}"
                raise DataError(f"data.{part}", what, "name data of the same kind, written in the same way")
        _same_kinds(self.sources)

    def __len__(self) -> int:
        return self._stops[-1]

    def __getitem__(self, index: int) -> Record:
        source, at = self._at(index)
        return source[at]

    def fingerprint(self) -> str:
        """Of the fingerprints of all parts."""
        return digest("joined", {p: s.fingerprint() for p, s in self.sources.items()})

    def parts(self) -> Mapping[str, Sequence[int]]:
        """One range of records per source."""
        starts = [0, *self._stops]
        return {part: range(a, b) for part, a, b in zip(self.sources, starts, self._stops, strict=False)}

    def fields(self) -> Sequence[str]:
        """The fields of the train part."""
        return list(self._fields)

    def lacking(self, field: str) -> list[str]:
        """The parts whose records have no such field."""
        return [part for part, names in self._lacking.items() if field in names]

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record; DataError when a part lacks it."""
        out: list[Any] = []
        for part, source in self.sources.items():
            if field in self._lacking[part]:
                what = f"{source.where(0)} and on have no '{field}'"
                raise DataError(f"data.{part}", what, f"name {part} records that have it, or leave data.{part} out")
            out += source.values(field)
        return out

    def block(self, ids: Sequence[int]) -> Mapping[str, Any] | None:
        """Records of one part, as its source has them; None where they are of several."""
        if not len(ids):
            return None
        low, high = (ids[0], ids[-1]) if isinstance(ids, range) else (min(ids), max(ids))
        (source, first), (other, _) = self._at(low), self._at(high)
        if source is not other:
            return None
        start = low - first
        near = (
            range(ids.start - start, ids.stop - start, ids.step) if isinstance(ids, range) else [i - start for i in ids]
        )
        return source.block(near)

    def arrays(self) -> Sequence[Mapping[str, Any]]:
        """Those of all sources; none where one of them has none."""
        found = [source.arrays() for source in self.sources.values()]
        return [each for some in found for each in some] if all(found) else []

    def where(self, index: int) -> str:
        """The place within the part's own source."""
        source, at = self._at(index)
        return source.where(at)

    def _at(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        k = bisect_right(self._stops, index)
        return list(self.sources.values())[k], index - (self._stops[k - 1] if k else 0)

    def _absent(self, source: Source) -> list[str]:
        there = set(source.fields())
        return [f for f in self._fields if f not in there]


def _same_kinds(sources: Mapping[str, Source]) -> None:
    """A column of numbers in one file and text in the other would match nowhere, and nothing would say so."""
    train = sources["train"]
    if not isinstance(train, Table):
        return
    for part, source in sources.items():
        if not isinstance(source, Table):
            continue
        for field, kind in source.kinds().items():
            there = train.kinds().get(field, kind)
            if kind != there and "nothing" not in (kind, there):
                what = f"'{field}' is {kind} here and {there} in the train part"
                instead = f'repair the cells of the wrong kind, or write text = ["{field}"] to read both as text'
                raise DataError(f"data.{part}", what, instead)
