"""Simple models of frames of music to hold a network against: how often keys sound, and how often they sound on.

Letters in shapes: N pieces, T frames, K keys.
"""

from __future__ import annotations

import time
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, pad

from trainwright.core.batch import Batch
from trainwright.core.rows import Encoded
from trainwright.core.task import Outputs, Processor, TooSlowError

_ROWS = 64  # pieces read at once


@final
class Keys:
    """Each key by itself, told from whether it sounded in the frame before, or from nothing.

    One is added to every count, of sounding and of silence.

    Args:
        train: the pieces.
        processor: makes batches of them.
        seconds: that reading may take.
        back: whether the frame before is looked at.
    """

    def __init__(self, train: Encoded, processor: Processor, seconds: float, *, back: bool) -> None:
        began = time.perf_counter()
        self.back = back
        counts: Tensor | None = None
        for start in range(0, len(train), _ROWS):
            batch = processor.batch(train.rows(start, min(start + _ROWS, len(train))), None)
            found = self._counted(batch)
            counts = found if counts is None else counts + found
            if start and time.perf_counter() - began > max(10.0, seconds):
                raise TooSlowError(f"reading {len(train):,} pieces takes too long")
        assert counts is not None
        self.chance = (counts[0] + 1) / (counts.sum(0) + 2)  # (2, K) of sounding, behind silence and behind sound

    def __call__(self, batch: Batch) -> Outputs:
        """``nats`` and ``first``, those of the first frame, of each piece, and its ``frames``, (N,)."""
        frames, lengths = batch.inputs["frames"].double(), batch.inputs["lengths"]
        chance = torch.where(self._before(frames) > 0, self.chance[1], self.chance[0])
        nats = binary_cross_entropy(chance, frames, reduction="none").sum(2)
        nats = nats * (torch.arange(frames.shape[1]) < lengths[:, None])
        return {"nats": nats.sum(1), "first": nats[:, 0], "frames": lengths}

    def _counted(self, batch: Batch) -> Tensor:
        """(2, 2, K) frames with a key that sounds, and that is silent, behind silence and behind sound."""
        frames, lengths = batch.inputs["frames"].double(), batch.inputs["lengths"]
        there = (torch.arange(frames.shape[1]) < lengths[:, None])[:, :, None].double()
        before = self._before(frames)
        rows = [there * now * past for now in (frames, 1 - frames) for past in (1 - before, before)]
        return torch.stack([r.sum((0, 1)) for r in rows]).view(2, 2, -1)

    def _before(self, frames: Tensor) -> Tensor:
        """(N, T, K) the frame before each; silence where that is not looked at."""
        return pad(frames[:, :-1], (0, 0, 1, 0)) if self.back else torch.zeros_like(frames)
