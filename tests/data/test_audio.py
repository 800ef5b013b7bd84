"""Recordings of every kind are read as they are, and what is wrong with one is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sounds import file, spoken
from trainwright.core.errors import DataError
from trainwright.data.audio import heard, resampled, samples

soundfile = pytest.importorskip("soundfile")
KINDS = [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", None), ("AU", None)]
WAVE = spoken("abcd", 1, rate=16000, letter=0.15)


def tone(hertz: float, rate: int, seconds: float = 0.5) -> Any:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def strongest(wave: Any, rate: int) -> float:
    """The frequency of the loudest tone."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(spectrum.argmax()) * rate / len(wave)


@pytest.mark.parametrize(("kind", "subtype"), KINDS, ids=[k for k, _ in KINDS])
def test_a_file_is_read_from_bytes_and_from_its_path(kind: str, subtype: str | None, tmp_path: Path) -> None:
    data = file(tone(700, 16000), 16000, kind, subtype)
    (tmp_path / "x").write_bytes(data)
    wave, rate = samples(data, 60)
    again, _ = samples(str(tmp_path / "x"), 60)
    assert rate == 16000
    assert len(wave) == heard(data).count == 8000
    assert wave.dtype == np.float32
    assert strongest(wave, rate) == pytest.approx(700, abs=3)
    assert np.array_equal(wave, again)


@pytest.mark.parametrize(("kind", "subtype"), KINDS, ids=[k for k, _ in KINDS])
@pytest.mark.parametrize("left", [0.3, 0.8])
def test_a_file_that_is_cut_off_is_told(kind: str, subtype: str | None, left: float) -> None:
    data = file(WAVE, 16000, kind, subtype)
    with pytest.raises(DataError, match=r"field 'audio': .*(cut off|damaged|holds no sound)"):
        samples(data[: int(left * len(data))], 60)


@pytest.mark.parametrize(
    ("offset", "value", "width", "said"),
    [
        (24, 4_000_000, 4, "tells 4,000,000 samples a second"),
        (24, 0, 4, "damaged, or no recording"),
        (22, 0, 2, "damaged, or no recording"),
        (40, 2_000_000_000, 4, "tells 2,000,000,000 bytes of sound"),
    ],
)
def test_a_header_that_lies_is_told(offset: int, value: int, width: int, said: str) -> None:
    data = bytearray(file(WAVE, 16000))
    data[offset : offset + width] = value.to_bytes(width, "little")
    with pytest.raises(DataError, match=said):
        samples(bytes(data), 60)


@pytest.mark.parametrize(("count", "said"), [(1 << 33, "allowed"), (30 * 16000, "damaged|cut off"), (0, "how long")])
def test_a_flac_header_that_lies_about_its_length_is_told_before_memory_is_taken(count: int, said: str) -> None:
    data = bytearray(file(WAVE, 16000, "FLAC"))
    told = int.from_bytes(data[18:26], "big") & ~((1 << 36) - 1)
    data[18:26] = (told | count).to_bytes(8, "big")
    with pytest.raises(DataError, match=said):
        samples(bytes(data), 60)


def test_a_wav_whose_writer_did_not_know_its_length_is_read() -> None:
    data = bytearray(file(WAVE, 16000))
    data[40:44] = (0xFFFFFFFF).to_bytes(4, "little")
    wave, _ = samples(bytes(data), 60)
    assert len(wave) == len(WAVE)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"hello, this is no sound" * 50, "no recording that libsndfile reads"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "damaged"),
        (b"OggS" + bytes(100), "damaged"),
        (b"fLaC" + bytes(100), "damaged"),
    ],
)
def test_other_bytes_are_told(data: bytes, said: str) -> None:
    for read in (heard, lambda value: samples(value, 60)):
        with pytest.raises(DataError, match=said):
            read(data)


def test_what_has_no_samples_or_no_numbers_is_told() -> None:
    with pytest.raises(DataError, match="holds no sound: it has no samples"):
        samples(file(WAVE[:0], 16000), 60)
    with pytest.raises(DataError, match="NaN or infinity"):
        samples(file(WAVE * np.float32("nan"), 16000, "WAV", "FLOAT"), 60)
    with pytest.raises(DataError, match=r"lasts 0\.8 s, by its header, and 0\.5 s are allowed"):
        samples(file(WAVE[:12000], 16000), 0.5)
    with pytest.raises(DataError, match=r"none\.wav: cannot be read"):
        samples("none.wav", 60)


def test_arrays_come_with_their_rate() -> None:
    stereo = np.stack([WAVE, -0.5 * WAVE], 1)
    wave, rate = samples((stereo, 22050), 60)
    assert rate == 22050
    assert np.allclose(wave, 0.25 * WAVE, atol=1e-6)
    whole = (WAVE * 32768).round().astype(np.int16)
    assert np.allclose(samples({"array": whole, "sampling_rate": 16000}, 60)[0], WAVE, atol=1e-4)
    eighth = np.array([0, 128, 255], np.uint8)
    assert samples((eighth, 8000), 60)[0].tolist() == pytest.approx([-1.0, 0.0, 127 / 128])
    for bad in (WAVE, (WAVE, 8000.0), (WAVE, None), {"array": WAVE}, (np.zeros((2, 2, 2)), 8000), (["a"], 8000), 3):
        with pytest.raises(DataError):
            samples(bad, 60)


def test_a_recording_louder_than_full_scale_is_turned_down_as_a_whole() -> None:
    wave, _ = samples(file(8 * WAVE, 16000, "WAV", "FLOAT"), 60)
    assert np.abs(wave).max() == pytest.approx(1)
    assert np.corrcoef(wave, WAVE)[0, 1] > 0.99999


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 16000), (22050, 16000), (48000, 8000)])
def test_a_tone_keeps_its_height_at_another_rate(rate: int, wanted: int) -> None:
    out = resampled(tone(900, rate), rate, wanted)
    assert len(out) == pytest.approx(wanted / 2, abs=1)
    assert strongest(out, wanted) == pytest.approx(900, abs=3)
    assert np.abs(out[500:-500]).max() == pytest.approx(0.5, abs=0.01)


def test_a_tone_too_high_for_the_rate_does_not_come_back_as_another() -> None:
    out = resampled(tone(6000, 16000), 16000, 8000)
    assert np.abs(out[200:-200]).max() < 0.01


def test_chunks_before_the_sound_are_stepped_over() -> None:
    plain = file(WAVE, 16000)
    note = b"LIST" + (5).to_bytes(4, "little") + b"INFOx" + b"\0"
    data = plain[:12] + note + plain[12:]
    assert len(samples(data, 60)[0]) == len(WAVE)
    with pytest.raises(DataError, match="bytes of sound"):
        samples(data[:-100], 60)


def test_files_are_named_by_what_soundfile_reads() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, WAVE, 16000, format="CAF")
    assert len(samples(buffer.getvalue(), 60)[0]) == len(WAVE)
    with pytest.raises(DataError, match="bytes of sound"):
        samples(buffer.getvalue()[:-100], 60)
