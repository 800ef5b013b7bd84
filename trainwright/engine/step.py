"""One optimizer step, from micro-batches to moved weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.batch import Batch
from trainwright.core.kinds import steps
from trainwright.core.task import Loss, Progress, Task
from trainwright.engine import unwrapped
from trainwright.engine.flat import Flat
from trainwright.engine.memory import ShortTogether, ran_out
from trainwright.engine.norms import norm_at_hand, total_norm
from trainwright.engine.parts import StatePart
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState

Objective: TypeAlias = Callable[[nn.Module, Batch, Progress], Loss]  # as `Task.loss`: summed over the batch's weight


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did; every number is a 0-d tensor left on the device.

    ``loss`` and ``parts`` are this rank's share: summed over ranks they are the mean over the whole batch.
    """

    loss: Tensor  # of the step, penalties left out
    norm: Tensor  # of the whole gradient, over all ranks, before clipping
    finite: Tensor  # bool; False: the step was not taken
    parts: Mapping[str, Tensor]  # named summands of the loss, and penalties
    agreed: bool = False  # ``finite`` is on the CPU, knows the loss as well, and is the same on every rank


class StepFn(Protocol):
    """Replace the whole step (GAN, SAM, distillation) rather than hooking into it."""

    def __call__(
        self,
        state: TrainState,
        task: Task[Any],
        group: Sequence[Batch],
        runtime: Runtime,
        /,
        *,
        clip: float | None,
        multiplier: float,
        progress: Progress,
    ) -> Step:
        """Take one step; advance ``state.counters``."""
        ...


class WholeStep(ABC):
    """A step that brings parts of the state with it: a critic and its optimizer, a teacher."""

    def parts(self, model: nn.Module, task: Task[Any]) -> Mapping[str, StatePart]:
        """Modules, optimizers and other parts by name; none unless overridden.

        Args:
            model: what is trained, as its author wrote it.
            task: its sizes tell what the parts must know of the data.
        """
        return {}

    @abstractmethod
    def __call__(
        self,
        state: TrainState,
        task: Task[Any],
        group: Sequence[Batch],
        runtime: Runtime,
        /,
        *,
        clip: float | None,
        multiplier: float,
        progress: Progress,
    ) -> Step:
        """As `StepFn`."""


def train_step(
    state: TrainState,
    task: Task[Any],
    group: Sequence[Batch],
    runtime: Runtime,
    *,
    clip: float | None = None,
    multiplier: float = 1.0,
    progress: Progress = Progress(),  # noqa: B008 - frozen
    clip_value: float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    loss: Objective | None = None,
    module: str = "model",
    optimizer: str = "optimizer",
) -> Step:
    """Move the weights once by the gradient of the mean loss over all micro-batches of all ranks.

    The loss of each micro-batch is a sum; the total weight over micro-batches and ranks divides it once. DDP and FSDP
    average gradients over ranks, hence ``world``. A batch that weighs nothing in all counts by its sum alone. A step
    whose loss or gradient is not finite is not taken, and buffers are then what they were. The penalties are not part
    of the loss: they are parts of their own, and their gradient is added once per step, whatever the micro-batches.

    A step of one's own is made of this one: with another loss, or once per module and its optimizer. The step of the
    first optimizer is the one that counts; those of others must come before it.

    Args:
        state: what changes; the model is in training mode.
        task: gives the summed loss.
        group: this rank's micro-batches, as many as every other rank's.
        runtime: device, precision, ranks.
        clip: largest norm of the whole gradient.
        multiplier: of every group's base rate, from the schedule.
        progress: for losses that warm up.
        clip_value: largest absolute value of each number of the gradient; clipped before ``clip`` is applied.
        l1: times the sum of |w| over matrices and kernels; vectors (norms, biases) are never penalized.
        l2: times the sum of w² over the same weights.
        loss: what is made small instead of the task's loss: (module, batch, progress) -> `Loss`, likewise summed.
        module: the part of the state whose weights move.
        optimizer: the part of the state that moves them.
    """
    moved, mover = state.module(module), state.mover(optimizer)
    objective = task.loss if loss is None else loss
    _forget(mover)  # what another module's loss may have left here
    if state.frozen:
        state.frozen.settle(state.counters.step)
    state.buffers.keep()
    state.short = False
    up = state.scaler.scale if state.scaler else 1.0
    try:
        mean, parts = _passes(state, moved, objective, group, runtime, progress, up)
    except BaseException as error:  # memory ran out, or code of the user's failed: as if the step had not begun
        state.short = ran_out(error)
        state.buffers.put_back()
        _forget(mover)
        raise
    if state.frozen:
        state.frozen.drop(state.counters.step)
    penalties = penalize(moved, runtime, up, l1, l2) if l1 or l2 else {}
    norm = _gradient(state.flat(moved), runtime, clip=clip, clip_value=clip_value, down=up)
    good = _move(state, mover, mean, norm, multiplier, runtime)
    if not good:
        state.buffers.put_back()
    told = {name: runtime.scalar(part) for name, part in parts.items()} if parts else {}
    return Step(runtime.scalar(mean), runtime.scalar(norm), _told(good), {**told, **penalties}, agreed=True)


def _passes(
    state: TrainState,
    module: nn.Module,
    objective: Objective,
    group: Sequence[Batch],
    runtime: Runtime,
    progress: Progress,
    up: float,
) -> tuple[Tensor | float, Mapping[str, Tensor | float]]:
    """Forward and backward of every micro-batch; this rank's share of the mean loss and of its parts."""
    if runtime.at_hand:
        return _passes_at_hand(module, objective, group, runtime, progress, up)
    scale = _scale(group, runtime)
    sums: list[Any] = []
    parts: dict[str, Any] = {}
    short = ShortTogether(runtime)
    for i, batch in enumerate(group):
        counts, last = float(batch.size > 0), i == len(group) - 1
        if last and i:
            short.agree()
        with runtime.ranks.sync(module, last=last), runtime.ranks.counting(bool(counts)):
            found = short.tried(partial(_forward, objective, module, batch, progress, runtime))
            if last:
                short.agree(module)
            if found is None:
                continue
            loss, summands = found.sum, found.parts
            del found  # with what the model said, which nobody asks for while the gradients are computed
            back = partial(_backward, loss, scale * (counts * up))
            back() if last else short.tried(back)
        sums.append(loss.detach().to(runtime.wide) * counts)
        for name, part in summands.items():
            parts[name] = parts.get(name, 0.0) + part.detach().to(runtime.wide) * counts
    mean = scale / runtime.ranks.world
    return sum(sums[1:], sums[0]) * mean, {name: part * mean for name, part in parts.items()}


def _passes_at_hand(
    module: nn.Module, objective: Objective, group: Sequence[Batch], runtime: Runtime, progress: Progress, up: float
) -> tuple[float, dict[str, float]]:
    """The same for one process on the CPU, whose sums are Python's: one of torch's takes 5 µs of a small step."""
    weight = sum([batch.weight.item() for batch in group])
    scale = 1.0 / weight if weight > 0 else 1.0
    total = 0.0
    parts: dict[str, float] = {}
    for batch in group:
        counts = float(batch.size > 0)
        found = _forward(objective, module, batch, progress, runtime)
        loss, summands = found.sum, found.parts
        del found  # with what the model said, which nobody asks for while the gradients are computed
        _backward(loss, scale * (counts * up))
        total += loss.item() * counts
        for name, part in summands.items():
            parts[name] = parts.get(name, 0.0) + part.item() * counts
    return total * scale, {name: part * scale for name, part in parts.items()}


def _scale(group: Sequence[Batch], runtime: Runtime) -> Tensor:
    """What a summed loss is multiplied with: one over the weight of all micro-batches of all ranks, times the ranks.

    0-d on the device.
    """
    total = runtime.ranks.total(torch.stack([b.weight.to(runtime.device, runtime.wide) for b in group]).sum())
    return runtime.ranks.world / torch.where(total > 0, total, torch.ones_like(total))


def _backward(loss: Tensor, scale: Any) -> None:
    """Add the gradient of a loss (0-d) times a scale, a number or a tensor (0-d): from the scale on, not from 1."""
    loss = _full(loss)
    begin = scale.to(loss.dtype) if isinstance(scale, Tensor) else _begin(scale, loss.dtype, loss.device)
    try:
        unwrapped.backward(loss, begin.reshape(loss.shape) if loss.ndim else begin)
    finally:
        if begin._version:  # a hook or a backward pass of somebody's own has written into it
            _begin.cache_clear()


@lru_cache(8)
def _begin(scale: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """0-d: most steps begin at the same scale. Autograd changes no tensor that somebody else holds as well."""
    with torch.inference_mode(False):
        return torch.tensor(scale, dtype=dtype, device=device)


@cache
def _told(good: bool) -> Tensor:
    """0-d bool."""
    return torch.tensor(good)


def _forward(objective: Objective, module: nn.Module, batch: Batch, progress: Progress, runtime: Runtime) -> Loss:
    with runtime.autocast():
        return objective(module, runtime.take(batch), progress)


@steps.add("standard")
def standard() -> StepFn:
    """One step by the gradient of the mean loss, with micro-batches, penalties, clipping and the guard against NaN."""
    return train_step


def _full(x: Tensor) -> Tensor:
    """At least float32: a scaled loss would overflow float16."""
    return x if x.dtype == torch.float32 else x.to(torch.promote_types(x.dtype, torch.float32))


def _forget(optimizer: Optimizer) -> None:
    """No weight has a gradient any more. As `Optimizer.zero_grad`, without what that costs a small step (10 µs)."""
    if type(optimizer).zero_grad is not Optimizer.zero_grad:
        optimizer.zero_grad(set_to_none=True)
        return
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None


def penalize(model: nn.Module, runtime: Runtime, up: float, l1: float, l2: float) -> dict[str, Tensor]:
    """Add the gradient of the penalties, scaled as the loss is; returns this rank's share of their values."""
    weights = [p for p in model.parameters() if p.grad is not None and p.ndim >= 2]
    out: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, factor, size, slope in (("l1", l1, _absolute, torch.sign), ("l2", l2, _squares, _twice)):
            if factor:
                for p in weights:
                    p.grad.add_(slope(p), alpha=factor * up)  # type: ignore[union-attr]
                sums = [runtime.ranks.full(size(p)).to(runtime.wide) for p in weights]
                out[name] = factor * torch.stack(sums).sum() / runtime.ranks.world
    return out


def _absolute(weight: Tensor) -> Tensor:
    return weight.abs().sum()


def _squares(weight: Tensor) -> Tensor:
    return weight.square().sum()


def _twice(weight: Tensor) -> Tensor:
    return 2 * weight


def _gradient(
    flat: Flat, runtime: Runtime, *, clip: float | None, clip_value: float | None, down: float
) -> Tensor | float:
    """Undo the loss scale, clip, and return the norm before it was clipped."""
    weights = flat.weights()
    gradients = [g for w in weights if (g := w.grad) is not None]
    if down != 1.0:
        torch._foreach_mul_(gradients, 1.0 / down)
    alike = runtime.at_hand and flat.alike
    # whatever clips by it wants the very number of `get_total_norm`
    at_hand = alike and clip is None and flat.exact
    norm = norm_at_hand(gradients) if at_hand else _norm(gradients, runtime, alike)
    among = norm
    if clip_value is not None:  # only now: infinity, clamped, would look sound
        for gradient in gradients:
            gradient.clamp_(-clip_value, clip_value)
        among = _norm(gradients, runtime, alike) if clip is not None else norm
    if clip is not None:
        learning = [w for w in weights if w.grad is not None]
        torch.nn.utils.clip_grads_with_norm_(learning, clip, runtime.scalar(among))
    return norm if alike or isinstance(norm, float) else norm.to(runtime.device)


def _norm(gradients: list[Tensor], runtime: Runtime, alike: bool) -> Tensor:
    """0-d: the norm of all of them together, over all ranks."""
    if alike and gradients:
        return total_norm(gradients)
    return runtime.ranks.full(torch.nn.utils.get_total_norm(gradients))


def _move(
    state: TrainState,
    optimizer: Optimizer,
    loss: Tensor | float,
    norm: Tensor | float,
    multiplier: float,
    runtime: Runtime,
) -> bool:
    """The update itself, and what is counted: of optimizers beside the first, only what was not done."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * multiplier
    sound, good = _sound(loss, norm, runtime)
    if good:
        state.moves += 1
        unwrapped.step(optimizer)
    _forget(optimizer)
    counters, scaler = state.counters, state.scaler
    curable = scaler is not None and sound and scaler.scale > 1  # the loss scale was too high: it learns so
    counters.skipped += not (good or curable)
    if optimizer is not state.optimizer:
        return good
    if scaler and (good or curable):
        scaler.update(good)
    counters.step += 1
    counters.in_a_row = 0 if good else counters.in_a_row + 1
    runtime.flush()
    return good


def _sound(loss: Tensor | float, norm: Tensor | float, runtime: Runtime) -> tuple[bool, bool]:
    """Whether the loss of all ranks is finite, and whether the gradient is as well."""
    if runtime.at_hand:
        sound = math.isfinite(loss)
        return sound, sound and math.isfinite(norm)
    loss, norm = runtime.scalar(loss), runtime.scalar(norm)
    whole = runtime.ranks.total(loss.detach().clone())
    told = torch.stack([whole.isfinite(), whole.isfinite() & norm.isfinite()]).tolist()  # the wait: on an accelerator
    return bool(told[0]), bool(told[1])  # the price of never moving by NaN
