"""Records that are numbers, a processor of them, and what a loader gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.rows import Column, Rows, Windows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.encode import encode
from trainwright.data.loader import Loader
from trainwright.data.part import Part
from trainwright.data.source import Source


class Count(Source):
    """Records 0, 1, 2, …"""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Record:
        return {"n": index}

    def fingerprint(self) -> str:
        return str(self.n)


class Noisy(Processor):
    """A number; augmented by noise; mixed with the numbers of its companions."""

    def __init__(self, companions: int = 0, windows: Windows | None = None, file: bool = False) -> None:
        self.companions, self.windows, self.file = companions, windows, file
        self.before: Callable[[], Any] = lambda: None

    def fit(self, records: Iterable[Record]) -> None: ...

    def columns(self) -> Mapping[str, Column]:
        if self.file:
            return {"x": Column("bytes", torch.float32)}
        return {"x": Column("dense" if self.windows is None else "window", torch.float32)}

    def encode(self, record: Record) -> Sample:
        if self.file:
            return {"x": str(record["n"]).encode()}
        x = torch.tensor(float(record["n"]))
        return {"x": x if self.windows is None else x.view(1)}

    def unpack(self, column: str, data: bytes) -> Tensor:
        self.before()
        return torch.tensor(float(data))

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        inputs = {"x": rows.dense("x")}
        if draw is not None:
            assert draw.ids is rows.ids
            inputs["noise"] = draw.uniform("noise")[:, 0]
            assert len(rows.companions) == self.companions
            for k, companion in enumerate(rows.companions):
                inputs[f"companion{k}"] = companion.dense("x")
        else:
            assert not rows.companions
        return Batch(inputs, {}, torch.tensor(float(len(rows))), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, JSON]:
        return {}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None: ...


def part_of(n: int, processor: Noisy | None = None, ids: Tensor | None = None) -> Part:
    processor = processor or Noisy()
    store = encode(Count(n), processor, workers=0)
    return Part(store, torch.arange(n) if ids is None else ids, processor.windows, processor)


def loader_of(
    part: Part,
    batch_size: int | Literal["all"] = 7,
    micro: int | Literal["all"] = "all",
    *,
    seed: int = 0,
    shuffle: bool = True,
    rank: int = 0,
    world: int = 1,
) -> Loader:
    return Loader(
        part, part.processor, batch_size=batch_size, micro=micro, seed=seed, shuffle=shuffle, rank=rank, world=world
    )


def ids_of(group: list[Batch]) -> list[int]:
    return [i for batch in group if batch.size for i in batch.ids.tolist()]


def contents(group: list[Batch]) -> list[tuple[Any, ...]]:
    return [
        (b.size, float(b.weight), b.ids.tolist(), {name: x.tolist() for name, x in b.inputs.items()}) for b in group
    ]


def taken(loader: Loader, steps: int) -> list[list[tuple[Any, ...]]]:
    return [contents(next(loader)) for _ in range(steps)]
