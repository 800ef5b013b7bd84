"""Two images become one, with a share of each: mixup and cutmix.

Letters in shapes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from trainwright.core.batch import Draw

_STEPS = 4096  # of the tables that turn uniform numbers into those of a beta distribution


@final
class Mixer:
    """Mixes each image with a companion.

    With ``mixup`` above 0 the two are averaged, with a share drawn from Beta(mixup, mixup). With ``cutmix`` above 0 a
    rectangle of the companion is pasted in, whose area is drawn from Beta(cutmix, cutmix), and which the image's border
    may cut. With both, a coin decides for each sample. Every sample draws its own share.

    Source: Zhang et al. 2018, "mixup: beyond empirical risk minimization"; Yun et al. 2019, "CutMix".
    """

    def __init__(self, mixup: float, cutmix: float) -> None:
        self.mixup, self.cutmix = mixup, cutmix
        self.tables = {name: _quantiles(a) for name, a in (("mixup", mixup), ("cutmix", cutmix)) if a}

    def __bool__(self) -> bool:
        """Whether there is anything to mix."""
        return bool(self.tables)

    def __call__(self, x: Tensor, other: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Float images (N, C, H, W) and their companions -> mixed ones, and the share (N,) of each that is its own."""
        kept = x.new_ones(x.shape[0], 1, *x.shape[2:])
        if self.cutmix:
            kept = self._outside(kept, draw)
        if self.mixup:
            even = _wide(self._share("mixup", draw)).to(x.dtype).expand_as(kept)
            kept = torch.where(_wide(draw.uniform("mix")[:, 0] < 0.5), kept, even) if self.cutmix else even
        return other + kept * (x - other), kept.mean((1, 2, 3))

    def _outside(self, like: Tensor, draw: Draw) -> Tensor:
        """(N, 1, H, W) 0 within a rectangle around a random pixel, and 1 outside."""
        side = (1 - self._share("cutmix", draw)).sqrt()
        spans = []
        for size, name in ((like.shape[2], "rows"), (like.shape[3], "columns")):
            length = (side * size).round()
            start = draw.integers(f"cutmix/{name}", size)[:, 0] - (length / 2).floor()
            pixels = torch.arange(size, device=like.device)
            spans.append((pixels >= start[:, None]) & (pixels < (start + length)[:, None]))
        inside = spans[0][:, None, :, None] & spans[1][:, None, None, :]
        return 1 - inside.to(like.dtype)

    def _share(self, name: str, draw: Draw) -> Tensor:
        """(N,) from the beta distribution, to within a step of its table."""
        table = self.tables[name] = self.tables[name].to(draw.ids.device)
        return table[draw.integers(name, _STEPS)[:, 0]]


def _quantiles(alpha: float) -> Tensor:
    """(_STEPS,) float32: the quantiles of Beta(alpha, alpha) in the middle of equal shares."""
    import numpy as np
    from scipy.special import betaincinv

    middles = (np.arange(_STEPS) + 0.5) / _STEPS
    return torch.from_numpy(betaincinv(alpha, alpha, middles).astype(np.float32))


def _wide(each: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1, 1)."""
    return each[:, None, None, None]
