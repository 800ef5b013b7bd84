"""Video classification: films to one of a few classes, as a whole and along their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.kinds import tasks
from trainwright.core.rows import Encoded, Rows
from trainwright.core.task import JSON, Baseline, Classes, Loss, Metric, Outputs, Progress, Record, Task
from trainwright.data.clips import Augment, Films, Size, Span, changes_of
from trainwright.data.images import Fit
from trainwright.data.video import SUFFIXES
from trainwright.data.videos import records_in
from trainwright.metrics import baselines, classes, probabilities
from trainwright.optim.losses import criterion_of

TOGETHER = 32  # windows that are judged at once

Count = Annotated[int, Field(ge=1, le=1024)]


@tasks.add("video_classification", records=records_in, files=SUFFIXES)
@final
class VideoClassification(Task[Films]):
    """Tell the class of a film, and what each stretch of it looks like.

    Records are ``{"video": …, "label": …}``: the path of a video file or of a folder of pictures, a file's bytes, or
    the pictures themselves, (T, H, W) or (T, H, W, C) bytes. A film is looked at in windows; each is a few frames,
    evenly placed in time, turned upright and brought to one shape. Training draws a window of each film anew in every
    epoch; a film's class is what the mean of its windows' outputs says.

    Args:
        frames: of a window that the model sees.
        span: length of a window: seconds of video files, pictures of films that are folders or arrays; "auto" is half
            of the median over the training films. A shorter film is one window.
        windows: of a film at most; they lie evenly, each half over the next where so many are enough.
        size: height and width in pixels, or one number for both; "auto" is what all training films have, else their
            median, at most 112.
        channels: 1 is grey, 3 is colour; "auto" is grey where every training film is.
        fit: how other shapes are brought to that one, the aspect kept: "crop" fills it and cuts off what hangs over,
            "pad" shows everything between black bars.
        augment: random changes of the training films, the same for all frames of a window: "none", a table by name
            such as {flip = true, rotate = 15} (`explain augmentation` lists them), or "auto": a small shift. "auto"
            never flips, as left and right may be the class.
        loss: a loss for classes, by name or as a table {name, options}.
    """

    def __init__(
        self,
        *,
        frames: Count = 8,
        span: Span = "auto",
        windows: Count = 16,
        size: Size = "auto",
        channels: Literal["auto", 1, 3] = "auto",
        fit: Fit = "crop",
        augment: Augment = "auto",
        loss: str | dict[str, Any] = "cross_entropy",
    ) -> None:
        self.criterion = criterion_of(loss, "task.loss")
        if self.criterion.expects != "classes":
            raise UserError("task.loss", f"{loss!r} does not compare classes", "use 'cross_entropy'")
        changes_of(augment)
        self.processor = Films(
            frames=frames,
            span=span,
            windows=windows,
            size=size,
            channels=channels,
            fit=fit,
            augment=augment,
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
        """``frames``, ``channels``, ``size`` [height, width] and ``outputs`` (classes)."""
        form, frames = self.processor.form, self.processor.frames
        size: list[JSON] = [form.height, form.width]
        return {"frames": frames, "channels": form.channels, "size": size, "outputs": len(self.processor.labels)}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """The mean logits over a film's windows (N, classes) compared with the classes."""
        logits, _ = _judged(model, batch)
        total, each = self.criterion.summed(logits, batch.targets["y"])
        weights = self.criterion.weights(batch.targets["y"])
        return Loss(total, {"logits": logits.detach()}, each, weights=weights)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``probabilities`` (N, classes) of films; ``timeline`` (N, K, classes) of windows, 0 where there is none."""
        logits, along = _judged(model, batch)
        return {"probabilities": logits.softmax(1), "timeline": along.softmax(2) * _there(batch)[:, :, None]}

    def compared(self) -> Classes:
        """Logits of films with the true class."""
        names = tuple(str(v) for v in self.processor.labels.values)
        return Classes(lambda outputs: outputs["logits"], lambda batch: batch.targets["y"], names)

    def metrics(self) -> dict[str, Metric]:
        """Accuracy, among the top five where there are more, log loss in nats, and at the end macro F1."""
        of = self.compared()
        top = {"top5": classes.top_k_accuracy(of, k=5)} if len(of.names) > 5 else {}
        last = {"macro_f1": replace(classes.macro_f1(of), when="final")}
        return {"accuracy": classes.accuracy(of), **top, "log_loss": probabilities.log_loss(of), **last}

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The training frequencies, and logistic regression on at most 256 pixels of a window's mean frame."""
        return {
            "constant": lambda seconds: baselines.Constant(baselines.log_frequencies(self.processor.labels.counts)),
            "linear": lambda seconds: self._linear(train),
        }

    def _linear(self, train: Encoded) -> Baseline:
        labels = len(self.processor.labels)
        x, y = baselines.read_part(train, self._small, limit=baselines.rows_for(256, labels, 1000))
        return baselines.logistic(_mean_pixels, x, y, labels)

    def _small(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """(N, F) the mean frame of each film in mean pixels, F up to 256, and the classes."""
        films = rows.ragged("video")
        frames = torch.stack([f.float().mean((0, 1)) for f in films.values.split(films.lengths.tolist())])
        return _mean_pixels(self.processor.scaled(frames)[:, None]), rows.dense("y")


def _mean_pixels(x: Tensor) -> Tensor:
    """(N, F) float64, F up to 256, of the mean frame of windows (N, T, C, H, W)."""
    frame = x.mean(1)
    side = int((256 / frame.shape[1]) ** 0.5)
    small = adaptive_avg_pool2d(frame, (min(side, frame.shape[2]), min(side, frame.shape[3])))
    return small.flatten(1).double()


def _judged(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (N, classes) of films, the mean over their windows, and (N, K, classes) of the windows."""
    x, counts = batch.inputs["x"], batch.inputs["windows"]
    if x.shape[1] == 1:
        logits = model(x[:, 0])
        return logits, logits[:, None]
    there = _there(batch)
    windows = x[there]
    pieces = [windows] if torch.is_grad_enabled() else windows.split(TOGETHER)
    said = torch.cat([model(piece) for piece in pieces])
    along = said.new_zeros(*there.shape, said.shape[1])
    along[there] = said
    return along.sum(1) / counts[:, None], along


def _there(batch: Batch) -> Tensor:
    """(N, K) whether a film has that window."""
    counts = batch.inputs["windows"]
    return torch.arange(batch.inputs["x"].shape[1], device=counts.device) < counts[:, None]
