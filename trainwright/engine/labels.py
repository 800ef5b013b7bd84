"""Whether labels are to be believed: how often they contradict what other samples say beyond doubt of such inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainwright.core.counting import wilson
from trainwright.core.data_facts import Labels
from trainwright.engine.signal import classes_of, columns_of

_ROWS, _COLUMNS, _UNITS, _FOLDS = 2000, 128, 200, 5
_LEAST, _EACH = 100, 20  # rows, and rows of a class on average, of which anything is said
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the mean square of the features
_WIDEST = 5.0  # deviations at which inputs are cut off
_TWINS = 0.1  # share of rows with the inputs of another: where there are more, doubt and wrong labels look alike
_FEW = 20  # sure answers of a class, of which it is said how many labels contradict them
_SHOWN = 5


def labels_of(x: Tensor, y: Tensor, place: Callable[[int], str] = str) -> Labels:
    """How the labels stand to answers of a simple model that never saw them; all zero where that cannot be told.

    The model is a ridge classifier over the inputs and some random rectified features of them, fitted in five folds.
    Rows are ranked by its margin within each class that it answers, and the surer half of them is looked at: what is
    wrong with hard data lies at the borders of classes, and wrong labels lie everywhere. The idea to count labels that
    confident out-of-sample answers contradict is of Northcutt, Jiang & Chuang 2021, "Confident learning"; the ranks
    are ours, as thresholds on probabilities count overlapping classes too.

    Args:
        x: (N, …) inputs, numbers.
        y: (N,), (N, 1) or one-hot (N, C) labels.
        place: where the sample of that number is, for a person.
    """
    known = classes_of(y) if x.is_floating_point() and len(x) == len(y) and x.ndim > 1 else None
    if known is None:
        return Labels()
    drawn = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:_ROWS]
    flat = columns_of(x[drawn].detach().cpu().double().reshape(len(drawn), -1), _COLUMNS)
    label = torch.unique(known[drawn], return_inverse=True)[1]
    counts = torch.bincount(label)
    if len(drawn) < max(_LEAST, _EACH * len(counts)) or len(counts) < 2 or not bool(torch.isfinite(flat).all()):
        return Labels()
    features = _features(flat)
    if len(torch.unique(features[:, -1])) < (1 - _TWINS) * len(drawn) and len(torch.unique(flat, dim=0)) < (
        1 - _TWINS
    ) * len(drawn):
        return Labels()
    return _counted(_Answers.of(_scores(features, label), label), counts, [place(int(i)) for i in drawn])


def _features(x: Tensor) -> Tensor:
    """(N, D + U) standardized inputs, and rectified random sums of them."""
    generator = torch.Generator().manual_seed(1)
    spread = x.std(0)
    scaled = ((x - x.mean(0)) / torch.where(spread > 0, spread, 1.0)).clamp(-_WIDEST, _WIDEST)
    units = min(_UNITS, len(x) // 3)
    ways = torch.randn(x.shape[1], units, generator=generator, dtype=x.dtype) / math.sqrt(x.shape[1])
    return torch.cat([scaled, torch.relu(scaled @ ways + torch.randn(units, generator=generator, dtype=x.dtype))], 1)


def _scores(features: Tensor, label: Tensor) -> Tensor:
    """(N, C) of each row by the model that was fitted without its fold; with the penalty that errs least so."""
    target = torch.nn.functional.one_hot(label).to(features.dtype)
    found = torch.zeros(len(_PENALTIES), *target.shape, dtype=features.dtype)
    fold = torch.arange(len(label)) % _FOLDS
    for number in range(_FOLDS):
        held, kept = fold == number, fold != number
        middle, prior = features[kept].mean(0), target[kept].mean(0)
        inner = features[kept] - middle
        sizes, ways = torch.linalg.eigh(inner.T @ inner)
        toward = ways.T @ (inner.T @ (target[kept] - prior))
        seen = (features[held] - middle) @ ways
        for i, penalty in enumerate(_PENALTIES):
            found[i, held] = prior + seen @ (toward / (sizes.clamp_min(0) + penalty * sizes.mean())[:, None])
    return found[(found - target).square().sum((1, 2)).argmin()]


@dataclass(frozen=True, slots=True)
class _Answers:
    """Of each row: the answer, whether the label is another, by how much, and its rank among rows with that answer."""

    said: Tensor  # (N,)
    wrong: Tensor  # (N,) bool
    margin: Tensor  # (N,) between the two highest scores
    doubt: Tensor  # (N,) 0 to 1, the surest first

    @classmethod
    def of(cls, scores: Tensor, label: Tensor) -> _Answers:
        top = scores.topk(2, dim=1)
        said, margin = top.indices[:, 0], top.values[:, 0] - top.values[:, 1]
        doubt = torch.empty_like(margin)
        for answer in torch.unique(said):
            rows = (said == answer).nonzero().reshape(-1)
            order = rows[margin[rows].argsort(descending=True, stable=True)]
            doubt[order] = (torch.arange(len(rows), dtype=doubt.dtype) + 0.5) / len(rows)
        return cls(said, said != label, margin, doubt)


def _counted(answers: _Answers, counts: Tensor, places: list[str]) -> Labels:
    sure = answers.doubt < 0.5
    against = answers.wrong & sure
    cleanest = 1.0
    for answer in torch.unique(answers.said):
        mine = sure & (answers.said == answer)
        if int(mine.sum()) >= _FEW:
            cleanest = min(cleanest, wilson(int(answers.wrong[mine].sum()), int(mine.sum()))[1])
    worst = against.nonzero().reshape(-1)
    worst = worst[answers.margin[worst].argsort(descending=True)][:_SHOWN]
    return Labels(
        rows=len(places),
        wrong=int(answers.wrong.sum()),
        sure=int(sure.sum()),
        against=int(against.sum()),
        surest=int((against & (answers.doubt < 0.25)).sum()),
        guess=1 - int(counts.max()) / len(places),
        cleanest=cleanest,
        shown=tuple(places[int(i)] for i in worst),
    )
