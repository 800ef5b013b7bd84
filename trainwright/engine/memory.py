"""When memory runs out: smaller micro-batches of the same batch, whose summed losses make the same update."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeVar, cast

import torch
from torch import nn

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.engine.allocator import give_back
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState

T = TypeVar("T")

_MOST = 5  # halvings of a run
_SAYS = ("can't allocate memory", "out of memory", "not enough memory", "ALLOC_FAILED", "Cannot allocate memory")


class Cut(Protocol):
    """What is asked of a loader: how large its micro-batches are, to make them smaller, and its last group anew."""

    micro: int | Literal["all"]

    @property
    def largest(self) -> int:
        """Samples of the largest micro-batch of the last group, on any rank."""
        ...

    def limit(self, micro: int | Literal["all"]) -> None:
        """From the next group on no more samples at once; what was prepared otherwise is prepared anew."""
        ...

    def again(self) -> list[Batch]:
        """The last group once more, also where it could not be handed out."""
        ...

    def __next__(self) -> list[Batch]:
        """The micro-batches of the next step."""
        ...


@dataclass(frozen=True, slots=True)
class Shortage:
    """Memory ran out, and the run goes on with less at once."""

    step: int  # that is under way, or after which the evaluation was
    where: str  # "a step" | "an evaluation"
    before: int  # samples at once
    now: int
    what: str  # the system's words


@dataclass(slots=True)
class Memory:
    """Takes steps, and takes them again with half the samples at once where memory runs out.

    Args:
        state: of the training.
        train: the loader.
        runtime: its ranks; all halve together.
        put_back: makes the randomness what it was before the step.
        tell: is told of every halving.
    """

    state: TrainState
    train: Cut
    runtime: Runtime
    put_back: Callable[[], None] = lambda: None
    tell: Callable[[Shortage], None] = lambda shortage: None

    def step(self, take: Callable[[list[Batch]], T]) -> tuple[list[Batch], T]:
        """The next group, and what ``take`` makes of it.

        UserError where even one sample, or half of half of … the batch, is too much.
        """
        fetch = self.train.__next__
        while True:
            group, trouble = self._tried(fetch)
            if self._any(trouble) or group is None:
                self._less("a step", trouble)
                fetch = self.train.again
                continue
            before = self.state.moves
            done, trouble = self._tried(partial(take, group))
            if not trouble:
                return group, cast(T, done)
            if not self.state.short or self.state.moves != before:
                raise _unmoved(trouble)
            del group
            self.put_back()
            self._less("a step", trouble)
            fetch = self.train.again

    def evaluate(self, judge: Callable[[], T]) -> T:
        """What an evaluation gives; where memory runs out it is begun anew with half the samples at once."""
        while True:
            found, trouble = self._tried(judge)
            if not trouble:
                return cast(T, found)
            if self.runtime.ranks.world > 1:
                raise _unmoved(trouble)  # the other ranks wait for this one's sums
            self._less("an evaluation", trouble)

    def _tried(self, act: Callable[[], T]) -> tuple[T | None, str]:
        """What it gives, or what the system says where memory ran out; by then all that it held is free."""
        try:
            return act(), ""
        except Exception as error:
            if not ran_out(error):
                raise
            trouble = _words(error)
        gc.collect()
        give_back()
        if self.runtime.device.type == "cuda":
            torch.cuda.empty_cache()
        return None, trouble

    def _any(self, trouble: str) -> bool:
        """Whether a rank could not even get its group."""
        return self.runtime.ranks.agree(bool(trouble))

    def _less(self, where: str, trouble: str) -> None:
        """Half as many samples at once from here on."""
        counters, before = self.state.counters, self.train.largest
        step = counters.step + (where == "a step")
        if before < 2 or counters.halvings >= _MOST:
            at_once = "one sample" if before < 2 else f"{before} samples, halved {counters.halvings} times,"
            raise UserError(
                "micro_batch",
                f"memory ran out in {where} ({step:,}) with {at_once} at once: {trouble or 'on another rank'}",
                "make the model or its inputs smaller, or use a device with more memory",
            )
        if not counters.micro:
            counters.asked = 0 if self.train.micro == "all" else int(self.train.micro)
        counters.micro, counters.halvings = before // 2, counters.halvings + 1
        self.train.limit(counters.micro)
        self.tell(Shortage(step, where, before, counters.micro, trouble or "on another rank"))


class ShortTogether:
    """Memory that runs out on one of several ranks: all hear of it before they wait for each other's gradients.

    Only copies of a model (ddp) can tell; shards of it (fsdp) wait for each other within the forward pass.

    Args:
        runtime: its ranks; one process alone is told at once.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._ranks, self._found = runtime.ranks, ""

    def tried(self, act: Callable[[], T]) -> T | None:
        """What it gives; None where this rank has no memory for it, or had none before."""
        if self._ranks.mode != "ddp":
            return act()
        if self._ranks.entangled:  # the others wait in the midst of it
            try:
                return act()
            except Exception as error:
                if ran_out(error):
                    raise _unmoved(_words(error)) from None
                raise
        if self._found:
            return None
        try:
            return act()
        except Exception as error:
            if not ran_out(error):
                raise
            self._found = _words(error)
        return None

    def agree(self, waiting: nn.Module | None = None) -> None:
        """MemoryError on every rank where one of them had too little.

        Args:
            waiting: a module that has computed what it now wants to exchange gradients of.
        """
        if self._ranks.mode == "ddp" and self._ranks.agree(bool(self._found)):
            if waiting is not None:
                self._ranks.abandon(waiting)
            raise MemoryError(self._found or "on another rank")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the device or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYS)


def _words(error: BaseException) -> str:
    """What the system said; all that the failed computation held is let go."""
    traceback.clear_frames(error.__traceback__)
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__


def _unmoved(trouble: str) -> UserError:
    """Memory ran out where the step cannot be taken back."""
    return UserError(
        "micro_batch",
        f"memory ran out where the step cannot be taken again: {trouble}",
        "resume from the last checkpoint with a smaller micro_batch, or use a device with more memory",
    )
