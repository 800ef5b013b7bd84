from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.sounds import Wave, spoken
from trainwright.data.mel import LogMel

STORED = json.loads((Path(__file__).parent / "librosa_log_mel.json").read_text(encoding="utf-8"))


def chirp(samples: int, rate: int) -> Wave:
    """The recording that the stored numbers are of: a rising tone beside a steady one, faint at first."""
    at = np.arange(samples) / rate
    wave = 0.6 * np.sin(2 * np.pi * (200 * at + rate / 3 * at * at / (2 * at[-1])))
    wave = (wave + 0.05 * np.sin(2 * np.pi * 1234 * at)).astype(np.float32)
    wave[: samples // 10] *= 0.001
    return wave


def decibels(wave: Wave, **how: int) -> torch.Tensor:
    frames, _ = LogMel(**how)(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))
    return frames[0] * (10 / math.log(10))


@pytest.mark.parametrize("case", STORED["made"], ids=lambda c: f"{c['rate']}")
def test_features_are_those_that_librosa_gave(case: dict[str, Any]) -> None:
    """Stored from librosa 0.11.0, which is too large to be installed for a test; rounded to a thousandth."""
    how = {name: case[name] for name in ("rate", "bands", "window", "hop")}
    found = decibels(chirp(case["samples"], case["rate"]), **how)
    assert torch.allclose(found, torch.tensor(case["decibels"], dtype=found.dtype), rtol=0, atol=2e-3)


def test_features_are_those_of_librosa_where_it_is_installed() -> None:
    librosa = pytest.importorskip("librosa", reason="librosa, which is large, is not installed")
    wave = spoken("abc dab", 3)
    mel = librosa.feature.melspectrogram(
        y=wave, sr=8000, n_fft=256, win_length=200, hop_length=80, pad_mode="constant", n_mels=40
    )
    wanted = torch.from_numpy(librosa.power_to_db(mel, top_db=80.0).T)
    found = decibels(wave, rate=8000, bands=40, window=200, hop=80)
    assert torch.allclose(found, wanted.to(found.dtype), rtol=0, atol=0.02)


def test_a_recording_has_the_same_features_whatever_is_beside_it() -> None:
    waves = [spoken("a", 1), spoken("abcd dcba", 2), spoken("ba", 3)]
    mel = LogMel(8000, 20, 200, 80)
    lengths = torch.tensor([len(w) for w in waves])
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waves], batch_first=True)
    together, frames = mel(padded, lengths)
    assert frames.tolist() == [len(w) // 80 + 1 for w in waves]
    for i, wave in enumerate(waves):
        alone, _ = mel(torch.from_numpy(wave)[None], lengths[i : i + 1])
        count = int(frames[i])
        assert torch.allclose(alone[0], together[i, :count], rtol=0, atol=1e-6)
        assert not together[i, count:].any()


def test_a_tone_is_loud_in_its_band_alone() -> None:
    at = np.arange(8000) / 16000
    tone = np.sin(2 * np.pi * 1000 * at).astype(np.float32)
    found = decibels(tone, rate=16000, bands=40, window=400, hop=160)[25]
    peak = int(found.argmax())
    assert found[peak] - found[max(0, peak - 4)] > 30
    assert found[peak] - found[min(39, peak + 4)] > 30


def test_silence_is_flat_and_finite() -> None:
    found = decibels(np.zeros(900, np.float32), rate=8000, bands=10, window=200, hop=80)
    assert torch.isfinite(found).all()
    assert torch.allclose(found, torch.full_like(found, -100.0))
