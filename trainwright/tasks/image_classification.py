"""Image classification: pictures to one of a few classes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from trainwright.core.batch import Batch, Draw, seed_of
from trainwright.core.criterion import Criterion, samples
from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import tasks
from trainwright.core.rows import Column, Encoded, Rows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Classes,
    Loss,
    Metric,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)
from trainwright.data.augmentation import Augmenter, Table, asked, fits, usual
from trainwright.data.folder import SUFFIXES
from trainwright.data.images import Fit, Form, Look, common_size, file_of, look, pixels
from trainwright.data.labels import Label, Labels, is_missing, label_of
from trainwright.data.mixing import Mixer
from trainwright.metrics import baselines, classes, probabilities
from trainwright.optim.losses import criterion_of

SAMPLED = 1024  # training images that mean and deviation are measured on
GIBI = 1 << 30

Side = Annotated[int, Field(ge=1, le=4096)]
Size = Literal["auto"] | Side | tuple[Side, Side]
Alpha = Annotated[float, Field(ge=0, le=100)]


@final
class Images(Processor):
    """Pictures in one shape, and the number of their class.

    Args:
        size: height and width, one number for both, or "auto".
        channels: 1, 3 or "auto".
        fit: how other shapes are brought to that one.
        augment: changes by name, as a person writes them, "auto" or "none".
        mixer: mixes each training image with another.
        gigabytes: of decoded training images above which their files are kept instead.
        criterion: says how much each label weighs.
    """

    def __init__(
        self,
        *,
        size: Size,
        channels: Literal["auto", 1, 3],
        fit: Fit,
        augment: Literal["auto", "none"] | dict[str, Any],
        mixer: Mixer,
        gigabytes: float,
        criterion: Criterion,
    ) -> None:
        self.size, self.channels, self.kind, self.augment = size, channels, fit, augment
        self.mixer, self.companions = mixer, int(bool(mixer))
        self.gigabytes = gigabytes
        self.labels = Labels()
        self.form = Form(1, 1, 1, fit)
        self.mean: list[float] = []  # per channel, of pixels from 0 to 255
        self.deviation: list[float] = []
        self.augmenter = Augmenter({})
        self.changes: Table = {}  # what it does
        self.files = False
        self._criterion = criterion
        self._each = torch.empty(0)  # how much one sample of each class weighs; empty before it is needed
        self._placed: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def fit(self, records: Iterable[Record]) -> None:
        """Learn labels, shape, mean and deviation. A bad record is told of as soon as it is read."""
        found: list[Label] = []
        looks: list[Look] = []
        kept: list[Any] = []
        whole = True
        chance = random.Random(0)  # a fair sample of a stream whose length is not known; Vitter 1985, algorithm R
        for i, record in enumerate(records):
            where = f"training record {i}"
            image = _image(record, where)
            looks.append(_looked(image, where))
            found.append(_label(record, where))
            whole = whole and not isinstance(image, bytes)
            at = i if i < SAMPLED else chance.randrange(i + 1)
            if at < SAMPLED:
                kept[at : at + 1] = [image]
        if not looks:
            raise DataError("data", "the training part has no records", "give it a larger share")
        self.labels = Labels(found).checked("field 'label'")
        self._criterion.learn(self.labels.counts)
        self.form = self._formed(looks)
        self.files = not whole and len(looks) * _size(self.form) > self.gigabytes * GIBI
        changes = usual(*self.form.shape) if self.augment == "auto" else _asked(self.augment)
        fits(changes, self.form.channels)
        self._change(changes)
        self._measure(kept)

    def columns(self) -> Mapping[str, Column]:
        """``image`` (C, H, W) uint8, decoded or as files, and ``y``, the class."""
        kind: Literal["bytes", "dense"] = "bytes" if self.files else "dense"
        return {"image": Column(kind, torch.uint8, self.form.shape), "y": Column("dense", torch.int64, target=True)}

    def served(self, record: Record) -> Record:
        """Without the label."""
        return {name: value for name, value in record.items() if name != "label"}

    def encode(self, record: Record) -> Sample:
        """One picture; without ``y`` where the record has no label."""
        image = _image(record, "record")
        decoded = torch.from_numpy(pixels(image, self.form))  # files too, so that a damaged one is found now
        sample: dict[str, Tensor | bytes] = {"image": file_of(image) if self.files else decoded}
        if not is_missing(record.get("label")):
            sample["y"] = torch.tensor(self.labels.index(record["label"], "field 'label'"))
        return sample

    def unpack(self, column: str, data: bytes) -> Tensor:
        """A file as (C, H, W) uint8."""
        return torch.from_numpy(pixels(data, self.form))

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``x`` (N, C, H, W) float32 with mean 0 and deviation 1 per channel; target ``y`` (N,) int64."""
        x = rows.dense("image")
        targets = {"y": rows.dense("y")} if "y" in rows.columns else {}
        weight = self._criterion.weight(targets["y"]) if targets else samples(rows.ids)
        if draw is None:
            x = x.float()
        else:
            x = self.augmenter(x, draw)
            if self.mixer:
                x, mix = self._mixed(x, rows, draw)
                targets |= mix
                weight = self._shared_weight(targets)
        mean, scale = self._scaling(x.device)
        return Batch({"x": (x - mean) * scale}, targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"label": …, "probability": p, "probabilities": {label: p, …}}``."""
        return list(self.labels.answers(outputs["probabilities"]))

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        return {
            "labels": self.labels.state_dict(),
            "shape": list(self.form.shape),
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "augment": json.loads(json.dumps(self.changes)),  # tuples as lists
            "files": self.files,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.labels.load_state_dict(state["labels"])
        self._criterion.learn(self.labels.counts)
        channels, height, width = state["shape"]
        self.form = Form(channels, height, width, self.kind)
        self.mean, self.deviation = list(state["mean"]), list(state["deviation"])
        self._change(asked(state["augment"]))
        self.files = state["files"]
        self._placed = {}

    def _change(self, changes: Table) -> None:
        self.changes, self.augmenter = changes, Augmenter(changes)

    def _mixed(self, x: Tensor, rows: Rows, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Images with companions mixed in; the companions' classes, and the share of each image that is its own."""
        companion = rows.companions[0]
        anew = Draw(seed_of(draw.seed, "companion"), draw.epoch, rows.ids)
        x, share = self.mixer(x, self.augmenter(companion.dense("image"), anew), draw)
        return x, {"other": companion.dense("y"), "share": share}

    def _shared_weight(self, targets: Mapping[str, Tensor]) -> Tensor:
        """0-d: each class of a mixed image counts by its share."""
        y, other, share = targets["y"], targets["other"], targets["share"]
        if self._each.device != y.device or not len(self._each):
            self._each = torch.stack(
                [self._criterion.weight(c) for c in torch.arange(len(self.labels), device=y.device)[:, None]]
            )
        return (share * self._each[y] + (1 - share) * self._each[other]).sum()

    def _formed(self, looks: list[Look]) -> Form:
        """The shape asked for, or found."""
        channels = self.channels
        if channels == "auto":
            channels = 1 if all(x.grey for x in looks) else 3
        size = common_size(looks) if self.size == "auto" else self.size
        height, width = (size, size) if isinstance(size, int) else size
        return Form(channels, height, width, self.kind)

    def _measure(self, images: list[Any]) -> None:
        sums, n = torch.zeros(2, self.form.channels, dtype=torch.float64), 0
        for image in images:
            with suppress(DataError):  # a damaged file: encoding meets it again, and knows its place
                x = torch.from_numpy(pixels(image, self.form)).double()
                sums += torch.stack([x.mean((1, 2)), x.square().mean((1, 2))])
                n += 1
        mean, square = sums / max(n, 1)
        self.mean = mean.tolist()
        self.deviation = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1).tolist()  # blank images: no blow-up
        self._placed = {}

    def _scaling(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and the inverse of the deviation, (C, 1, 1), on the device."""
        if device not in self._placed:
            mean, deviation = torch.tensor([self.mean, self.deviation], device=device)[:, :, None, None]
            self._placed[device] = (mean, 1 / deviation)
        return self._placed[device]


@tasks.add("image_classification", files=SUFFIXES)
@final
class ImageClassification(Task[Images]):
    """Tell the class of a picture.

    Records are ``{"image": …, "label": …}``: an image file's bytes, or an array (H, W) or (H, W, C) of bytes. Pictures
    are turned upright, brought to one shape and normalised by the training part's mean and deviation per channel.

    Args:
        size: height and width in pixels, or one number for both; "auto" is what all training images have (at most
            224), else their median between 64 and 96 for up to 2,000 images, 128 for up to 20,000, 224 for more.
        channels: 1 is grey, 3 is colour; "auto" is grey where every training image is.
        fit: how other shapes are brought to that one, the aspect kept: "crop" fills it and cuts off what hangs over,
            "pad" shows everything between black bars.
        augment: random changes of the training images: "none", a table by name such as {flip = true, rotate = 15,
            crop = {smallest = 0.5}} (`explain augmentation` lists them), or "auto": grey images, often digits, letters
            or scans, are shifted a little; colour images are flipped and shifted further; those of 64 pixels and more
            are flipped, and a part of them is shown larger, in another brightness, contrast and saturation.
        mixup: each training image is averaged with another, with shares drawn from Beta(mixup, mixup), and its loss is
            the same average of the losses for both classes; 0 is none, 0.2 is usual (Zhang et al. 2018).
        cutmix: a rectangle of another image is pasted into each training image, whose area is drawn from Beta(cutmix,
            cutmix), and the loss is shared likewise; 0 is none, 1 is usual (Yun et al. 2019). With mixup as well, each
            image gets one or the other.
        gigabytes: decoded training images that would take more are kept as files, and decoded for each batch.
        loss: a loss for classes, by name or as a table {name, options}.
    """

    def __init__(
        self,
        *,
        size: Size = "auto",
        channels: Literal["auto", 1, 3] = "auto",
        fit: Fit = "crop",
        augment: Literal["auto", "none"] | dict[str, Any] = "auto",
        mixup: Alpha = 0.0,
        cutmix: Alpha = 0.0,
        gigabytes: Annotated[float, Field(ge=0)] = 4.0,
        loss: str | dict[str, Any] = "cross_entropy",
    ) -> None:
        self.criterion = criterion_of(loss, "task.loss")
        if self.criterion.expects != "classes":
            raise UserError("task.loss", f"{loss!r} does not compare classes", "use 'cross_entropy'")
        _asked(augment)
        self.processor = Images(
            size=size,
            channels=channels,
            fit=fit,
            augment=augment,
            mixer=Mixer(mixup, cutmix),
            gigabytes=gigabytes,
            criterion=self.criterion,
        )

    @property
    def monitor(self) -> str:
        """Accuracy."""
        return "accuracy"

    def strata(self, record: Record) -> str | None:
        """The label."""
        return "label"

    def sizes(self) -> dict[str, JSON]:
        """``channels``, ``size`` [height, width], ``inputs`` (pixels times channels), ``outputs``; expects classes."""
        form = self.processor.form
        size: list[JSON] = [form.height, form.width]
        pixel: dict[str, JSON] = {"channels": form.channels, "size": size, "inputs": _size(form)}
        return {**pixel, "outputs": len(self.processor.labels), "expects": self.criterion.expects}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Logits (N, C) compared with the classes; of a mixed image with both, each by its share."""
        logits = model(**batch.inputs)
        weights = self.criterion.weights(batch.targets["y"])
        if "share" in batch.targets:
            share, mine = batch.targets["share"], self.criterion.each(logits, batch.targets["y"])
            mixed = share * mine + (1 - share) * self.criterion.each(logits, batch.targets["other"])
            return Loss(mixed.sum(), {"logits": logits.detach()}, mixed.detach(), weights=weights)
        total, each = self.criterion.summed(logits, batch.targets["y"])
        return Loss(total, {"logits": logits.detach()}, each, weights=weights)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``probabilities`` (N, C)."""
        return {"probabilities": model(**batch.inputs).softmax(1)}

    def compared(self) -> Classes:
        """Logits with the true class."""
        names = tuple(str(v) for v in self.processor.labels.values)
        return Classes(lambda outputs: outputs["logits"], lambda batch: batch.targets["y"], names)

    def metrics(self) -> dict[str, Metric]:
        """Accuracy, among the top five where there are more, log loss in nats, and at the end macro F1."""
        of = self.compared()
        top = {"top5": classes.top_k_accuracy(of, k=5)} if len(of.names) > 5 else {}
        last = {"macro_f1": replace(classes.macro_f1(of), when="final")}
        return {"accuracy": classes.accuracy(of), **top, "log_loss": probabilities.log_loss(of), **last}

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The training frequencies, and logistic regression on at most 5,000 images of at most 256 mean pixels."""
        return {
            "constant": lambda seconds: baselines.Constant(baselines.log_frequencies(self.processor.labels.counts)),
            "linear": lambda seconds: self._linear(train),
        }

    def _linear(self, train: Encoded) -> Baseline:
        labels = len(self.processor.labels)
        features = self._small(train.rows(0, 1))[0].shape[1]
        most = 1000 if self.processor.files else baselines.ROWS  # files are decoded for it
        limit = baselines.rows_for(features, labels, most)
        return baselines.logistic(_mean_pixels, *baselines.read_part(train, self._small, limit=limit), labels)

    def _small(self, rows: Rows) -> tuple[Tensor, Tensor]:
        batch = self.processor.batch(rows, None)
        return _mean_pixels(**batch.inputs), batch.targets["y"]


def _mean_pixels(x: Tensor) -> Tensor:
    """(N, F) float64, F up to 256, of images (N, C, H, W)."""
    side = int((256 / x.shape[1]) ** 0.5)
    return adaptive_avg_pool2d(x, (min(side, x.shape[2]), min(side, x.shape[3]))).flatten(1).double()


def _asked(augment: Literal["auto", "none"] | dict[str, Any]) -> Table:
    """The changes that a person wrote, checked and complete."""
    return asked(augment) if isinstance(augment, dict) else {}


def _image(record: Record, where: str) -> Any:
    if record.get("image") is None:
        raise DataError(where, "the record has no field 'image'", did_you_mean("image", record))
    return record["image"]


def _looked(image: Any, where: str) -> Look:
    try:
        return look(image)
    except DataError as error:
        raise DataError(f"{where}, {error.where}", error.what, error.instead) from None


def _label(record: Record, where: str) -> Label:
    if is_missing(record.get("label")):
        raise DataError(where, "the record has no label", "give every training record a field 'label'")
    return label_of(record["label"], where)


def _size(form: Form) -> int:
    return form.channels * form.height * form.width
