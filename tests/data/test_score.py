"""Scores: notes, steps and frames become each other, and what is no music is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainwright.core.errors import DataError
from trainwright.data.score import KEYS, LOWEST, Note, Score, chords, framed, held, name, sampled, score_of, steps_of

STEPS = st.lists(st.sets(st.integers(LOWEST, LOWEST + KEYS - 1), max_size=5).map(sorted), min_size=1, max_size=12)


@given(STEPS, st.integers(1, 8))
def test_steps_become_notes_and_frames_and_come_back(steps: list[list[int]], per_beat: int) -> None:
    while steps and not steps[-1]:  # silence at the end has no note
        steps.pop()
    assert sampled(held(steps, per_beat), per_beat) == (steps, 0)
    assert chords(framed(steps)) == steps


def test_a_key_that_stays_down_is_one_note() -> None:
    assert held([[60, 64], [60], [], [60]], 2) == [Note(0, 0.5, 64), Note(0, 1, 60), Note(1.5, 0.5, 60)]


def test_notes_sound_in_one_step_at_least_and_those_beyond_the_keys_are_counted() -> None:
    assert sampled([Note(0.0, 0.01, 60), Note(0.9, 1.2, 62), Note(0, 1, 20), Note(0, 1, 109)], 1) == ([[60], [62]], 2)


def test_the_first_beats_of_a_score_end_there() -> None:
    score = Score((Note(0, 4, 60), Note(2, 1, 62), Note(3, 1, 64)), primer=3)
    assert score.before(2.5) == Score((Note(0, 2.5, 60), Note(2, 0.5, 62)), primer=2.5)
    assert (score.beats, score.seconds) == (4.0, pytest.approx(2.4))


def test_chords_are_spelled_from_below() -> None:
    assert score_of({"steps": [[72, 60], [61]]}, "").spelled(0, 2) == "C4 C5, C#4"
    assert [name(p) for p in (21, 60, 108)] == ["A0", "C4", "C8"]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"text": "la"}, "r, |r: .*neither 'notes' nor 'steps', only 'text'"),
        ({"steps": "CEG"}, "'steps' is str, not a list"),
        ({"steps": [[60], 61]}, "r, step 1: 'step' is int, not a list"),
        ({"steps": [[60.5]]}, "step 0: pitch 60.5 is no number from 21 to 108"),
        ({"steps": [[60], [109]]}, "step 1: pitch 109 is no number"),
        ({"steps": [[True]]}, "pitch True"),
        ({"steps": [[60]], "per_beat": 0}, "per_beat 0 is no number from 1 to 96"),
        ({"notes": [[0, 1]]}, "r, note 0: .* is no note; write .start, length, pitch"),
        ({"notes": [[0, 0, 60]]}, "has no length"),
        ({"notes": [[0, 1, 128]]}, "pitch 128"),
        ({"notes": [[float("nan"), 1, 60]]}, "start nan"),
        ({"notes": [[0, 1e9, 60]]}, "length 1000000000.0 is no number from 0 to 100000"),
        ({"notes": [[0, 1, 60, 0]]}, "velocity 0"),
        ({"notes": [[0, 1, 60]], "tempo": "fast"}, "tempo 'fast'"),
    ],
)
def test_what_is_no_music_is_told(record: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        score_of(record, "r")


def test_pitches_that_are_whole_floats_and_doubled_are_the_same_key() -> None:
    assert steps_of([[60.0, 60, 64]], "") == [[60, 64]]
    assert int(framed([[60, 64]]).sum()) == 2
    assert framed([]).shape == torch.Size([0, KEYS])
