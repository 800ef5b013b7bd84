"""Pictures and the boxes in them: what the task of object detection learns from.

Letters in shapes: N samples, C channels, H height, W width, M boxes of a picture, K of a prediction.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, TypeAlias, final

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.boxes import cut
from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.images import Form, Look, file_of, look, pixels
from trainwright.data.labels import Label, Labels, label_of
from trainwright.data.scene_changes import SceneChanges, scene_targets, weights

SAMPLED = 512  # training images that mean and deviation are measured on
GIBI = 1 << 30
STEP = 32  # sides are multiples of it: the coarsest map of a detector has a cell for so many pixels
LARGEST = 320  # the longer side, where it is chosen
_SLACK = 1.0  # pixels that a box may reach over the edge: tools count pixels from 0 or 1
Faulty: TypeAlias = Literal["refuse", "mend"]


@dataclass(frozen=True, slots=True)
class Placed:
    """How a picture lies in the shape all are brought to: between bars, its aspect kept."""

    across: float  # pixels here for one of the original
    down: float
    left: int
    top: int
    width: int  # of the original
    height: int

    @classmethod
    def of(cls, seen: Look, form: Form) -> Placed:
        """As `pixels` does it with fit "pad"."""
        scale = min(form.width / seen.width, form.height / seen.height)
        width, height = max(1, round(seen.width * scale)), max(1, round(seen.height * scale))
        left, top = (form.width - width) // 2, (form.height - height) // 2
        return cls(width / seen.width, height / seen.height, left, top, seen.width, seen.height)

    def numbers(self) -> Tensor:
        """(6,)."""
        return torch.tensor([self.across, self.down, self.left, self.top, self.width, self.height])


def returned(boxes: Tensor, place: Tensor) -> Tensor:
    """Boxes (N, K, 4) in the pixels of the originals, cut where these end; ``place`` (N, 6) as `Placed` gives it."""
    p = place.to(boxes.dtype)[:, None]
    back = (boxes - p[..., [2, 3, 2, 3]]) / p[..., [0, 1, 0, 1]]
    return cut(back, p[..., 4].expand(back.shape[:-1]), p[..., 5].expand(back.shape[:-1]))


@final
class Scenes(Processor):
    """Pictures in one shape, and the boxes in them with their classes.

    Args:
        size: height and width, one number for both, or "auto".
        channels: 1, 3 or "auto".
        faulty: what to do with a box that lies outside of its picture or has no area.
        changes: of the training pictures.
        gigabytes: of decoded training images above which their files are kept instead.
        least: score of a box that is told.
    """

    def __init__(
        self,
        *,
        size: Literal["auto"] | int | tuple[int, int],
        channels: Literal["auto", 1, 3],
        faulty: Faulty,
        changes: SceneChanges,
        gigabytes: float,
        least: float,
    ) -> None:
        self.size, self.channels, self.faulty, self.gigabytes, self.least = size, channels, faulty, gigabytes, least
        self.changes, self.companions = changes, changes.companions
        self.labels = Labels()
        self.form = Form(1, STEP, STEP, "pad")
        self.mean: list[float] = []  # per channel, of pixels from 0 to 255
        self.deviation: list[float] = []
        self.files = False
        self.counts = {"images": 0, "without": 0, "mended": 0, "ignored": 0}
        self._placed: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def fit(self, records: Iterable[Record]) -> None:
        """Learn classes, shape, mean and deviation. A bad record is told of as soon as it is read."""
        found: list[Label] = []
        looks: list[Look] = []
        kept: list[Any] = []
        whole = True
        self.counts = dict.fromkeys(self.counts, 0)
        chance = random.Random(0)  # a fair sample of a stream whose length is not known; Vitter 1985, algorithm R
        for i, record in enumerate(records):
            where = f"training record {i}"
            image = _image(record, where)
            seen = _looked(image, where)
            boxes, labels, ignored, mended = self._boxes(record, seen, where)
            looks.append(seen)
            found += [n for n, skip in zip(labels, ignored, strict=True) if not skip]
            self.counts["images"] += 1
            self.counts["without"] += not boxes
            self.counts["mended"] += mended
            self.counts["ignored"] += sum(ignored)
            whole = whole and not isinstance(image, bytes)
            at = i if i < SAMPLED else chance.randrange(i + 1)
            if at < SAMPLED:
                kept[at : at + 1] = [image]
        if not looks:
            raise DataError("data", "the training part has no records", "give it a larger share")
        if not found:
            raise DataError("data", "no training image has a box", "check that the annotations belong to the images")
        self.labels = Labels(found)
        self.form = self._formed(looks)
        count, (c, h, w) = len(looks), self.form.shape
        self.files = not whole and count * c * h * w > self.gigabytes * GIBI
        self.changes.fits(self.form.channels)
        self._measure(kept)

    def notes(self) -> Sequence[str]:
        """What the pictures hold, and what was done to their boxes."""
        named = ", ".join(f"{n:,} {v}" for v, n in list(zip(self.labels.values, self.labels.counts, strict=True))[:20])
        (_, height, width), without = self.form.shape, self.counts["without"]
        told = [f"classes of boxes: {len(self.labels)} ({named}); images are seen at {width}x{height} pixels"]
        if without:
            told.append(f"images without a box: {without:,} of {self.counts['images']:,}; nothing is to be found there")
        if self.counts["mended"]:
            told.append(f"boxes cut at the edge of their image, or left out as empty: {self.counts['mended']:,}")
        if self.counts["ignored"]:
            told.append(f"boxes that are difficult or crowded, neither learned nor counted: {self.counts['ignored']:,}")
        return [*told, *self.labels.notes("labels")]

    def columns(self) -> Mapping[str, Column]:
        """``image`` (C, H, W), decoded or as files; ``place`` (6,); ``boxes`` (M, 4), ``classes``, ``ignored`` (M,)."""
        kind: Literal["bytes", "dense"] = "bytes" if self.files else "dense"
        return {
            "image": Column(kind, torch.uint8, self.form.shape),
            "place": Column("dense", torch.float32, (6,)),
            "boxes": Column("ragged", torch.float32, (4,), target=True),
            "classes": Column("ragged", torch.int64, target=True),
            "ignored": Column("ragged", torch.uint8, target=True),
        }

    def served(self, record: Record) -> Record:
        """Without the boxes."""
        return {name: value for name, value in record.items() if name not in ("boxes", "labels", "ignored")}

    def encode(self, record: Record) -> Sample:
        """One picture; without boxes where the record says nothing of them."""
        image = _image(record, "record")
        seen = _looked(image, "")
        placed = Placed.of(seen, self.form)
        decoded = torch.from_numpy(pixels(image, self.form))  # files too, so that a damaged one is found now
        sample: dict[str, Tensor | bytes] = {"image": file_of(image) if self.files else decoded}
        sample["place"] = placed.numbers()
        if record.get("boxes") is None:
            return sample
        boxes, labels, ignored, _ = self._boxes(record, seen, "")
        corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        move, scale = torch.tensor([placed.left, placed.top] * 2), torch.tensor([placed.across, placed.down] * 2)
        sample["boxes"] = corners * scale + move
        numbers = [self.labels.index(n, "field 'labels'") if not i else 0 for n, i in zip(labels, ignored, strict=True)]
        sample["classes"] = torch.tensor(numbers, dtype=torch.int64)
        sample["ignored"] = torch.tensor(ignored, dtype=torch.uint8)
        return sample

    def unpack(self, column: str, data: bytes) -> Tensor:
        """A file as (C, H, W) uint8."""
        return torch.from_numpy(pixels(data, self.form))

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``x`` (N, C, H, W), ``place`` (N, 6); targets ``boxes`` (N, M, 4), ``classes`` (N, M), ``ignored`` (N, M).

        The class of padding is -1. The weight is the number of boxes, and 1 for a picture without any.
        """
        x, targets = rows.dense("image"), scene_targets(rows)
        if draw is not None and targets:
            x, targets = self.changes(rows, draw)
        mean, scale = self._scaling(x.device)
        weight = weights(targets).sum() if targets else torch.tensor(float(len(rows)), device=x.device)
        inputs = {"x": (x.float() - mean) * scale, "place": rows.dense("place")}
        return Batch(inputs, targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"boxes": [{"label", "score", "box": [x0, y0, x1, y1]}, …]}``, best first, in the original's pixels."""
        boxes = returned(outputs["boxes"], batch.inputs["place"]).tolist()
        answers: list[Answer] = []
        for corners, scores, kinds in zip(boxes, outputs["scores"].tolist(), outputs["classes"].tolist(), strict=True):
            told = [
                {"label": self.labels.values[k], "score": s, "box": [round(v, 2) for v in b]}
                for b, s, k in zip(corners, scores, kinds, strict=True)
                if s >= self.least and s > 0
            ]
            answers.append({"boxes": told})
        return answers

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        counts: dict[str, JSON] = dict(self.counts.items())
        learned: dict[str, JSON] = {"labels": self.labels.state_dict(), "shape": list(self.form.shape)}
        learned |= {"mean": list(self.mean), "deviation": list(self.deviation)}
        return {**learned, "files": self.files, "counts": counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.labels.load_state_dict(state["labels"])
        channels, height, width = state["shape"]
        self.form = Form(channels, height, width, "pad")
        self.mean, self.deviation = list(state["mean"]), list(state["deviation"])
        self.files, self.counts = state["files"], dict(state["counts"])
        self.changes.fits(channels)
        self._placed = {}

    def pictures(self, batch: Batch) -> Tensor:
        """(N, C, H, W) uint8: the inputs of a batch as they were."""
        mean, scale = self._scaling(batch.device)
        return (batch.inputs["x"] / scale + mean).round().clamp(0, 255).to(torch.uint8)

    def _boxes(self, record: Record, seen: Look, where: str) -> tuple[list[list[float]], list[Label], list[bool], int]:
        """Corners, labels, whether each is ignored, and how many were mended; `DataError` for what cannot be used."""
        given, labels = record.get("boxes"), record.get("labels")
        place = f"{where}: " if where else ""
        if given is None or labels is None:
            missing = "boxes" if given is None else "labels"
            raise DataError(where or "record", f"the record has no field '{missing}'", did_you_mean(missing, record))
        if len(given) != len(labels):
            what = f"{len(given)} boxes have {len(labels)} labels"
            raise DataError(where or "record", what, "give one label for each box")
        skipped = record.get("ignored") or [False] * len(given)
        boxes, kept, ignored, mended = [], [], [], 0
        for i, (box, label) in enumerate(zip(given, labels, strict=True)):
            at = f"{place}box {i + 1}" + (f" ({label})" if isinstance(label, str) else "")
            corners = _corners(box, at)
            inside = [min(max(v, 0.0), float(n)) for v, n in zip(corners, [seen.width, seen.height] * 2, strict=True)]
            trouble = _trouble(corners, inside, seen)
            if trouble and self.faulty == "refuse":
                instead = 'correct it, or write task.faulty = "mend" to cut it, or leave it out where nothing remains'
                raise DataError(at, trouble, instead)
            mended += bool(trouble)
            if inside[2] - inside[0] <= 0 or inside[3] - inside[1] <= 0:
                continue
            boxes.append(inside)
            kept.append(label_of(label, at))
            ignored.append(bool(skipped[i]))
        return boxes, kept, ignored, mended

    def _formed(self, looks: list[Look]) -> Form:
        """The shape asked for, or the median one, its longer side at most `LARGEST`, in multiples of `STEP`."""
        channels = self.channels
        if channels == "auto":
            channels = 1 if all(x.grey for x in looks) else 3
        if self.size == "auto":
            height, width = (float(median(getattr(x, side) for x in looks)) for side in ("height", "width"))
            shrink = min(1.0, LARGEST / max(height, width))
            size = (height * shrink, width * shrink)
        else:
            size = (self.size, self.size) if isinstance(self.size, int) else self.size
        height, width = (max(STEP, round(n / STEP) * STEP) for n in size)
        return Form(channels, height, width, "pad")

    def _measure(self, images: list[Any]) -> None:
        sums, n = torch.zeros(2, self.form.channels, dtype=torch.float64), 0
        for image in images:
            with suppress(DataError):  # a damaged file: encoding meets it again, and knows its place
                x = torch.from_numpy(pixels(image, self.form)).double()
                sums += torch.stack([x.mean((1, 2)), x.square().mean((1, 2))])
                n += 1
        mean, square = sums / max(n, 1)
        self.mean = mean.tolist()
        self.deviation = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1).tolist()
        self._placed = {}

    def _scaling(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and the inverse of the deviation, (C, 1, 1), on the device."""
        if device not in self._placed:
            mean, deviation = torch.tensor([self.mean, self.deviation], device=device)[:, :, None, None]
            self._placed[device] = (mean, 1 / deviation)
        return self._placed[device]


def _trouble(corners: list[float], inside: list[float], seen: Look) -> str:
    x0, y0, x1, y1 = corners
    if x1 - x0 <= 0 or y1 - y0 <= 0:
        return f"{_said(corners)} has no area"
    if max(abs(a - b) for a, b in zip(corners, inside, strict=True)) > _SLACK:
        return f"{_said(corners)} reaches out of its image of {seen.width}x{seen.height} pixels"
    return ""


def _said(corners: list[float]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in corners) + ")"


def _corners(box: Any, where: str) -> list[float]:
    try:
        corners = [float(v) for v in box]
    except (TypeError, ValueError):
        corners = []
    if len(corners) != 4 or not all(abs(v) < 1e9 for v in corners):
        raise DataError(where, f"{box!r} is no box", "give four numbers: the left, upper, right and lower edge")
    return corners


def _image(record: Record, where: str) -> Any:
    if record.get("image") is None:
        raise DataError(where, "the record has no field 'image'", did_you_mean("image", record))
    return record["image"]


def _looked(image: Any, where: str) -> Look:
    try:
        return look(image)
    except DataError as error:
        raise DataError(f"{where}, {error.where}" if where else error.where, error.what, error.instead) from None
