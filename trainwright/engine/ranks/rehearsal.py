"""One rank that does what one of several does, but waits for nobody: to measure what it costs to share a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C import _distributed_c10d as c10d

from trainwright.core.errors import RanksError
from trainwright.engine.ranks.group import Ranks

_NAME = "rehearsal"
DEVICES = ("cpu", "cuda", "xpu")  # others have no streams, which FSDP2 asks for


class _Echo(dist.ProcessGroup):
    """Ranks of which all others have what this one has; only shapes and sizes are as they would be.

    Two versions of torch call the exchanges of whole tensors differently.
    """

    def __init__(self, rank: int, world: int) -> None:
        super().__init__(rank, world)  # type: ignore[call-arg]
        self._world = world

    def size(self) -> int:
        return self._world

    @property
    def group_name(self) -> Any:
        return str(dist.distributed_c10d._world.pg_names[self])

    def getBackendName(self) -> str:
        return _NAME

    def allreduce(self, tensors: Any, options: Any = None) -> Any:  # type: ignore[override]
        return _done(tensors)

    allreduce_coalesced = broadcast = allreduce  # type: ignore[assignment]

    def barrier(self, options: Any = None) -> Any:
        return _done([])

    def allgather(self, outputs: Any, inputs: Any, options: Any = None) -> Any:
        for found, own in zip(outputs, inputs, strict=True):
            for each in found:
                each.copy_(own)
        return _done(outputs)

    def all_gather_single(self, output: Tensor, own: Tensor, options: Any = None) -> Any:
        for part in output.view(-1).chunk(self._world):
            part.copy_(own.view(-1))
        return _done([output])

    _allgather_base = all_gather_single  # type: ignore[assignment]

    def reduce_scatter_single(self, output: Tensor, whole: Tensor, options: Any = None) -> Any:
        output.view(-1).copy_(whole.view(-1)[: output.numel()])
        return _done([output])

    _reduce_scatter_base = reduce_scatter_single  # type: ignore[assignment]


def _done(result: Any) -> Any:
    """An exchange that is over."""
    future: torch.futures.Future[Any] = torch.futures.Future()
    future.set_result(result)
    return c10d._create_work_from_future(future)  # type: ignore[attr-defined]


def _made(store: Any, rank: int, world: int, timeout: Any) -> _Echo:
    return _Echo(rank, world)


@contextmanager
def rehearsed(
    mode: Literal["ddp", "fsdp"],
    device: torch.device,
    share_norms: bool = True,
    exchanged: torch.dtype | None = None,
    world: int = 2,
) -> Iterator[Ranks]:
    """The first of some ranks, of which only this one is there; RanksError where this process has joined others.

    Nothing is sent, and what would have come from elsewhere is a copy of what is here: numbers mean nothing.
    """
    if dist.is_initialized():
        raise RanksError("this process trains with others, and cannot measure what that costs")
    if _NAME not in dist.Backend.backend_list:
        dist.Backend.register_backend(_NAME, _made, devices=list(DEVICES))
    dist.init_process_group(_NAME, store=c10d.HashStore(), rank=0, world_size=world)
    try:
        ranks = Ranks(mode, device)
        ranks.share_norms, ranks.exchanged = share_norms, exchanged
        yield ranks
    finally:
        dist.destroy_process_group()
