"""Judging a model on one part of the data: statistics added, rows kept in order, divided once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.task import Loss, Metric, Outputs, Progress, Task
from trainwright.engine.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Judged:
    """What an evaluation found, and of a final one each metric's rows, one per record, in the order of their ids.

    The rows of ``loss`` are (N, 2): each record's loss and its weight; they are absent where the task does not tell.
    """

    values: Mapping[str, float]
    rows: Mapping[str, Tensor] = field(default_factory=dict)  # (N, …) float64, on the CPU
    broken: bool = False  # some output was NaN


def evaluate(
    model: nn.Module,
    task: Task[Any],
    batches: Iterable[Batch],
    runtime: Runtime,
    progress: Progress = Progress(),  # noqa: B008 - frozen
    *,
    metrics: Mapping[str, Metric] | None = None,
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
        metrics: what is measured; the task's metrics unless given.
        final: also the metrics that are only worth their time at the end, and predictions instead of drafts.
    """
    asked = task.metrics() if metrics is None else metrics
    asked = {name: m for name, m in asked.items() if final or m.when == "each"}
    told = task.predict if final else task.draft
    return dict(judge(model, task, batches, runtime, progress, metrics=asked, keep=False, predict=told).values)


@torch.no_grad()
def judge(
    model: nn.Module,
    task: Task[Any],
    batches: Iterable[Batch],
    runtime: Runtime,
    progress: Progress = Progress(),  # noqa: B008 - frozen
    *,
    metrics: Mapping[str, Metric],
    keep: bool = True,
    predict: Callable[[nn.Module, Batch], Outputs] | None = None,
) -> Judged:
    """The same for all of ``metrics``, with the rows of each where they are to be kept.

    ``predict`` is the task's unless given.
    """
    told = task.predict if predict is None else predict
    predicts = any(m.source == "predict" for m in metrics.values())
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with runtime.ranks.whole(model) as bare:

            def said(batch: Batch) -> tuple[Loss, Outputs]:
                with runtime.autocast():
                    loss = task.loss(bare, batch, progress)
                    return loss, told(bare, replace(batch, targets={})) if predicts else {}

            return _judged(said, batches, runtime, metrics, keep)
    finally:
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def judge_outputs(
    said: Callable[[Batch], Outputs], batches: Iterable[Batch], runtime: Runtime, *, metrics: Mapping[str, Metric]
) -> Judged:
    """The same for a function that gives the outputs of a batch; it has no loss, nor what it says nothing of."""
    nothing = Loss(torch.tensor(float("nan")))

    def both(batch: Batch) -> tuple[Loss, Outputs]:
        outputs = said(batch)
        return replace(nothing, outputs=outputs), outputs

    found = _judged(both, batches, runtime, metrics, keep=True)
    unsaid = {"loss", *(n for n, rows in found.rows.items() if rows.numel() and bool(rows.isnan().all()))}
    return replace(
        found,
        values={n: v for n, v in found.values.items() if n not in unsaid},
        rows={n: r for n, r in found.rows.items() if n not in unsaid},
    )


def _judged(
    said: Callable[[Batch], tuple[Loss, Outputs]],
    batches: Iterable[Batch],
    runtime: Runtime,
    metrics: Mapping[str, Metric],
    keep: bool,
) -> Judged:
    tallies = {n: _Tally(m, keep or m.combine == "rows") for n, m in metrics.items()}
    losses = _Tally(None, keep)
    ids: list[Tensor] = []
    sums = torch.stack([runtime.scalar(0.0)] * 3)  # of losses, of weights, of batches with an output that is NaN
    for batch in batches:
        batch = runtime.take(batch)
        loss, predicted = said(batch)
        if batch.size == 0:
            continue
        wrong = torch.stack([x.isnan().any() for x in (loss.sum, *loss.outputs.values())]).any()
        sums += torch.stack([x.detach().to(runtime.device, runtime.wide) for x in (loss.sum, batch.weight, wrong)])
        ids.append(batch.ids)
        for tally in tallies.values():
            tally.add(tally.counted(loss.outputs, predicted, batch))
        if keep:
            losses.add(_shares(loss, batch))  # the wait
        del loss, predicted  # before there are more
    total, weight, wrong_ones = runtime.ranks.total(sums).tolist()  # the wait
    order = _Order(ids, runtime)
    values = {"loss": total / weight if weight else total, **{n: t.value(order) for n, t in tallies.items()}}
    kept = {n: t.rows(order) for n, t in (("loss", losses), *tallies.items())} if keep else {}
    known = {n: r for n, r in kept.items() if n != "loss" or not bool(r[..., 1:].isnan().any())}
    return Judged(values, known, wrong_ones > 0)


def _shares(loss: Loss, batch: Batch) -> Tensor:
    """(N, 2) the loss and the weight of each sample; NaN where the task does not tell."""
    if loss.each is None or (loss.weights is None and float(batch.weight) != batch.size):
        return torch.full((batch.size, 2), torch.nan, dtype=torch.float64)
    each = loss.each.detach().cpu().double()
    return torch.stack([each, torch.ones_like(each) if loss.weights is None else loss.weights().cpu().double()], 1)


class _Order:
    """The order of record ids over all ranks."""

    def __init__(self, ids: list[Tensor], runtime: Runtime) -> None:
        self.runtime = runtime
        mine = torch.cat([i.cpu() for i in ids]) if ids else torch.zeros(0, dtype=torch.int64)
        self.place = torch.cat(runtime.ranks.gather(mine)).argsort(stable=True)


class _Tally:
    """One metric while batches go by: its rows, or their sum."""

    def __init__(self, metric: Metric | None, keep: bool) -> None:
        self.metric, self.keep = metric, keep
        self.sum: Tensor | None = None
        self.kept: list[Tensor] = []
        self.ordered: Tensor | None = None

    def counted(self, outputs: Outputs, predicted: Outputs, batch: Batch) -> Tensor:
        assert self.metric is not None
        return self.metric.count(predicted if self.metric.source == "predict" else outputs, batch).detach()

    def add(self, rows: Tensor) -> None:
        if self.keep:
            self.kept.append(rows)
        else:
            self.sum = rows.sum(0) if self.sum is None else self.sum + rows.sum(0)

    def value(self, order: _Order) -> float:
        assert self.metric is not None
        if self.metric.combine == "rows":
            return float(self.metric.value(self.rows(order)))
        return float(self.metric.value(self.rows(order).sum(0) if self.keep else self._total(order.runtime)))

    def _total(self, runtime: Runtime) -> Tensor:
        if runtime.ranks.world == 1:
            assert self.sum is not None
            return self.sum.cpu().double()  # the wait
        mine = torch.zeros(0) if self.sum is None else self.sum.cpu().double()  # the wait
        shares = runtime.ranks.gather(mine.reshape(1, -1).double())
        shape: list[int] = next((s for s in runtime.ranks.gather_json(list(mine.shape)) if s != [0]), [])
        return torch.stack([s.view(shape) for s in shares if s.numel()]).sum(0)

    def rows(self, order: _Order) -> Tensor:
        """All rows of all ranks, in order."""
        if self.ordered is None:
            self.ordered = self._in_order(order)
        return self.ordered

    def _in_order(self, order: _Order) -> Tensor:
        ranks = order.runtime.ranks
        rows = [r.double().cpu() for r in self.kept]  # the wait
        width = max((r.shape[1] for r in rows if r.ndim > 1), default=0)
        trailing = next((list(r.shape[2:]) for r in rows), [])
        mine = torch.cat([_widened(r, width).reshape(len(r), -1) for r in rows]) if rows else torch.zeros(0, 0).double()
        if ranks.world > 1:
            shapes = [s for s in ranks.gather_json([width, trailing, len(mine)]) if s[2]]
            width, trailing = max((s[0] for s in shapes), default=0), shapes[0][1] if shapes else []
            if width and len(mine):
                mine = _widened(mine.view(len(mine), -1, *trailing), width).reshape(len(mine), -1)
            mine = torch.cat([p for p in ranks.gather(mine) if len(p)])
        mine = mine[order.place]
        return mine.view(len(mine), width, *trailing) if width else mine.flatten()


def _widened(rows: Tensor, width: int) -> Tensor:
    """(N, k, …) filled with NaN along dim 1 to (N, width, …)."""
    if rows.ndim < 2 or rows.shape[1] == width:
        return rows
    out = rows.new_full((rows.shape[0], width, *rows.shape[2:]), float("nan"))
    out[:, : rows.shape[1]] = rows
    return out
