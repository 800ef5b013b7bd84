"""MIDI files as pieces of music: a file, a folder of them, or the .zip file of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, final

from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import archive, midi, paths
from trainwright.data.fingerprint import digest, digests
from trainwright.data.layout import File, Found, documents, hidden, spans, walked
from trainwright.data.score import as_lists
from trainwright.data.source import Source


@sources.add("midi")
@final
class MidiFiles(Source):
    """MIDI files: ``{"notes": [[start, length, pitch, velocity], …], "tempo": …, "path": …}``, times in beats.

    A file, a folder with .mid or .midi files at any depth, or the .zip file of one; folders named train, valid (val,
    validation, dev) and test become parts. Drums are left out. A file that is damaged or holds no notes is a bad
    sample. Hidden files and those of other names are skipped and counted in ``skipped``.

    Args:
        path: the file, folder or .zip file; a relative path is also looked up under $TRAINWRIGHT_DATA.
    """

    def __init__(self, *, path: str) -> None:
        self.path = paths.find(path, "data.path")
        self.skipped: Mapping[str, int] = {}
        self._files = self._found()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        file, place = self._files[index], self.where(index)
        score = midi.read(self._read(file, place), place)
        return {"notes": as_lists(score.notes), "tempo": score.tempo, "path": file.path}

    def fingerprint(self) -> str:
        """Of every file's content and path."""
        names = [f.path for f in self._files]
        if self.path.is_file():
            return digest("midi", self.path, names)
        return digest("midi", digests(self.path / n for n in names), names)

    def parts(self) -> Mapping[str, Sequence[int]]:
        """train, valid and test where there are such folders."""
        found = spans(self._files)
        return found if len(found) > 1 else {}

    def fields(self) -> Sequence[str]:
        """notes, tempo and path."""
        return ["notes", "tempo", "path"]

    def values(self, field: str) -> Sequence[Any]:
        """One field of every record; paths without opening a file."""
        if field not in self.fields():
            raise DataError(self.path.name, f"no field is named '{field}'", did_you_mean(field, self.fields()))
        return [f.path for f in self._files] if field == "path" else [self[i][field] for i in range(len(self))]

    def where(self, index: int) -> str:
        """``tunes/jigs/17.mid``."""
        file = self._files[index]
        return self.path.name if self.path.is_file() and file.member is None else f"{self.path.name}/{file.path}"

    def _read(self, file: File, place: str) -> bytes:
        if file.member is not None:
            return archive.read(self.path, file.member)
        whole = self.path if self.path.is_file() else self.path / file.path
        try:
            return whole.read_bytes()
        except OSError as error:
            raise DataError(place, f"cannot be read ({error.strerror})", "check the file's permissions") from None

    def _found(self) -> list[File]:
        if self.path.is_file() and self.path.suffix.lower() != ".zip":
            return [File("", "", self.path.name, None)]
        if self.path.is_file():
            every: Found = {PurePosixPath(m.name).parts: m for m in archive.members(self.path)}
        else:
            every = walked(self.path, "MIDI files")
        kept: dict[tuple[str, ...], archive.Member | None] = {}
        skipped: Counter[str] = Counter()
        for steps in sorted(every):
            if any(hidden(s) for s in steps):
                skipped["hidden"] += 1
            elif not steps[-1].lower().endswith(midi.SUFFIXES):
                skipped["not named .mid or .midi"] += 1
            else:
                kept[steps] = every[steps]
        self.skipped = dict(skipped)
        if not kept:
            held = ", ".join(f"{n} {why}" for why, n in skipped.items()) or "nothing"
            raise DataError("data.path", f"{self.path} holds no MIDI file ({held})", "give .mid or .midi files")
        return documents(kept, str(self.path))
