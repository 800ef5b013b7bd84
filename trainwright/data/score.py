"""Music as notes in beats, and as frames of the keys of a piano: what records hold, and how one becomes the other.

Letters in shapes: T frames, K keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainwright.core.errors import DataError
from trainwright.core.exhibit import Exhibit
from trainwright.core.task import Record

LOWEST, KEYS = 21, 88  # A0, and the keys of a piano up to C8, as numbers of MIDI
TEMPO = 100.0  # beats in a minute where nothing says
LOUD = 80  # velocity where nothing says
LONGEST = 100_000  # beats of a piece: half a day, and then it is an accident
_SPELLED = 16  # beats that a log spells out
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


class Note(NamedTuple):
    """One note."""

    start: float  # beats from the beginning of the piece
    length: float  # beats
    pitch: int  # number of MIDI, 0 to 127; 60 is middle C
    velocity: int = LOUD  # how hard the key is struck, 1 to 127


@dataclass(frozen=True, slots=True)
class Score:
    """A piece of music: notes, how fast they are played, and how much of it was given before a model went on."""

    notes: tuple[Note, ...]
    tempo: float = TEMPO  # beats in a minute
    primer: float = 0.0  # beats that were given

    @property
    def beats(self) -> float:
        """Until the last note ends."""
        return max((n.start + n.length for n in self.notes), default=0.0)

    @property
    def seconds(self) -> float:
        """Until the last note ends."""
        return self.beats * 60 / self.tempo

    def before(self, beats: float) -> Score:
        """Its first beats; notes that would sound on end there."""
        kept = (n._replace(length=min(n.length, beats - n.start)) for n in self.notes if n.start < beats)
        return Score(tuple(kept), self.tempo, min(self.primer, beats))

    def spelled(self, first: float, last: float) -> str:
        """What begins between two beats, chord by chord: ``C3 G3 E4 C5, D3 …``."""
        chords: dict[float, list[int]] = {}
        for note in sorted(self.notes):
            if first <= note.start < last:
                chords.setdefault(note.start, []).append(note.pitch)
        return ", ".join(" ".join(map(name, sorted(c))) for c in chords.values())


def exhibit(score: Score, title: str) -> Exhibit:
    """What a person should see of a piece, and what a program needs to play it."""
    told = {"prompt": score.spelled(0, score.primer), "text": score.spelled(score.primer, score.primer + _SPELLED)}
    data = {"notes": as_lists(score.notes), "tempo": score.tempo, "primer": score.primer, **told}
    return Exhibit("music", title, data)


def name(pitch: int) -> str:
    """``C4`` for middle C, 60."""
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def score_of(record: Record, where: str) -> Score:
    """The music of a record with ``notes`` or ``steps``; `DataError` where it is none.

    ``notes`` are lists of start and length in beats, pitch and, where it is known, velocity. ``steps`` are lists of the
    pitches that sound, ``per_beat`` of them in a beat, 1 unless said; a pitch that sounds on is one note.
    """
    tempo = _number(record.get("tempo", TEMPO), "tempo", where, 1, 10_000)
    if "notes" in record:
        return Score(tuple(_note(n, i, where) for i, n in enumerate(_listed(record["notes"], "notes", where))), tempo)
    if "steps" not in record:
        what = f"the record has neither 'notes' nor 'steps', only {', '.join(map(repr, record)) or 'nothing'}"
        raise DataError(where, what, 'give music: source = "midi", "piano_rolls", or records of notes')
    steps = steps_of(record["steps"], where)
    return Score(tuple(held(steps, per_beat_of(record, where))), tempo)


def steps_of(given: Any, where: str) -> list[list[int]]:
    """The pitches of each step; `DataError` for what is no key of a piano."""
    return [_chord(step, f"step {number}", where) for number, step in enumerate(_listed(given, "steps", where))]


def per_beat_of(record: Record, where: str) -> int:
    """Steps of a beat, as the record says."""
    return int(_number(record.get("per_beat", 1), "per_beat", where, 1, 96))


def held(steps: Sequence[Sequence[int]], per_beat: int) -> list[Note]:
    """Notes of steps: a pitch that is there in one step after the other is one note, held."""
    notes: list[Note] = []
    began: dict[int, int] = {}
    for number, step in enumerate([*steps, []]):
        for pitch in [p for p in began if p not in step]:
            start = began.pop(pitch)
            notes.append(Note(start / per_beat, (number - start) / per_beat, pitch))
        for pitch in step:
            began.setdefault(pitch, number)
    return sorted(notes)


def framed(steps: Sequence[Sequence[int]]) -> Tensor:
    """(T, K) uint8, 1 where a key sounds."""
    frames = torch.zeros(len(steps), KEYS, dtype=torch.uint8)
    for number, step in enumerate(steps):
        frames[number, [p - LOWEST for p in step]] = 1
    return frames


def sampled(notes: Iterable[Note], per_beat: int) -> tuple[list[list[int]], int]:
    """The pitches that sound in each step of a grid, and how many notes lie beyond the keys of a piano.

    A note sounds from the step nearest to its start to the one nearest to its end, one step at least.
    """
    spans, beyond = [], 0
    for note in notes:
        if not LOWEST <= note.pitch < LOWEST + KEYS:
            beyond += 1
            continue
        first = round(note.start * per_beat)
        spans.append((first, max(first + 1, round((note.start + note.length) * per_beat)), note.pitch))
    steps: list[list[int]] = [[] for _ in range(max((last for _, last, _ in spans), default=0))]
    for first, last, pitch in spans:
        for step in steps[first:last]:
            step.append(pitch)
    return [sorted(set(step)) for step in steps], beyond


def chords(frames: Tensor) -> list[list[int]]:
    """(T, K) which keys sound -> the pitches of each step; the inverse of `framed`."""
    at: list[list[int]] = [[] for _ in range(len(frames))]
    for step, key in (frames > 0.5).nonzero().tolist():
        at[step].append(key + LOWEST)
    return at


def as_lists(notes: Iterable[Note]) -> list[list[float]]:
    """Notes as records and answers hold them."""
    return [list(note) for note in notes]


def _note(given: Any, number: int, where: str) -> Note:
    place = f"{where}, note {number}" if where else f"note {number}"
    if isinstance(given, Mapping) or not isinstance(given, Sequence | np.ndarray) or not 3 <= len(given) <= 4:
        raise DataError(place, f"{given!r} is no note", "write [start, length, pitch] in beats, or also its velocity")
    start = _number(given[0], "start", place, 0, LONGEST)
    length = _number(given[1], "length", place, 0, LONGEST)
    if length == 0:
        raise DataError(place, "has no length", "leave it out")
    pitch = _number(given[2], "pitch", place, 0, 127)
    velocity = _number(given[3], "velocity", place, 1, 127) if len(given) == 4 else LOUD
    return Note(start, length, int(pitch), int(velocity))


def _chord(given: Any, what: str, where: str) -> list[int]:
    place = f"{where}, {what}" if where else what
    found = {
        int(_number(p, "pitch", place, LOWEST, LOWEST + KEYS - 1, whole=True)) for p in _listed(given, "step", place)
    }
    return sorted(found)


def _listed(given: Any, name: str, where: str) -> Sequence[Any]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence | np.ndarray):
        raise DataError(where or name, f"'{name}' is {type(given).__name__}, not a list", "give a list")
    return given if isinstance(given, Sequence) else given.tolist()


def _number(given: Any, name: str, where: str, least: float, most: float, *, whole: bool = False) -> float:
    fits = isinstance(given, int | float | np.number) and not isinstance(given, bool)
    if not fits or not math.isfinite(given) or not least <= given <= most or (whole and given % 1):
        raise DataError(where or name, f"{name} {given!r} is no number from {least:g} to {most:g}", "correct it")
    return float(given)
