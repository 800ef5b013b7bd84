"""Video files through PyAV: an index of their frames first, then only the frames that are asked for, one by one."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from trainwright.core.errors import DataError
from trainwright.data.film import WHERE, Film
from trainwright.data.images import Form, Look, Pixels, pixels

if TYPE_CHECKING:
    from PIL.Image import Image

_FAR = 30  # frames ahead from which it pays to jump to a key frame instead of decoding all between
_WHOLE = 0.9  # of the declared frames or time must be there; containers round, and some count what they do not show


@dataclass(frozen=True, slots=True)
class _Index:
    """Where the frames are, in the order they are shown."""

    times: list[float]  # seconds from the first
    stamps: list[int] | None  # in units of the stream; None where the file has none
    keys: list[int]  # numbers of frames that can be jumped to
    end: float  # seconds


class _LostError(Exception):
    """A jump did not end at the frame it was meant to."""


@final
class Stream(Film):
    """The first video stream of a file.

    Frames are turned as the file's metadata says, and stretched where its pixels are not square.

    Args:
        source: the file, or its content.
    """

    timed = True

    def __init__(self, source: Path | io.BytesIO) -> None:
        self.source = source
        with self._opened() as (container, stream):
            self._index = _indexed(container, stream)

    @property
    def length(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return self._index.end

    @cached_property
    def look(self) -> Look:
        """Of the first frame."""
        with self._opened() as (container, stream):
            frame = next(container.decode(stream), None)
            if frame is None:
                raise _damaged("none of its frames can be decoded")
            image = _upright(frame, stream)
            return Look(image.height, image.width, frame.format.name.startswith("gray"))

    def shown(self, times: Sequence[float], form: Form) -> Pixels:
        """(M, C, H, W): the latest frame that began by each time."""
        numbers = [max(0, bisect_right(self._index.times, t + 1e-9) - 1) for t in times]
        wanted = sorted(set(numbers))
        try:
            once = self._read(wanted, self._index.keys, form)
        except _LostError:
            once = self._read(wanted, [], form)
        return np.stack([once[n] for n in numbers])

    def frames(self) -> Iterator[tuple[float, Pixels]]:
        """Every frame in the order it is shown, as the second in which it begins and (H, W, 3); one is held at once."""
        with self._opened() as (container, stream):
            for number, frame in enumerate(container.decode(stream)):
                if frame.is_corrupt:
                    raise _damaged(f"frame {number} cannot be decoded whole")
                second = self._index.times[min(number, len(self._index.times) - 1)]
                yield second, np.array(_upright(frame, stream).convert("RGB"))

    def _read(self, wanted: list[int], keys: list[int], form: Form) -> dict[int, Pixels]:
        """Frames by number, decoded in order, with jumps over what nobody wants."""
        out: dict[int, Pixels] = {}
        with self._opened() as (container, stream):
            frames, at = container.decode(stream), 0  # the number of the frame that comes next
            for number in wanted:
                key = keys[bisect_right(keys, number) - 1] if keys and keys[0] <= number else 0
                if key > at + _FAR:
                    assert self._index.stamps is not None
                    container.seek(self._index.stamps[key], stream=stream)
                    frames, at = _from_key(container, stream, self._index.stamps[key]), key
                for frame in frames:
                    at += 1
                    if at > number:
                        if frame.is_corrupt:
                            raise _damaged(f"frame {number} cannot be decoded whole")
                        out[number] = pixels(_upright(frame, stream), form)
                        break
                else:
                    raise _damaged(f"only {at} of its {len(self._index.times)} frames can be decoded")
        return out

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """(container, video stream); whatever FFmpeg says of a bad file becomes one `DataError`."""
        av = _av()
        if isinstance(self.source, io.BytesIO):
            self.source.seek(0)
        try:
            with av.open(self.source if isinstance(self.source, io.BytesIO) else str(self.source)) as container:
                yield container, _video(container)
        except av.error.FFmpegError as error:
            raise _damaged(f"FFmpeg says: {error.strerror}") from None
        except (ValueError, OverflowError, EOFError) as error:  # names and times that are no text or number
            if isinstance(error, DataError):
                raise
            raise _damaged(f"its head cannot be read: {error}") from None


def _av() -> Any:
    try:
        import av
    except ImportError:
        instead = "pip install 'trainwright[video]' (or: pip install av); folders of pictures need nothing more"
        raise DataError(WHERE, "video files are read by PyAV, which is not installed", instead) from None
    return av


def _video(container: Any) -> Any:
    """The first video stream that is not the cover of a piece of music."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        held = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise DataError(WHERE, f"the file has no video stream (it holds {held})", "replace it, or take it out")
    streams[0].thread_type = "NONE"  # encoding has processes of its own
    return streams[0]


def _indexed(container: Any, stream: Any) -> _Index:
    """Read every packet, decode none. `DataError` for a file without frames, or that ends before it says it does."""
    found: list[tuple[int | None, int, bool]] = []  # (stamp, duration, key) of each frame
    begins: list[float] = []
    ends: list[float] = []
    for packet in container.demux():
        stamp = packet.dts if packet.pts is None else packet.pts
        if packet.size and stamp is not None:
            begins.append(float(stamp * packet.time_base))
            ends.append(float((stamp + (packet.duration or 0)) * packet.time_base))
        if packet.size and packet.stream is stream:
            found.append((stamp, packet.duration or 0, packet.is_keyframe))
    if not found:
        raise DataError(WHERE, "the film has no frame", "replace it, or take it out")
    if stream.frames and len(found) < _WHOLE * stream.frames:
        raise _damaged(f"it ends after {len(found)} of the {stream.frames} frames it declares")
    declared = (container.duration or 0) / 1e6  # FFmpeg counts microseconds here
    if begins and max(ends) - min(begins) < _WHOLE * declared - 0.1:
        raise _damaged(f"it ends after {max(ends) - min(begins):.2f} of the {declared:.2f} seconds it declares")
    return _in_order(found, stream)


def _in_order(found: list[tuple[int | None, int, bool]], stream: Any) -> _Index:
    """Decoders give frames in the order of their stamps, whatever the order in the file."""
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    known = [(stamp, duration, key) for stamp, duration, key in found if stamp is not None]
    if len(known) < len(found):  # a raw stream without a clock
        return _Index([i / rate for i in range(len(found))], None, [], len(found) / rate)
    known.sort()
    unit = float(stream.time_base)
    stamps = [stamp for stamp, _, _ in known]
    times = [(stamp - stamps[0]) * unit for stamp in stamps]
    last = known[-1][1] * unit or (times[-1] / (len(times) - 1) if times[-1] > 0 else 1 / rate)
    return _Index(times, stamps, [i for i, (_, _, key) in enumerate(known) if key], times[-1] + last)


def _from_key(container: Any, stream: Any, stamp: int) -> Iterator[Any]:
    """The frames behind a jump, from the key frame on."""
    frames = container.decode(stream)
    first = next(frames, None)
    if first is None or first.pts != stamp:
        raise _LostError
    yield first
    yield from frames


def _upright(frame: Any, stream: Any) -> Image:
    """The frame as it is meant to be seen."""
    from PIL import Image

    image: Image.Image = frame.to_image()
    aspect = float(stream.sample_aspect_ratio or 1)
    if abs(aspect - 1) > 0.01:
        image = image.resize((max(1, round(image.width * aspect)), image.height), Image.Resampling.BILINEAR)
    return image.rotate(frame.rotation, expand=True) if frame.rotation % 360 else image


def _damaged(what: str) -> DataError:
    return DataError(WHERE, f"the film is damaged: {what}", "replace it, or take it out")
