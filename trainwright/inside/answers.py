"""Answers questions about runs and their steps, and remembers the last ones."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trainwright.core.errors import UserError
from trainwright.inside.attention import attention
from trainwright.inside.attention import told as told_attention
from trainwright.inside.kept import Kept
from trainwright.inside.opened import OWN, Opened
from trainwright.inside.planes import maps
from trainwright.inside.told import cell_at, cell_of, form_of, graph_of, numbers_of, tiled
from trainwright.runs.begin import served
from trainwright.runs.directory import MANIFEST, read_manifest
from trainwright.runs.inspect.graph import Node
from trainwright.runs.inspect.samples import caption, decisions, plane_of, sample, typed
from trainwright.runs.inspect.taken import Taken, take
from trainwright.runs.predict import Predictor
from trainwright.tasks.generation import Generation

RUNS, STEPS = 2, 6  # that are remembered
_WHAT = ("value", "gradient", "change")
T = TypeVar("T")
Answer = tuple[dict[str, Any], bytes]  # plain data, and numbers behind it


@dataclass(slots=True)
class _Seen:
    taken: Taken
    told: dict[str, Any]


class Answers:
    """Of one process. Not safe for several threads."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[Path, int], Opened | Kept] = OrderedDict()
        self._predictors: OrderedDict[Path, Predictor] = OrderedDict()
        self._seen: OrderedDict[tuple[Path, int, str, int, str], _Seen] = OrderedDict()

    def answer(self, asked: Mapping[str, Any]) -> Answer:
        """What a question with its ``ask``, ``run`` and options comes to.

        Raises UserError for what is not there, and what other errors a run's own files cause.
        """
        run = self._run(Path(asked["run"]))
        if isinstance(run, Kept):
            return self._of_captures(run, asked)
        if asked["ask"] == "outline":
            return self._outline(run), b""
        if asked["ask"] in ("offered", "tried", "judged", "looks"):
            return self._answered(run, asked), b""
        step, part, index = self._place(run, asked)
        if asked["ask"] == "attention":
            predictor = self._predictor(run)
            return told_attention(
                *attention(predictor.task, predictor.model, sample(predictor.task, run.parts[part], index))
            )
        if asked["ask"] == "decisions":
            return {"decisions": self._decisions(run, step, part)}, b""
        text = asked.get("text")
        seen = self._step(run, step, part, index, str(text) if text else "")
        if asked["ask"] == "units":
            plane = None if run.large else plane_of(run.task, run.parts["train"])
            return self._units(seen.taken, asked, plane.low, plane.high) if plane else ({"units": None}, b"")
        return self._shown(seen, {"step": step, "part": part, "sample": index}, asked)

    def _of_captures(self, run: Kept, asked: Mapping[str, Any]) -> Answer:
        """The same of what was captured while a module trained that cannot be built here."""
        if asked["ask"] == "outline":
            return run.outline(), b""
        if asked["ask"] in ("offered", "tried", "judged", "looks", "attention"):
            raise UserError("inside", OWN.format(run.manifest["model"].get("class", "")))
        step, part, index = run.near(asked)
        if asked["ask"] == "decisions":
            return {"decisions": run.decisions(step)}, b""

        def make() -> _Seen:
            found = run.read(step, index)
            return _Seen(found.taken, {**graph_of(found.taken), **found.told, "rate": run.rate(step)})

        seen = _kept(self._seen, (run.folder, step, part, index, run.stored(step).version), STEPS, make)
        if asked["ask"] == "units":
            plane = run.decisions(step)
            return self._units(seen.taken, asked, plane["low"], plane["high"]) if plane else ({"units": None}, b"")
        return self._shown(seen, {"step": step, "part": part, "sample": index}, asked)

    def _shown(self, seen: _Seen, place: Mapping[str, Any], asked: Mapping[str, Any]) -> Answer:
        """The step's tensors, their numbers, or one cell."""
        if asked["ask"] == "graph":
            return {**place, **seen.told}, b""
        what: Any = asked.get("what") if asked.get("what") in _WHAT else "value"
        if asked["ask"] == "numbers":
            found = list(numbers_of(seen.taken, what))
            head = [{"id": n, "cells": int(cells.size), "scale": scale} for n, cells, scale in found]
            return {"tensors": head}, b"".join(cells.tobytes() for _, cells, _ in found)
        return self._cell(seen.taken, asked, what), b""

    def _run(self, folder: Path) -> Opened | Kept:
        """A run; opened again where an attempt began since."""
        written = (folder / MANIFEST).stat().st_mtime_ns if (folder / MANIFEST).is_file() else 0
        return _kept(self._runs, (folder, written), RUNS, lambda: opened(folder))

    def _predictor(self, run: Opened) -> Predictor:
        """With the weights that the run serves now."""
        return _kept(self._predictors, served(run.folder), 1, lambda: Predictor.of(run.folder))

    def _answered(self, run: Opened, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What the served weights say of what a person gives, or of a part; nothing else waits for these imports."""
        from trainwright.inside.judged import judged, looks
        from trainwright.inside.tried import offered, tried

        if asked["ask"] == "offered":
            return offered(run)
        if asked["ask"] == "tried":
            return tried(run, self._predictor(run), asked)
        names = [n for n in ("test", "valid", "train") if n in run.parts]
        part = str(asked.get("part")) if asked.get("part") in run.parts else names[0]
        if asked["ask"] == "judged":
            return {"parts": names, **judged(run, self._predictor(run), part)}
        wanted = [int(i) for i in str(asked.get("at", "")).split(",") if i.isdecimal() and len(i) < 16]
        return {"part": part, "looks": looks(run, self._predictor(run), part, wanted)}

    def _outline(self, run: Opened) -> dict[str, Any]:
        parts = {name: len(part) for name, part in run.parts.items()}
        writes = isinstance(run.task, Generation)
        return {"steps": run.steps(), "parts": parts, "large": run.large, "writes": writes, "notes": _notes(run)}

    def _place(self, run: Opened, asked: Mapping[str, Any]) -> tuple[int, str, int]:
        """The checkpoint, part and sample that are meant; the nearest there are."""
        steps = run.steps()
        if not steps:
            raise UserError("inside", "this run has no checkpoint yet", "wait for its first one")
        wanted = asked.get("step")
        step = steps[-1] if wanted is None else min(steps, key=lambda s: abs(s - int(wanted)))
        names = [n for n in ("test", "valid", "train") if n in run.parts]
        part = asked.get("part") if asked.get("part") in run.parts else names[0]
        index = int(asked.get("sample") or 0)
        return step, str(part), min(max(index, 0), len(run.parts[str(part)]) - 1)

    def _step(self, run: Opened, step: int, part: str, index: int, text: str) -> _Seen:
        key = (run.folder, step, part, index, text)

        def make() -> _Seen:
            stand = run.at(step)
            config = run.recipe.config
            batch = typed(run.task, text) if text else sample(run.task, run.parts[part], index)
            told: dict[str, Any] = {}
            taken = take(
                run.task, batch, stand,
                clip=None if config.clip == "none" else config.clip,
                clip_value=None if config.clip_value == "none" else config.clip_value, l1=config.l1, l2=config.l2,
                answered=lambda model, batch: told.update(caption(run.task, model, batch)),
            )  # fmt: skip
            return _Seen(taken, {**graph_of(taken), **told, "rate": stand.multiplier})

        return _kept(self._seen, key, STEPS if not run.large else 1, make)

    def _decisions(self, run: Opened, step: int, part: str) -> dict[str, Any] | None:
        return None if run.large else decisions(run.task, run.at(step).state.model.eval(), run.parts["train"])

    def _units(self, taken: Taken, asked: Mapping[str, Any], low: Sequence[float], high: Sequence[float]) -> Answer:
        head, cells = maps(taken, _node(taken, asked).number, low, high)
        return {"units": head}, cells

    def _cell(self, taken: Taken, asked: Mapping[str, Any], what: Any) -> dict[str, Any]:
        node = _node(taken, asked)
        number = node.number
        if asked.get("cell") is not None:
            flat = int(asked["cell"])
            if not 0 <= flat < node.value.numel():
                raise UserError("cell", f"{flat} is not in this tensor")
            return cell_of(taken, number, flat, what)
        place = (int(asked.get("slab") or 0), int(asked.get("row") or 0), int(asked.get("column") or 0))
        tile = tiled(node, taken.light) or [1, 1]
        slabs, rows, columns = form_of(node)
        limits = (slabs, math.ceil(rows / tile[0]), math.ceil(columns / tile[1]))
        if not all(0 <= p < n for p, n in zip(place, limits, strict=True)):
            raise UserError("place", f"{list(place)} is not in this tensor")
        return cell_of(taken, number, cell_at(taken, number, place, what), what)


def _node(taken: Taken, asked: Mapping[str, Any]) -> Node:
    """The tensor that is meant; UserError where there is none."""
    number = int(asked["node"])
    if number not in {n.number for n in taken.shown}:
        raise UserError("node", f"{number} is no tensor of this step")
    return taken.graph.nodes[number]


def opened(folder: Path) -> Opened | Kept:
    """A run of a recipe, or what was captured of somebody's own module."""
    return Kept(folder) if read_manifest(folder)["kind"] == "own" else Opened(folder)


def _notes(run: Opened) -> list[str]:
    """What a person should know of how the step is taken."""
    config, out = run.recipe.config, []
    if config.step["name"] != "standard":
        out.append(f"the run's own step is '{config.step['name']}'; what is taken here is the usual one")
    if config.ema != "none":
        out.append("the weights are those that learn, not their running average")
    if config.precision != "float32":
        out.append(f"the run computes in {config.precision}; here everything is float32")
    if run.large:
        out.append("a network of this size is told by summaries, each tile by its strongest number, and is not updated")
    return out


def _kept(store: OrderedDict[Any, T], key: Any, most: int, make: Callable[[], T]) -> T:
    """What was made before; the one that nobody asked for longest is forgotten."""
    if key in store:
        store.move_to_end(key)
        return store[key]
    while len(store) >= most:
        store.popitem(last=False)
    store[key] = make()
    return store[key]
