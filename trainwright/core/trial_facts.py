"""What short trials on copies tell before the first step: a batch learned by heart, a device, one step in many ways."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import ConfigDict, with_config

_numbers = ConfigDict(ser_json_inf_nan="strings")


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Heart:
    """One batch, learned by a copy of the model with Adam."""

    samples: int = 0
    steps: int = 0  # that were taken
    start: float = math.nan  # loss before them
    reached: float = math.nan  # the lowest loss
    seconds: float = 0.0


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class DeviceTest:
    """The operation of a device that is furthest from float64 on the CPU."""

    device: str = ""
    precision: str = ""
    worst: str = ""  # the operation
    error: float = 0.0  # root mean square, relative
    allowed: float = math.inf  # by what the precision can hold


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Invariance:
    """The gradient of one batch, computed in other ways, beside that of the whole in float32; relative to its size."""

    pieces: int = 0  # the batch was cut into
    cut: float = math.nan  # in pieces
    cut_loss: float = math.nan
    precision: float = math.nan  # in the precision that is trained in
    precision_loss: float = math.nan


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Cost:
    """What the training will take, by a few steps on a copy."""

    step: float = math.nan  # seconds
    whole: float = math.nan  # seconds of all steps, evaluations left out
    weights: int = 0  # bytes of weights, gradients and what the optimizer keeps of each
    peak: int = 0  # bytes on an accelerator while a step was computed; 0 where nobody counts them
