"""Small records of every built-in task, and one way to encode them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.kinds import models
from trainwright.core.schema import options
from trainwright.core.task import Processor, Record, Task
from trainwright.data.arrays import Records
from trainwright.data.encode import encode
from trainwright.data.part import Part


def rows(n: int = 60, *, regression: bool = False, seed: int = 0) -> list[dict[str, Any]]:
    """A table with every kind of column; the target follows from three of them."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        row: dict[str, Any] = {
            "row_id": 1000 + i,
            "size": None if i % 7 == 3 else float(rng.normal(20, 5)),
            "count": int(rng.integers(0, 100)),
            "kind": None if i % 11 == 5 else str(rng.choice(["red", "green", "blue"])),
            "open": bool(rng.integers(2)),
            "since": f"20{rng.integers(10, 24):02d}-0{rng.integers(1, 10)}-11",
            "unit": "cm",
        }
        score = ((row["size"] or 20) - 20) / 5 + row["count"] / 50 - 1 + (row["kind"] == "red")
        out.append({**row, "target": 1e5 + 4e4 * score if regression else ("high" if score > 0.3 else "low")})
    return out


def pictures(n: int = 40, *, channels: int = 3, classes: int = 7, height: int = 12, width: int = 10) -> list[Any]:
    """Noise with a bright bar as long as its class says."""
    rng = np.random.default_rng(1)
    out = []
    for i in range(n):
        image = rng.integers(0, 120, (height, width, channels)).astype(np.uint8)
        image[:3, : i % classes + 2] = 255
        out.append({"image": image[:, :, 0] if channels == 1 else image, "label": i % classes})
    return out


def png(array: np.ndarray[Any, Any], kind: str = "PNG", **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=kind, **options)
    return buffer.getvalue()


def files(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**r, "image": png(r["image"])} for r in records]


def arrays(n: int = 40, *, target: str = "class", seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    y = {
        "class": np.argmax(x[:, :3], 1),
        "yes": (x[:, 0] > 0),
        "number": x @ np.arange(5.0) + 100,
        "numbers": x[:, :2] * [1.0, 50.0] + [0.0, 1000.0],
    }[target]
    return [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]


def without(field: str) -> Callable[[Record], Record]:
    return lambda record: {k: v for k, v in record.items() if k != field}


def network(name: str, **given: Any) -> Callable[[Mapping[str, Any]], nn.Module]:
    """A model by name for whatever sizes a task tells."""

    def build(sizes: Mapping[str, Any]) -> nn.Module:
        known = options(models[name])
        return models[name](**{**{k: v for k, v in sizes.items() if k in known}, **given})

    return build


def part_of(records: Sequence[Record], processor: Processor) -> Part:
    store = encode(Records(records), processor, workers=0, where="memory")
    return Part(store, torch.arange(len(store)), processor.windows, processor)


def whole(records: Sequence[Record], task: Task[Any], *, fit: bool = True, draw: bool = False) -> Batch:
    """All records as one batch."""
    if fit:
        task.processor.fit(records)
    gathered = part_of(records, task.processor).rows(0, len(records))
    return task.processor.batch(gathered, Draw(0, 0, gathered.ids) if draw else None)


def reviews(n: int = 40, *, several: bool = False) -> list[dict[str, Any]]:
    """Short texts whose words say the class; of different lengths."""
    rng = np.random.default_rng(3)
    good, bad, plain = (
        ["fine", "warm", "funny"],
        ["dull", "cold", "long"],
        ["a", "film", "of", "the", "year", ",", "and"],
    )
    out = []
    for i in range(n):
        kind = i % 3
        words = list(rng.choice(plain, 2 + i % 9))
        words += list(rng.choice([good, bad, good + bad][kind], 2))
        label: Any = [["good"], ["bad"], ["good", "bad"], []][i % 4] if several else ["pos", "neg", "mixed"][kind]
        out.append({"text": " ".join(rng.permutation(words)), "label": label})
    return out
