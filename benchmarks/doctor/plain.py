"""A program's own loop, as a person writes it, with no doctor near; and what is noted on the way."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.doctor.judge import Judged, judged
from benchmarks.doctor.programs import Program


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    epochs: int
    steps: int
    seconds: float  # of the processor: others at work on the machine change no outcome
    cut: bool  # by the time it was given
    first_loss: float  # the mean over the first epoch, or over what was run of it
    last_loss: float
    train: Judged
    valid: Judged | None

    @property
    def learned(self) -> bool | None:
        """Judged on the training rows, as the files of cases do."""
        return self.train.learned


def run(
    program: Program,
    seed: int,
    seconds: float = math.inf,
    each: Callable[[int, nn.Module, float], None] | None = None,
    beside: Callable[[nn.Module, Optimizer], AbstractContextManager[Any]] = lambda model, optimizer: nullcontext(),
) -> Ended:
    """Train a program with a seed and judge it.

    Args:
        program: what to train.
        seed: of the network, the order of rows and dropout.
        seconds: the most of the processor that may be spent on training.
        each: told (epoch, model, mean loss) after every epoch; it must not train.
        beside: (model, optimizer) -> what is open around the loop, such as ``tw.watch``.
    """
    data = program.arrays()
    model = program.module(seed)
    torch.manual_seed(seed)
    began, means, steps, cut = time.process_time(), list[float](), 0, False
    epoch = 0
    with warnings.catch_warnings(), ExitStack() as loop:
        warnings.simplefilter("ignore", UserWarning)  # shapes that are broadcast, schedules stepped before a step
        step = Stepper(program, model)
        loop.enter_context(beside(model, step.optimizer))
        while epoch < program.epochs and not cut:
            losses = []
            for rows in batches(len(data.x), program, seed, epoch):
                losses.append(step(data.x[rows], data.y[rows]))
                steps += 1
                cut = time.process_time() - began > seconds
                if cut or steps == program.steps:
                    break
            means.append(float(torch.stack(losses).mean()))
            step.epoch_over()
            epoch += 1
            if each is not None:
                each(epoch, model, means[-1])
            if steps == program.steps or not _alive(model):
                break
        cut = cut and epoch < program.epochs
        rows = program.judging()
        train = judged(model, rows.x, rows.y, program.metric, program.logits)
        valid = None
        if data.x_valid is not None and data.y_valid is not None:
            valid = judged(model, data.x_valid, data.y_valid, program.metric, program.logits)
    return Ended(epoch, steps, time.process_time() - began, cut, means[0], means[-1], train, valid)


def batches(n: int, program: Program, seed: int, epoch: int) -> Iterator[Tensor]:
    """The rows of each batch of an epoch; the last may be smaller."""
    size = n if program.batch_size == "all" else program.batch_size
    order = torch.arange(n)
    if program.shuffle:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))
    yield from order.split(size)


class Stepper:
    """One step of the program's loop, with its bug where it has one: (x, y) -> the batch's loss, detached."""

    def __init__(self, program: Program, model: nn.Module) -> None:
        self.program, self.model = program, model
        self.optimizer = program.optimizer(model)
        self.schedule = program.schedule.make(self.optimizer) if program.schedule else None
        model.train(not program.bug.evaluates)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.optimizer, torch.optim.LBFGS):
            loss = self.optimizer.step(lambda: self._backward(x, y))  # type: ignore[no-untyped-call]
        else:
            loss = self._backward(x, y)
            self.optimizer.step()
        if self.schedule is not None and self.program.schedule and self.program.schedule.each == "step":
            self.schedule.step()
        return torch.as_tensor(loss).detach()

    def epoch_over(self) -> None:
        """Step what is stepped once an epoch."""
        if self.schedule is not None and self.program.schedule and self.program.schedule.each == "epoch":
            self.schedule.step()

    def _backward(self, x: Tensor, y: Tensor) -> Tensor:
        program = self.program
        if program.bug.clears:
            self.optimizer.zero_grad()
        loss = program.loss(self.model(x), y)
        if program.bug.detaches:
            loss = loss.detach().requires_grad_()
        loss.backward()
        weights = [p for p in self.model.parameters() if p.grad is not None]
        if program.clip_norm:
            for weight in weights:  # Keras clips the gradient of each weight by itself
                torch.nn.utils.clip_grad_norm_(weight, program.clip_norm)
        if program.clip_value:
            torch.nn.utils.clip_grad_value_(weights, program.clip_value)
        return loss


def _alive(model: nn.Module) -> bool:
    return all(bool(p.isfinite().all()) for p in model.parameters())
