"""Judging the model on one part of the data: statistics added, rows kept in order, divided once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.task import Metric, Outputs, Progress, Task
from trainwright.engine.runtime import Runtime


@torch.no_grad()
def evaluate(
    model: nn.Module,
    task: Task[Any],
    batches: Iterable[Batch],
    runtime: Runtime,
    progress: Progress = Progress(),  # noqa: B008 - frozen
    *,
    final: bool = False,
) -> dict[str, float]:
    """The mean loss and every metric, exact over uneven batches and ranks.

    The model is put into evaluation mode and back. Randomness it uses is the caller's to protect (`TrainState.aside`).

    Args:
        model: as the training step calls it.
        task: gives loss, predictions and metrics.
        batches: each sample once over all ranks; fillers run and count nothing.
        runtime: device, precision, ranks.
        progress: for losses that warm up.
        final: also the metrics that are only worth their time at the end.
    """
    tallies = {n: _Tally(m) for n, m in task.metrics().items() if final or m.when == "each"}
    predicts = any(t.metric.source == "predict" for t in tallies.values())
    loss_sum, weight = runtime.scalar(0.0), runtime.scalar(0.0)
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with runtime.ranks.whole(model) as bare:
            for batch in batches:
                batch = runtime.take(batch)
                with runtime.autocast():
                    loss = task.loss(bare, batch, progress)
                    predicted = task.predict(bare, replace(batch, targets={})) if predicts else {}
                if batch.size == 0:
                    continue
                loss_sum += loss.sum.to(runtime.wide)
                weight += batch.weight.to(runtime.wide)
                for tally in tallies.values():
                    tally.add(predicted if tally.metric.source == "predict" else loss.outputs, batch)
    finally:
        for module, training in modes.items():
            module.training = training
    total, count = runtime.ranks.total(torch.stack([loss_sum, weight])).tolist()  # the wait
    return {"loss": total / count if count else total, **{n: t.value(runtime) for n, t in tallies.items()}}


class _Tally:
    """One metric while batches go by."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.sum: Tensor | None = None
        self.rows: list[Tensor] = []
        self.ids: list[Tensor] = []

    def add(self, outputs: Outputs, batch: Batch) -> None:
        counted = self.metric.count(outputs, batch)
        if self.metric.combine == "rows":
            self.rows.append(counted.detach())
            self.ids.append(batch.ids)
        else:
            self.sum = counted.detach() if self.sum is None else self.sum + counted.detach()

    def value(self, runtime: Runtime) -> float:
        if self.metric.combine == "rows":
            return float(self.metric.value(self._in_order(runtime)))
        if runtime.ranks.world == 1:
            assert self.sum is not None
            return float(self.metric.value(self.sum.cpu().double()))  # the wait
        mine = torch.zeros(0) if self.sum is None else self.sum.cpu().double()  # the wait
        shares = runtime.ranks.gather(mine.reshape(1, -1).double())
        shape: list[int] = next((s for s in runtime.ranks.gather_json(list(mine.shape)) if s != [0]), [])
        return float(self.metric.value(torch.stack([s.view(shape) for s in shares if s.numel()]).sum(0)))

    def _in_order(self, runtime: Runtime) -> Tensor:
        """All rows of all ranks, sorted by record id."""
        rows = [r.double().cpu() for r in self.rows]  # the wait
        width = max((r.shape[1] for r in rows if r.ndim > 1), default=0)
        trailing = next((list(r.shape[2:]) for r in rows), [])
        flat = [_widened(r, width).reshape(len(r), -1) for r in rows]
        ids = torch.cat([i.cpu() for i in self.ids]) if flat else torch.zeros(0, dtype=torch.int64)
        mine = torch.cat(flat) if flat else torch.zeros(0, 0, dtype=torch.float64)
        if runtime.ranks.world > 1:
            mine, ids, width, trailing = self._joined(mine, ids, width, trailing, runtime)
        one_dimensional = width == 0
        order = ids.argsort(stable=True)
        mine = mine[order]
        return mine.flatten() if one_dimensional else mine.view(len(mine), width, *trailing)

    def _joined(
        self, mine: Tensor, ids: Tensor, width: int, trailing: list[int], runtime: Runtime
    ) -> tuple[Tensor, Tensor, int, list[int]]:
        shapes = [s for s in runtime.ranks.gather_json([width, trailing, len(mine)]) if s[2]]
        width, trailing = max((s[0] for s in shapes), default=0), shapes[0][1] if shapes else []
        if width and len(mine):
            mine = _widened(mine.view(len(mine), -1, *trailing), width).reshape(len(mine), -1)
        parts = [p for p in runtime.ranks.gather(mine) if len(p)]
        return torch.cat(parts), torch.cat(runtime.ranks.gather(ids)), width, trailing


def _widened(rows: Tensor, width: int) -> Tensor:
    """(N, k, …) filled with NaN along dim 1 to (N, width, …)."""
    if rows.ndim < 2 or rows.shape[1] == width:
        return rows
    out = rows.new_full((rows.shape[0], width, *rows.shape[2:]), float("nan"))
    out[:, : rows.shape[1]] = rows
    return out
