"""Records, processors and what is stored of them, for the tests of encoding."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Rows, Windows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.source import Source
from trainwright.data.store import Store


class Listed(Source):
    """Records in a list."""

    def __init__(self, records: list[Any], name: str = "list") -> None:
        self.records, self.name = records, name

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        if isinstance(self.records[index], str) and self.records[index] == "unreadable":
            raise OSError("no such file")
        return {"n": self.records[index]}

    def fingerprint(self) -> str:
        return f"{self.name}{self.records}"

    def where(self, index: int) -> str:
        return f"list.csv, row {index + 1}"


class Numbers(Processor):
    """A number, its square as a target, as many ones as it says, and its digits as bytes."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.asked: list[int] = []

    def fit(self, records: Iterable[Record]) -> None: ...

    def columns(self) -> Mapping[str, Column]:
        return {
            "n": Column("dense", torch.int64),
            "square": Column("dense", torch.float32, (2,), target=True),
            "ones": Column("ragged", torch.uint8),
            "text": Column("bytes", torch.uint8, (1,)),
        }

    def encode(self, record: Record) -> Sample:
        n = record["n"]
        self.asked.append(n)
        if n == "slow":
            time.sleep(0.02)
            n = 0
        if n == "bug":
            raise ZeroDivisionError("oh dear")
        if n == "bad":
            raise DataError("price", "is not a number", "write 1.5")
        sample: dict[str, Tensor | bytes] = {
            "n": torch.tensor(n + self.offset),
            "ones": torch.ones(n % 7, dtype=torch.uint8),
            "text": str(n).encode(),
        }
        return sample if n < 0 else {**sample, "square": torch.tensor([n, n * n]).float()}

    def unpack(self, column: str, data: bytes) -> Tensor:
        return torch.tensor([len(data)], dtype=torch.uint8)

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        raise NotImplementedError

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, JSON]:
        return {}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None: ...


class One(Numbers):
    """One column, whatever the record gives for it."""

    def __init__(self, column: Column, windows: Windows | None = None) -> None:
        super().__init__()
        self.column, self.windows = column, windows

    def columns(self) -> Mapping[str, Column]:
        return {"x": self.column}

    def encode(self, record: Record) -> Sample:
        return {"x": record["n"]}


def everything(store: Store) -> dict[str, Any]:
    rows = store.gather(torch.arange(len(store)))
    ragged = rows.ragged("ones")
    dense = {name: rows.dense(name).tolist() for name in rows.columns if name != "ones"}
    return {**dense, "ones": (ragged.values.tolist(), ragged.lengths.tolist())}
