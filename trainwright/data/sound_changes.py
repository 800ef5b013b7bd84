"""Changes of recordings in training: speed, shift, noise, gain, and stripes of the features that are hidden.

Each recording is changed by numbers that depend on seed, epoch and sample alone.

Letters in shapes: N recordings, T samples, U frames, F bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.data.mel import exact

_RANGE = 20.0  # decibels: how much fainter than asked the noise may be


@dataclass(frozen=True, slots=True)
class Changes:
    """How far each change goes; 0 is none."""

    speed: float = 0.0  # faster or slower by up to this share, and so higher or lower
    shift: float = 0.0  # earlier or later by up to so many seconds; what comes in is silence
    noise: float = 0.0  # decibels: white noise, so much fainter than the recording or fainter still
    gain: float = 0.0  # decibels: louder or fainter by up to this
    masks: int = 0  # stripes of time, and as many of bands, that are hidden
    mask_time: float = 0.1  # share of the frames that a stripe hides at most
    mask_bands: float = 0.2  # share of the bands likewise

    def of_wave(self, wave: Tensor, lengths: Tensor, least: Tensor, rate: int, draw: Draw) -> tuple[Tensor, Tensor]:
        """(N, T) samples and (N,) lengths, changed; none becomes shorter than ``least`` (N,), unless it was."""
        if self.speed:
            wave, lengths = _faster(wave, lengths, least, 1 + self._within(draw, "speed", self.speed))
        if self.shift:
            wave = _shifted(wave, lengths, (self._within(draw, "shift", self.shift) * rate).round().long())
        if self.noise:
            wave = self._noisy(wave, lengths, draw)
        if self.gain:
            wave = wave * 10 ** (self._within(draw, "gain", self.gain) / 20)[:, None]
        return wave, lengths

    def of_frames(self, frames: Tensor, lengths: Tensor, draw: Draw) -> Tensor:
        """(N, U, F) normalised features with stripes of 0, which is the mean.

        Source: Park et al. 2019, "SpecAugment: a simple data augmentation method for automatic speech recognition".
        """
        for k in range(self.masks):
            frames = frames.masked_fill(self._stripe(f"time/{k}", self.mask_time, lengths, draw, frames, 1), 0.0)
            bands = torch.full_like(lengths, frames.shape[2])
            frames = frames.masked_fill(self._stripe(f"bands/{k}", self.mask_bands, bands, draw, frames, 2), 0.0)
        return frames

    def _stripe(self, name: str, share: float, sizes: Tensor, draw: Draw, frames: Tensor, axis: int) -> Tensor:
        """(N, U, 1) or (N, 1, F) which are hidden."""
        dice = draw.uniform(name, 2)
        width = (dice[:, 0] * share * sizes).floor()
        start = (dice[:, 1] * (sizes - width + 1)).floor()
        at = torch.arange(frames.shape[axis], device=frames.device)
        hidden = (at >= start[:, None]) & (at < (start + width)[:, None])
        return hidden[:, :, None] if axis == 1 else hidden[:, None]

    def _noisy(self, wave: Tensor, lengths: Tensor, draw: Draw) -> Tensor:
        real = torch.arange(wave.shape[1], device=wave.device) < lengths[:, None]
        power = (exact(wave).square().sum(1) / lengths).float()  # the same whatever padding is behind
        below = self.noise + _RANGE * draw.uniform("noise/level")[:, 0]
        root = (power * 10 ** (-below / 10)).sqrt()
        return wave + draw.normal("noise", wave.shape[1]) * root[:, None] * real

    def _within(self, draw: Draw, name: str, reach: float) -> Tensor:
        """(N,) between -reach and reach."""
        return reach * (2 * draw.uniform(name)[:, 0] - 1)


def _faster(wave: Tensor, lengths: Tensor, least: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Read at another speed, with straight lines between the samples."""
    wanted = (lengths / factor).round().long()
    new = torch.maximum(wanted, torch.minimum(least, lengths)).clamp_min(1)
    step = exact(lengths.float()) / new
    at = torch.arange(int(new.max()), device=wave.device)[None] * step[:, None]  # the wait
    left = at.long().clamp_max(wave.shape[1] - 1)
    right = torch.minimum(left + 1, (lengths - 1)[:, None])
    share = (at - left).to(wave.dtype)
    low, high = wave.gather(1, left), wave.gather(1, right)
    real = torch.arange(at.shape[1], device=wave.device) < new[:, None]
    return (low + (high - low) * share) * real, new


def _shifted(wave: Tensor, lengths: Tensor, moves: Tensor) -> Tensor:
    """Later by (N,) samples, within the recording."""
    at = torch.arange(wave.shape[1], device=wave.device)
    source = at - moves[:, None]
    inside = (source >= 0) & (source < lengths[:, None]) & (at < lengths[:, None])
    return wave.gather(1, source.clamp(0, wave.shape[1] - 1)) * inside
