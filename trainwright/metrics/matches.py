"""Boxes as the COCO evaluator matched them, and the mean average precision of many resamples of their pictures.

Letters in shapes: N pictures, T thresholds, D boxes of one class that are told, B resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np

Numbers: TypeAlias = np.ndarray[Any, Any]
_ROOM = 2**22  # numbers of curves held at once
_MOST = 400_000  # points of all curves of one resample; a thousand resamples of more take half a minute and longer


@final
@dataclass(frozen=True, slots=True)
class Matches:
    """The boxes of one class, best score first; what is ignored is left out."""

    found: Numbers  # (T, D) bool, whether a box overlaps a true one
    counted: Numbers  # (T, D) bool, whether it counts at all
    picture: Numbers  # (D,) int64
    true: Numbers  # (N,) float64, boxes that are to be found


def matches_of(judge: Any) -> list[Matches]:
    """What ``judge``, a `pycocotools.cocoeval.COCOeval` after ``evaluate``, found, class by class."""
    images, most = len(judge.params.imgIds), judge.params.maxDets[-1]
    out: list[Matches] = []
    for k in range(len(judge.params.catIds)):
        each = judge.evalImgs[k * images : (k + 1) * images]
        there = [(n, e) for n, e in enumerate(each) if e is not None]
        true = np.zeros(images)
        for n, e in there:
            true[n] = np.count_nonzero(e["gtIgnore"] == 0)
        if not there:
            continue
        order = np.argsort(-np.concatenate([e["dtScores"][:most] for _, e in there]), kind="mergesort")
        picture = np.repeat([n for n, _ in there], [len(e["dtScores"][:most]) for _, e in there])[order]
        matched = np.concatenate([e["dtMatches"][:, :most] for _, e in there], axis=1)[:, order] != 0
        counted = np.concatenate([e["dtIgnore"][:, :most] for _, e in there], axis=1)[:, order] == 0
        out.append(Matches(matched & counted, counted, picture.astype(np.int64), true))
    return out


def resampled_precision(classes: Sequence[Matches], recalls: Numbers, weights: Numbers) -> Numbers:
    """(B,) mean average precision where picture n occurs ``weights[:, n]`` times; NaN where no class occurs.

    All NaN where the curves have so many points that a thousand resamples would take minutes. A picture that is drawn
    twice stands in the order of scores twice, next to itself.

    Args:
        classes: of all pictures.
        recalls: (R,) where precision is read, from 0 to 1.
        weights: (B, N).
    """
    points = sum(m.found.size for m in classes)
    if points > _MOST:
        return np.full(len(weights), np.nan)
    out = [_precision(classes, recalls, some) for some in _pieces(weights, points)]
    return np.concatenate(out) if out else np.zeros(0)


def _pieces(weights: Numbers, points: int) -> Iterator[Numbers]:
    step = max(1, _ROOM // max(points, 1))
    for start in range(0, len(weights), step):
        yield weights[start : start + step]


def _precision(classes: Sequence[Matches], recalls: Numbers, weights: Numbers) -> Numbers:
    """(B,); the mean over the classes that occur in a resample, and over the thresholds."""
    total, count = np.zeros(len(weights)), np.zeros(len(weights))
    for m in classes:
        true = weights @ m.true  # (B,)
        times = weights[:, m.picture][:, None]  # (B, 1, D)
        found = np.cumsum(times * m.found, axis=2)
        told = np.cumsum(times * m.counted, axis=2)
        recall = found / np.maximum(true, 1)[:, None, None]
        precision = found / (told + np.spacing(1))
        best = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]  # at this recall or a higher one
        flat = (best.shape[0] * best.shape[1], best.shape[2])  # of a class that nothing is told of, no numbers
        curves = zip(recall.reshape(flat), best.reshape(flat), strict=True)
        areas = np.reshape([_read(r, p, recalls) for r, p in curves], best.shape[:2])  # (B, T)
        total += np.where(true > 0, areas.mean(1), 0.0)
        count += true > 0
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _read(recall: Numbers, precision: Numbers, recalls: Numbers) -> float:
    """The mean precision where recall first reaches each of ``recalls``; 0 where it never does."""
    at = np.searchsorted(recall, recalls, side="left")
    there = at[at < len(recall)]
    return float(precision[there].sum() / len(recalls))
