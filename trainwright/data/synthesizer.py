"""A simple synthesizer: each note as a few harmonics that fade, all notes added, as a WAV file of 16 bits."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np

from trainwright.core.errors import DataError
from trainwright.data.score import Note, Score

RATE = 22_050  # samples in a second
_HARMONICS = (1.0, 0.5, 0.25, 0.14, 0.08)  # of the fundamental, its double, …: about the spectrum of a soft piano
_ATTACK, _RELEASE = 0.012, 0.09  # seconds
_FADE = 1.4  # seconds in which a middle C that is held falls to 1/e; high notes fade sooner
_PEAK = 0.89  # of what 16 bits can hold: 1 dB is left
_LONGEST = 3600.0  # seconds

Samples = np.ndarray[Any, np.dtype[np.float32]]


def wav(score: Score, rate: int = RATE) -> bytes:
    """A WAV file, mono, 16 bits, whose loudest sample is 1 dB below the largest: nothing is clipped."""
    samples = rendered(score, rate)
    whole = np.round(samples * 32767).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())
    return out.getvalue()


def rendered(score: Score, rate: int = RATE) -> Samples:
    """(S,) the sound of all notes, float32, at most 0.89 from 0; silence where there is no note."""
    if score.seconds > _LONGEST:
        raise DataError("music", f"lasts {score.seconds / 60:,.0f} minutes", f"at most {_LONGEST / 60:.0f} are played")
    beat = 60 / score.tempo
    out = np.zeros(int((score.seconds + _RELEASE) * rate) + 1, np.float32)
    for note in score.notes:
        sound, at = _sound(note, beat, rate), int(note.start * beat * rate)
        out[at : at + len(sound)] += sound[: len(out) - at]
    loudest = float(np.abs(out).max())
    return out * np.float32(_PEAK / loudest) if loudest else out


def _sound(note: Note, beat: float, rate: int) -> Samples:
    """A note by itself: it begins within some hundredths of a second, fades while it is held, and ends softly."""
    held = note.length * beat
    time = np.arange(int((held + _RELEASE) * rate), dtype=np.float32) / rate
    tone = 440.0 * 2 ** ((note.pitch - 69) / 12)
    fade = _FADE * 2 ** ((60 - note.pitch) / 24)
    wave_ = np.zeros_like(time)
    for number, share in enumerate(_HARMONICS, 1):
        if number * tone < 0.45 * rate:  # what is higher would come back as another tone
            wave_ += share * np.sin(2 * np.pi * number * tone * time) * np.exp(-time * number**0.5 / fade)
    rise = np.minimum(time / _ATTACK, 1.0)
    fall = np.clip((held + _RELEASE - time) / _RELEASE, 0.0, 1.0)
    return (note.velocity / 127 * wave_ * rise * fall).astype(np.float32)
