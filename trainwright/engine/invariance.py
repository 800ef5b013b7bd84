"""Whether one batch gives the same step however it is computed: at once, in pieces, or in another precision."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainwright.core.trial_facts import Invariance
from trainwright.engine.trace import without_dropout

Sum = Callable[[nn.Module], tuple[Tensor, Tensor]]  # a module -> the loss summed over a batch, and the batch's weight


def invariance(model: nn.Module, whole: Sum, pieces: Sequence[Sum], reduced: Sum | None = None) -> Invariance:
    """How far the gradient of one batch in pieces, and in the run's precision, is from that of the whole in float32.

    Relative to the gradient's size; on a copy of the model, without dropout. Batch norms look at each piece by itself,
    so where there is one, nothing is said of pieces.

    Args:
        model: copied.
        whole: the batch at once, in float32.
        pieces: the same batch, cut.
        reduced: the batch at once, in the precision that is trained in; None where that is float32.
    """
    pupil = copy.deepcopy(model)
    back = without_dropout(pupil)
    try:
        reference, loss = _gradient(pupil, [whole])
        if reference is None or not float(reference.norm()) > 0:
            return Invariance()
        norms = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in pupil.modules())
        cut, reached = (None, math.nan) if norms else _gradient(pupil, pieces)
        rounded, other = (None, math.nan) if reduced is None else _gradient(pupil, [reduced])
        return Invariance(
            pieces=len(pieces),
            cut=_apart(cut, reference),
            cut_loss=abs(reached - loss) / max(1e-12, abs(loss)),
            precision=_apart(rounded, reference),
            precision_loss=abs(other - loss) / max(1e-12, abs(loss)),
        )
    finally:
        back()


def _gradient(model: nn.Module, parts: Sequence[Sum]) -> tuple[Tensor | None, float]:
    """(gradient in a row, loss), each a sum divided once by the total weight."""
    weights = [p for p in model.parameters() if p.requires_grad]
    total, loss, gathered = 0.0, 0.0, [torch.zeros_like(p) for p in weights]
    with torch.enable_grad():
        for part in parts:
            found, weight = part(model)
            if not found.requires_grad:
                return None, math.nan
            slopes = torch.autograd.grad(found, weights, allow_unused=True)
            gathered = [g if s is None else g + s for g, s in zip(gathered, slopes, strict=True)]
            total, loss = total + float(weight), loss + float(found.detach())
    if not weights or not total > 0:
        return None, math.nan
    return torch.cat([g.detach().double().flatten().cpu() for g in gathered]) / total, loss / total


def _apart(found: Tensor | None, exact: Tensor) -> float:
    return math.nan if found is None else float((found - exact).norm() / exact.norm())
