"""Compilation as a part of the plan: whether it can be, what it is going to cost, and how it is switched on."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from trainwright.core.task import Progress
from trainwright.data.paths import cache
from trainwright.engine.compiled import Compiled, obstacle, regions
from trainwright.runs.assemble import Pieces

# Seconds by the clock that nobody has measured yet: what the compiler itself takes to load, and for each layer.
# Two blocks of a tabular network took 23 s on one core.
_LOADING, _LAYER = 20.0, 2.0
_ELSEWHERE = 2.0  # times as long where code for an accelerator is written
_UNUSED = "no block is called with tensors and whole numbers alone, or hooks listen to each"
_TOLD = 1.0  # seconds; less is not a compilation but a look at what the process has compiled


def can_pay(pieces: Pieces, device: torch.device) -> bool:
    """Whether it is worth a try unasked: torch can do it, on an accelerator.

    On a CPU torch 2.13 gained 5 % of a small GPT's step and lost a third of others, after a compilation of 15 to 45 s;
    see docs/notebook.md.
    """
    return device.type != "cpu" and not why_not(pieces)


def why_not(pieces: Pieces) -> str:
    """Why it cannot; empty where it can, as far as that is seen without trying."""
    if pieces.runtime.ranks.mode == "fsdp":
        return "shards of a model are gathered by hooks, which a compiler does not see"
    if pieces.config.recompute:
        return "recompute runs the blocks in its own way"
    if not regions(_bare(pieces)):
        return "the model is compiled already, or called in its own way"
    return obstacle(pieces.runtime.device)


def compile_cost(pieces: Pieces) -> float:
    """Seconds by the clock that compiling is going to take, rather too many: what it took here the last time.

    Of a model that was never compiled here it is a guess by its layers.
    """
    with suppress(OSError, ValueError):
        return float(_record(pieces).read_text("ascii"))
    blocks = {repr(block): block for block in regions(_bare(pieces))}
    layers = sum(1 for block in blocks.values() for m in block.modules() if not any(True for _ in m.children()))
    guess = _LOADING + _LAYER * layers
    return guess if pieces.runtime.device.type == "cpu" else guess * _ELSEWHERE


def compile_in_rehearsal(pieces: Pieces) -> Callable[[], None]:
    """Switch it on; what torch cannot compile raises. Returns what switches it off and notes what it took."""
    record = _record(pieces)
    made = Compiled(_bare(pieces), pieces.runtime.device, cache("compiled"), _raise)

    def back() -> None:
        made.back()
        _note(record, made.seconds)

    return back


def compile_blocks(pieces: Pieces) -> Callable[[], None]:
    """Switch it on for a training and try it once; returns what switches it off.

    What cannot be compiled runs as it is written, and ``pieces.pace`` says so.
    """
    if why := why_not(pieces):
        pieces.pace = [*pieces.pace, f"compiled: not possible, {why}; the model runs as it is written"]
        return lambda: None
    told, record = list[str](), _record(pieces)
    made: Compiled | None = None
    try:
        made = Compiled(_bare(pieces), pieces.runtime.device, cache("compiled"), lambda e: told.append(_failed(e)))
        _try(pieces)
    except Exception as error:  # a backward pass that cannot be compiled fails by itself, and so does a cache
        told.append(_failed(error))
    if not told and made is not None and not made.used:
        told.append(_UNUSED)
    if told or made is None:
        if made is not None:
            made.back()
        pieces.pace = [*pieces.pace, f"compiled: not done, {told[0]}; the model runs as it is written"]
        return lambda: None
    _note(record, made.seconds)
    made.failed = _warn
    return made.back


def _try(pieces: Pieces) -> None:
    """One forward and backward pass of a usual batch, of which nothing is left."""
    config, model = pieces.config, _bare(pieces)
    sizes = [n for n in (config.batch_size, config.micro_batch) if isinstance(n, int)]
    with pieces.state.aside(), torch.enable_grad():
        model.train()
        batch = pieces.runtime.take(pieces.some(min(sizes, default=2**31)))
        with pieces.runtime.autocast():
            loss = pieces.task.loss(model, batch, Progress()).sum
        try:
            loss.backward()
        finally:
            for weight in model.parameters():
                weight.grad = None


def _note(record: Path, seconds: float) -> None:
    """What it took, for the next time."""
    if seconds >= _TOLD:
        with suppress(OSError):
            record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            record.write_text(f"{seconds:.3f}", "ascii")


def _record(pieces: Pieces) -> Path:
    """Where it stands, for this model, batch, device and version of torch."""
    config = pieces.config
    blocks = sorted({repr(block) for block in regions(_bare(pieces))})
    about = [torch.__version__, pieces.runtime.device.type, config.batch_size, config.micro_batch]
    key = hashlib.sha256(repr([*about, *blocks]).encode()).hexdigest()[:32]
    return cache("compiled") / "took" / key


def _bare(pieces: Pieces) -> nn.Module:
    return pieces.runtime.ranks.bare(pieces.state.model)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]


def _failed(error: Exception) -> str:
    return f"it fails ({_said(error)})"


def _raise(error: Exception) -> None:
    raise error


def _warn(error: Exception) -> None:
    """In the midst of a training, with a shape that came later."""
    warnings.warn(f"torch cannot compile this shape; the model runs on as it is written ({_said(error)})", stacklevel=2)
