"""How well boxes are found: mean average precision, as the COCO evaluator counts it; and the commonest boxes.

Letters in shapes: N pictures, K boxes of a prediction, M true ones.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from typing import Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.boxes import overlaps
from trainwright.core.rows import Encoded
from trainwright.core.task import Metric, Outputs
from trainwright.metrics.matches import matches_of, resampled_precision

_SAID, _TRUE = (
    6,
    6,
)  # numbers of a box that is told (score, class, corners), and of a true one (class, ignored, corners)
_ROWS = 64  # pictures read at once
_LOOKED_AT = 400  # boxes of a class, of which the commonest are chosen
Pair: TypeAlias = Callable[[Outputs, Batch], tuple[Tensor, Tensor]]  # boxes told and true ones, in one frame


def mean_average_precision(of: Pair, most: int, threshold: float | None = None) -> Metric:
    """AP of each class, the area under its curve of precision over recall, and the mean of those that occur.

    What counts as found overlaps a true box by an intersection over union of ``threshold``, or more; without it, the
    mean over 0.50, 0.55, …, 0.95 is taken. At most 100 boxes of a picture count. Counted by pycocotools.

    Args:
        of: (N, K, 4) boxes that are told and (N, M, 4) true ones, in pixels.
        most: K, the same in every batch.
        threshold: 0.5, or None.

    Source: Lin et al. 2014, "Microsoft COCO: common objects in context".
    """

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        """(N, 6 K + 6 M): score, class and corners of each box told; class, whether ignored, and corners of true ones.

        The class of what is no box is -1.
        """
        told, true = of(outputs, batch)
        scores, classes = outputs["scores"], outputs["classes"]
        kinds = torch.where(scores > 0, classes, -1)
        kinds_true, ignored = batch.targets["classes"], batch.targets["ignored"]
        said = torch.cat([scores[..., None].double(), kinds[..., None].double(), told.double()], -1)
        meant = torch.cat([kinds_true[..., None].double(), ignored[..., None].double(), true.double()], -1)
        return torch.cat([said.flatten(1), meant.flatten(1)], 1)

    def judged(rows: Tensor) -> Any:
        told, true = rows[:, : _SAID * most], rows[:, _SAID * most :]
        said = told.reshape(len(rows), most, _SAID).numpy()
        meant = true.reshape(len(rows), true.shape[1] // _TRUE, _TRUE).nan_to_num(-1.0).numpy()
        return _judged(said, meant, threshold)

    def value(rows: Tensor) -> float:
        judge = judged(rows)
        if isinstance(judge, float):
            return judge
        with _quietly():
            judge.accumulate()
        precision = judge.eval["precision"]  # (thresholds, recalls, classes, 1, 1)
        return float(precision[precision > -1].mean())

    def many(rows: Tensor, weights: Tensor) -> Tensor:
        """Boxes are matched within their picture, once: resampling pictures only counts the matches again."""
        judge = judged(rows)
        if isinstance(judge, float):
            return torch.full((len(weights),), judge, dtype=torch.float64)
        found = resampled_precision(matches_of(judge), judge.params.recThrs, weights.numpy())
        return torch.from_numpy(found)

    return Metric(count, value, "higher", combine="rows", source="predict", many=many)


def _judged(said: np.ndarray[Any, Any], meant: np.ndarray[Any, Any], threshold: float | None) -> Any:
    """The evaluator with boxes told (N, K, 6) matched to true ones (N, M, 6); 0 or NaN where there is none of them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images, at = np.nonzero(meant[..., 0] >= 0) if meant.shape[1] else (np.zeros(0, int), np.zeros(0, int))
    true = meant[images, at]
    if not len(true) or bool(true[:, 1].all()):
        return math.nan
    wide = true[:, 4:] - true[:, 2:4]
    marks = [
        {"id": k + 1, "image_id": int(i), "category_id": int(t[0]), "bbox": [*t[2:4], *w], "area": float(w.prod())}
        | {"iscrowd": int(t[1])}
        for k, (i, t, w) in enumerate(zip(images, true, wide, strict=True))
    ]
    kinds = sorted({int(k) for k in true[:, 0]})
    among, where = np.nonzero(said[..., 1] >= 0)
    told = said[among, where]
    results = np.column_stack([among, told[:, 2:4], told[:, 4:] - told[:, 2:4], told[:, 0], told[:, 1]])
    with _quietly():
        truth = COCO()
        truth.dataset = {"images": [{"id": i} for i in range(len(said))], "annotations": marks}
        truth.dataset["categories"] = [{"id": k} for k in kinds]
        truth.createIndex()
        if not len(results):
            return 0.0
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = judge.params.areaRng[:1], ["all"]
        judge.params.maxDets = [100]
        if threshold is not None:
            judge.params.iouThrs = np.array([threshold])
        judge.evaluate()
    return judge


def _quietly() -> contextlib.redirect_stdout[io.StringIO]:
    """The evaluator tells how long each step took."""
    return contextlib.redirect_stdout(io.StringIO())


@final
class Commonest:
    """Says the same boxes of every picture.

    Args:
        boxes: (K, 4), as the model sees them.
        classes: (K,).
        scores: (K,).
        most: boxes of an answer; the others have the score 0.
    """

    def __init__(self, boxes: Tensor, classes: Tensor, scores: Tensor, most: int) -> None:
        order = scores.argsort(descending=True, stable=True)[:most]
        self.boxes, self.classes, self.scores = torch.zeros(most, 4), torch.zeros(most).long(), torch.zeros(most)
        self.boxes[: len(order)], self.classes[: len(order)] = boxes[order], classes[order]
        self.scores[: len(order)] = scores[order]

    def __call__(self, batch: Batch) -> Outputs:
        """``boxes`` (N, K, 4), ``scores`` (N, K), ``classes`` (N, K)."""
        count = len(batch.ids)
        told = {"boxes": self.boxes, "scores": self.scores, "classes": self.classes}
        return {name: tensor.expand(count, *tensor.shape) for name, tensor in told.items()}


def commonest(train: Encoded, most: int) -> Commonest:
    """For each class the boxes that most of the training boxes overlap by half, one after the other.

    Each leaves the boxes that it overlaps to itself; its score is their share of all that were looked at.
    """
    boxes, classes = [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)]
    for start in range(0, len(train), _ROWS):
        rows = train.rows(start, min(start + _ROWS, len(train)))
        there = rows.ragged("ignored").values == 0
        boxes.append(rows.ragged("boxes").values[there])
        classes.append(rows.ragged("classes").values[there])
    corners, kinds = torch.cat(boxes), torch.cat(classes)
    found: list[tuple[Tensor, int, float]] = []
    for kind in sorted(set(kinds.tolist())):
        mine = corners[kinds == kind]
        few = mine[torch.linspace(0, len(mine) - 1, min(len(mine), _LOOKED_AT)).long()]
        near = overlaps(few[:, None], few[None])[0] >= 0.5
        for _ in range(min(most, len(few))):
            covered = near.sum(1)
            best = int(covered.argmax())
            if not covered[best]:
                break
            found.append((few[best], kind, float(covered[best]) / len(few)))
            near = near & ~near[best][None, :]
    each = list(zip(*found, strict=True))
    return Commonest(torch.stack(list(each[0])), torch.tensor(each[1]), torch.tensor(each[2]), most)
