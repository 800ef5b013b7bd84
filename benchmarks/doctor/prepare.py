"""From the rows of a case to what its program is fed: split, scaled, shaped, targets coded as the loss takes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.doctor.case import CannotBuildError, Case
from benchmarks.doctor.described import Array, Made
from benchmarks.doctor.inits import NUMBER
from benchmarks.doctor.losses import Named
from benchmarks.doctor.sets import JUDGED, rows

_SPATIAL = re.compile(r"(conv|.*pool|upsampl|zeropad|spatialdropout)")
_ASIDE = ("input", "inputlayer", "dropout", "gaussiannoise", "batchnorm", "batchnormalization", "activation")


@dataclass(frozen=True, slots=True)
class Arrays:
    """The parts; x (N, …) float32 (int64 where words are looked up), y as the loss takes it."""

    x: Tensor
    y: Tensor
    x_valid: Tensor | None
    y_valid: Tensor | None
    channels_first: bool
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Parts:
    x: Array
    y: Array
    xv: Array | None = None
    yv: Array | None = None

    def on_x(self, change: Callable[[Array], Array]) -> _Parts:
        return replace(self, x=change(self.x), xv=None if self.xv is None else change(self.xv))

    def on_y(self, change: Callable[[Array], Array]) -> _Parts:
        return replace(self, y=change(self.y), yv=None if self.yv is None else change(self.yv))


def arrays(case: Case, loss: Named) -> Arrays:
    """What the program of a case is fed.

    Raises:
        CannotBuildError: the data are not at hand, or not understood.
    """
    dataset = case.facts.get("dataset") or {}
    doubts: list[str] = []
    made = rows(dataset)
    parts = _split(_fewer(made, case), case.text("split", "dataset"), doubts)
    if "input" in case.text("target", "dataset") and "itself" in case.text("target", "dataset"):
        parts = _scaled(replace(parts, y=parts.x, yv=parts.xv), case.text("preprocess", "dataset"), doubts)
        parts = _shaped(parts, case, doubts)
        parts = replace(parts, y=parts.x, yv=parts.xv)
    else:
        parts = _scaled(parts, case.text("preprocess", "dataset"), doubts)
        parts = _coded(_shaped(parts, case, doubts), case.text("target", "dataset"), loss, case)
    words, first = _reads_words(case), _channels_first(case, parts.x)
    moved = parts.on_x(lambda x: np.moveaxis(x, -1, 1)) if first else parts
    held = [None if a is None else _tensor(a, words) for a in (moved.x, moved.xv)]
    targets = [None if a is None else _target(a) for a in (moved.y, moved.yv)]
    if held[0] is None or targets[0] is None:
        raise CannotBuildError("there are no training rows")
    return Arrays(held[0], targets[0], held[1], targets[1], first, tuple(doubts))


def _tensor(x: Array, words: bool) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.int64 if words else np.float32))


def _target(y: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(y, None if y.dtype == np.int64 else np.float32))


def _fewer(made: Made, case: Case) -> Made:
    """As many rows as the case or its notes say; those that are left out are the last."""
    dataset, most = case.facts.get("dataset") or {}, len(made.x)
    if dataset.get("subset"):
        most = min(most, int(dataset["subset"]))
    elif found := re.search(r"use (\d+) rows|reduced form[^.]*?(\d+) rows", case.text("notes")):
        most = min(most, int(next(n for n in found.groups() if n)))
    kept = (None, None) if made.x_test is None or made.y_test is None else (made.x_test[:JUDGED], made.y_test[:JUDGED])
    return Made(made.x[:most], made.y[:most], *kept)


def _split(made: Made, text: str, doubts: list[str]) -> _Parts:
    x, y, n = made.x, made.y, len(made.x)
    if found := re.search(
        r"validation (?:rows |data )?(?:=|is|are) (?:the )?first (\d+) (?:rows )?(?:of )?(?:the )?train", text
    ):
        k = int(found.group(1))
        return _Parts(x, y, x[:k], y[:k])
    if found := re.search(r"validation_split\s*=?\s*([\d.]+)|validation (\d+) ?%", text):
        share = float(found.group(1)) if found.group(1) else float(found.group(2)) / 100
        return _at(x, y, n - int(n * share))
    if made.x_test is not None and made.y_test is not None:
        return _Parts(x, y, made.x_test, made.y_test)
    if found := re.search(r"first ([\d_]+) rows train", text):
        return _at(x, y, min(int(found.group(1)), n - 1))
    if found := re.search(r"first (\d+) ?% train", text):
        return _at(x, y, n * int(found.group(1)) // 100)
    share = _share(text)
    if share:
        state = re.search(r"random_state\s*=\s*(\d+)", text)
        order = np.random.RandomState(int(state.group(1)) if state else 0).permutation(n)
        return _at(x[order], y[order], n - max(1, int(np.ceil(n * share))))
    if not re.search(r"all rows|train only|none|^$", text):
        doubts.append(f"split {text!r} is not understood: all rows train")
    return _Parts(x, y)


def _share(text: str) -> float:
    if found := re.search(r"(\d+)-fold", text):
        return 1 / int(found.group(1))
    if found := re.search(r"(?:test|valid|val)[a-z_]*\s*(?:=|of|:)?\s*(\d+) ?%|(\d+) ?% (?:test|valid)", text):
        return int(next(n for n in found.groups() if n)) / 100
    if found := re.search(r"(?:test|valid|val)[a-z_]*\s*(?:=|of|:)?\s*(0?\.\d+)", text):
        return float(found.group(1))
    if found := re.fullmatch(r"(\d+)\s*%?\s*(?:train)?\s*[/:]\s*(\d+)\s*%?\s*(?:test|validation)?", text):
        return int(found.group(2)) / (int(found.group(1)) + int(found.group(2)))
    return 0.0


def _at(x: Array, y: Array, cut: int) -> _Parts:
    return _Parts(x[:cut], y[:cut], x[cut:], y[cut:]) if 0 < cut < len(x) else _Parts(x, y)


def _scaled(parts: _Parts, text: str, doubts: list[str]) -> _Parts:
    text = re.sub(r"\(x\s*100 then /100\)|\((?:source|none)[^)]*\)", "", text)
    for clause in re.split(r",(?![^\[]*\])|;|\bthen\b|\+", text):
        clause = clause.strip()
        if clause and not re.match(r"(none|raw|flatten|reshape|as is|identity|no |already)", clause):
            parts = _clause(parts, clause, doubts)
    return parts


def _clause(parts: _Parts, clause: str, doubts: list[str]) -> _Parts:
    on_y = bool(re.search(r"\b(x|inputs?|features?|images?) and (y|labels?|targets?)\b|\bboth\b", clause))
    only_y = bool(re.match(r"(y|labels?|targets?)\b", clause) or re.search(r" (y|targets|labels)( only)?$", clause))
    change = _change(clause)
    if change is None:
        doubts.append(f"preprocessing {clause!r} is not understood: left out")
        return parts
    if on_y or only_y:
        learned_y = change(parts.y)
        parts = parts.on_y(learned_y)
    if only_y and not on_y:
        return parts
    learned = change(parts.x)
    return parts.on_x(learned)


_Change = Callable[[Array], Callable[[Array], Array]]


def _change(clause: str) -> _Change | None:
    """How a clause changes an array: first it learns from the training rows."""
    if found := re.search(rf"\(x\s*-\s*({NUMBER})\)\s*/\s*({NUMBER})", clause):
        mean, deviation = float(found.group(1)), float(found.group(2))
        return lambda _: lambda a: (a - mean) / deviation
    if found := re.search(rf"/\s*({NUMBER})\s*-\s*({NUMBER})", clause):
        by, less = float(found.group(1)), float(found.group(2))
        return lambda _: lambda a: a / by - less
    if found := re.search(rf"/\s*({NUMBER})", clause):
        by = float(found.group(1))
        return lambda _: lambda a: a / by
    if found := re.search(rf"(?:\*|x|times)\s*({NUMBER})$", clause):
        times = float(found.group(1))
        return lambda _: lambda a: a * times
    if re.search(r"standardi[sz]|standardscaler|standard scal|z-?score|zero mean", clause):
        return lambda fit: _standard(fit)
    if re.search(r"min-?max|minmaxscaler|scaled? to \[|rescaled? to \[", clause):
        numbers = [float(n) for n in re.findall(NUMBER, "".join(re.findall(r"[\[(].*[\])]", clause)))]
        low, high = numbers if len(numbers) == 2 else (0.0, 1.0)
        return lambda fit: _between(fit, low, high)
    if re.search(r"row-?normali[sz]ed|unit norm|l2[- ]normali", clause):
        return lambda _: _unit
    if re.search(r"cent(?:er|re)|subtract(?:ed)? (?:the )?mean|mean[- ]subtract", clause):
        return lambda fit: lambda a: a - fit.mean(0)
    return None


def _standard(fit: Array) -> Callable[[Array], Array]:
    mean, deviation = fit.mean(0), fit.std(0)
    return lambda a: (a - mean) / np.where(deviation > 0, deviation, 1)


def _between(fit: Array, low: float, high: float) -> Callable[[Array], Array]:
    least, range_ = fit.min(0), np.ptp(fit, axis=0)
    return lambda a: low + (high - low) * (a - least) / np.where(range_ > 0, range_, 1)


def _unit(a: Array) -> Array:
    norms = np.linalg.norm(a.reshape(len(a), -1), axis=1)
    return a / np.where(norms > 0, norms, 1).reshape(-1, *[1] * (a.ndim - 1))


def _shaped(parts: _Parts, case: Case, doubts: list[str]) -> _Parts:
    asked = list(case.facts.get("input_shape") or [])
    if parts.x.ndim == 1:
        parts = parts.on_x(lambda x: x[:, None])
    if not asked or None in asked:
        return parts
    if int(np.prod(asked)) == int(np.prod(parts.x.shape[1:])):
        return parts.on_x(lambda x: x.reshape(len(x), *asked))
    doubts.append(f"a row has shape {parts.x.shape[1:]}, the case says {asked}")
    return parts


def _coded(parts: _Parts, text: str, loss: Named, case: Case) -> _Parts:
    if "-1" in text and set(np.unique(parts.y)) <= {0.0, 1.0}:
        parts = parts.on_y(lambda y: 2 * y - 1)
    flat = parts.y.ndim == 1 or parts.y.shape[1:] == (1,)
    if loss.integers:
        if not flat and (parts.y.sum(-1) == 1).all():
            parts = parts.on_y(lambda y: y.argmax(-1))
        return parts.on_y(lambda y: y.reshape(len(y), -1)[:, 0].astype(np.int64) if flat else y.astype(np.int64))
    if flat and ("one-hot" in text or "one hot" in text or _wants_columns(text, loss, case)):
        found = re.search(r"one[- ]hot (?:over |of |, )?(\d+)", text)
        least = int(found.group(1)) if found else 0
        width = max(least, *(int(a.max()) + 1 for a in (parts.y, parts.yv) if a is not None))
        return parts.on_y(lambda y: np.eye(width, dtype=np.float32)[y.reshape(-1).astype(int)])
    if parts.y.ndim == 1:  # Keras feeds a vector as one column
        parts = parts.on_y(lambda y: y[:, None])
    return parts.on_y(lambda y: y.astype(np.float32))


def _wants_columns(text: str, loss: Named, case: Case) -> bool:
    return text in ("", "classes") and loss.name == "categorical_crossentropy" and "class" in case.text("task")


def _kinds(case: Case) -> list[str]:
    return [str(layer.get("type", "")).lower().replace("_", "") for layer in case.facts.get("layers") or []]


def _reads_words(case: Case) -> bool:
    return next((kind for kind in _kinds(case) if kind not in ("input", "inputlayer")), "") == "embedding"


def _channels_first(case: Case, x: Array) -> bool:
    """Whether pictures and series are handed over with their channels first, as a person would do it in PyTorch."""
    first = next((kind for kind in _kinds(case) if kind not in _ASIDE), "")
    return x.ndim > 2 and bool(_SPATIAL.match(first)) and not first.startswith("global")
