"""Forecasting in small: two series with a daily rhythm, windows that may look back over the border of their part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Encoded, Rows, Windows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Loss,
    Metric,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)

# letters of shapes: N windows, T rows of context, L rows to forecast, V variables
VARIABLES = ("load", "heat")


@final
class SeriesProcessor(Processor):
    """One record is one time step, or several; a window is T steps of context and L to forecast, of all variables."""

    def __init__(self, context: int, horizon: int) -> None:
        self.context, self.horizon = context, horizon
        self.windows = Windows(lead=context, length=horizon, stride=1)
        self.mean, self.scale = [0.0] * len(VARIABLES), [1.0] * len(VARIABLES)

    def fit(self, records: Iterable[Record]) -> None:
        """The scale of each variable; `records` are those of the training part alone."""
        rows = torch.tensor([[float(r[v]) for v in VARIABLES] for r in records], dtype=torch.float64)
        self.mean, self.scale = rows.mean(0).tolist(), rows.std(0, correction=0).clamp_min(1e-9).tolist()

    def columns(self) -> Mapping[str, Column]:
        return {"series": Column("window", torch.float32, (len(VARIABLES),))}

    def encode(self, record: Record) -> Sample:
        steps = torch.stack([torch.tensor(record[v], dtype=torch.float32).view(-1) for v in VARIABLES], 1)
        if not bool(steps.isfinite().all()):
            raise DataError("series", "a step is not a number in every variable", "fill it or drop it")
        return {"series": steps}

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        series, there = rows.dense("series"), rows.lengths["series"]
        if series.shape[1] != self.context + self.horizon:  # served: the context ends where the record does
            at = (there - self.context)[:, None] + torch.arange(self.context + self.horizon, device=series.device)
            series = series.gather(1, at[..., None].expand(-1, -1, series.shape[2]))
            there = torch.full_like(there, self.context)
        series = (series - series.new_tensor(self.mean)) / series.new_tensor(self.scale)
        context, future = series[:, : self.context], series[:, self.context :]
        if draw is not None:  # small noise on what is known
            context = context + 0.02 * draw.normal("noise", context[0].numel()).view_as(context)
        real = torch.arange(self.horizon, device=series.device) < (there - self.context)[:, None]  # none when served
        targets = {"future": future, "real": real}
        weight = real.sum().float() * len(VARIABLES)
        return Batch({"context": context}, targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        future = outputs["future"]
        told = (future * future.new_tensor(self.scale) + future.new_tensor(self.mean)).transpose(1, 2).tolist()
        return [dict(zip(VARIABLES, row, strict=True)) for row in told]

    def state_dict(self) -> dict[str, JSON]:
        return {"mean": [*self.mean], "scale": [*self.scale]}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None:
        self.mean, self.scale = cast("list[float]", state["mean"]), cast("list[float]", state["scale"])


@final
class Forecasting(Task[SeriesProcessor]):
    """Say how the series go on.

    Args:
        context: time steps that are known.
        horizon: time steps to forecast.
    """

    monitor = "mse"

    def __init__(self, *, context: Annotated[int, Field(ge=1)] = 10, horizon: Annotated[int, Field(ge=1)] = 3) -> None:
        self.processor = SeriesProcessor(context, horizon)

    def sizes(self) -> dict[str, JSON]:
        return {"context": self.processor.context, "horizon": self.processor.horizon, "variables": len(VARIABLES)}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        said = model(**batch.inputs)
        off = (said - batch.targets["future"]).square() * batch.targets["real"][..., None]
        return Loss(off.sum(), {"future": said.detach()}, off.detach().sum((1, 2)))

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        return {"future": model(**batch.inputs)}

    def metrics(self) -> dict[str, Metric]:
        """In the units of the data, averaged over variables and horizon points."""

        def ratio(total: Tensor) -> float:
            return float(total[0] / total[1])

        return {
            "mse": Metric(self._squares, ratio, "lower"),
            "mae": Metric(self._distances, ratio, "lower"),
        }

    def _off(self, outputs: Outputs, batch: Batch) -> Tensor:
        off = outputs["future"] - batch.targets["future"]
        return off * off.new_tensor(self.processor.scale) * batch.targets["real"][..., None]

    def _squares(self, outputs: Outputs, batch: Batch) -> Tensor:
        off = self._off(outputs, batch)
        return torch.stack([off.square().sum((1, 2)), _points(off, batch)], 1)

    def _distances(self, outputs: Outputs, batch: Batch) -> Tensor:
        off = self._off(outputs, batch)
        return torch.stack([off.abs().sum((1, 2)), _points(off, batch)], 1)

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Naive: everything stays as it was last."""
        return {"naive": lambda seconds: Naive(self.processor.horizon)}


def _points(off: Tensor, batch: Batch) -> Tensor:
    """(N,) numbers that each window compares."""
    return batch.targets["real"].sum(1).to(off.dtype) * off.shape[2]


@final
class Naive(nn.Module):
    """Everything stays as it was last."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon

    def forward(self, context: Tensor) -> Tensor:
        """(N, T, V) -> (N, L, V)."""
        return context[:, -1:].expand(-1, self.horizon, -1)


@final
class Linear(nn.Module):
    """One linear map of each variable's context, relative to its last value (NLinear, Zeng et al. 2023)."""

    def __init__(self, context: int, horizon: int, variables: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(context, horizon) for _ in range(variables))

    def forward(self, context: Tensor) -> Tensor:
        """(N, T, V) -> (N, L, V)."""
        last = context[:, -1:]
        rest = context - last
        said = [linear(rest[:, :, i]) for i, linear in enumerate(self.maps)]
        return torch.stack(said, 2) + last


def model_for(sizes: Mapping[str, Any]) -> nn.Module:
    return Linear(sizes["context"], sizes["horizon"], sizes["variables"])


def records(n: int = 400, seed: int = 0) -> list[Record]:
    """Waves of 12 and 6 steps, a slow rise and a little noise, in units far from 1."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, 2, generator=rng).tolist()
    return [
        {
            "load": 500 + 80 * math.sin(2 * math.pi * t / 12) + 0.1 * t + 4 * noise[t][0],
            "heat": 20 + 6 * math.cos(2 * math.pi * t / 12) + 2 * math.sin(2 * math.pi * t / 6) + 0.3 * noise[t][1],
        }
        for t in range(n)
    ]


def unlabelled(record: Record) -> Record:
    """What is served is a stretch of time: here 10 to 14 steps that rise from the record's."""
    steps = 10 + int(record["load"]) % 5
    return {v: [float(record[v]) + 0.1 * t for t in range(steps)] for v in VARIABLES}
