"""Autoencoding: learn what records have in common by putting each into a short code and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.exhibit import Exhibit
from trainwright.core.kinds import tasks
from trainwright.core.rows import Encoded
from trainwright.core.task import JSON, Baseline, Classes, Loss, Metric, Outputs, Progress, Task
from trainwright.data.folder import SUFFIXES
from trainwright.data.images import Fit
from trainwright.data.tabular import Inputs
from trainwright.data.unlabelled import Unlabelled, anomaly_among
from trainwright.data.unlabelled_series import UnlabelledSeries
from trainwright.metrics import codes, probabilities
from trainwright.metrics.tallies import ratio, ratios, wide

Side = Annotated[int, Field(ge=1, le=4096)]


@tasks.add("autoencoding", files=SUFFIXES)
@final
class Autoencoding(Task[Unlabelled | UnlabelledSeries]):
    """Put records into a code of few numbers, and back; nothing says what is right but the records themselves.

    Records are pictures (``image``), rows of a table, or with a ``window`` stretches of series. The loss of a record is
    its mean squared error over all its numbers (pixels lie between 0 and 1, numbers of tables and series have deviation
    1, each level of a category is 0 or 1). A network whose code is a distribution adds how far that lies from a
    standard normal one, divided likewise. The anomaly score of a record is its loss. Labels, where there are any, are
    read by scores and pictures alone.

    Args:
        codes: numbers of a code.
        label: the field that is not learned from, such as a class, or a mark of anomalies.
        anomaly: the value of that field that marks anomalies; the AUROC of the score is then measured at the end.
        window: steps of a window over series, which the source `series` reads; a window is then what has a code. It is
            an anomaly where one of its steps is.
        stride: steps from the beginning of a window to that of the next.
        loss: "mse", or for pictures "bernoulli": the cross-entropy of each pixel as a share of white.
        beta: weight of the distance from a standard normal distribution.
        warmup: share of the training in which that weight rises from 0.
        noise: deviation of normal noise that is added to the inputs in training, and to be taken away.
        masked: share of the inputs set to 0 in training, and to be filled in.
        numeric: columns that are numbers, whatever they look like.
        categorical: columns that are categories, whatever they look like.
        ignore: columns to leave out.
        scaling: of numbers: "standard" shifts and scales, "quantile" gives each the shape of a normal distribution.
        size: height and width of pictures; "auto" as in image_classification.
        channels: of pictures: 1 is grey, 3 is colour; "auto" is grey where every training picture is.
        fit: how pictures of other shapes are brought to that one: "crop" or "pad".

    Source: Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks"; Vincent et al.
    2008, "Extracting and composing robust features with denoising autoencoders"; Kingma & Welling 2014, "Auto-encoding
    variational Bayes"; Higgins et al. 2017, "beta-VAE".
    """

    def __init__(
        self,
        *,
        codes: Annotated[int, Field(ge=1, le=4096)] = 16,
        label: str | None = None,
        anomaly: str | int | bool | None = None,
        window: Annotated[int, Field(ge=2)] | None = None,
        stride: Annotated[int, Field(ge=1)] = 1,
        loss: Literal["mse", "bernoulli"] = "mse",
        beta: Annotated[float, Field(ge=0)] = 1.0,
        warmup: Annotated[float, Field(ge=0, le=1)] = 0.0,
        noise: Annotated[float, Field(ge=0)] = 0.0,
        masked: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        numeric: tuple[str, ...] = (),
        categorical: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        scaling: Literal["quantile", "standard"] = "standard",
        size: Literal["auto"] | Side | tuple[Side, Side] = "auto",
        channels: Literal["auto", 1, 3] = "auto",
        fit: Fit = "crop",
    ) -> None:
        if anomaly is not None and label is None:
            raise UserError("task.anomaly", "there is no label that could be it", 'name its field: label = "…"')
        self.kind, self.beta, self.warmup, self.anomaly = loss, beta, warmup, anomaly
        if window is not None:
            told = {"numeric": numeric, "categorical": categorical, "scaling": scaling != "standard"}
            told |= {"size": size != "auto", "channels": channels != "auto", "fit": fit != "crop"}
            if wrong := next((name for name, said in told.items() if said), None):
                raise UserError(f"task.{wrong}", "says nothing of windows over series", "leave it out")
            self.processor = UnlabelledSeries(
                window, stride, label, anomaly, ignore=ignore, noise=noise, masked=masked, codes=codes
            )
            return
        if stride != 1:
            raise UserError("task.stride", "says nothing without task.window", "write how many steps a window has")
        self.processor = Unlabelled(
            Inputs(numeric=numeric, categorical=categorical, ignore=ignore, scaling=scaling),
            label,
            size=size,
            channels=channels,
            fit=fit,
            noise=noise,
            masked=masked,
            codes=codes,
        )

    @property
    def monitor(self) -> str:
        """The mean squared error of reconstructions."""
        return "mse"

    def sizes(self) -> dict[str, JSON]:
        """``inputs``, numbers of a sample; ``codes``; of pictures ``channels`` and ``size`` [height, width]; series are
        the channels of a picture that is one pixel high."""
        p = self.processor
        if self.kind == "bernoulli" and p.form is None:
            raise UserError("task.loss", "'bernoulli' is for pixels between 0 and 1", "write loss = 'mse'")
        own: dict[str, JSON] = {"inputs": torch.Size(p.shape).numel(), "codes": p.codes}
        if isinstance(p, UnlabelledSeries):
            own |= {"channels": len(p.names), "size": [1, p.length]}
        elif p.form is not None:
            own |= {"channels": p.form.channels, "size": [p.form.height, p.form.width]}
        return own

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """The error of each sample, a mean over its numbers, summed; and the distance of its code, divided likewise."""
        asked = {name: batch.inputs[name] for name in ("x", "dice") if name in batch.inputs}
        said, code, divergence = model(**asked)
        true = batch.targets["x"].to(said.dtype)
        errors = self._errors(said, true, batch.inputs.get("real"))
        distance = self._distance(divergence, true, progress)
        each = errors + distance
        outputs = self._told(said.detach(), code.detach(), each.detach())
        parts = {"reconstruction": errors.detach().sum(), "distance": distance.detach().sum()}
        return Loss(each.sum(), outputs, each.detach(), parts)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``reconstruction`` (N, …), ``code`` (N, K) and ``score`` (N,), how unlike the training records it is."""
        x = batch.inputs["x"]
        said, code, divergence = model(x=x)
        true = x.to(said.dtype)
        errors = self._errors(said, true, batch.inputs.get("real"))
        return self._told(said, code, errors + self._distance(divergence, true, Progress(1, 1)))

    def metrics(self) -> dict[str, Metric]:
        """The mean squared error over all numbers; the AUROC of the anomaly score where anomalies are marked."""

        def squares(outputs: Outputs, batch: Batch) -> Tensor:
            off = wide(outputs["reconstruction"]) - wide(batch.targets["x"])
            flat, real = off.flatten(1).square(), batch.inputs.get("real")
            if real is not None:
                there = real.flatten(1)
                return torch.stack([torch.where(there, flat, 0.0).sum(1), there.sum(1).to(flat.dtype)], 1)
            return torch.stack([flat.sum(1), torch.full_like(flat[:, 0], flat.shape[1])], 1)

        found = {"mse": Metric(squares, ratio, "lower", many=ratios)}
        if self.anomaly is not None:
            found["auroc"] = self._auroc()
        return found

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The mean, principal components as many as codes, and where anomalies are marked an isolation forest."""
        p = self.processor
        found: dict[str, Callable[[float], Baseline]] = {
            "constant": lambda seconds: codes.components(train, p, 0),
            "linear": lambda seconds: codes.components(train, p, p.codes),
        }
        if self.anomaly is not None:
            found["isolation_forest"] = lambda seconds: codes.forest(train, p)
        return found

    def portray(self, model: nn.Module, part: Encoded) -> Sequence[Exhibit]:
        """Pictures and windows beside their reconstructions, the strangest among them, new ones; a map of the codes."""
        return codes.portraits(self, model, part)

    def _errors(self, said: Tensor, true: Tensor, real: Tensor | None) -> Tensor:
        """(N,) the mean over a sample's numbers that are there."""
        if self.kind == "bernoulli":
            return binary_cross_entropy_with_logits(said, true, reduction="none").flatten(1).mean(1)
        return codes.mean_of((self.shown(said) - true).square(), real)

    def _distance(self, divergence: Tensor, true: Tensor, progress: Progress) -> Tensor:
        """(N,) of nats of the code, on the scale of the errors: squares are 2 nats each, of unit variance."""
        done = progress.step / max(1.0, self.warmup * progress.steps) if self.warmup else 1.0
        each = (2.0 if self.kind == "mse" else 1.0) / true[0].numel()
        return min(1.0, done) * self.beta * each * divergence

    def shown(self, said: Tensor) -> Tensor:
        """What a network says as a sample: pixels lie between 0 and 1."""
        return said.sigmoid() if self.processor.form is not None else said

    def _told(self, said: Tensor, code: Tensor, score: Tensor) -> dict[str, Tensor]:
        return {"reconstruction": self.shown(said), "code": code, "score": score}

    def _auroc(self) -> Metric:
        """Of the anomaly score; samples without a label do not count."""
        p = self.processor
        marked = anomaly_among(p.labels, self.anomaly) if self.anomaly is not None and p.labels else 0

        def logits(outputs: Outputs) -> Tensor:
            score = wide(outputs["score"])
            return torch.stack([torch.zeros_like(score), score], 1)

        def truth(batch: Batch) -> Tensor:
            y: Any = batch.targets["y"]
            return torch.where(y < 0, -1, (y == marked).long())

        metric = probabilities.auroc(Classes(logits, truth, ("usual", "anomaly")))
        return Metric(metric.count, metric.value, "higher", metric.combine, metric.source, "final", metric.many)
