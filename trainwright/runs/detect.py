"""Finds things in pictures and films: an answer for each, and the picture with its boxes drawn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from trainwright.core.errors import CannotCreateError, DataError
from trainwright.data.drawn_boxes import drawn
from trainwright.data.images import Form, Pixels, look, pixels
from trainwright.data.labels import Labels
from trainwright.runs.answers import Bad, answered
from trainwright.runs.inputs import Item
from trainwright.runs.predict import Predictor

ANSWERS = "boxes.jsonl"
_RATE = 25  # frames a second that the encoder is told; the times are those of the film


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in one picture, or in one frame of a film."""

    answer: Mapping[str, Any]  # input, frame and second of a film, and boxes
    picture: Pixels  # (H, W, 3), with the boxes drawn


def detected(predictor: Predictor, items: Iterable[Item], bad: Bad | None = None) -> Iterator[Found]:
    """What is in each picture, in order; one is held at once.

    Args:
        predictor: of a run that detects objects.
        items: the pictures.
        bad: is told of each that cannot be used, which is then passed over; without it that is an error.
    """
    labels: Labels = predictor.task.processor.labels
    for item in items:
        try:
            record = item.read()
        except DataError as error:
            if bad is None:
                raise
            bad(item, error)
            continue
        once = Item(item.origin, item.place, partial(dict, record))
        for answer in answered(predictor, [once], bad=bad):
            yield Found(answer, _drawn(record["image"], answer["boxes"], labels))


def save(found: Iterable[Found], folder: Path) -> Iterator[tuple[Found, Path]]:
    """Write each answer as a line of boxes.jsonl, each picture as a .png, and each film as an .mp4 file.

    Nothing is overwritten: a number is added to a name that is taken. Yields what was found, and where it is drawn.

    Args:
        found: in the order of `detected`, the frames of a film one after the other.
        folder: that is there.
    """
    film: _Film | None = None
    try:
        with _free(folder / ANSWERS).open("w", encoding="utf-8") as lines:
            for one in found:
                name = str(one.answer.get("input") or f"{one.answer.get('part')}-{one.answer.get('record')}")
                if film is not None and (film.name != name or one.answer.get("frame") == 0):
                    film.close()
                    film = None
                if "frame" in one.answer:
                    film = film or _Film(name, _free(folder / f"{Path(name).stem}.mp4"))
                    film.add(one.picture, float(one.answer["second"]))
                    path = film.path
                else:
                    path = _free(folder / f"{Path(name).stem}.png")
                    _image(one.picture, path)
                lines.write(json.dumps(dict(one.answer), ensure_ascii=False, allow_nan=False) + "\n")
                yield one, path
    except OSError as error:
        raise CannotCreateError(str(folder), f"cannot be written: {error.strerror}", "choose another place") from None
    finally:
        if film is not None:
            film.close()


def _drawn(image: Any, boxes: list[Mapping[str, Any]], labels: Labels) -> Pixels:
    seen = look(image)
    whole = pixels(image, Form(3, seen.height, seen.width)).transpose(1, 2, 0)
    numbers = [labels.index(b["label"], "label") for b in boxes]
    words = [f"{b['label']} {b['score']:.2f}" for b in boxes]
    return drawn(np.ascontiguousarray(whole), [b["box"] for b in boxes], numbers, words)


def _image(picture: Pixels, path: Path) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path)


def _free(path: Path) -> Path:
    number, place = 2, path
    while place.exists():
        place = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return place


@final
class _Film:
    """A film that is written frame by frame; each stays until the next begins.

    Args:
        name: of the film it shows.
        path: of the .mp4 file.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self._stream: Any = None
        self._container: Any = None
        self._last = -1

    def add(self, picture: Pixels, second: float) -> None:
        """One more frame; a side of an odd number of pixels loses one, as the format wants it."""
        import av

        height, width = (n - n % 2 for n in picture.shape[:2])
        if self._container is None:
            self._container = av.open(str(self.path), "w")
            self._stream = self._container.add_stream("libx264", rate=_RATE)
            self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, 1000)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        self._last = max(self._last + 1, round(second * 1000))
        frame.pts, frame.time_base = self._last, Fraction(1, 1000)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left."""
        if self._container is not None:
            self._container.mux(self._stream.encode())
            self._container.close()
