"""Audio classification: recordings to one of a few classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.kinds import tasks
from trainwright.core.rows import Encoded, Rows
from trainwright.core.task import JSON, Baseline, Classes, Loss, Metric, Outputs, Progress, Record, Task
from trainwright.data.audio import SUFFIXES
from trainwright.data.audio_files import records_in
from trainwright.data.recordings import (
    Bands,
    Decibels,
    Hearing,
    Longest,
    Normal,
    Rate,
    Reach,
    Recordings,
    Seconds,
    Share,
    Stripes,
)
from trainwright.data.sound_changes import Changes
from trainwright.data.sounds import Sounds
from trainwright.metrics import baselines, classes, probabilities
from trainwright.optim.losses import criterion_of

_PIECES, _FEATURES = 4, 256  # that a linear model is told of a recording: stretches of time, numbers at most


@tasks.add("audio_classification", records=records_in, files=SUFFIXES)
@final
class AudioClassification(Task[Sounds]):
    """Tell the class of a recording: which word is said, which machine runs, which bird sings.

    Records are ``{"audio": …, "label": …}``: the path of a file, its bytes, or (samples, rate). Recordings are kept as
    samples of one channel at one rate; the model is given log-mel features, computed batch by batch on its device.
    Batches are of recordings about as long as each other. Training may change the recordings anew in every epoch.

    Args:
        audio: the field of the recordings; left out, one with a usual name (audio, sound, …).
        target: the field of the labels.
        rate: samples a second that all recordings are brought to; "auto" is what most have, at most 16,000.
        bands: of the features.
        window: seconds that a frame of the features sees.
        hop: seconds from frame to frame.
        normalize: what mean and deviation of each band are taken over: each "recording", which hides how loud it is and
            what it was recorded with, or the whole "training" part.
        longest: seconds; a longer recording is a bad sample.
        silent: what a recording is whose samples are all 0: to "refuse" it as a bad sample, or to "keep" it.
        speed: in training, faster or slower by up to this share, and so higher or lower.
        shift: in training, earlier or later by up to so many seconds; what comes in is silence.
        noise: in training, white noise so many decibels fainter than the recording, or up to 20 more; 0 is none.
        gain: in training, louder or fainter by up to so many decibels.
        masks: in training, stripes of time and as many of bands that are hidden.
        mask_time: share of the frames that a stripe of time hides at most.
        mask_bands: share of the bands that a stripe of bands hides at most.
        loss: a loss for classes, by name or as a table {name, options}.

    Source: Park et al. 2019, "SpecAugment"; Ko et al. 2015, "Audio augmentation for speech recognition", for the speed.
    """

    def __init__(
        self,
        *,
        audio: str | None = None,
        target: str = "label",
        rate: Rate = "auto",
        bands: Bands = 40,
        window: Seconds = 0.025,
        hop: Seconds = 0.01,
        normalize: Normal = "recording",
        longest: Longest = 60.0,
        silent: Literal["refuse", "keep"] = "refuse",
        speed: Share = 0.1,
        shift: Reach = 0.0,
        noise: Decibels = 0.0,
        gain: Decibels = 0.0,
        masks: Stripes = 2,
        mask_time: Share = 0.1,
        mask_bands: Share = 0.2,
        loss: str | dict[str, Any] = "cross_entropy",
    ) -> None:
        self.criterion = criterion_of(loss, "task.loss")
        if self.criterion.expects != "classes":
            raise UserError("task.loss", f"{loss!r} does not compare classes", "use 'cross_entropy'")
        changes = Changes(speed, shift, noise, gain, masks, mask_time, mask_bands)
        how = Hearing(rate, bands, window, hop, normalize, longest, changes)
        self.processor = Sounds(Recordings(how, audio), target, silent=silent == "keep", criterion=self.criterion)
        self.bands = bands

    @property
    def monitor(self) -> str:
        """Accuracy."""
        return "accuracy"

    def strata(self, record: Record) -> str | None:
        """The label."""
        return self.processor.target

    def sizes(self) -> dict[str, JSON]:
        """``bands`` of a frame and ``outputs`` (classes)."""
        return {"bands": self.bands, "outputs": len(self.processor.labels)}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Logits (N, classes) compared with the classes."""
        logits = model(**batch.inputs)
        total, each = self.criterion.summed(logits, batch.targets["y"])
        weights = self.criterion.weights(batch.targets["y"])
        return Loss(total, {"logits": logits.detach()}, each, weights=weights)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``probabilities`` (N, classes)."""
        return {"probabilities": model(**batch.inputs).softmax(1)}

    def compared(self) -> Classes:
        """Logits with the true class."""
        names = tuple(str(v) for v in self.processor.labels.values)
        return Classes(lambda outputs: outputs["logits"], lambda batch: batch.targets["y"], names)

    def metrics(self) -> dict[str, Metric]:
        """Accuracy, among the top five where there are more, macro F1, log loss in nats."""
        of = self.compared()
        top = {"top5": classes.top_k_accuracy(of, k=5)} if len(of.names) > 5 else {}
        return {
            "accuracy": classes.accuracy(of),
            **top,
            "macro_f1": classes.macro_f1(of),
            "log_loss": probabilities.log_loss(of),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The training frequencies, and logistic regression on the bands' means in four stretches of a recording."""
        return {
            "constant": lambda seconds: baselines.Constant(baselines.log_frequencies(self.processor.labels.counts)),
            "linear": lambda seconds: self._linear(train),
        }

    def _linear(self, train: Encoded) -> Baseline:
        count = len(self.processor.labels)
        x, y = baselines.read_part(train, self._read, limit=baselines.rows_for(_FEATURES, count))
        return baselines.logistic(stretches, x, y, count)

    def _read(self, rows: Rows) -> tuple[Tensor, Tensor]:
        batch = self.processor.batch(rows, None)
        return stretches(**batch.inputs), rows.dense("y")


def stretches(frames: Tensor, lengths: Tensor) -> Tensor:
    """(N, 4 F) float64 the mean of each band (N, U, F) in each quarter of a recording, at most 256 numbers."""
    x = frames.double()
    if x.shape[2] * _PIECES > _FEATURES:  # neighbouring bands together
        x = torch.nn.functional.adaptive_avg_pool1d(x, _FEATURES // _PIECES)
    at = torch.arange(x.shape[1], device=x.device)
    parts = []
    for k in range(_PIECES):
        first, last = lengths * k // _PIECES, torch.maximum(lengths * (k + 1) // _PIECES, lengths * k // _PIECES + 1)
        there = ((at >= first[:, None]) & (at < last[:, None])).to(x.dtype)
        parts.append(torch.einsum("nuf,nu->nf", x, there) / (last - first)[:, None])
    return torch.cat(parts, 1)
