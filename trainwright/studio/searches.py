"""Searches and cross-validations: folders that hold the runs of one question, read as their commands wrote them."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from trainwright.runs.directory import AGAIN, FOLDS, MANIFEST, STUDY
from trainwright.runs.lock import locked
from trainwright.studio.files import Place, UnreadableError, trials_of

RESULT, TABLE = "result.json", "trials.csv"
_MOST = 500  # folders
_ROWS = 5000  # trials that are told: the first ones


def searches(root: Path) -> list[dict[str, Any]]:
    """Searches and cross-validations of a folder, in short."""
    return [{"key": place.key, "name": place.name, "kind": kind} for place, kind in islice(_found(root), _MOST)]


def search(root: Path, key: str) -> dict[str, Any] | None:
    """All that the folder of a search or of a cross-validation tells; None where none has this key."""
    for place, kind in _found(root):
        if place.key == key:
            return {
                "key": key,
                "name": place.name,
                "kind": kind,
                **(_study(place) if kind == "search" else _folds(place)),
            }
    return None


def _found(root: Path) -> Iterator[tuple[Place, str]]:
    """The folder itself, or those directly in it; links are not followed."""
    here = [Place(root, ())]
    with suppress(OSError), os.scandir(root) as entries:
        here += [
            Place(root, (e.name,)) for e in sorted(entries, key=lambda e: e.name) if e.is_dir(follow_symlinks=False)
        ]
    for place in here:
        for name, kind in ((STUDY, "search"), (FOLDS, "folds")):
            if os.path.isfile(place.path / name):
                yield place, kind


def _study(place: Place) -> dict[str, Any]:
    plan, result = place.object(STUDY), _result(place)
    names = [str(n) for n in _listed(plan, "names")]
    space = [r for r in _listed(plan, "space") if isinstance(r, dict) and "key" in r]
    best = Place(place.root, (*place.parts, AGAIN))
    return {
        "objectives": names,
        "better": [str(d) for d in _listed(plan, "directions")],
        "space": space,
        "sampler": str(plan.get("sampler", "")),
        "pruner": str(plan.get("pruner", "")),
        "wanted": plan.get("trials"),
        "trials": _trials(place, names, [str(r["key"]) for r in space]),
        "importance": result.get("importance") or {},
        "ended": bool(result) and not locked(place.path),
        "best": best.key if os.path.isfile(best.path / MANIFEST) else None,
    }


def _trials(place: Place, names: list[str], keys: list[str]) -> list[dict[str, Any]]:
    """One for each row of the table that the search writes after every trial."""
    try:
        rows = list(islice(csv.DictReader(io.StringIO(place.text(TABLE))), _ROWS))
    except (UnreadableError, csv.Error):
        return []
    runs = {run.parts[-1].lstrip("0"): run.key for run in trials_of(place)}
    return [
        {
            "trial": int(_number(row.get("trial")) or 0),
            "run": runs.get(str(row.get("trial"))),
            "state": row.get("state") or "",
            "reached": [_number(row.get(name)) for name in names],
            "seconds": _number(row.get("seconds")),
            "steps": _number(row.get("steps")),
            "values": {key: _value(row.get(key)) for key in keys if row.get(key) not in (None, "")},
            "why": row.get("why") or "",
        }
        for row in rows
    ]


def _folds(place: Place) -> dict[str, Any]:
    plan, result = place.object(FOLDS), _result(place)
    runs = []
    for name, told in _of(result, "runs").items():
        run = Place(place.root, (*place.parts, name))
        scores = {str(k): v for k, v in _of(told, "scores").items()} if isinstance(told, dict) else {}
        runs.append(
            {"name": name, "key": run.key, "state": str(_of({"r": told}, "r").get("state", "")), "scores": scores}
        )
    return {
        "folds": plan.get("folds"),
        "repeats": plan.get("repeats"),
        "runs": runs,
        "failed": _of(plan, "failed"),
        "scores": _of(result, "scores"),
        "baselines": _of(result, "baselines"),
        "differences": _of(result, "differences"),
        "ended": bool(result) and not locked(place.path),
    }


def _result(place: Place) -> Mapping[str, Any]:
    """What is written at the end; nothing before."""
    try:
        return place.object(RESULT)
    except UnreadableError:
        return {}


def _of(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = content.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _listed(content: Mapping[str, Any], name: str) -> list[Any]:
    inner = content.get(name)
    return inner if isinstance(inner, list) else []


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _value(text: Any) -> Any:
    """A number where it is one, else the text."""
    number = _number(text)
    return text if number is None else number
