"""What a run's network says of the samples of a part, how far that is from the truth, and how a sample looks."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.kinds import tasks
from trainwright.core.task import Classes, Numbers, Progress, Task
from trainwright.core.tokenizer import Tokenizer
from trainwright.data.part import Part
from trainwright.data.recordings import Recordings
from trainwright.data.unlabelled_series import UnlabelledSeries
from trainwright.inside.attention import attends
from trainwright.inside.opened import Opened
from trainwright.inside.tried import pictures
from trainwright.runs.inspect.samples import sample
from trainwright.runs.predict import Predictor
from trainwright.tasks.forecasting import Forecasting
from trainwright.tasks.object_detection import ObjectDetection

MOST = 2000  # samples that are judged
PATIENCE = 20.0  # seconds after which no further batch is judged
_AT_ONCE = 64
_SHOWN = 48  # samples whose looks are told at once
_FIELDS, _LONG = 40, 600  # of a record, and characters of one
_SERIES = 3  # of a forecast that are drawn
_FRAMES = 400  # of a spectrogram that are told

Columns = dict[str, list[float]]


def judged(run: Opened, predictor: Predictor, name: str) -> dict[str, Any]:
    """Of samples spread over a part: truth, answer, how sure it was, and the loss.

    Of classes ``truth``, ``said``, ``sure`` (of what it said) and ``right`` (of the truth); of numbers ``truth`` and
    ``said`` in their own unit; of all else the loss alone. ``attends`` says whether pieces of its texts look at each
    other.

    Args:
        run: which.
        predictor: with the weights that it serves.
        name: of the part.
    """
    part, task = run.parts[name], predictor.task
    every = -(-len(part) // MOST)
    chosen = torch.arange(0, len(part), every)
    compared, columns = task.compared(), {}
    told: dict[str, list[float]] = {}
    kind, until, shift = "loss", time.monotonic() + PATIENCE, None
    for some in chosen.split(_AT_ONCE):
        batch = _batch(predictor, part, some)
        with torch.no_grad():
            loss = task.loss(predictor.model, batch, Progress())
        columns = {"index": some.tolist(), "loss": _each(loss.each, len(some))}
        match compared:
            case Classes() if (found := _classes(compared, loss.outputs, batch)) is not None:
                kind = "classes"
                columns |= found
            case Numbers() if (numbers := _numbers(compared, loss.outputs, batch)) is not None:
                kind = "numbers"
                shift = _shift(predictor, batch, numbers) if shift is None else shift
                columns |= {k: [v + shift for v in values] for k, values in numbers.items()}
        for key, values in columns.items():
            told.setdefault(key, []).extend(values)
        if time.monotonic() > until:
            break
    names = [str(n) for n in compared.names] if isinstance(compared, Classes) else []
    seen = looks(run, predictor, name, [0])[0].keys() - {"index", "record"}
    attended = attends(task, predictor.model, sample(task, part, 0))
    return {
        "part": name, "of": len(part), "kind": kind, "names": names, "looks": bool(seen), "attends": attended, **told
    }  # fmt: skip


def looks(run: Opened, predictor: Predictor, name: str, indices: Sequence[int]) -> list[dict[str, Any]]:
    """How some samples of a part look: a picture, a spectrogram, the fields of a record, a text, boxes, an answer."""
    part, task = run.parts[name], predictor.task
    found = [i for i in indices if 0 <= i < len(part)][:_SHOWN]
    if not found:
        return []
    batch = _batch(predictor, part, torch.tensor(found))
    told: list[dict[str, Any]] = [{"index": i} for i in found]
    if "image" in task.processor.columns():
        rows = part.gather(part.positions()[torch.tensor(found)])
        for row, picture in zip(told, pictures(task, rows), strict=True):
            row["picture"] = picture
    elif isinstance(heard := getattr(task.processor, "recordings", None), Recordings):
        for row, x, count in zip(told, batch.inputs["frames"], batch.inputs["lengths"].tolist(), strict=True):
            row["sound"] = {**_spectrogram(x[:count]), "seconds": count * heard.hop}
    if isinstance(task, Forecasting):
        _futures(predictor, task, batch, told)
    elif isinstance(read := task.processor, UnlabelledSeries):
        _windows(predictor, read, batch, told)
    elif part.windows is None and not tasks.tags(run.recipe.config.task["name"]).get("composes"):
        for row, record in zip(told, part.ids[torch.tensor(found)].tolist(), strict=True):
            row |= {"record": record, "fields": _fields(run.data.source[record])}
    elif text := _texts(task, batch):
        for row, words in zip(told, text, strict=True):
            row["text"] = words
    if isinstance(task, ObjectDetection):
        _boxes(predictor, task, batch, told)
    elif "fields" in told[0] and not isinstance(task.compared(), Classes | Numbers):
        _answers(predictor, batch, told)
    return told


def _batch(predictor: Predictor, part: Part, some: Tensor) -> Batch:
    batch: Batch = predictor.task.processor.batch(part.gather(part.positions()[some]), None)
    weight = next(predictor.model.parameters())
    return batch.cast(weight.dtype) if weight.dtype == torch.float64 else batch


def _each(each: Tensor | None, count: int) -> list[float]:
    found: list[float] = [] if each is None else each.double().tolist()
    return found if len(found) == count else [0.0] * count


def _classes(of: Classes, outputs: Any, batch: Batch) -> Columns | None:
    """One class for each sample; of several at once, or one for each token, nothing is told."""
    logits, truth = of.logits(outputs), of.truth(batch)
    if logits.ndim != 2 or truth.ndim != 1 or truth.is_floating_point() or bool((truth < 0).any()):
        return None
    shares = logits.double().softmax(1)
    best = shares.max(1)
    right = shares.gather(1, truth[:, None])[:, 0]
    return {
        "truth": truth.tolist(), "said": best.indices.tolist(), "sure": best.values.tolist(), "right": right.tolist()
    }  # fmt: skip


def _numbers(of: Numbers, outputs: Any, batch: Batch) -> Columns | None:
    value, truth = of.value(outputs), of.truth(batch)
    if value.ndim == 2 and value.shape[1] == 1:
        value, truth = value[:, 0], truth.reshape(-1)
    if value.ndim != 1 or truth.shape != value.shape:
        return None
    return {"truth": (truth.double() * of.scale).tolist(), "said": (value.double() * of.scale).tolist()}


def _shift(predictor: Predictor, batch: Batch, numbers: Columns) -> float:
    """What lies between a standardized number in its unit and the answer that `predict` gives."""
    with torch.no_grad():
        answers = predictor.task.processor.decode(
            predictor.task.predict(predictor.model, replace(batch, targets={})), batch
        )
    value = answers[0].get("value")
    return float(value) - numbers["said"][0] if isinstance(value, int | float) else 0.0


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Single values of a record, long texts cut."""
    plain = {k: v for k, v in record.items() if isinstance(v, str | int | float | bool | None) and k != "path"}
    return {k: v[:_LONG] if isinstance(v, str) else v for k, v in list(plain.items())[:_FIELDS]}


def _texts(task: Task[Any], batch: Batch) -> list[str]:
    """Of windows over a stream of tokens."""
    tokenizer, tokens = getattr(task.processor, "tokenizer", None), batch.inputs.get("tokens")
    if not isinstance(tokenizer, Tokenizer) or tokens is None:
        return []
    return [tokenizer.decode(row)[:_LONG] for row in tokens]


def _spectrogram(x: Tensor) -> dict[str, Any]:
    """(T, bands) as greys, low bands below; of a long one every nth frame."""
    x = x[:: -(-len(x) // _FRAMES)].T.flip(0)
    low, high = x.quantile(0.02), x.quantile(0.995)
    grey = ((x - low) / (high - low).clamp_min(1e-9) * 255).clamp(0, 255).to(torch.uint8)
    data = base64.b64encode(grey.contiguous().numpy().tobytes()).decode()
    return {"size": [1, *grey.shape], "data": data}


def _boxes(predictor: Predictor, task: ObjectDetection, batch: Batch, told: list[dict[str, Any]]) -> None:
    """What is found and what is true, as shares of the picture."""
    with torch.no_grad():
        outputs = task.predict(predictor.model, replace(batch, targets={}))
    height, width = batch.inputs["x"].shape[2:]
    scale = torch.tensor([width, height, width, height])
    names = [str(v) for v in task.processor.labels.values]
    for i, row in enumerate(told):
        sure = outputs["scores"][i] >= max(task.processor.least, 1e-9)
        real = batch.targets["classes"][i] >= 0
        row["found"] = [
            [names[c], s, *b]
            for c, s, b in zip(
                outputs["classes"][i][sure].tolist(),
                outputs["scores"][i][sure].tolist(),
                (outputs["boxes"][i][sure] / scale).tolist(),
                strict=True,
            )
        ]
        true = (batch.targets["boxes"][i][real] / scale).tolist()
        row["true"] = [[names[c], *b] for c, b in zip(batch.targets["classes"][i][real].tolist(), true, strict=True)]


def _futures(predictor: Predictor, task: Forecasting, batch: Batch, told: list[dict[str, Any]]) -> None:
    """What was known, what was forecast with its outer quantiles, and what came, of the first series."""
    p = task.processor
    with torch.no_grad():
        said = task.predict(predictor.model, replace(batch, targets={}))["forecast"].double()  # (N, L, V, Q)
    future = torch.where(batch.targets["real"], batch.targets["future"].double(), torch.nan)
    known = p.raw(batch.inputs["context"].double()[..., None])[..., 0]  # (N, C, V)
    ends = p.raw(torch.stack([said[..., p.middle], said[..., 0], said[..., -1], future], -1))  # (N, L, V, 4)
    for i, row in enumerate(told):
        row["futures"] = [
            {
                "name": name,
                "before": _plain(known[i, :, v]),
                "values": _plain(ends[i, :, v, 0]),
                "low": _plain(ends[i, :, v, 1]) if p.quantiles else [],
                "high": _plain(ends[i, :, v, 2]) if p.quantiles else [],
                "true": _plain(ends[i, :, v, 3]),
            }
            for v, name in enumerate(p.names[:_SERIES])
        ]


def _windows(predictor: Predictor, read: UnlabelledSeries, batch: Batch, told: list[dict[str, Any]]) -> None:
    """What was given of the first series, and what came back."""
    with torch.no_grad():
        made = predictor.task.predict(predictor.model, replace(batch, targets={}))
    given = torch.where(batch.inputs["real"], read.raw(batch.inputs["x"].double()), torch.nan)  # (N, V, T)
    back = read.raw(made["reconstruction"].double())
    for i, row in enumerate(told):
        row["futures"] = [
            {"name": n, "before": [], "values": _plain(back[i, v]), "low": [], "high": [], "true": _plain(given[i, v])}
            for v, n in enumerate(read.names[:_SERIES])
        ]
    _answers(predictor, batch, told)


def _plain(values: Tensor) -> list[float | None]:
    return [v if math.isfinite(v) else None for v in values.tolist()]


def _answers(predictor: Predictor, batch: Batch, told: list[dict[str, Any]]) -> None:
    with torch.no_grad():
        made = predictor.task.predict(predictor.model, replace(batch, targets={}))
    for row, answer in zip(told, predictor.task.processor.decode(made, batch), strict=True):
        row["answer"] = {k: v for k, v in answer.items() if isinstance(v, str | int | float | bool) or k == "words"}
