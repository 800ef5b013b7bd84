"""A task that the tests train: how it is made, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from trainwright.core.task import Record, Task


@dataclass(frozen=True)
class Case:
    """A task that can be trained: a sketch, or a built-in one."""

    name: str
    make: Callable[[], Task[Any]]
    model_for: Callable[[Mapping[str, Any]], nn.Module]
    records: Callable[..., Sequence[Record]]
    batch_statistics: bool = False  # a batch norm sees another batch where it is cut: the law of sums cannot hold

    def __repr__(self) -> str:
        return self.name
