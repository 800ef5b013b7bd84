"""Recordings of any kind as samples of one channel: files through libsndfile, their bytes, arrays with their rate.

Letters in shapes: T samples, C channels.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainwright.core.errors import DataError
from trainwright.data.archive import LARGEST
from trainwright.data.audio_heads import declared

Samples: TypeAlias = NDArray[np.float32]

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64")
WHERE = "field 'audio'"
_SLOWEST, _FASTEST = 1_000, 768_000  # samples a second; a header that says less or more is damaged
_ENDLESS = 1 << 62  # samples, by libsndfile, of a file that does not tell how many it has


@dataclass(frozen=True, slots=True)
class Heard:
    """What the head of a recording tells."""

    rate: int  # samples a second
    count: int  # samples of a channel
    channels: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.count / self.rate


def heard(value: Any) -> Heard:
    """Rate and length of a recording, in most cases without decoding it; `DataError` for what is none."""
    if _is_array(value):
        found, rate = _array(value)
        return _checked(Heard(rate, len(found), 1 if found.ndim == 1 else found.shape[1]))
    with _file(content(value)) as file:
        return _checked(Heard(file.samplerate, file.frames, file.channels))


def samples(value: Any, longest: float) -> tuple[Samples, int]:
    """A recording as (T,) float32 between -1 and 1, the mean of its channels, and its rate.

    A recording louder than full scale, which files of floating numbers can hold, is turned down as a whole.

    Args:
        value: the path of a file, its bytes, (samples, rate), or {"array": samples, "sampling_rate": rate}; samples
            are (T,) or (T, C), whole numbers or floating ones.
        longest: seconds; a longer one is refused before it is decoded.

    Raises `DataError` for what is no recording, is damaged, cut off, empty, or holds other things than numbers.
    """
    if _is_array(value):
        found, rate = _array(value)
        _checked(Heard(rate, len(found), 1), longest)
    else:
        data = content(value)
        with _file(data) as file:
            told = _checked(Heard(file.samplerate, file.frames, file.channels), longest)
            found, rate = file.read(dtype="float32", always_2d=True), told.rate
        if len(found) < told.count:
            what = f"ends after {len(found) / rate:.2f} of the {told.seconds:.2f} s that its header tells"
            raise DataError(WHERE, f"{what}: it is cut off, or its header lies", "record or copy it again")
        _whole(data)
    return _one_channel(found), rate


def resampled(wave: Samples, rate: int, wanted: int) -> Samples:
    """(T,) at another rate, by SciPy's polyphase filter, which lets no higher tone through than the rate can hold."""
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly

    shared = gcd(rate, wanted)
    out: Samples = resample_poly(wave, wanted // shared, rate // shared).astype(np.float32)
    return out


def content(value: Any) -> bytes:
    """The bytes of a file that is named, or given."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str | os.PathLike):
        what = f"{type(value).__name__} is no recording"
        raise DataError(WHERE, what, "give the path of a file, its bytes, or (samples, rate)")
    path = Path(value).expanduser()
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(str(path), f"is larger than {LARGEST:,} bytes", "cut it into shorter recordings")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(str(path), f"cannot be read ({why})", "check the path and its permissions") from None


def _is_array(value: Any) -> bool:
    return isinstance(value, Mapping | tuple | np.ndarray)


def _array(value: Any) -> tuple[NDArray[Any], int]:
    if isinstance(value, Mapping):
        value = (value.get("array"), value.get("sampling_rate"))
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[1], int | np.integer):
        raise DataError(WHERE, "samples without their rate", "give (samples, rate), such as (array, 16000)")
    found = np.asarray(value[0])
    if found.ndim not in (1, 2) or not (found.dtype.kind in "if" or found.dtype == np.uint8):
        what = f"an array of {found.dtype} with the shape {found.shape} is no recording"
        raise DataError(WHERE, what, "give numbers of the shape (samples,) or (samples, channels)")
    if found.dtype == np.uint8:  # as 8-bit WAV files have it
        found = (found.astype(np.float64) - 128) / 128
    elif found.dtype.kind == "i":
        found = found / -float(np.iinfo(found.dtype).min)
    return found, int(value[1])


def _checked(told: Heard, longest: float = float("inf")) -> Heard:
    if not _SLOWEST <= told.rate <= _FASTEST:
        what = f"its header tells {told.rate:,} samples a second"
        raise DataError(WHERE, what, "record it again, or write its header anew")
    if told.count <= 0:
        raise DataError(WHERE, "holds no sound: it has no samples", "record it again, or leave it out")
    if told.count >= _ENDLESS:
        instead = "write it anew, such as by: ffmpeg -i FILE other.flac"
        raise DataError(WHERE, "its header does not tell how long it is, as it was written while recorded", instead)
    if told.seconds > longest:
        what = f"lasts {told.seconds:,.1f} s, by its header, and {longest:g} s are allowed"
        raise DataError(WHERE, what, "cut it into shorter recordings, or allow more with task.longest")
    return told


@contextmanager
def _file(data: bytes) -> Iterator[Any]:
    """An open file of libsndfile; its errors as `DataError`."""
    try:
        import soundfile
    except (ImportError, OSError):
        instead = "pip install 'trainwright[audio]' (or: pip install soundfile)"
        raise DataError(WHERE, "recordings are read by soundfile, which is not installed", instead) from None
    if not data:
        raise DataError(WHERE, "the file is empty", "record it again, or leave it out")
    told, there = declared(data)
    if told > there:
        what = f"its header tells {told:,} bytes of sound, and {there:,} are there"
        raise DataError(WHERE, f"{what}: it is cut off, or its header lies", "record or copy it again")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            yield file
    except DataError:
        raise
    except (soundfile.LibsndfileError, RuntimeError, ValueError, MemoryError) as error:
        why = str(error).strip().rstrip(".").partition(": ")[2] or str(error)
        instead = "give WAV, FLAC, OGG, MP3 or AIFF; others can be turned by: ffmpeg -i FILE FILE.flac"
        raise DataError(WHERE, f"is damaged, or no recording that libsndfile reads ({why})", instead) from None


def _whole(data: bytes) -> None:
    """An Ogg file whose last page does not say that it is the last is cut off; RFC 3533, section 6."""
    if data[:4] == b"OggS":
        last = data.rfind(b"OggS")
        if last + 6 > len(data) or not data[last + 5] & 0x04:
            raise DataError(WHERE, "is cut off: its last page is missing", "record or copy it again")


def _one_channel(found: NDArray[Any]) -> Samples:
    """(T,) float32."""
    wave = found.astype(np.float32) if found.ndim == 1 else found.mean(1, dtype=np.float32)
    peak = float(np.abs(wave).max())
    if not np.isfinite(peak):
        raise DataError(WHERE, "holds NaN or infinity", "record it again, or leave it out")
    return wave / np.float32(peak) if peak > 1 else wave
