"""Films to clips: windows of a few frames in one shape, a changed one for each epoch of training."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from contextlib import suppress
from statistics import median
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import Criterion, samples
from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.augmentation import Augmenter, Table, asked, fits
from trainwright.data.film import Film, placed, within
from trainwright.data.images import Fit, Form, Look, common_size
from trainwright.data.labels import Label, Labels, is_missing, label_of
from trainwright.data.video import film

SAMPLED = 64  # training films that mean and deviation are measured on, by one frame of each
LARGEST = 112  # sides of frames whose size is chosen for them, in pixels; as in Tran et al. 2015

Side = Annotated[int, Field(ge=1, le=4096)]
Size = Literal["auto"] | Side | tuple[Side, Side]
Span = Literal["auto"] | Annotated[float, Field(gt=0)]
Augment = Literal["auto", "none"] | dict[str, Any]


@final
class Films(Processor):
    """Windows of films as frames in one shape, and the number of the film's class.

    Args:
        frames: of each window.
        span: of a window, in seconds or pictures.
        windows: of a film, at most.
        size: height and width, one number for both, or "auto".
        channels: 1, 3 or "auto".
        fit: how other shapes are brought to that one.
        augment: changes by name, as a person writes them, "auto" or "none".
        criterion: says how much each label weighs.
    """

    def __init__(
        self,
        *,
        frames: int,
        span: Span,
        windows: int,
        size: Size,
        channels: Literal["auto", 1, 3],
        fit: Fit,
        augment: Augment,
        criterion: Criterion,
    ) -> None:
        self.frames, self.span, self.most = frames, span, windows
        self.size, self.channels, self.kind, self.augment = size, channels, fit, augment
        self.labels = Labels()
        self.form = Form(1, 1, 1, fit)
        self.spans: dict[str, float] = {}  # "seconds" of files, "frames" of pictures
        self.mean: list[float] = []  # per channel, of pixels from 0 to 255
        self.deviation: list[float] = []
        self.changes: Table = {}
        self.augmenter = Augmenter({})
        self._criterion = criterion

    def fit(self, records: Iterable[Record]) -> None:
        """Learn labels, shape, the length of a window, mean and deviation. A bad film is told of when it is met."""
        found: list[Label] = []
        looks: list[Look] = []
        lengths: dict[str, list[float]] = {"seconds": [], "frames": []}
        kept: list[Any] = []
        chance = random.Random(0)  # a fair sample of a stream whose length is not known; Vitter 1985, algorithm R
        for i, record in enumerate(records):
            where = f"training record {i}"
            opened = _film(record, where)
            looks.append(opened.look)
            found.append(_label(record, where))
            lengths[_unit(opened.timed)].append(opened.length)
            at = i if i < SAMPLED else chance.randrange(i + 1)
            if at < SAMPLED:
                kept[at : at + 1] = [record["video"]]
        if not looks:
            raise DataError("data", "the training part has no records", "give it a larger share")
        self.labels = Labels(found).checked("field 'label'")
        self._criterion.learn(self.labels.counts)
        self.form = self._formed(looks)
        self.spans = {unit: self._span(found) for unit, found in lengths.items() if found}
        changes = _usual(self.form) if self.augment == "auto" else changes_of(self.augment)
        fits(changes, self.form.channels)
        self._change(changes)
        self._measure(kept)

    def columns(self) -> Mapping[str, Column]:
        """``video`` (windows, T, C, H, W) uint8, where they begin, whether that is seconds, and ``y``, the class."""
        return {
            "video": Column("ragged", torch.uint8, (self.frames, *self.form.shape)),
            "start": Column("ragged", torch.float64),
            "timed": Column("dense", torch.bool),
            "y": Column("dense", torch.int64, target=True),
        }

    def served(self, record: Record) -> Record:
        """Without the label."""
        return {name: value for name, value in record.items() if name != "label"}

    def encode(self, record: Record) -> Sample:
        """The windows of one film; without ``y`` where the record has no label."""
        opened = _film(record, "")
        span = min(self.spans.get(_unit(opened.timed), opened.length), opened.length)
        starts = placed(opened.length, span, self.most)
        if not opened.timed:
            starts = [float(int(s)) for s in starts]
        times = [t for s in starts for t in within(s, span, self.frames)]
        shown = opened.shown(times, self.form).reshape(len(starts), self.frames, *self.form.shape)
        sample: dict[str, Tensor | bytes] = {
            "video": torch.from_numpy(np.ascontiguousarray(shown)),
            "start": torch.tensor(starts, dtype=torch.float64),
            "timed": torch.tensor(opened.timed),
        }
        if not is_missing(record.get("label")):
            sample["y"] = torch.tensor(self.labels.index(record["label"], "field 'label'"))
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``x`` (N, K, T, C, H, W) float32, normalised; how many of the K ``windows`` each film has; target ``y``.

        In training K is 1: a window of each film, drawn anew in every epoch.
        """
        films = rows.ragged("video")
        counts, starts = films.lengths, rows.ragged("start")
        if draw is None:
            x, begins = films.padded().float(), starts.padded()
        else:
            picked = (draw.uniform("window")[:, 0] * counts).long().clamp(max=counts - 1) + counts.cumsum(0) - counts
            x = self._changed(films.values[picked], draw)[:, None]
            begins, counts = starts.values[picked][:, None], torch.ones_like(counts)
        inputs = {"x": self.scaled(x), "windows": counts, "start": begins, "timed": rows.dense("timed")}
        targets = {"y": rows.dense("y")} if "y" in rows.columns else {}
        weight = self._criterion.weight(targets["y"]) if targets else samples(rows.ids)
        return Batch(inputs, targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"label", "probability", "probabilities", "timeline"}``: every class, and what each window looks like.

        An entry of the timeline is ``{"second": 1.5, "label": …, "probability": p}``, the second at which the window
        begins; for a film of pictures it is ``{"frame": 12, …}``.
        """
        values = self.labels.values
        answers: list[Answer] = []
        for i, answer in enumerate(self.labels.answers(outputs["probabilities"])):
            along = outputs["timeline"][i, : int(batch.inputs["windows"][i])].max(1)
            starts = batch.inputs["start"][i].tolist()
            timed = bool(batch.inputs["timed"][i])
            timeline = [
                {**({"second": round(s, 3)} if timed else {"frame": int(s)}), "label": values[k], "probability": p}
                for s, k, p in zip(starts, along.indices.tolist(), along.values.tolist(), strict=False)
            ]
            answers.append({**answer, "timeline": timeline})
        return answers

    def scaled(self, x: Tensor) -> Tensor:
        """(…, C, H, W) with mean 0 and deviation 1 per channel."""
        mean, deviation = torch.tensor([self.mean, self.deviation], device=x.device)[:, :, None, None]
        scaled: Tensor = (x - mean) / deviation
        return scaled

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        return {
            "labels": self.labels.state_dict(),
            "shape": list(self.form.shape),
            "spans": dict(self.spans),
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "augment": json.loads(json.dumps(self.changes)),  # tuples as lists
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.labels.load_state_dict(state["labels"])
        self._criterion.learn(self.labels.counts)
        channels, height, width = state["shape"]
        self.form = Form(channels, height, width, self.kind)
        self.spans = dict(state["spans"])
        self._change(asked(state["augment"]))
        self.mean, self.deviation = list(state["mean"]), list(state["deviation"])

    def _formed(self, looks: list[Look]) -> Form:
        """The shape asked for, or found."""
        channels = self.channels
        if channels == "auto":
            channels = 1 if all(x.grey for x in looks) else 3
        size = _smaller(*common_size(looks)) if self.size == "auto" else self.size
        height, width = (size, size) if isinstance(size, int) else size
        return Form(channels, height, width, self.kind)

    def _span(self, lengths: list[float]) -> float:
        """Of a window: half of what most films take, so that most have a course of time to tell of."""
        return median(lengths) / 2 if self.span == "auto" else self.span

    def _measure(self, films: list[Any]) -> None:
        sums, n = torch.zeros(2, self.form.channels, dtype=torch.float64), 0
        for value in films:
            with suppress(DataError):  # a damaged film: encoding meets it again, and knows its place
                opened = film(value)
                x = torch.from_numpy(opened.shown([opened.length / 2], self.form)[0]).double()
                sums += torch.stack([x.mean((1, 2)), x.square().mean((1, 2))])
                n += 1
        mean, square = sums / max(n, 1)
        self.mean = mean.tolist()
        self.deviation = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1).tolist()  # blank films: no blow-up

    def _change(self, changes: Table) -> None:
        self.changes, self.augmenter = changes, Augmenter(changes)

    def _changed(self, x: Tensor, draw: Draw) -> Tensor:
        """(N, T, C, H, W), every frame of a clip in the same way: each is told the clip's id."""
        frames = Draw(draw.seed, draw.epoch, draw.ids.repeat_interleave(self.frames))
        changed: Tensor = self.augmenter(x.flatten(0, 1), frames).unflatten(0, x.shape[:2])
        return changed


def changes_of(augment: Augment) -> Table:
    """The changes that a person wrote, checked and complete."""
    return asked(augment) if isinstance(augment, dict) else {}


def _usual(form: Form) -> Table:
    """A shift by up to a fourteenth of the shorter side."""
    return asked({"shift": max(1, round(min(form.height, form.width) / 14))})


def _smaller(height: int, width: int) -> tuple[int, int]:
    """The same aspect, no side above `LARGEST`."""
    factor = min(1.0, LARGEST / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _unit(timed: bool) -> str:
    return "seconds" if timed else "frames"


def _film(record: Record, where: str) -> Film:
    if record.get("video") is None:
        raise DataError(where or "record", "the record has no field 'video'", did_you_mean("video", record))
    try:
        return film(record["video"])
    except DataError as error:
        raise DataError(", ".join(p for p in (where, error.where) if p), error.what, error.instead) from None


def _label(record: Record, where: str) -> Label:
    if is_missing(record.get("label")):
        raise DataError(where, "the record has no label", "give every training record a field 'label'")
    return label_of(record["label"], where)
