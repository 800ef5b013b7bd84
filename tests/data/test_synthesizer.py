"""The synthesizer: right pitches, right lengths, nothing clipped, files that any program opens."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from trainwright.core.errors import DataError
from trainwright.data.score import Note, Score
from trainwright.data.synthesizer import rendered, wav


@pytest.mark.parametrize("pitch", [45, 69, 93])
def test_the_loudest_frequency_is_that_of_the_note(pitch: int) -> None:
    sound = rendered(Score((Note(0, 2, pitch),), 60.0))
    spectrum = np.abs(np.fft.rfft(sound[:22_050]))
    assert spectrum.argmax() == pytest.approx(440 * 2 ** ((pitch - 69) / 12), abs=1.0)


def test_many_notes_at_once_are_not_clipped_and_a_soft_one_is_heard() -> None:
    crowd = Score(tuple(Note(0, 1, p, 127) for p in range(21, 109)))
    assert 0.88 < np.abs(rendered(crowd)).max() < 0.9
    assert 0.88 < np.abs(rendered(Score((Note(0, 1, 60, 1),)))).max() < 0.9


def test_a_note_begins_and_ends_where_the_score_says_without_a_click() -> None:
    sound = rendered(Score((Note(1, 1, 60),), 120.0))  # half a second of silence, half a second of sound
    assert not sound[:11_025].any()
    assert np.abs(sound[11_025:22_050]).max() > 0.5
    assert np.abs(np.diff(sound)).max() < 0.2
    assert abs(sound[-1]) < 1e-3


def test_the_file_is_16_bits_mono_and_as_long_as_the_piece() -> None:
    with wave.open(io.BytesIO(wav(Score((Note(0, 4, 60), Note(3, 3, 40)), 120.0)))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22_050)
        assert file.getnframes() / 22_050 == pytest.approx(3.0, abs=0.1)
        found = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert np.abs(found.astype(int)).max() == pytest.approx(0.89 * 32767, abs=2)


def test_no_note_is_silence_and_a_day_of_music_is_refused() -> None:
    assert not rendered(Score(())).any()
    with pytest.raises(DataError, match="lasts 1,667 minutes; at most 60"):
        wav(Score((Note(0, 100_000, 60),), 60.0))
