"""MIDI: what is written is read again, foreign files are understood, and broken ones told."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from trainwright.core.errors import DataError
from trainwright.core.kinds import sources
from trainwright.data import midi
from trainwright.data.score import Note, Score

SCORE = Score((Note(0.0, 1.0, 60, 90), Note(0.0, 0.5, 64, 70), Note(0.5, 0.25, 64, 71), Note(2.0, 1.5, 72, 1)), 90.0)


def foreign(*tracks: list[Any], ticks: int = 96) -> bytes:
    from mido import MidiFile, MidiTrack

    file = MidiFile(ticks_per_beat=ticks)
    file.tracks.extend(MidiTrack(track) for track in tracks)
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def message(kind: str, **fields: Any) -> Any:
    from mido import Message, MetaMessage

    return (MetaMessage if kind == "set_tempo" else Message)(kind, **fields)


def test_a_score_is_written_and_read_again() -> None:
    again = midi.read(midi.write(SCORE), "x.mid")
    assert again.notes == tuple(sorted(SCORE.notes))
    assert again.tempo == pytest.approx(90.0, rel=1e-5)


def test_tracks_and_channels_are_joined_and_drums_left_out() -> None:
    data = foreign(
        [message("set_tempo", tempo=600_000), message("note_on", note=60, velocity=80),
         message("note_on", note=60, velocity=0, time=96)],
        [message("note_on", note=36, channel=9, velocity=99), message("note_on", note=67, channel=3, time=48),
         message("note_on", note=67, channel=3, velocity=50, time=48), message("control_change", time=96)],
    )  # fmt: skip
    found = midi.read(data, "x.mid")
    assert found.tempo == 100.0
    assert found.notes == (
        Note(0, 1, 60, 80),
        Note(0.5, 0.5, 67, 64),
        Note(1.0, 1.0, 67, 50),
    )  # struck again; never let go


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "does not begin with MThd"),
        (b"RIFF....", "is no MIDI file"),
        (midi.write(SCORE)[:60], "is a damaged MIDI file"),
        (b"MThd\0\0\0\6\0\0\0\1\xe7\x28MTrk\0\0\0\4\0\xff\x2f\0", "not in beats"),
        (foreign([message("control_change")]), "holds no notes"),
        (
            foreign([message("note_on", note=60, time=2**27), message("note_off", note=60, time=9)], ticks=1),
            "longer than",
        ),
    ],
)
def test_broken_files_are_told(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=f"x.mid: .*{says}"):
        midi.read(data, "x.mid")


def test_damage_of_any_kind_is_told_and_nothing_else_happens() -> None:
    whole, dice = midi.write(SCORE), random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(4, len(data))] = dice.randrange(256)
        try:
            found = midi.read(bytes(data[: dice.randint(20, len(data))]), "x.mid")
        except DataError:
            continue
        assert all(n.length > 0 and 0 <= n.pitch <= 127 for n in found.notes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train/a.mid", "train/deep/b.MIDI", "valid/c.mid", "test/d.mid", "train/notes.txt", "train/.e.mid"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(midi.write(SCORE))
    return tmp_path


def test_a_folder_and_its_zip_give_the_same_records_with_their_parts(folder: Path, tmp_path: Path) -> None:
    made = sources["midi"](path=str(folder))
    assert {p: list(ids) for p, ids in made.parts().items()} == {"train": [0, 1], "valid": [2], "test": [3]}
    assert made.skipped == {"hidden": 1, "not named .mid or .midi": 1}
    assert made.values("path") == ["train/a.mid", "train/deep/b.MIDI", "valid/c.mid", "test/d.mid"]
    assert made[0]["notes"][0] == [0.0, 0.5, 64, 70]
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in made.values("path"):
            archive.write(folder / name, name)
    other = sources["midi"](path=str(packed))
    assert [dict(other[i]) for i in range(4)] == [dict(made[i]) for i in range(4)]
    assert other.where(2) == "all.zip/valid/c.mid"
    single = sources["midi"](path=str(folder / "train" / "a.mid"))
    assert (len(single), single.where(0), dict(single.parts())) == (1, "a.mid", {})


def test_another_note_is_another_fingerprint(folder: Path) -> None:
    before = sources["midi"](path=str(folder)).fingerprint()
    (folder / "valid" / "c.mid").write_bytes(midi.write(SCORE.before(1.0)))
    assert sources["midi"](path=str(folder)).fingerprint() != before


def test_a_folder_without_music_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("la la la")
    with pytest.raises(DataError, match=r"holds no MIDI file .1 not named .mid or .midi"):
        sources["midi"](path=str(tmp_path))
