"""Data of every kind for the recipes that are written for it, and what was written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import trainwright as tw
from trainwright.tools.new import Proposal

Rows = list[dict[str, Any]]
SHORT = {"budget": "3 steps", "eval_every": "3 steps", "save_every": "3 steps", "workers": 0}


def houses(n: int = 60, seed: int = 0) -> Rows:
    """Rooms, town and an id tell the price."""
    draw = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        rooms, town = int(draw.integers(1, 9)), "abc"[int(draw.integers(3))]
        rows.append({"id": 1000 + i, "rooms": rooms, "town": town, "price": round(50.5 * rooms + draw.normal(), 2)})
    return rows


def flats(n: int = 60) -> Rows:
    """Whether a flat is sold."""
    return [{**row, "sold": "yes" if row["price"] < 200 else "no"} for row in houses(n)]


def csv(path: Path, rows: Rows, separator: str = ",", header: bool = True, decimal: str = ".") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(rows[0])] if header else []
    lines += [separator.join("" if v is None else str(v).replace(".", decimal) for v in row.values()) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def pictures(root: Path, classes: str = "ab", n: int = 6, size: int = 12) -> Path:
    """Light pictures and dark ones."""
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = np.random.default_rng(100 * k + i).integers(100 * k, 100 * k + 80, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def said(made: Proposal, label: str) -> str:
    return " | ".join(text for name, text in made.facts if name == label)


def recipe(made: Proposal) -> dict[str, Any]:
    return tomllib.loads(made.recipe.read_text(encoding="utf-8"))


def trained(made: Proposal) -> tw.Run:
    run = tw.train(made.recipe, SHORT, out=Path("run"), quiet=True)
    assert run.state == "finished"
    return run
