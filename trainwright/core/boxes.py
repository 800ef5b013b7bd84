"""Boxes in pictures: their areas, how far they overlap, and which of many that overlap are kept.

A box is (x0, y0, x1, y1) in pixels, the left, upper, right and lower edge. Letters in shapes: N pictures, K boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-6  # an area that is divided by


def areas(boxes: Tensor) -> Tensor:
    """(…, 4) -> (…); 0 for a box whose edges are in the wrong order."""
    return (boxes[..., 2] - boxes[..., 0]).clamp_min(0) * (boxes[..., 3] - boxes[..., 1]).clamp_min(0)


def cut(boxes: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """(…, 4): what lies within a picture; ``width`` and ``height`` are one number, or (…)."""
    w, h = (torch.as_tensor(n, dtype=boxes.dtype, device=boxes.device) for n in (width, height))
    zero = torch.zeros_like(boxes[..., 0])
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack([_between(x0, zero, w), _between(y0, zero, h), _between(x1, zero, w), _between(y1, zero, h)], -1)


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of boxes (…, 4), elementwise, and its generalized form, which far boxes differ in.

    Source: Rezatofighi et al. 2019, "Generalized intersection over union".
    """
    inner = torch.cat([a[..., :2].maximum(b[..., :2]), a[..., 2:].minimum(b[..., 2:])], -1)
    outer = torch.cat([a[..., :2].minimum(b[..., :2]), a[..., 2:].maximum(b[..., 2:])], -1)
    union = areas(a) + areas(b) - areas(inner)
    iou = areas(inner) / union.clamp_min(_LEAST)
    return iou, iou - 1 + union / areas(outer).clamp_min(_LEAST)


def suppressed(boxes: Tensor, classes: Tensor, most: float) -> Tensor:
    """(N, K) whether a box is dropped: a better one of its class, which is kept, overlaps it by more than ``most``.

    Greedy, as usual, for all pictures at once.

    Args:
        boxes: (N, K, 4), the best first.
        classes: (N, K).
        most: intersection over union that two kept boxes of a class may have.
    """
    iou, _ = overlaps(boxes[:, :, None], boxes[:, None])
    clash = (iou > most) & (classes[:, :, None] == classes[:, None])
    dropped = torch.zeros_like(classes, dtype=torch.bool)
    for k in range(1, boxes.shape[1]):
        dropped[:, k] = (clash[:, k, :k] & ~dropped[:, :k]).any(1)
    return dropped


def _between(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return x.maximum(low).minimum(high)
