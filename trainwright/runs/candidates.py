"""What a plan may have, each with how far it may be from the plain plan and whether it can be tried at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainwright.engine.abilities import has_bfloat16
from trainwright.engine.grain import FEWEST, blurred
from trainwright.engine.layout import has_pictures
from trainwright.engine.quick_dropout import has_dropout
from trainwright.engine.reorder import has_pool_last
from trainwright.runs.assemble import Pieces
from trainwright.runs.compiling import can_pay, compile_cost

LEAST = 1.05  # times as fast, or it is not worth other numbers
SAME = 1.01  # the same for what changes no number, or only its last bits
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT")  # how a person says how many threads there are
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad)
_LOOKED = 2**15  # numbers of the rows that are looked at: 5 ms; more where a row of its own has 256 and more


@dataclass(frozen=True, slots=True)
class Candidate:
    """One change of the plan, and how far its losses may be from the plain plan's."""

    name: str
    changes: dict[str, Any]
    loss: float  # largest relative difference
    gradient: float  # the same, of its norm
    fits: Callable[[Pieces], bool]
    against: Callable[[Pieces], str] = lambda pieces: ""  # what of the data speaks against it
    least: float = LEAST
    joins: bool = True  # it may be tried together with others
    cost: Callable[[Pieces], float] = lambda pieces: 0.0  # seconds that its first step takes more; it is tried once


def bare(pieces: Pieces) -> nn.Module:
    """The model without what ranks put around it."""
    return pieces.runtime.ranks.bare(pieces.state.model)


def device_of(pieces: Pieces) -> torch.device:
    """Where it trains."""
    return pieces.runtime.device


def _can_fuse(pieces: Pieces) -> bool:
    optimizer = pieces.state.optimizer
    if pieces.config.optimizer["name"] == "own":  # made by the caller, as the caller wants it
        return False
    return type(optimizer) in FUSED and all(
        group.get("fused") is None and not group.get("foreach") and not group.get("differentiable")
        for group in optimizer.param_groups
    )


def _can_halve(pieces: Pieces) -> bool:
    return pieces.config.precision == "auto" and pieces.task.coarse and has_bfloat16(device_of(pieces))


def _digits_needed(pieces: Pieces) -> str:
    """Whether an input of rows has columns that bfloat16 would blur; a pixel or a step has neighbours that tell it."""
    few = pieces.some(2).inputs.items()
    wide = {name: x[0].numel() for name, x in few if x.ndim <= 2 and x.is_floating_point()}
    if not wide:
        return ""
    batch = pieces.some(min(2048, max(128, _LOOKED // sum(wide.values()))))
    if batch.size < FEWEST:
        return f"{batch.size} records do not tell whether it would blur their values"
    for name in wide:
        rows = batch.inputs[name]
        if found := blurred(rows.reshape(len(rows), -1)):
            column = f"column {found[0]} of " if rows.ndim == 2 else ""
            others = f" and of {len(found) - 1} more" if len(found) > 1 else ""
            return f"it would blur different values of {column}'{name}'{others}"
    return ""


def _can_draw(pieces: Pieces) -> bool:
    return _on_cpu(pieces) and has_dropout(bare(pieces))


def _can_compile(pieces: Pieces) -> bool:
    return can_pay(pieces, device_of(pieces))


def _on_cpu(pieces: Pieces) -> bool:
    return device_of(pieces).type == "cpu"


CANDIDATES = (
    Candidate("channels last", {"channels_last": True}, 1e-4, 1e-3, lambda pieces: has_pictures(bare(pieces))),
    Candidate(
        "max-pool before ReLU", {"pool_first": True}, 0.0, 0.0, lambda pieces: has_pool_last(bare(pieces)), least=SAME
    ),
    Candidate("fused optimizer", {"fused": True}, 1e-4, 1e-3, _can_fuse, least=SAME),
    # other masks: a single loss may be a tenth off, as it would be with another seed
    Candidate("quick dropout", {"quick_dropout": True}, 0.1, 0.5, _can_draw, joins=False),
    Candidate("bfloat16", {"bfloat16": True}, 2e-2, 1e-1, _can_halve, _digits_needed),
    Candidate("compiled", {"compiled": True}, 1e-3, 1e-2, _can_compile, cost=compile_cost),
)


def fewer_threads() -> Iterator[Candidate]:
    """Half of torch's threads, and a quarter, down to two, where nobody chose their number.

    Sums are then added in another order. Below two threads one that other programs hold up would decide.
    """
    threads = torch.get_num_threads()
    if not any(name in os.environ for name in CHOSEN):
        for share in (2, 4):
            if threads >= 2 * share:
                fewer = threads // share
                yield Candidate(f"{fewer} threads", {"threads": fewer}, 1e-4, 1e-3, _on_cpu, joins=False)
