"""One mini-batch, the only thing that travels from the loader to the model; and the randomness of its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from torch import Tensor

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors that belong together, and how much they weigh.

    The loss of a batch is a *sum* over ``weight`` target elements (samples, tokens, frames, boxes); dividing by the
    total weight is the engine's job alone. That one rule makes micro-batches, ranks, padding and short last batches
    agree with one big batch.
    """

    inputs: Mapping[str, Tensor]  # arguments of the model's forward; dim 0 is the sample; lengths and masks travel here
    targets: Mapping[str, Tensor]  # what Task.loss compares with; empty when predicting
    weight: Tensor  # 0-d, float, on the device; may be 0
    ids: Tensor  # (N,) int64 record ids
    size: int  # samples; 0 marks a filler, which runs so that all ranks run equally often and counts nothing

    def to(self, device: torch.device) -> Batch:
        """Copy to ``device``, overlapping with compute where the memory is pinned."""

        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {k: v.to(device, non_blocking=True) for k, v in tensors.items()}

        return replace(
            self,
            inputs=move(self.inputs),
            targets=move(self.targets),
            weight=self.weight.to(device, non_blocking=True),
            ids=self.ids.to(device, non_blocking=True),
        )

    def cast(self, dtype: torch.dtype) -> Batch:
        """Floating inputs and targets in ``dtype``; the weight keeps its own."""

        def turn(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}

        return replace(self, inputs=turn(self.inputs), targets=turn(self.targets))

    def filler(self) -> Batch:
        """The same tensors, counting nothing."""
        return replace(self, weight=torch.zeros_like(self.weight), size=0)

    @property
    def device(self) -> torch.device:
        """Where the batch is."""
        return self.ids.device


class Draw:
    """The randomness of a batch as a pure function of (seed, epoch, sample id).

    The same sample gets the same numbers on any device, rank, micro-batch and worker count, before and after a resume:
    counters are hashed (SplitMix64's finalizer over 64-bit words), no generator is advanced.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"; Salmon et al. 2011, "Parallel
    random numbers: as easy as 1, 2, 3" for the idea of counters.

    Args:
        seed: of the run.
        epoch: from 0; each draws other numbers.
        ids: (N,) int64 ids of the samples.
    """

    def __init__(self, seed: int, epoch: int, ids: Tensor) -> None:
        self.seed, self.epoch, self.ids = seed, epoch, ids

    def uniform(self, name: str, k: int = 1) -> Tensor:
        """(N, k) float32 in [0, 1), exact on every device (24 random bits)."""
        return _shift(self._words(name, k), 40).to(torch.float32) * 2.0**-24

    def normal(self, name: str, k: int = 1) -> Tensor:
        """(N, k) float32, standard normal (Box-Muller; devices may differ in the last bit of log and cos)."""
        u, v = self.uniform(f"{name}/radius", k), self.uniform(f"{name}/angle", k)
        return torch.sqrt(-2 * torch.log1p(-u)) * torch.cos(2 * torch.pi * v)

    def integers(self, name: str, high: int, k: int = 1) -> Tensor:
        """(N, k) int64 in [0, high), for 0 < high < 2**31."""
        assert 0 < high < 2**31
        return _shift(_shift(self._words(name, k), 32) * high, 32)

    def choice(self, name: str, n: int, k: int) -> Tensor:
        """(N, k) int64: k different numbers out of range(n) for each sample, in random order."""
        assert 0 < k <= n
        return self._words(name, n).argsort(dim=1, stable=True)[:, :k]

    def _words(self, name: str, k: int) -> Tensor:
        """(N, k) int64 holding 64 random bits each."""
        key = seed_of(self.seed, self.epoch, name)
        column = torch.arange(1, k + 1, dtype=torch.int64, device=self.ids.device)
        start = _mixed((self.ids.to(torch.int64) * _signed(_GOLDEN)) ^ _signed(key))
        return _mixed(start.unsqueeze(1) + column * _signed(_GOLDEN))


def seed_of(*parts: int | str) -> int:
    """A 64-bit seed that depends on every part, the same in every process and version of Python."""
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _signed(word: int) -> int:
    word &= _WORD
    return word - (1 << 64) if word >> 63 else word


def _shift(x: Tensor, n: int) -> Tensor:
    """Logical right shift; torch's is arithmetic."""
    return (x >> n) & ((1 << (64 - n)) - 1)


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _signed(_FIRST)
    x = (x ^ _shift(x, 27)) * _signed(_SECOND)
    return x ^ _shift(x, 31)
