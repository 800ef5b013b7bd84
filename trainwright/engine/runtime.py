"""Where the code runs: the device, the precision, and the ranks. Every verb is a no-op where it has nothing to do."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.config import RunConfig
from trainwright.core.errors import UserError
from trainwright.engine.ranks import Single, join, launched
from trainwright.engine.recompute import recompute
from trainwright.engine.scalars import Scalars
from trainwright.engine.wide_attention import widen

Precision = Literal["float32", "bfloat16", "float16", "float64"]
_AUTO = ("cuda", "xpu", "mps", "xla")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Device, precision and ranks."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))  # of weights and batches
    precision: Precision = "float32"  # of the forward and backward pass
    ranks: Single = field(default_factory=Single)  # the processes that train together
    at_hand: bool = field(init=False, repr=False, compare=False)  # numbers are read without waiting: one process, CPU
    _scalars: Scalars = field(init=False, repr=False, compare=False, default_factory=Scalars)

    def __post_init__(self) -> None:
        alone = self.ranks.world == 1 and self.ranks.mode == "single"
        object.__setattr__(self, "at_hand", self.device.type == "cpu" and alone)

    @classmethod
    def start(
        cls,
        device: str = "auto",
        precision: Precision | Literal["auto"] = "float32",
        parallel: Literal["ddp", "fsdp"] = "ddp",
        sync_batch_norm: bool = True,
    ) -> Runtime:
        """The runtime of this process; joins the others where torchrun or its like started it.

        Args:
            device: auto (the first accelerator there is, else the CPU), or a named one, which must be there.
            precision: of the forward and backward pass; auto is float32.
            parallel: with several ranks, copies of the model (ddp) or shards of it (fsdp).
            sync_batch_norm: batch norms see the samples of all ranks.
        """
        place = launched()
        chosen = find_device(device)
        precision = "float32" if precision == "auto" else precision
        if place is None or (place[1] == 1 and parallel == "ddp"):
            return cls(chosen, precision, Single())
        if chosen.type in ("cuda", "xpu") and chosen.index is None:
            if place[2] >= torch.accelerator.device_count():
                there = torch.accelerator.device_count()
                what = f"process {place[2] + 1} of this machine has no device of its own: it has {there}"
                raise UserError("ranks", what, f"start {there} processes here, or write device = 'cpu'")
            chosen = torch.device(chosen.type, place[2])
            torch.accelerator.set_device_index(place[2])
        halved = torch.bfloat16 if precision == "bfloat16" else None
        return cls(chosen, precision, join(parallel, chosen, sync_batch_norm, halved))

    @classmethod
    def of(cls, config: RunConfig) -> Runtime:
        """The runtime that a recipe asks for."""
        return cls.start(config.device, config.precision, config.parallel, config.sync_batch_norm)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def wide(self) -> torch.dtype:
        """Of sums that must stay exact; some accelerators have no float64."""
        return torch.float32 if self.device.type in ("mps", "xla") else torch.float64

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes and speaks."""
        return self.ranks.rank == 0

    def place(self, model: nn.Module, *, again: bool = False) -> nn.Module:
        """The model on the device, in the weights' precision, wrapped for the ranks.

        Args:
            model: as its author wrote it.
            again: its blocks compute again what they would keep for the gradient; see `engine.recompute`.
        """
        if again:
            recompute(model)
        return self.ranks.wrap(model.to(self.device, self.dtype))

    def take(self, batch: Batch) -> Batch:
        """A batch on the device, in the weights' precision where that is not the usual one."""
        if batch.device != self.device:
            batch = batch.to(self.device)
        return batch.cast(self.dtype) if self.precision == "float64" else batch

    def autocast(self) -> AbstractContextManager[None]:
        """The forward pass in half precision, where asked for; on a CPU attention keeps 32 bits."""
        if self.precision in ("bfloat16", "float16"):
            if self.device.type == "cpu":
                widen()
            return torch.autocast(self.device.type, getattr(torch, self.precision))
        return nullcontext()

    def flush(self) -> None:
        """Run what a lazy device has gathered; a no-op elsewhere."""
        if self.device.type == "xla":
            import torch_xla

            torch_xla.sync()

    def scalar(self, x: float | Tensor) -> Tensor:
        """A number on the device, in the wide precision; a tensor is there already."""
        if isinstance(x, Tensor):
            return x
        if self.at_hand:
            return self._scalars(x)
        return torch.scalar_tensor(x, dtype=self.wide, device=self.device)


def find_device(name: str) -> torch.device:
    """``auto`` is the first accelerator there is, else the CPU; a named one must be there."""
    if name == "auto":
        return torch.device(next((k for k in _AUTO if _there(k)), "cpu"))
    try:
        device = _xla_device() if name == "xla" and _there("xla") else torch.device(name)
    except RuntimeError:
        raise UserError(
            "device", f"'{name}' is not a device", "write auto, cpu, cuda, cuda:1, mps, xpu or xla"
        ) from None
    if device.type != "cpu" and not _there(device.type):
        there = ", ".join(["cpu", *(k for k in _AUTO if _there(k))])
        raise UserError("device", f"'{name}' is not on this machine", f"write auto, or one of: {there}")
    if device.index is not None and device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise UserError(
            "device", f"'{name}' is not on this machine", f"it has {torch.cuda.device_count()} CUDA devices"
        )
    return device


def _there(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "mps":
        return torch.backends.mps.is_available()
    if kind == "xpu":
        return torch.xpu.is_available()
    if kind == "xla":
        from importlib.util import find_spec

        return find_spec("torch_xla") is not None
    return False


def _xla_device() -> torch.device:
    import torch_xla

    return torch_xla.device()  # type: ignore[no-any-return]
