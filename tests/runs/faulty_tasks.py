"""Tasks, and models, that each break one promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tests.runs.points import Points, always_yes
from trainwright.core.batch import Batch
from trainwright.core.rows import Encoded
from trainwright.core.task import (
    JSON,
    Baseline,
    Classes,
    Exhibit,
    Loss,
    Metric,
    Outputs,
    Progress,
    Record,
)


class ArraySizes(Points):
    def sizes(self) -> dict[str, JSON]:
        return {"inputs": cast(int, np.int64(2)), "outputs": 2}


class TupleSizes(Points):
    def sizes(self) -> dict[str, JSON]:
        return {**super().sizes(), "shape": cast("list[JSON]", (2,))}


class TooFewSizes(Points):
    def sizes(self) -> dict[str, JSON]:
        return {"inputs": 2}


class Infinite(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, sum=loss.sum * torch.inf)


class Mean(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return Loss(loss.sum / len(batch.ids), loss.outputs)


class PenaltyPerBatch(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return Loss(loss.sum + sum(p.square().sum() for p in model.parameters()), loss.outputs)


class HalfShares(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        assert loss.each is not None
        return replace(loss, each=loss.each / 2)


class MovedShares(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        assert loss.each is not None
        return replace(loss, each=loss.each.roll(1))


class MeanParts(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, parts={"nats": loss.parts["nats"] / len(batch.ids)})


class KeepsGraphs(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, outputs={"logits": model(**batch.inputs)})


class RootOfZero(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        nothing = sum((p - p.detach()).square().sum() for p in model.parameters())
        return replace(loss, sum=loss.sum + torch.sqrt(cast(Tensor, nothing)))


class TwoLines(nn.Module):
    """A second line that only some samples need."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.rare = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        rare = x[:, :1] > 0
        if not bool(rare.any()):
            return cast(Tensor, self.map(x))
        return torch.where(rare, self.rare(x), self.map(x))


class CountsOnSize(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, outputs={"logits": loss.outputs["logits"].view(batch.size, -1)})


class DividesByWeight(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, sum=loss.sum / batch.weight * len(batch.ids))


class MeanAccuracy(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        right = found["accuracy"].count
        mean = replace(found["accuracy"], count=lambda o, b: right(o, b) / len(b.ids))
        return {**found, "accuracy": mean}


class ForgetsWeights(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()

        def many(rows: Tensor, weights: Tensor) -> Tensor:
            return rows[:, 0].mean().expand(len(weights))

        return {**found, "accuracy": replace(found["accuracy"], many=many)}


class RelativeRows(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        sides = found["agreement"].count
        shifted = replace(found["agreement"], count=lambda o, b: sides(o, b) - sides(o, b).mean(0))
        return {**found, "agreement": shifted}


class OneRowForAll(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        sides = found["agreement"].count
        return {**found, "agreement": replace(found["agreement"], count=lambda o, b: sides(o, b).sum(0, keepdim=True))}


class TensorMetric(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        value = cast("Callable[[Tensor], float]", lambda total: total[0] / total[1])
        return {**found, "accuracy": replace(found["accuracy"], value=value)}


class MetricCalledLoss(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        return {**found, "loss": found["accuracy"]}


class MonitorsNothing(Points):
    @property
    def monitor(self) -> str:
        return "f1"

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        return {}


class MonitorsTooLate(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        return {**found, "accuracy": replace(found["accuracy"], when="final")}


class ComparesAcross(Points):
    def compared(self) -> Classes:
        return Classes(lambda outputs: outputs["logits"].T, lambda batch: batch.targets["label"])


class StrataOfNothing(Points):
    def strata(self, record: Record) -> str:
        return "class"


class OffTopic(Points):
    @property
    def monitor(self) -> str:
        return "loss"

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """A function has no loss."""
        return {"constant": lambda seconds: lambda batch: {"logits": batch.inputs["x"], "label": batch.ids}}


class NoNumber(Points):
    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        def fit(seconds: float) -> Baseline:
            fitted = always_yes()
            nn.init.constant_(fitted.map.bias, float("nan"))
            return fitted

        return {"constant": fit}


class Peeks(Points):
    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        outputs = super().predict(model, batch)
        return {**outputs, "label": batch.targets["label"]} if "label" in batch.targets else outputs


class SharesOverBatch(Points):
    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        outputs = super().predict(model, batch)
        return {**outputs, "share": outputs["share"] / outputs["share"].sum()}


class ShowsTensors(Points):
    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        return [Exhibit("text", "first", {"label": outputs["label"][0]})]


class Wears(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        with torch.no_grad():
            next(model.parameters()).mul_(1 - 1e-15)
        return loss


class Counting(nn.Module):
    """A line that counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(2, 2)
        self.asked: Tensor
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return cast(Tensor, self.map(x))


class SwitchesMode(Points):
    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        return super().predict(model.eval(), batch)


def two_lines(sizes: Mapping[str, Any]) -> nn.Module:
    return TwoLines()


def counting(sizes: Mapping[str, Any]) -> nn.Module:
    return Counting()
