"""A task on points that keeps every promise, and what it learns from: the tests break it in many ways."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainwright.core.batch import Batch, Draw
from trainwright.core.rows import Column, Encoded, Rows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Exhibit,
    Loss,
    Metric,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)


class PointsProcessor(Processor):
    """Points in the plane and the side of a line they are on."""

    companions = 1

    def __init__(self) -> None:
        self.mean = 0.0

    def fit(self, records: Iterable[Record]) -> None:
        self.mean = float(np.mean([r["x"] for r in records]))

    def columns(self) -> Mapping[str, Column]:
        return {"x": Column("dense", torch.float32, (2,)), "label": Column("dense", torch.int64, target=True)}

    def encode(self, record: Record) -> Sample:
        sample = {"x": torch.tensor(record["x"], dtype=torch.float32)}
        return {**sample, "label": torch.tensor(record["label"])} if "label" in record else sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        x = rows.dense("x") - self.mean
        if draw is not None:
            mix = 0.1 * draw.uniform("mix")
            x = (1 - mix) * x + mix * (rows.companions[0].dense("x") - self.mean)
        targets = {"label": rows.dense("label")} if "label" in rows.columns else {}
        return Batch({"x": x}, targets, torch.tensor(float(len(rows))), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        columns = zip(outputs["label"].tolist(), outputs["share"].tolist(), strict=True)
        return [{"label": label, "share": share} for label, share in columns]

    def state_dict(self) -> dict[str, JSON]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None:
        self.mean = cast(float, state["mean"])


class Points(Task[PointsProcessor]):
    """The side of a point."""

    def __init__(self, processor: type[PointsProcessor] = PointsProcessor) -> None:
        self.processor = processor()

    @property
    def monitor(self) -> str:
        return "accuracy"

    def strata(self, record: Record) -> str | None:
        return "label"

    def sizes(self) -> dict[str, JSON]:
        return {"inputs": 2, "outputs": 2}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        logits = model(**batch.inputs)
        each = cross_entropy(logits, batch.targets["label"], reduction="none")
        return Loss(each.sum(), {"logits": logits.detach()}, each.detach(), {"nats": each.detach().sum()})

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        share, label = model(**batch.inputs).softmax(-1).max(-1)
        return {"share": share, "label": label}

    def metrics(self) -> dict[str, Metric]:
        def right(outputs: Outputs, batch: Batch) -> Tensor:
            hits = outputs["logits"].argmax(-1) == batch.targets["label"]
            return torch.stack([hits, torch.ones_like(hits)], 1).double()

        def sides(outputs: Outputs, batch: Batch) -> Tensor:
            return torch.stack([outputs["label"], batch.targets["label"]], 1).double()

        return {
            "accuracy": Metric(
                right,
                lambda total: float(total[0] / total[1]),
                "higher",
                many=lambda rows, weights: (weights @ rows)[:, 0] / (weights @ rows)[:, 1],
            ),
            "agreement": Metric(
                sides, lambda rows: float((rows[:, 0] == rows[:, 1]).double().mean()), "higher", "rows", "predict"
            ),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        return {"constant": lambda seconds: always_yes()}

    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        return [Exhibit("text", "first", {"label": int(outputs["label"][0])})]


def linear(sizes: Mapping[str, Any]) -> nn.Module:
    return Line(sizes["inputs"], sizes["outputs"])


class Line(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.map = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.map(x))


def always_yes() -> Line:
    """The second class, whatever it is asked."""
    line = Line(2, 2).double()
    nn.init.zeros_(line.map.weight)
    with torch.no_grad():
        line.map.bias.copy_(torch.tensor([0.0, 1.0]))
    return line


def points(n: int = 24) -> list[Record]:
    rng = random.Random(0)
    found: list[Record] = []
    for number in range(n):
        x = [rng.uniform(-1, 1), rng.uniform(-1, 1)]
        found.append({"x": x, "label": int(x[0] > x[1]), "number": number})
    return found


def without_label(record: Record) -> Record:
    return {"x": record["x"]}
