"""What a person may give a run to answer for, and what it answers: by the path of `predict`; nothing is kept."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from trainwright.core.errors import DataError, TrainwrightError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.rows import Rows
from trainwright.core.task import Task
from trainwright.data.encode import encode_records
from trainwright.data.roles import Category, Number
from trainwright.data.score import as_lists
from trainwright.data.series import TIME
from trainwright.data.table import SUFFIXES
from trainwright.data.tabular import Inputs
from trainwright.data.unlabelled import IMAGE as _IMAGE
from trainwright.data.unlabelled_series import UnlabelledSeries
from trainwright.inside.opened import Opened
from trainwright.runs.answers import answered
from trainwright.runs.compose import NOTHING, compose, primers_in
from trainwright.runs.forecast import forecast
from trainwright.runs.generate import Asked, generate, next_tokens
from trainwright.runs.inputs import Item, items_from, items_of, items_typed
from trainwright.runs.predict import Predictor
from trainwright.tasks.generation import Generation

LARGEST = 12 << 20  # bytes of a file that is given
_MOST = 100  # answers for one file
_NEXT = 40  # tokens that may come next
_WRITTEN = 400  # tokens that are written at most
_LEVELS = 200  # of a category that are offered
_SMALL = 96  # pixels of a side up to which a drawing makes sense, and the picture is shown as the network sees it
_LOOKED = 64  # pictures that tell how large a drawing is to be
_HOW = ("temperature", "top_k", "top_p", "repetition")


def offered(run: Opened) -> dict[str, Any]:
    """What may be given: files of some endings, a text, a prompt, the fields of a row, a drawing, a series, a theme."""
    name, task = run.recipe.config.task["name"], run.task
    tags = tasks.tags(name)
    told: dict[str, Any] = {"task": name, "files": list(_endings(run)), "largest": LARGEST}
    told["text"] = bool(tags.get("reads_text"))
    told["composes"], told["continues"] = bool(tags.get("composes")), bool(tags.get("continues"))
    if isinstance(task, Generation):
        told["prompt"] = {option: getattr(task.how, option) for option in _HOW}
    if (inputs := _columns(task)) is not None:
        told["fields"] = _fields(inputs, _first(run))
    if drawn := _drawing(run):
        told["draw"] = drawn
    return told


def tried(run: Opened, predictor: Predictor, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to what was given; UserError or DataError says what cannot be read.

    Args:
        run: which.
        predictor: with the weights that it serves.
        asked: ``give`` ("file", "text", "prompt", "fields", "compose", "continue") and what belongs to it.
    """
    give = asked.get("give")
    if give == "prompt":
        return _written(predictor, asked)
    if give == "text":
        return _answered(predictor, items_typed([_text(asked, "text")], run.folder))
    if give == "fields":
        if _columns(predictor.task) is None:
            raise UserError("fields", "this run reads no rows of a table")  # other fields may name files
        record = asked.get("record")
        if not isinstance(record, dict):
            raise UserError("record", "is no object of fields")
        return _answered(predictor, iter([Item({}, "what was given", lambda: record)]))
    with tempfile.TemporaryDirectory() as place:
        path = _file(run, asked, Path(place))
        try:
            return _of_file(run, predictor, give, path, asked)
        except DataError as error:  # the person knows no place of ours
            where = error.where.replace(place, "").lstrip("/\\")
            raise DataError(where, error.what.replace(place, ""), error.instead) from None


def _of_file(
    run: Opened, predictor: Predictor, give: Any, path: Path | None, asked: Mapping[str, Any]
) -> dict[str, Any]:
    if give == "compose":
        return _composed(predictor, path, asked)
    if give == "continue":
        return _continued(predictor, run, path)
    if give != "file" or path is None:
        raise UserError("give", f"{give!r} is nothing that can be tried")
    return _answered(predictor, items_from([str(path)], run.folder))


def _answered(predictor: Predictor, items: Iterator[Item]) -> dict[str, Any]:
    """Answers, and of a picture how the network sees it."""
    group = list(islice(items, _MOST + 1))
    found = list(answered(predictor, iter(group[:_MOST])))
    if not found:
        raise UserError("file", "holds nothing to answer for")
    told = [{k: v for k, v in answer.items() if k != "input"} for answer in found]
    out: dict[str, Any] = {"answers": told, "more": len(group) > _MOST}
    if len(found) == 1 and (seen := _seen(predictor.task, group[0])):
        out["seen"] = seen
    return out


def _seen(task: Task[Any], item: Item) -> dict[str, Any] | None:
    """A picture in the shape that the network is given."""
    column = task.processor.columns().get("image")
    if column is None:
        return None
    rows = encode_records([task.processor.served(item.read())], task.processor)
    return pictures(task, rows)[0]


def pictures(task: Task[Any], rows: Rows) -> list[dict[str, Any]]:
    """Pictures of rows as ``{"size": [C, H, W], "data": base64}``; those of files decoded, large ones made smaller."""
    x = rows.dense("image")  # (N, C, H, W) uint8
    while max(x.shape[2:]) > 2 * _SMALL:
        x = x[:, :, ::2, ::2]
    size = list(x.shape[1:])
    return [{"size": size, "data": base64.b64encode(p.contiguous().numpy().tobytes()).decode()} for p in x]


def _written(predictor: Predictor, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What may come next, and where tokens are asked for, a text."""
    prompt = _text(asked, "prompt")
    count, seed = _whole(asked, "tokens", 0, _WRITTEN), _whole(asked, "seed", 0, 2**31)
    how = Asked(tokens=max(1, count), seed=seed, decoding={k: asked[k] for k in _HOW if asked.get(k) is not None})
    notes: list[str] = []
    told: dict[str, Any] = {
        "next": [[n.text, n.probability, n.chance] for n in next_tokens(predictor, prompt, how, _NEXT)]
    }
    if count:
        told["text"] = generate(predictor, [prompt], 1, how, notes.append)[0][0]
    return {**told, "notes": notes}


def _composed(predictor: Predictor, path: Path | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    beats = asked.get("beats")
    primer = primers_in(str(path), float(beats) if beats else None)[0] if path else NOTHING
    how = Asked(
        tokens=_whole(asked, "tokens", 0, 2000) or None,
        seed=_whole(asked, "seed", 0, 2**31),
        decoding={k: asked[k] for k in _HOW[:3] if asked.get(k) is not None},
    )
    score = compose(predictor, [primer], 1, how)[0][0].score
    return {"music": {"notes": as_lists(score.notes), "tempo": score.tempo, "primer": score.primer}}


def _continued(predictor: Predictor, run: Opened, path: Path | None) -> dict[str, Any]:
    """Series, each with what was known before it, the forecast and its interval."""
    f = forecast(predictor, run.folder, path)
    names = list(f.values)[:8]
    series = [
        {
            "name": n, "before": list(f.before[n]), "values": list(f.values[n]),
            "low": list(f.low.get(n, ())), "high": list(f.high.get(n, ())),
        }
        for n in names
    ]  # fmt: skip
    times = [*map(str, f.before[TIME]), *map(str, f.times)]
    return {"forecast": series, "times": times, "intervals": f.intervals, "notes": list(f.notes)}


def _endings(run: Opened) -> tuple[str, ...]:
    """Of the files that may be given: of tables where rows are read, or windows over series; else what the task said
    when it was registered."""
    if _columns(run.task) is not None or isinstance(run.task.processor, UnlabelledSeries):
        return SUFFIXES
    return tuple(tasks.tags(run.recipe.config.task["name"]).get("files", ()))


def _file(run: Opened, asked: Mapping[str, Any], place: Path) -> Path | None:
    """What was dropped, as a file of its kind; None where nothing was."""
    data = asked.get("data")
    if data is None:
        return None
    allowed = _endings(run)
    suffix = Path(str(asked.get("name", ""))).suffix.lower()
    if suffix not in allowed or not re.fullmatch(r"\.[a-z0-9]{1,9}", suffix):
        what = f"'{suffix}'" if suffix else "a file without an ending"
        raise UserError("file", f"{what} is not what this run reads", f"give one of {', '.join(allowed) or 'nothing'}")
    try:
        content = base64.b64decode(str(data), validate=True)
    except binascii.Error:
        raise UserError("file", "did not arrive whole", "give it again") from None
    path = place / f"given{suffix}"
    path.write_bytes(content)
    return path


def _columns(task: Task[Any]) -> Inputs | None:
    """Of a task that reads rows of a table; None where it reads pictures, as one that does both may."""
    inputs = getattr(task.processor, "inputs", None)
    return inputs if isinstance(inputs, Inputs) and _IMAGE not in task.processor.columns() else None


def _fields(inputs: Inputs, example: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns that a row may have, and the values of one of the data."""
    out: dict[str, dict[str, Any]] = {}
    columns: list[Number | Category] = [*inputs.numbers, *inputs.categories]
    for column in columns:
        if column.name in out:  # a date is a number, and several categories
            continue
        field: dict[str, Any] = {"name": column.name, "value": example.get(column.name)}
        if isinstance(column, Number):
            field |= {"kind": column.kind}
        else:
            field |= {"kind": "category", "levels": list(column.levels[:_LEVELS])}
        out[column.name] = field
    return list(out.values())


def _first(run: Opened) -> dict[str, Any]:
    """A row of the data, of the test part where there is one; nothing where the data is gone."""
    with suppress(TrainwrightError, OSError, StopIteration):
        parts = [p for p in ("test", "valid", "train") if p in run.manifest["data"].get("samples", {})]
        record = dict(next(items_of(run.folder, parts[0])).read())
        return {k: v for k, v in record.items() if isinstance(v, str | int | float | bool | None)}
    return {}


def _drawing(run: Opened) -> dict[str, Any] | None:
    """How a drawing is to look, so that it is like the run's own small grey pictures: its greys, and its extent."""
    form = getattr(run.task.processor, "form", None)
    if run.recipe.config.task["name"] != "image_classification" or form is None or form.channels != 1:
        return None
    if max(form.height, form.width) > _SMALL:
        return None
    paper, ink, fill = 255, 0, 0.8
    with suppress(TrainwrightError, OSError):
        part = next(iter(run.parts.values()))
        x = part.gather(part.positions()[:_LOOKED]).dense("image").float()[:, 0]  # (N, H, W)
        paper = int(torch.cat([x[:, 0], x[:, -1]]).median())
        ink = int(max(x.quantile(0.99), x.quantile(0.01), key=lambda v: abs(float(v) - paper)))
        fill = _extent((x - paper).abs() > abs(ink - paper) / 4)
    return {"size": [form.height, form.width], "paper": paper, "ink": ink, "fill": fill}


def _extent(inked: torch.Tensor) -> float:
    """The share of a side that what is drawn on (N, H, W) pictures takes, the median."""
    sides = []
    for axis in (1, 2):
        hit = inked.any(axis)
        at = torch.arange(hit.shape[1])
        sides.append((hit * (at + 1)).amax(1) - torch.where(hit, at, hit.shape[1]).amin(1))
    share = torch.stack(sides, 1).amax(1) / max(inked.shape[1:])
    return round(float(share.clamp(0.3, 1.0).median()), 3)


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str):
        raise UserError(name, "is no text", "type one")
    return value


def _whole(asked: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = asked.get(name, low)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(name, f"{value!r} is no whole number from {low} to {high}")
    return value
