"""The readers of recordings, series and boxes that are fuzzed, beside those of `fuzz_readers`."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz_readers import File, group, records
from benchmarks.mutation import any_of, raw, spliced, tree, words, zipped

_LONGEST = 60.0  # seconds of a recording

_VOC = b"""<annotation><filename>1.png</filename><size><width>16</width><height>12</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>11</ymax></bndbox>
</object><object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object>
</annotation>
"""
_COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "1.png", "width": 16, "height": 12}, {"id": 2, "file_name": "2.png"}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 7, 8], "area": 56, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 5, "bbox": [0.5, 1.5, 4, 4.25], "iscrowd": 1},
    ],
}


def _tone(kind: str, form: str, channels: int) -> bytes:
    import soundfile

    wave = np.sin(np.arange(900) * 0.3)[:, None].repeat(channels, 1) * 0.5
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 8000, format=kind, subtype=form)
    return buffer.getvalue()


def _recordings() -> list[bytes]:
    kinds = (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"))
    more = (("AIFF", "PCM_24"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("W64", "PCM_16"), ("MP3", "MPEG_LAYER_III"))
    return [_tone(kind, form, 1 + i % 2) for i, (kind, form) in enumerate((*kinds, *more))]


@group("recordings")
def _(place: Path) -> Any:
    from trainwright.data.audio import heard, samples

    def act(data: bytes) -> object:
        return heard(data), samples(data, _LONGEST)

    seeds = _recordings()
    return seeds, any_of(raw, raw, raw, spliced(seeds)), act


@group("archive of recordings")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("yes/1.wav", "no/2.wav", "yes/3.wav", "readme.md"):
            archive.writestr(name, _tone("WAV", "PCM_16", 1))
    read = File(place / "x.zip", lambda p: records(sources["audio"](path=str(p))))
    return [buffer.getvalue()], any_of(zipped(raw), raw, raw), read


@group("series")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    hours = b"".join(b"2024-01-0%d %02d:00,%d,%.2f\n" % (d, h, h, d / 3) for d in (1, 2) for h in range(24))
    months = b"".join(b"20%02d-%02d,%d\n" % (y, m, y * m) for y in (20, 21) for m in range(1, 13))
    seeds = [b"time,a,b\n" + hours, b"Month,passengers\n" + months]

    def read(path: Path) -> object:
        return records(sources["series"](path=str(path)))

    return seeds, any_of(words, words, raw, spliced(seeds)), File(place / "x.csv", read)


@group("boxes of VOC and YOLO")
def _(place: Path) -> Any:
    from trainwright.data.box_formats import is_voc, is_yolo, voc, yolo

    def act(data: bytes) -> object:
        if is_voc(data):
            return voc(data, "x.xml")
        return is_yolo(data), yolo(data, 16, 12, ["cat", "dog"], "x.txt")

    seeds = [_VOC, b"0 0.5 0.5 0.25 0.5\n1 0.1 0.9 0.05 0.1\n"]
    return seeds, any_of(words, words, raw, spliced(seeds)), act


@group("boxes of COCO")
def _(place: Path) -> Any:
    from trainwright.data.box_formats import coco, of_image

    def act(data: bytes) -> object:
        found = coco(data, "x.json")
        return [of_image(found, image, "x.json") for image in list(found.images)[:5]]

    return [json.dumps(_COCO).encode()], any_of(tree, tree, words, raw), act
