"""Groups of weights: which decay, which follow another rule, and which have a gradient to follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from trainwright.core.errors import UserError

Params: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]]  # weights, or groups with their own rates


def decayed(params: Params, weight_decay: float, decay_all: bool) -> list[Any]:
    """The weights, in groups of which those of vectors and single numbers (p.ndim < 2) do not decay.

    Norms and biases are such: pulling them to 0 regularizes nothing. An optimizer sees weights without names, hence
    the dimension decides. A group that says its own ``weight_decay`` keeps it for all it holds. Nothing is divided
    with ``decay_all``, or where nothing decays anyway; what decays comes first, and no group is empty.
    """
    if decay_all or weight_decay == 0:
        return list(params)
    return divided(params, is_matrix, "weight_decay", {}, {"weight_decay": 0.0})


def divided(
    params: Params,
    first: Callable[[Tensor], bool],
    settled: str,
    yes: Mapping[str, Any],
    no: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Every group as two: those weights of which ``first`` holds, with options ``yes``, and the others, with ``no``.

    A group in which the option ``settled`` is written stays one; options that a group writes itself are kept.
    """
    made: list[dict[str, Any]] = []
    for group in _groups(params):
        if settled in group:
            made.append(group)
            continue
        weights = group["params"]
        parts = ([p for p in weights if first(p)], yes), ([p for p in weights if not first(p)], no)
        made += [{**options, **group, "params": part} for part, options in parts if part]
    return made


def is_matrix(weight: Tensor) -> bool:
    """Whether a weight has rows and columns, as those of layers have; vectors are norms and biases."""
    return weight.ndim >= 2


def moving(group: Mapping[str, Any]) -> list[Tensor]:
    """The weights of a group that have a gradient; UserError where it is sparse."""
    weights = [p for p in group["params"] if p.grad is not None]
    if any(p.grad.layout is not torch.strided for p in weights):
        raise UserError("optimizer", "a gradient is sparse", "make the embedding with sparse=False, or use 'sgd'")
    return weights


def _groups(params: Params) -> list[dict[str, Any]]:
    """Every group with a list of its weights; bare weights are one group."""
    given: list[Any] = list(params)
    if not any(isinstance(g, dict) for g in given):
        return [{"params": given}] if given else []
    return [{**g, "params": [g["params"]] if isinstance(g["params"], Tensor) else list(g["params"])} for g in given]
