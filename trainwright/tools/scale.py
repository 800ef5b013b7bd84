"""What a training would take on many devices: memory, bytes, time and efficiency, by a model of its costs.

docs/explanation/scale.md derives the formulas, and says how far they were off where that could be measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainwright.core.batch import Batch
from trainwright.core.blocks import blocks_of
from trainwright.core.errors import UserError
from trainwright.core.task import Progress
from trainwright.engine.peak import matrix_peak
from trainwright.engine.ranks.rehearsal import DEVICES, rehearsed
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import Pieces, assemble
from trainwright.runs.recipe import Recipe, read
from trainwright.runs.recorded import silent

MODES: tuple[Literal["ddp", "fsdp"], ...] = ("ddp", "fsdp")
_REPEATS = 5
_PASSES = (1, 2)  # of the steps that are measured
_AGREED = 4  # sums of one number in a step: weights, norms, wishes to stop
_BUCKET = 25 * 2**20  # bytes of gradient that DDP exchanges at once
_PER_BYTE = 100  # FLOP in the time in which a byte is moved: accelerators have 80 to 130
_BACKWARD = 2 / 3  # of a pass: two products for each of the forward pass


@dataclass(frozen=True, slots=True)
class Costs:
    """Of a training on this machine, all measured. Seconds are of its device, with all its threads."""

    device: str
    batch: int  # samples of a step
    micro: int  # samples a rank computes at once
    parameters: int
    weights: int  # bytes, as are the following
    moments: int  # of the optimizer
    blocks: int  # that are sharded by themselves
    largest: int  # weights of the largest of them
    root: int  # weights that are in no block
    kept: float  # for the gradient, of a pass
    kept_sample: float  # … and of each of its samples
    norms: int  # batch norms, of which each is exchanged
    gathered: float  # bytes of a weight while it is gathered, by those that it is kept in
    flops: float  # of a sample, forward and backward
    fixed: float  # seconds of a pass
    sample: float  # … and of each of its samples
    update: float  # seconds of the optimizer
    prepared: float  # seconds in which a sample is fetched and made ready
    beside: Mapping[str, tuple[float, float]]  # mode -> seconds of a step, and of each of its passes, for all else
    peak: float = 0.0  # FLOP a second of a product of large matrices, in the precision of the passes

    @property
    def utilization(self) -> float:
        """What the passes reach of that: FLOP counted, each once, by the seconds of a large pass."""
        return self.flops / (self.sample * self.peak) if self.sample > 0 and self.peak else 0.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is assumed of the devices and of what is between them."""

    devices: int
    link: float  # bytes a second, of a device, in each direction
    latency: float = 20e-6  # seconds of a message
    speed: float | None = None  # FLOP a second that a device reaches; None: as this machine's
    hides: bool = True  # exchanges go on while the device computes
    kinds: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # "sum" | "gather" | "scatter" -> (bytes a
    # second, seconds of a message), where they differ


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of a way of sharing the work."""

    mode: str
    memory: Mapping[str, float]  # bytes of a rank
    sent: float  # bytes that a rank sends in a step; it receives as many
    compute: float  # seconds of a step, as are the following
    beside: float  # what the host does for that way of sharing
    exchange: float  # of which some are hidden
    waited: float  # of them, not hidden
    update: float
    efficiency: float  # of all devices, against one that does the whole step

    @property
    def step(self) -> float:
        """Seconds."""
        return self.compute + self.beside + self.waited + self.update


def measured(recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Costs:
    """Take a few passes of the training of a recipe, on one process, and see what they cost. Nothing is written."""
    checked = read(recipe, {**(changes or {}), "ranks": 1})
    runtime = Runtime.start(checked.config.device, checked.config.precision)
    pieces = assemble(checked, runtime, silent)
    try:
        costs, plain = _measured(pieces)
        least = _sizes(pieces, costs.batch)[0]
        beside = {"single": _beside(pieces, least, plain, costs.update)}
        for mode in MODES if runtime.device.type in DEVICES else ():
            with _shared(checked, runtime, mode, pieces) as like:
                own = costs.update / (like.runtime.ranks.world if mode == "fsdp" else 1)
                beside[mode] = _beside(like, least, plain, own)
        return replace(costs, beside=beside)
    finally:
        pieces.close()


@contextmanager
def _shared(recipe: Recipe, runtime: Runtime, mode: Literal["ddp", "fsdp"], like: Pieces) -> Iterator[Pieces]:
    """The same training, as one of several ranks does it, of which the others are not there."""
    halved = torch.bfloat16 if runtime.precision == "bfloat16" else None
    with rehearsed(mode, runtime.device, recipe.config.sync_batch_norm, halved) as ranks:
        pieces = assemble(recipe, replace(runtime, ranks=ranks), silent, like=like)
        try:
            yield pieces
        finally:
            pieces.close()


def _beside(pieces: Pieces, least: int, plain: float, update: float) -> tuple[float, float]:
    """Seconds of a step, and of each of its passes, beside what these and the optimizer take by themselves.

    That is what hooks, copies into and out of what is exchanged, and shards cost the host; and the rest of a step.

    Args:
        pieces: of the training, in its way of sharing.
        least: samples of a pass.
        plain: its seconds, where nothing is shared.
        update: seconds of the optimizer, for the weights of a rank.
    """
    config, runtime = pieces.config, pieces.runtime
    clock, batch = _clock(runtime.device), runtime.take(pieces.some(least))
    clip = None if config.clip == "none" else config.clip
    pieces.state.model.train()

    def step(passes: int) -> Callable[[], None]:
        def act() -> None:
            group = [batch] * passes
            taken = pieces.step(
                pieces.state, pieces.task, group, runtime, clip=clip, multiplier=1.0, progress=Progress()
            )
            float(taken.loss)  # the wait

        return act

    for passes in _PASSES:
        step(passes)()  # warm
    rounds = [[_seconds(step(passes), clock) for passes in _PASSES] for _ in range(_REPEATS)]
    one, two = (median(times) for times in zip(*rounds, strict=True))
    each = two - one
    return max(0.0, one - each - update), max(0.0, each - plain)


def _sizes(pieces: Pieces, batch: int) -> list[int]:
    """Samples of the passes that are measured, the fewest first."""
    micro = _micro(pieces, batch)
    return sorted({max(2, micro // 4), max(2, micro // 2), max(2, micro)})


def _micro(pieces: Pieces, batch: int) -> int:
    return batch if pieces.config.micro_batch == "all" else min(pieces.config.micro_batch, batch)


def _measured(pieces: Pieces) -> tuple[Costs, float]:
    """All but what is beside the passes; and the seconds of a pass of the least size."""
    config, runtime, model = pieces.config, pieces.runtime, pieces.state.model
    clock = _clock(runtime.device)
    began = clock()
    group = next(iter(pieces.groups))
    prepared = (clock() - began) / sum(b.size for b in group)
    batch = sum(b.size for b in group) if config.batch_size == "all" else config.batch_size
    sizes = _sizes(pieces, batch)
    passes = {size: _of_size(pieces, size) for size in sizes}
    model.train()
    for each in passes.values():
        each()  # warm
    pieces.state.optimizer.step()
    timed = {n: median(_seconds(act, clock) for _ in range(_REPEATS)) for n, act in passes.items()}
    fixed, sample = line([*timed.items()])
    kept, kept_sample = line([(size, _kept(model, passes[size])) for size in sizes[:2]])
    update = median(_seconds(pieces.state.optimizer.step, clock) for _ in range(_REPEATS))
    with FlopCounterMode(display=False) as counted:
        passes[sizes[0]]()
    weights = [p for p in model.parameters() if p.requires_grad]
    blocks = [sum(_bytes(p) for p in block.parameters()) for block in blocks_of(model)]
    whole = sum(map(_bytes, model.parameters()))
    costs = Costs(
        device=f"{runtime.device.type}, {config.precision}, {torch.get_num_threads()} threads",
        batch=batch,
        micro=_micro(pieces, batch),
        parameters=sum(p.numel() for p in weights),
        weights=whole,
        moments=sum(_bytes(x) for s in pieces.state.optimizer.state.values() for x in s.values() if _is_moment(x)),
        blocks=len(blocks),
        largest=max(blocks, default=0),
        root=max(0, whole - sum(blocks)),
        kept=kept,
        kept_sample=kept_sample,
        norms=sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()),
        gathered=0.5 if config.precision == "bfloat16" else 1.0,
        flops=counted.get_total_flops() / sizes[0],
        fixed=fixed,
        sample=sample,
        update=update,
        prepared=prepared,
        beside={},
        peak=matrix_peak(runtime.device, _dtype(runtime), clock),
    )
    return costs, timed[sizes[0]]


def _dtype(runtime: Runtime) -> torch.dtype:
    made: torch.dtype = getattr(torch, runtime.precision)
    return made


def _of_size(pieces: Pieces, size: int) -> Callable[[], None]:
    """A forward and backward pass of so many samples, or as many as there are."""
    state, task, runtime = pieces.state, pieces.task, pieces.runtime
    batch: Batch = runtime.take(pieces.some(size))

    def act() -> None:
        with runtime.autocast():
            loss = task.loss(state.model, batch, Progress()).sum
        loss.backward()

    return act


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds of the device: of the processor, by its threads, so that what runs beside does not count."""
    if device.type == "cpu":
        return lambda: time.process_time() / torch.get_num_threads()

    def waited() -> float:
        torch.accelerator.synchronize()
        return time.perf_counter()

    return waited


def _seconds(act: Callable[[], Any], clock: Callable[[], float]) -> float:
    began = clock()
    act()
    return clock() - began


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(at 0, slope) of the straight line through points, by least squares; neither is below 0."""
    if len(points) == 1:
        return 0.0, points[0][1] / points[0][0]
    n, mx, my = len(points), sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    spread = sum((x - mx) ** 2 for x, _ in points)
    slope = max(0.0, sum((x - mx) * (y - my) for x, y in points) / spread) if n > 1 else 0.0
    at0 = my - slope * mx
    return (at0, slope) if at0 >= 0 else (0.0, my / mx)


def _kept(model: nn.Module, act: Callable[[], None]) -> float:
    """Bytes that a pass keeps for its gradient, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        act()
    return float(sum(seen.values()))


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def _is_moment(x: Any) -> bool:
    return isinstance(x, Tensor) and x.numel() > 1


def forecast(costs: Costs, cluster: Cluster, mode: str) -> Forecast:
    """What a step would take, under ``ddp`` or ``fsdp``; one device does neither."""
    n = cluster.devices
    share = max(1, math.ceil(costs.batch / n))
    at_once = min(costs.micro, share)
    passes = math.ceil(share / at_once)
    faster = 1.0
    if cluster.speed is not None and costs.sample > 0 and costs.flops > 0:
        faster = cluster.speed / (costs.flops / costs.sample)
    compute = (passes * costs.fixed + share * costs.sample) / faster + share * costs.prepared
    sent = _exchanged(costs, n, mode, passes)
    exchange = sum(_took(cluster, kind, *amount) for kind, amount in sent.items())
    hidden = (_BACKWARD if mode == "ddp" else 1.0) * compute if cluster.hides else 0.0
    last = min(exchange, exchange * _BUCKET / max(costs.weights, _BUCKET))  # nothing is computed any more behind it
    waited = max(exchange - hidden, last) if n > 1 else 0.0
    update = _update(costs, cluster) / (n if mode == "fsdp" else 1)
    beside = _beside_all(costs, cluster, mode if n > 1 else "single", passes)
    total = compute + beside + waited + update
    return Forecast(
        mode=mode,
        memory=_memory(costs, n, mode, at_once),
        sent=sum(size for size, _ in sent.values()),
        compute=compute,
        beside=beside,
        exchange=exchange,
        waited=waited,
        update=update,
        efficiency=_alone(costs, cluster, faster) / (n * total),
    )


def _took(cluster: Cluster, kind: str, size: float, messages: float) -> float:
    """Seconds of exchanges of one kind."""
    link, latency = cluster.kinds.get(kind, (cluster.link, cluster.latency))
    return messages * latency + size / link


def _beside_all(costs: Costs, cluster: Cluster, mode: str, passes: int) -> float:
    """Seconds of the host in a step; one that drives another device runs ahead of it."""
    step, each = costs.beside.get(mode, (0.0, 0.0)) if cluster.speed is None else (0.0, 0.0)
    return step + passes * each


def _alone(costs: Costs, cluster: Cluster, faster: float) -> float:
    """Seconds of a step on one device."""
    passes = math.ceil(costs.batch / costs.micro)
    computed = (passes * costs.fixed + costs.batch * costs.sample) / faster
    beside = _beside_all(costs, cluster, "single", passes)
    return computed + beside + _update(costs, cluster) + costs.batch * costs.prepared


def _update(costs: Costs, cluster: Cluster) -> float:
    """Seconds of the optimizer, which reads and writes more than it computes."""
    if cluster.speed is None:
        return costs.update
    return (3 * costs.weights + 2 * costs.moments) * _PER_BYTE / cluster.speed


def _exchanged(costs: Costs, n: int, mode: str, passes: int) -> dict[str, tuple[float, float]]:
    """Kind -> bytes that a rank sends in a step, and messages that it waits for, as rings and trees send them."""
    if n == 1:
        return {}
    part, hops = (n - 1) / n, 2 * math.ceil(math.log2(n))
    sums = 4 * costs.norms * passes + _AGREED  # of a batch norm two sums forward, two backward
    if mode == "ddp":
        return {"sum": (2 * part * costs.weights, hops * (math.ceil(costs.weights / _BUCKET) + sums))}
    blocks = costs.weights - costs.root
    gathered = (2 * passes * blocks + passes * costs.root) * costs.gathered
    return {
        "sum": (0.0, hops * sums),
        "gather": (part * gathered, hops * passes * (2 * costs.blocks + 1)),
        "scatter": (part * costs.weights, hops * (costs.blocks + 1)),
    }


def _memory(costs: Costs, n: int, mode: str, at_once: int) -> dict[str, float]:
    kept = costs.kept + costs.kept_sample * at_once
    if mode == "ddp" or n == 1:
        buffers = costs.weights if n > 1 else 0
        return {"weights": costs.weights, "gradients": costs.weights, "moments": costs.moments,
                "exchange": buffers, "activations": kept}  # fmt: skip
    gathered = (costs.root + 2 * costs.largest) * costs.gathered + costs.largest
    return {"weights": costs.weights / n, "gradients": costs.weights / n, "moments": costs.moments / n,
            "exchange": gathered, "activations": kept}  # fmt: skip


_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "": 1.0}


def amount(text: str, unit: str, where: str) -> float:
    """``400Gbps`` with the unit ``bps`` is 4e11; UserError otherwise."""
    lower = text.strip().lower().replace(" ", "")
    body = lower.removesuffix(unit.lower())
    sign = body[-1:] if body[-1:] in _UNITS and not body[-1:].isdigit() else ""
    try:
        value = float(body.removesuffix(sign)) * _UNITS[sign]
    except ValueError:
        value = 0.0
    if body == lower or not 0 < value < math.inf:
        raise UserError(where, f"'{text}' is no amount", f"write a number and a unit, such as 400G{unit}")
    return value
