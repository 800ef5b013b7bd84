"""The verbs of several processes; every one of them a no-op where there is one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from trainwright.core.blocks import blocks_of
from trainwright.core.errors import RanksError
from trainwright.engine.ranks.meeting import silence_heard
from trainwright.engine.ranks.share import Share, cut, joined
from trainwright.engine.ranks.shared_norm import share_norms

_GONE = ("gloo", "connection closed by peer", "connection reset by peer", "nccl")  # of what torch says then


class Single:
    """One process: rank 0 of 1."""

    rank = 0
    world = 1
    mode: Literal["single", "ddp", "fsdp"] = "single"
    entangled = False  # ranks wait for each other within a forward pass

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as the training step calls it."""
        return model

    def bare(self, model: nn.Module) -> nn.Module:
        """The model as its author wrote it."""
        return model

    def whole(self, model: nn.Module) -> AbstractContextManager[nn.Module]:
        """The bare model with all its weights on this rank, for evaluation and inference: no rank waits for another."""
        return nullcontext(model)

    def sync(self, model: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Exchange gradients only in the last micro-batch of a step."""
        return nullcontext()

    def counting(self, counts: bool) -> AbstractContextManager[None]:
        """Around the passes of a micro-batch: batch norms see that of all ranks, in which a filler counts nothing."""
        return nullcontext()

    def abandon(self, model: nn.Module) -> None:
        """After a forward pass whose gradients were to be exchanged and never will be; every rank must call it."""

    def total(self, x: Tensor) -> Tensor:
        """Sum over ranks, in place, without waiting for the host."""
        return x

    def agree(self, asked: bool) -> bool:
        """Whether any rank asked."""
        return asked

    def gather(self, rows: Tensor) -> list[Tensor]:
        """The (N, K) CPU tensor of every rank; N and K may differ."""
        return [rows]

    def gather_json(self, value: Any) -> list[Any]:
        """A JSON value of every rank."""
        return [value]

    def full(self, x: Tensor) -> Tensor:
        """A tensor that may be sharded, whole; every rank must call it."""
        return x

    def kept(self, x: Tensor) -> Tensor | Share:
        """The same, to be kept: what was sharded is then in the host's memory, as the device may be too small.

        Within `apart` that is this rank's share alone, and no rank waits for another.
        """
        return x

    @property
    def sharing(self) -> bool:
        """Whether tensors of the state are held together, so that each rank keeps and reads its own rows."""
        return False

    def apart(self) -> AbstractContextManager[None]:
        """In the block, what is kept of a sharded tensor is this rank's share."""
        return nullcontext()

    def read(self, pieces: Sequence[Tensor]) -> Tensor | Share:
        """What this rank needs of a tensor whose rows lie in pieces."""
        return joined(pieces)

    def like(self, x: Tensor | Share, model: Tensor) -> Tensor:
        """A whole tensor, or this rank's share of one, laid out as ``model`` is."""
        assert isinstance(x, Tensor)
        return x

    def barrier(self) -> None:
        """Wait for all ranks."""

    def left_alone(self, error: Exception) -> bool:
        """Whether an error says that another rank is gone."""
        return False

    @contextmanager
    def first_then_others(self) -> Iterator[None]:
        """The first rank runs the block, then all others."""
        if self.rank > 0:
            self.barrier()
        try:
            yield
        finally:
            if self.rank == 0:
                self.barrier()

    def close(self) -> None:
        """Leave the group."""


class Ranks(Single):
    """Processes joined by torch.distributed: DDP (copies of the model) or FSDP2 (shards of it)."""

    def __init__(self, mode: Literal["ddp", "fsdp"], device: torch.device) -> None:
        import torch.distributed as dist

        self.mode, self.device = mode, device
        self.counts: float | None = None  # while batch norms are shared: whether this rank's samples count
        self.share_norms = True
        self.exchanged: torch.dtype | None = None  # by shards, in the passes; None: the weights' own
        self._apart = False
        self.entangled = mode == "fsdp"
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    @override
    def wrap(self, model: nn.Module) -> nn.Module:
        """DDP around the model, or FSDP2 into it.

        Under FSDP2 each block (`core.blocks`) is a unit, and all the rest one more: a unit's weights are gathered by
        all ranks at once, so it must be called equally often on all of them. That holds for stacks of blocks, not for a
        decoder's cell, which runs once per token.
        """
        if self.share_norms and share_norms(model, self):
            self.entangled = True
        if self.mode == "ddp":
            from torch.nn.parallel import DistributedDataParallel

            return DistributedDataParallel(model) if any(p.requires_grad for p in model.parameters()) else model
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        mesh = init_device_mesh(self.device.type, (self.world,))
        policy = MixedPrecisionPolicy(self.exchanged, torch.float32 if self.exchanged else None, None, False)
        self._alike(model)
        for weight in model.parameters():
            weight.data = weight.data.contiguous()  # FSDP2 takes no other layout, such as channels last
        for block in blocks_of(model):
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
        return model

    def _alike(self, model: nn.Module) -> None:
        """Every rank begins with the first one's weights; DDP sees to that itself."""
        import torch.distributed as dist

        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), 0)

    @override
    def bare(self, model: nn.Module) -> nn.Module:
        from torch.nn.parallel import DistributedDataParallel

        return model.module if isinstance(model, DistributedDataParallel) else model

    @contextmanager
    def _gathered(self, model: nn.Module) -> Iterator[nn.Module]:
        from torch.distributed.fsdp import FSDPModule

        units = [m for m in model.modules() if isinstance(m, FSDPModule)]
        for unit in units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield model
        finally:
            for unit in units:
                unit.set_reshard_after_forward(True, recurse=False)
                unit.reshard()

    @override
    def whole(self, model: nn.Module) -> AbstractContextManager[nn.Module]:
        return self._gathered(model) if self.mode == "fsdp" else nullcontext(self.bare(model))

    @override
    def sync(self, model: nn.Module, last: bool) -> AbstractContextManager[None]:
        from torch.distributed.fsdp import FSDPModule
        from torch.nn.parallel import DistributedDataParallel

        if isinstance(model, DistributedDataParallel) and not last:
            return model.no_sync()
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(last)
        return nullcontext()

    @contextmanager
    def _counting(self, counts: bool) -> Iterator[None]:
        self.counts = float(counts)
        try:
            yield
        finally:
            self.counts = None

    @override
    def counting(self, counts: bool) -> AbstractContextManager[None]:
        return self._counting(counts) if self.share_norms else nullcontext()

    @override
    def abandon(self, model: nn.Module) -> None:
        from torch.nn.parallel import DistributedDataParallel

        if isinstance(model, DistributedDataParallel):  # it waits for these gradients, and would mix up the next ones
            model.reducer.prepare_for_backward([])  # on ranks whose forward pass failed it does not wait yet
            torch.stack([p.sum() * 0 for p in model.parameters() if p.requires_grad]).sum().backward()
            model.zero_grad(set_to_none=True)

    @override
    def total(self, x: Tensor) -> Tensor:
        import torch.distributed as dist

        dist.all_reduce(x)
        return x

    @override
    def agree(self, asked: bool) -> bool:
        flag = torch.tensor(float(asked), device=self.device)
        return bool(self.total(flag) > 0)  # the wait

    @override
    def gather(self, rows: Tensor) -> list[Tensor]:
        import torch.distributed as dist

        rows = rows.contiguous()
        shape = torch.tensor(rows.shape, dtype=torch.int64, device=self.device)
        shapes = [torch.empty_like(shape) for _ in range(self.world)]
        dist.all_gather(shapes, shape)
        sizes = [[int(n) for n in s] for s in shapes]  # the wait
        longest = max(torch.Size(s).numel() for s in sizes)
        flat = torch.zeros(longest, dtype=rows.dtype, device=self.device)
        flat[: rows.numel()] = rows.flatten().to(self.device)
        parts = [torch.empty_like(flat) for _ in range(self.world)]
        dist.all_gather(parts, flat)
        return [p[: torch.Size(s).numel()].view(s).cpu() for p, s in zip(parts, sizes, strict=True)]

    @override
    def gather_json(self, value: Any) -> list[Any]:
        data = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
        return [json.loads(bytes(part.tolist()).decode()) for part in self.gather(data)]

    @override
    def full(self, x: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        return x.full_tensor() if isinstance(x, DTensor) else x

    @override
    def kept(self, x: Tensor) -> Tensor | Share:
        from torch.distributed.tensor import DTensor

        if self._apart and isinstance(x, DTensor):
            return Share(x.to_local(), tuple(x.shape))
        whole = self.full(x)
        return whole if whole is x else whole.cpu()

    @property
    @override
    def sharing(self) -> bool:
        return self.mode == "fsdp" and self.world > 1

    @contextmanager
    def _keeping_apart(self) -> Iterator[None]:
        self._apart = self.sharing
        try:
            yield
        finally:
            self._apart = False

    @override
    def apart(self) -> AbstractContextManager[None]:
        return self._keeping_apart()

    @override
    def read(self, pieces: Sequence[Tensor]) -> Tensor | Share:
        return cut(pieces, self.rank, self.world) if self.sharing else joined(pieces)

    @override
    def like(self, x: Tensor | Share, model: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor, distribute_tensor

        if isinstance(x, Share):
            if not isinstance(model, DTensor) or x.shape != tuple(model.shape):
                raise ValueError(f"it has the shape {x.shape}, here that is {tuple(model.shape)}")
            return DTensor.from_local(
                x.rows.to(model.device),
                model.device_mesh,
                model.placements,
                run_check=False,
                shape=model.shape,
                stride=model.stride(),
            )
        if not isinstance(model, DTensor) or x.shape != model.shape:
            return x
        return distribute_tensor(x.to(model.device), model.device_mesh, model.placements)

    @override
    def barrier(self) -> None:
        self.agree(False)

    @override
    def left_alone(self, error: Exception) -> bool:
        import torch.distributed as dist

        return isinstance(error, dist.DistError) or (
            isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _GONE)
        )

    @override
    def close(self) -> None:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def join(
    mode: Literal["ddp", "fsdp"],
    device: torch.device,
    share_norms: bool = True,
    exchanged: torch.dtype | None = None,
) -> Ranks:
    """Join the processes that torchrun (or its like) started.

    Args:
        mode: copies of the model, or shards of it.
        device: this rank's own.
        share_norms: batch norms see the samples of all ranks.
        exchanged: what shards of weights are gathered in; gradients are summed in float32, weights stay as they are.
    """
    import torch.distributed as dist

    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "xccl" if device.type == "xpu" else "gloo"
        try:
            with silence_heard():
                dist.init_process_group(backend)
        except (RuntimeError, ValueError) as error:
            what = " ".join(str(error).split())[:300]
            raise RanksError(f"the processes of this training did not find each other ({what})") from error
    ranks = Ranks(mode, device)
    ranks.share_norms, ranks.exchanged = share_norms, exchanged
    return ranks
