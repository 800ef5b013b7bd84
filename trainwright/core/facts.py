"""What is measured of a training before its first step: data, model, loss and optimizer, as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ConfigDict, with_config

from trainwright.core.data_facts import DataFacts
from trainwright.core.trial_facts import Cost, DeviceTest, Heart, Invariance

_numbers = ConfigDict(ser_json_inf_nan="strings")
Coding = Literal["", "classes", "one_hot", "several", "binary", "numbers"]
Wants = Literal["", "logits", "probabilities", "log_probabilities", "numbers"]


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Values:
    """Numbers of many samples: an input, the targets, the outputs. NaN and infinity are counted apart."""

    shape: tuple[int, ...] = ()  # of one sample
    dtype: str = "float32"
    rows: int = 0  # that were looked at
    mean: float = 0.0
    deviation: float = 1.0
    low: float = 0.0
    high: float = 1.0
    bad: int = 0  # numbers that are NaN or infinite
    bad_at: str = ""  # where the first of them is
    columns: tuple[float, float] = (1.0, 1.0)  # median and largest deviation of the columns that vary
    widest: int = 0  # the column whose deviation is largest
    constant: int = 0  # columns that say the same of every row
    outlying: float = 0.0  # the largest distance from the median of its column, in robust deviations
    outlier_at: str = ""  # where that is


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Target:
    """What the loss compares with."""

    values: Values = field(default_factory=Values)
    coding: Coding = ""  # "several" are columns of yes or no that do not exclude each other
    classes: int = 0  # that occur, of "classes", "one_hot" and "binary"; columns of "several"
    lowest: int = 0  # class number
    counts: tuple[int, ...] = ()  # of each class, the first hundred
    distinct: int = 2  # different values of numbers, at most a thousand


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Output:
    """What the model says before it has learned."""

    values: Values = field(default_factory=Values)
    last: str = ""  # the operation that makes it: "softmax", "sigmoid", "relu", "tanh", "log_softmax", "linear", …
    over: int = 1  # the axis of a softmax, 0 is the samples
    spread: float = 1.0  # root mean square deviation between samples
    reach: tuple[float, float] = (-math.inf, math.inf)  # whatever the weights: of a sigmoid (0, 1)
    missed: float = 0.0  # share of the target's numbers that lie beyond


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class LossFacts:
    """The loss: what it computes, and what it is before the first step."""

    name: str = ""  # "cross_entropy", as it is known or was recognized; "" where it is not
    wants: Wants = ""  # of the output
    start: float = math.nan  # of the untrained model
    guess: float = math.nan  # the lowest that one and the same answer to every sample reaches
    deaf: float = 0.0  # share of samples for which it does not answer to a change of the output
    reach: tuple[float, float] = (-math.inf, math.inf)  # outputs beyond do not change it
    broadcast: str = ""  # "(32, 1) and (32,) became (32, 32)"
    minus: bool = False  # it is minus the loss of that name


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class LayerFacts:
    """A module with weights of its own, or an activation, as the first samples went through it."""

    name: str
    kind: str  # "linear", "conv2d", "relu", "softmax", "dropout", …
    weights: int = 0  # numbers of its own that can be learned
    frozen: int = 0  # numbers of its own that cannot
    calls: int = 1  # in one forward pass
    shape: tuple[int, ...] = ()  # of one sample of what it gives
    mean: float = 0.0
    deviation: float = 1.0
    zeros: float = 0.0  # share of what it gives that is exactly 0
    dead: float = 0.0  # share of its units that give 0 for every sample
    pinned: float = 0.0  # share of what a sigmoid or tanh gives that lies in its flat ends
    gradient: float = math.nan  # root mean square over its weights; NaN where none was computed
    alike: float = 0.0  # share of its units whose weights equal another unit's
    scale: float = math.nan  # root mean square of its weights
    gain: float = math.nan  # that times the root of how many numbers each unit adds: 1 keeps the size of a signal
    option: float = math.nan  # the rate of a dropout


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class OptimizerFacts:
    """The update rule."""

    name: str = ""
    lr: float = math.nan  # the largest of its groups
    missing: tuple[str, ...] = ()  # weights that can learn and are in no group, the first of them
    absent: int = 0  # numbers in all of these
    weights: int = 0  # numbers that can learn
    frozen: int = 0  # numbers that cannot
    decay: float = 0.0
    momentum: float = 0.0


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Facts:
    """All of it. What could not be measured has its default, which no rule takes offence at."""

    inputs: Mapping[str, Values] = field(default_factory=dict)
    target: Target = field(default_factory=Target)
    output: Output = field(default_factory=Output)
    loss: LossFacts = field(default_factory=LossFacts)
    layers: tuple[LayerFacts, ...] = ()  # in the order in which samples go through them
    unused: tuple[str, ...] = ()  # modules with weights that no sample goes through
    unreached: tuple[str, ...] = ()  # weights that can learn and get no gradient
    optimizer: OptimizerFacts = field(default_factory=OptimizerFacts)
    data: DataFacts = field(default_factory=DataFacts)
    heart: Heart = field(default_factory=Heart)
    device: DeviceTest = field(default_factory=DeviceTest)
    invariance: Invariance = field(default_factory=Invariance)
    cost: Cost = field(default_factory=Cost)
    mixed: float = 0.0  # how far one sample's output changes with another sample, in deviations of the output
    bent: float = math.nan  # how far the model is from a linear map, relative; NaN where that was not measured
    signal: float = math.nan  # what simple models get of the way from guessing to right answers; NaN until it is asked
    signal_error: float = math.nan
    reached: float = math.nan  # what the network itself gets of that way, at the end, on samples it has seen
    monitor: str = ""  # what decides which weights are best
    batch_size: int = 0
    micro_batch: int = 0
    clip: float = math.inf  # largest norm of the gradient
    steps: int = 0  # of the whole budget
    per_epoch: int = 0
    samples: int = 0  # training
    precision: str = "float32"
    seconds: float = 0.0  # the examination took
