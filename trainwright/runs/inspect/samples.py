"""The samples of a run as a person knows them: what is given, what is true, what the network says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.task import Classes, Numbers, Progress, Task
from trainwright.core.tokenizer import Tokenizer
from trainwright.data.part import Part
from trainwright.tasks.generation import Generation

LONGEST = 64  # tokens of a window that are looked at
_SIDE = 48  # points of a side of the map of decisions
_POINTS = 400  # training samples that are drawn on it
_NAMES = 200  # classes and tokens that are told by name


def sample(task: Task[Any], part: Part, index: int) -> Batch:
    """One sample of a part as a batch; of a long window its beginning."""
    batch: Batch = task.processor.batch(part.rows(index, index + 1), None)
    tokens = batch.inputs.get("tokens")
    target = batch.targets.get("tokens")
    if tokens is None or target is None or target.shape != tokens.shape or tokens.shape[1] <= LONGEST:
        return batch
    inputs = {k: v[:, :LONGEST] if v.shape[:2] == tokens.shape else v for k, v in batch.inputs.items()}
    if "lengths" in inputs:
        inputs["lengths"] = inputs["lengths"].clamp_max(LONGEST)
    target = target[:, :LONGEST]
    return replace(
        batch, inputs=inputs, targets={**batch.targets, "tokens": target}, weight=(target >= 0).sum().float()
    )


def typed(task: Task[Any], text: str) -> Batch:
    """A text of a person's own as a sample of a language model: each token is to be told from those before it.

    UserError where the run is of another kind, or the text has fewer than two tokens.
    """
    if not isinstance(task, Generation):
        raise UserError("text", "this run does not write texts")
    tokens = task.processor.tokenizer.encode(text)[: min(LONGEST, task.processor.context) + 1]
    if len(tokens) < 2:
        raise UserError("text", f"has {len(tokens)} tokens", "type two at least")
    inputs, targets = {"tokens": tokens[None, :-1]}, {"tokens": tokens[None, 1:]}
    return Batch(inputs, targets, torch.tensor(float(len(tokens) - 1)), torch.zeros(1, dtype=torch.int64), 1)


def caption(task: Task[Any], model: nn.Module, batch: Batch) -> dict[str, Any]:
    """Names of classes and tokens, what is true, and what is said."""
    told: dict[str, Any] = {"classes": _classes(task), "tokens": [], "truth": [], "said": ""}
    tokenizer = getattr(task.processor, "tokenizer", None)
    tokens = batch.inputs.get("tokens")
    if isinstance(tokenizer, Tokenizer) and tokens is not None:
        told["tokens"] = tokenizer.pieces(tokens[0])
        if len(tokenizer) <= _NAMES and not told["classes"]:
            told["classes"] = tokenizer.pieces(range(len(tokenizer)))
        following = batch.targets.get("tokens")
        if following is not None:
            told["truth"] = [tokenizer.pieces([i])[0] if i >= 0 else "" for i in following[0].tolist()]
            return told
    answer = _answer(task, model, batch)
    told["said"] = _said(answer)
    told["truth"] = _truth(task, model, batch, told["classes"], answer.get("value"))
    return told


def _classes(task: Task[Any]) -> list[str]:
    compared = task.compared()
    return [str(n) for n in compared.names[:_NAMES]] if isinstance(compared, Classes) else []


def _truth(task: Task[Any], model: nn.Module, batch: Batch, classes: list[str], said: Any) -> list[str]:
    """The class, or the number in the unit in which the network says its own."""
    y = batch.targets.get("y")
    if y is None or y.numel() != 1:
        return []
    value = y.reshape(-1)[0].item()
    if classes and not y.is_floating_point() and 0 <= value < len(classes):
        return [classes[int(value)]]
    if isinstance(of := task.compared(), Numbers) and isinstance(said, int | float):
        with torch.no_grad():
            own = of.value(task.loss(model, batch, Progress(0, 1, 0)).outputs)
        if own.numel() == 1:
            value = said + (of.truth(batch).double().item() - own.double().item()) * of.scale
    return [f"{value:.6g}"]


def _answer(task: Task[Any], model: nn.Module, batch: Batch) -> dict[str, Any]:
    """As `predict` gives it."""
    with torch.no_grad():
        answers = task.processor.decode(task.predict(model, replace(batch, targets={})), batch)
    return dict(answers[0]) if answers else {}


def _said(answer: dict[str, Any]) -> str:
    """The answer in short."""
    if "label" in answer:
        share = answer.get("probability")
        return f"{answer['label']}" + (f" ({share:.1%})" if isinstance(share, float) else "")
    first = next((v for v in answer.values() if isinstance(v, int | float | str)), "")
    return f"{first:.6g}" if isinstance(first, float) else str(first)[:80]


class Plane(NamedTuple):
    """The two numbers that a network is given, as a plane."""

    low: list[float]  # its corner, a little beyond the samples
    high: list[float]
    samples: Batch  # of the training part, some


def plane_of(task: Task[Any], part: Part) -> Plane | None:
    """The plane of the inputs of a part; None where a sample is not two numbers."""
    some = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:_POINTS].sort().values
    batch: Batch = task.processor.batch(part.gather(part.positions()[some]), None)
    x = next(iter(batch.inputs.values()), None)
    if len(batch.inputs) != 1 or x is None or x.shape[1:] != (2,) or not x.is_floating_point() or not batch.targets:
        return None
    low, high = x.min(0).values, x.max(0).values
    size = torch.maximum(low.abs(), high.abs())
    # of a number that is always the same its own size, or nothing would lie between the corners
    margin = 0.1 * torch.where(high - low > 1e-6 * size, high - low, size.clamp_min(1.0))
    return Plane((low - margin).tolist(), (high + margin).tolist(), batch)


def points(low: Sequence[float], high: Sequence[float], side: int) -> Tensor:
    """(side · side, 2) places of a plane, row by row from the bottom."""
    across, up = (torch.linspace(low[i], high[i], side) for i in (0, 1))
    return torch.stack([across.repeat(side), up.repeat_interleave(side)], 1)


def decisions(task: Task[Any], model: nn.Module, part: Part) -> dict[str, Any] | None:
    """What the network says everywhere on the plane of two numbers, and training samples on it; None elsewhere.

    ``grid`` are the rows from the bottom, of the most probable class, or of the (first) value; ``sure`` how probable it
    is. The samples' truths are in the same unit.
    """
    plane = plane_of(task, part)
    if plane is None:
        return None
    (name,) = plane.samples.inputs
    places = points(plane.low, plane.high, _SIDE)
    targets = {k: y[:1].expand(len(places), *y.shape[1:]) for k, y in plane.samples.targets.items()}  # not looked at
    ids = torch.arange(len(places))
    asked = Batch({name: places}, targets, torch.tensor(float(len(places))), ids, len(places))
    with torch.no_grad():
        grid, sure = _decided(task, model, asked)
    truth = _truths(task, plane.samples)
    return {
        "side": _SIDE, "low": plane.low, "high": plane.high, "grid": grid, "sure": sure, "classes": _classes(task),
        "points": torch.cat([plane.samples.inputs[name], truth], 1).tolist(),
    }  # fmt: skip


def _decided(task: Task[Any], model: nn.Module, asked: Batch) -> tuple[list[float], list[float]]:
    """Of each place the class and how probable it is, or the number that is compared with the truth."""
    if isinstance(of := task.compared(), Numbers):
        value = of.value(task.loss(model, asked, Progress(0, 1, 0)).outputs)
        return _finite(value.reshape(asked.size, -1)[:, 0]), []
    made = task.predict(model, replace(asked, targets={}))
    shares: Tensor | None = made.get("probabilities")
    if (yes := made.get("probability")) is not None and yes.numel() == asked.size:
        shares = torch.stack([1 - yes.reshape(-1), yes.reshape(-1)], 1)
    if shares is not None and shares.ndim == 2:
        best = shares.max(1)
        return best.indices.float().tolist(), best.values.tolist()
    value = next(iter(made.values()))
    return _finite(value.reshape(asked.size, -1)[:, 0]), []


def _truths(task: Task[Any], samples: Batch) -> Tensor:
    """(N, 1) what is true, in the unit of what is said; of several numbers the first."""
    of = task.compared()
    found = of.truth(samples) if of is not None else next(iter(samples.targets.values()))
    return found.reshape(samples.size, -1)[:, :1].float()


def _finite(values: Tensor) -> list[float]:
    return values.nan_to_num(0.0, 0.0, 0.0).tolist()
