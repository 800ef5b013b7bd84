"""MIDI files: their notes in beats, and notes as a file that any player plays."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from trainwright.core.errors import DataError
from trainwright.data.score import LONGEST, TEMPO, Note, Score

SUFFIXES = (".mid", ".midi")
_DRUMS = 9  # the channel of General MIDI whose pitches are drums
_TICKS = 480  # of a beat, in files that are written
_SMPTE = 1 << 15  # times in frames of a film, not in beats
_LARGEST = 1 << 24  # bytes: a long symphony has 300 kB


def read(data: bytes, place: str) -> Score:
    """The notes of all tracks and channels but the drums, and the first tempo; `DataError` where it is no MIDI file.

    A key that is struck again while it sounds ends the note before; one that is never let go ends with the piece.
    """
    from mido import MidiFile

    if data[:4] != b"MThd":
        raise DataError(place, "is no MIDI file (it does not begin with MThd)", "export it again, or remove it")
    if len(data) > _LARGEST:
        raise DataError(place, f"has {len(data):,} bytes, more than any music", "remove it")
    try:
        file = MidiFile(file=io.BytesIO(data), clip=True)
    except Exception as error:  # mido lets through whatever its parsing of broken bytes meets
        told = str(error) or "it ends too early"
        raise DataError(place, f"is a damaged MIDI file ({told})", "export it again, or remove it") from None
    if not 0 < file.ticks_per_beat < _SMPTE:
        raise DataError(place, "counts time in seconds of a film, not in beats", "export it again with beats")
    notes = sorted(note for track in file.tracks for note in _notes(track, file.ticks_per_beat, place))
    if not notes:
        raise DataError(place, "holds no notes beside drums", "remove it")
    return Score(tuple(notes), _tempo(file))


def write(score: Score) -> bytes:
    """A MIDI file of one track, with the piano of General MIDI."""
    from mido import Message, MetaMessage, MidiFile, MidiTrack, bpm2tempo

    file, track = MidiFile(type=0, ticks_per_beat=_TICKS), MidiTrack()
    file.tracks.append(track)
    track.append(MetaMessage("set_tempo", tempo=min(bpm2tempo(score.tempo), (1 << 24) - 1)))
    track.append(Message("program_change", program=0))
    events = []
    for note in score.notes:
        start = round(note.start * _TICKS)
        stop = max(start + 1, round((note.start + note.length) * _TICKS))
        events += [(start, 1, note.pitch, note.velocity), (stop, 0, note.pitch, 0)]
    now = 0
    for tick, on, pitch, velocity in sorted(events):  # what ends comes before what begins
        kind = "note_on" if on else "note_off"
        track.append(Message(kind, note=pitch, velocity=velocity, time=tick - now))
        now = tick
    track.append(MetaMessage("end_of_track", time=_TICKS))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def _notes(track: Any, ticks: int, place: str) -> Iterator[Note]:
    now, sounding = 0, dict[tuple[int, int], tuple[int, int]]()

    def ended(key: tuple[int, int]) -> Iterator[Note]:
        start, velocity = sounding.pop(key)
        if now > start:
            yield Note(start / ticks, (now - start) / ticks, key[1], velocity)

    for message in track:
        now += message.time
        if now > LONGEST * ticks:
            raise DataError(place, f"is longer than {LONGEST:,} beats", "export it again, or remove it")
        if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
            continue
        key = (message.channel, message.note)
        if key in sounding:
            yield from ended(key)
        if message.type == "note_on" and message.velocity:
            sounding[key] = now, message.velocity
    for key in list(sounding):
        yield from ended(key)


def _tempo(file: Any) -> float:
    """Beats in a minute, of the first that any track says."""
    found = (60e6 / m.tempo for track in file.tracks for m in track if m.type == "set_tempo" and m.tempo)
    return min(max(next(found, TEMPO), 10.0), 1000.0)
