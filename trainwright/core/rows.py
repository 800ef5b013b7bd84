"""What the store keeps and the loader gathers: columns of encoded samples, before they become a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Column:
    """How one named part of a sample is kept.

    - ``dense``: every sample has the same shape; gathered as (N, *shape).
    - ``ragged``: dim 0 differs; gathered as `Ragged`.
    - ``window``: all records form one long stream; a sample is ``lead`` rows of context and up to ``length`` target
      rows, gathered as (N, lead + length, *shape), short ones filled with ``padding`` (see `Rows.lengths`).
    - ``bytes``: an encoded file; gathered through ``Processor.unpack`` as a dense tensor.
    """

    kind: Literal["dense", "ragged", "window", "bytes"]
    dtype: torch.dtype
    shape: tuple[int, ...] = ()  # of one sample; for ragged and window, of one row
    padding: float = 0  # fills short windows
    target: bool = False  # known only in training: absent when records are served


@dataclass(frozen=True, slots=True)
class Windows:
    """How a stream is cut into samples: ``lead`` rows of context, then ``length`` rows of targets.

    ``stride`` rows lie between the first targets of neighbours. With ``partial`` the last, shorter window of a range
    counts as well; without it only whole windows do. With ``shift`` the training windows start at another row each
    epoch, so that borders differ.
    """

    lead: int
    length: int
    stride: int
    partial: bool = False
    shift: bool = False


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sequences of different lengths, end to end."""

    values: Tensor  # (sum of lengths, *shape)
    lengths: Tensor  # (N,) int64, on the same device

    def padded(self, value: float = 0, width: int | None = None) -> Tensor:
        """(N, width, *shape), filled with ``value``; ``width`` is the longest length unless given."""
        n = int(self.lengths.shape[0])
        width = int(self.lengths.max()) if width is None and n else (width or 0)
        out = self.values.new_full((n, width, *self.values.shape[1:]), value)
        if n and width:
            out[torch.arange(width, device=out.device) < self.lengths.unsqueeze(1)] = self.values
        return out

    def to(self, device: torch.device) -> Ragged:
        """Copy to ``device``."""
        return Ragged(self.values.to(device, non_blocking=True), self.lengths.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True)
class Rows:
    """N gathered samples, column by column."""

    columns: Mapping[str, Tensor | Ragged]  # dense and window: (N, …)
    ids: Tensor  # (N,) int64
    lengths: Mapping[str, Tensor] = field(default_factory=dict)  # window columns: (N,) rows that are really there
    companions: tuple[Rows, ...] = ()  # Processor.companions further samples beside each, N each

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    def dense(self, name: str) -> Tensor:
        """A dense or window column, (N, …)."""
        column = self.columns[name]
        assert isinstance(column, Tensor), f"column '{name}' is ragged"
        return column

    def ragged(self, name: str) -> Ragged:
        """A ragged column."""
        column = self.columns[name]
        assert isinstance(column, Ragged), f"column '{name}' is not ragged"
        return column

    def to(self, device: torch.device) -> Rows:
        """Copy everything, companions too, to ``device``."""
        return Rows(
            {
                k: v.to(device) if isinstance(v, Ragged) else v.to(device, non_blocking=True)
                for k, v in self.columns.items()
            },
            self.ids.to(device, non_blocking=True),
            {k: v.to(device, non_blocking=True) for k, v in self.lengths.items()},
            tuple(c.to(device) for c in self.companions),
        )


class Encoded(Protocol):
    """One part of the encoded data, in a fixed order, without augmentation: what baselines are fitted on."""

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> Rows:
        """Samples ``start`` to ``stop`` on the CPU."""
        ...

    def chosen(self, numbers: Tensor) -> Rows:
        """Samples of these numbers (N,) int64, in this order, on the CPU."""
        ...
