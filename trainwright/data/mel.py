"""Log-mel features: how loud each band of tones is in each stretch of time, a whole batch at once, on its device.

Letters in shapes: N recordings, T samples, U frames, B bins of the spectrum, F bands.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

_LINEAR, _TURN, _STEP = 200.0 / 3, 1000.0, math.log(6.4) / 27  # of Slaney's scale: Hz for each mel up to 1,000 Hz
_LEAST = 1e-10  # power of what counts as silence
_RANGE = 8 * math.log(10)  # of one recording: 80 dB below its loudest band all is alike


@final
class LogMel:
    """Turns recordings into frames of log power by band.

    The same as librosa's ``power_to_db(melspectrogram(…))`` but for the unit, which is the natural logarithm: centred
    Hann windows over zeros beyond both ends, power, triangular bands of unit area on Slaney's mel scale, floored at
    1e-10 and at 80 dB below the loudest.

    Args:
        rate: samples a second.
        bands: how many.
        window: samples that a frame sees.
        hop: samples from frame to frame.

    Source: Slaney 1998, "Auditory toolbox, version 2"; McFee et al. 2015, "librosa: audio and music signal analysis in
    Python".
    """

    def __init__(self, rate: int, bands: int, window: int, hop: int) -> None:
        self.rate, self.bands, self.window, self.hop = rate, bands, window, hop
        self.points = 1 << max(1, (window - 1).bit_length())
        self.filters = torch.from_numpy(filters(rate, self.points, bands))
        self.shape = torch.hann_window(window)

    def __call__(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T) samples, zeros behind, and their (N,) lengths -> (N, U, F) and (N,) frames; what is behind is 0.

        The features are of double precision where the device has it.
        """
        self.filters, self.shape = exact(self.filters.to(wave.device)), self.shape.to(wave.device)
        half = self.points // 2
        spectrum = torch.stft(
            pad(wave, (half, half)),
            self.points,
            hop_length=self.hop,
            win_length=self.window,
            window=self.shape,
            center=False,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()  # (N, B, U)
        # in double precision, as a product may round otherwise in a batch of another size
        logs = torch.matmul(self.filters, exact(power)).clamp_min(_LEAST).log().transpose(1, 2)
        frames = self.frames(lengths)
        real = (torch.arange(logs.shape[1], device=logs.device) < frames[:, None])[:, :, None]
        loudest = logs.masked_fill(~real, -torch.inf).amax((1, 2), keepdim=True)
        return torch.maximum(logs, loudest - _RANGE) * real, frames

    def frames(self, lengths: Tensor) -> Tensor:
        """(N,) samples -> (N,) frames, one at least."""
        return lengths // self.hop + 1


def exact(x: Tensor) -> Tensor:
    """In double precision, where the device has it."""
    return x if x.device.type == "mps" else x.double()


def filters(rate: int, points: int, bands: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(F, B) triangles over the bins of a spectrum of ``points``, from 0 to half of the rate."""
    bins = np.linspace(0, rate / 2, 1 + points // 2)
    edges = _hertz(np.linspace(0, _mel(rate / 2), bands + 2))
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    out: np.ndarray[tuple[int, int], np.dtype[np.float32]] = triangles.astype(np.float32)
    return out


def _mel(hertz: float) -> float:
    return hertz / _LINEAR if hertz < _TURN else _TURN / _LINEAR + math.log(hertz / _TURN) / _STEP


def _hertz(mel: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    turn = _TURN / _LINEAR
    out: np.ndarray[tuple[int], np.dtype[np.float64]] = np.where(
        mel < turn, mel * _LINEAR, _TURN * np.exp(_STEP * (mel - turn))
    )
    return out
