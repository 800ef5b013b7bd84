"""A run's model goes on composing: pieces behind primers, as notes, and as files to play, hear and look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trainwright.core.batch import Batch
from trainwright.core.errors import CannotCreateError, DataError, UserError
from trainwright.core.kinds import sources
from trainwright.core.task import Record
from trainwright.data import midi
from trainwright.data.encode import encode_records
from trainwright.data.score import Note, Score, as_lists, score_of
from trainwright.data.source import Source
from trainwright.data.synthesizer import wav
from trainwright.engine import disk
from trainwright.runs.generate import Asked, decoding_asked, limit_of
from trainwright.runs.predict import Predictor
from trainwright.runs.roll import picture
from trainwright.tasks.music import Music
from trainwright.tasks.music_events import EventsOfMusic

AT_ONCE = 64  # pieces that are continued together
SUFFIXES = (".mid", ".wav", ".png")


@dataclass(frozen=True, slots=True)
class Composition:
    """A piece that a model wrote.

    Args:
        score: its notes, its tempo, and how many beats of it were given.
    """

    score: Score

    @property
    def notes(self) -> tuple[Note, ...]:
        """Start and length in beats, pitch, velocity."""
        return self.score.notes

    def save(self, stem: str | Path) -> list[Path]:
        """Write it as STEM.mid, STEM.wav and STEM.png; returns the paths. Nothing is overwritten: a number is added.

        Args:
            stem: name of the files without an ending, in a folder that is there.
        """
        return put(self.score, Path(stem).expanduser())


@dataclass(frozen=True, slots=True)
class Primer:
    """What a piece begins with; nothing where a model begins by itself."""

    name: str
    record: Record


NOTHING = Primer("composed", {"steps": []})


def compose(predictor: Predictor, primers: Sequence[Primer], samples: int, asked: Asked) -> list[list[Composition]]:
    """Pieces behind each primer, ``samples`` of each; sample k of a primer is the same whatever is beside it.

    Args:
        predictor: of a run that composes.
        primers: what to go on from.
        samples: of each primer; those after the first have the next seeds.
        asked: how; ``tokens`` are frames, or events.
    """
    task = predictor.task
    if not isinstance(task, Music | EventsOfMusic):
        raise UserError("compose", "this run writes no music", 'train one with task = { name = "music" }')
    if samples < 1:
        raise UserError("samples", f"{samples} is below 1", "ask for one at least")
    limit, how = limit_of(task.write, asked), decoding_asked(task.how, asked)
    rows = [(primer.record, how.seed + k) for primer in primers for k in range(samples)]
    out: list[Score] = []
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        tempos = [record.get("tempo") for record, _ in some]
        seeds = torch.tensor([seed for _, seed in some])
        out += task.compose(predictor.model, _batch(predictor, [r for r, _ in some]), tempos, limit, how, seeds)
    made = [Composition(score) for score in out]
    return [made[i : i + samples] for i in range(0, len(made), samples)]


def primers_in(path: str, beats: float | None) -> list[Primer]:
    """The music of a MIDI file, of a folder or .zip of them, or of a JSON file of piano rolls; its first beats.

    Args:
        path: the file or folder.
        beats: of each piece, that are read; None for all.
    """
    if not Path(path).expanduser().exists():
        raise DataError(path, "no such file or folder", "name a MIDI file to go on from, or none to begin anew")
    source: Source = sources["piano_rolls" if path.lower().endswith(".json") else "midi"](path=path)
    return [_primer(source, i, beats) for i in range(len(source))]


def primer_of(given: str | Path | Mapping[str, Any], beats: float | None) -> Primer:
    """One primer: a file with a single piece, or a record."""
    if isinstance(given, Mapping):
        return Primer("primer", given if beats is None else cut(given, beats, "primer"))
    found = primers_in(str(given), beats)
    if len(found) != 1:
        raise UserError("primer", f"{given} holds {len(found):,} pieces", "name one of them")
    return found[0]


def _primer(source: Source, index: int, beats: float | None) -> Primer:
    record = source[index]
    stem = Path(str(record.get("path", index))).stem if "notes" in record else str(index)
    return Primer(stem, record if beats is None else cut(record, beats, source.where(index)))


def cut(record: Record, beats: float, where: str) -> Record:
    """The first beats of a record."""
    if beats <= 0:
        raise UserError("primer", f"{beats:g} beats are none", "leave the file out to begin anew")
    score = score_of(record, where)
    return {"notes": as_lists(score.before(beats).notes), "tempo": score.tempo}


def put(score: Score, stem: Path) -> list[Path]:
    """Write a piece as .mid, .wav and .png; returns their paths. Nothing is overwritten: a number is added.

    Args:
        score: the piece.
        stem: of the files, in a folder that is there.
    """
    free = stem
    number = 1
    while any(free.with_name(free.name + s).exists() for s in SUFFIXES):
        number += 1
        free = stem.with_name(f"{stem.name}-{number}")
    paths = [free.with_name(free.name + s) for s in SUFFIXES]
    for path, data in zip(paths, (midi.write(score), wav(score)), strict=False):
        try:
            disk.put(path, data)
        except OSError as error:
            raise CannotCreateError(str(path), f"cannot be written: {error.strerror}", "choose another place") from None
    picture(score, paths[-1])
    return paths


def _batch(predictor: Predictor, records: Sequence[Record]) -> Batch:
    processor: Any = predictor.task.processor
    weight = next(predictor.model.parameters())
    rows = encode_records([processor.served(r) for r in records], processor).to(weight.device)
    batch: Batch = processor.batch(rows, None)
    return replace(batch.cast(torch.float64) if weight.dtype == torch.float64 else batch, targets={})
