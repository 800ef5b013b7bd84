"""What is measured of the records before the first step: how they belong together, and what tells what."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pydantic import ConfigDict, with_config

_numbers = ConfigDict(ser_json_inf_nan="strings")


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Twins:
    """Held-out samples that lie much nearer to a training sample than samples of these data do, and are no copies."""

    part: str = ""  # of the data
    looked: int = 0  # samples of it that were compared
    near: int = 0  # of these
    agreeing: int = 0  # near ones whose target is their neighbour's; all of them where there are no targets
    within: float = math.nan  # the share of the distance to the tenth neighbour that counts as near
    pairs: tuple[tuple[str, str], ...] = ()  # places of a few, with their neighbours'


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Teller:
    """The input that by itself tells most of the target, on samples left out."""

    column: str = ""
    named: bool = False  # a person gave the columns names: it is a table
    columns: int = 0  # in all
    rows: int = 0  # looked at
    share: float = math.nan  # of the way from guessing to right answers, by it alone
    rest: float = math.nan  # likewise, of all others together; NaN unless the first is nearly 1
    rest_error: float = math.nan  # of that, a standard error


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Kin:
    """A field that says which records belong together, or when they were, and the split does not heed."""

    field: str = ""
    groups: int = 0  # different values
    shared: float = 0.0  # of the held-out records: of a group that is trained on, or between training records in time
    alike: float = math.nan  # classes: how often two neighbours within a group, or in time, agree; numbers: correlation
    chance: float = math.nan  # that of two records at random
    error: float = math.nan  # of alike, a standard error
    fed: bool = False  # the network gets the field as an input


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Order:
    """How the targets follow each other in the order in which they are trained on, where nothing shuffles them."""

    rows: int = 0
    alike: float = math.nan  # classes: share of neighbours that agree; numbers: their correlation
    chance: float = math.nan  # of two records at random
    error: float = math.nan
    single: float = 0.0  # share of the batches that hold one class alone


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Conflict:
    """Training samples with the same inputs and different targets."""

    rows: int = 0
    classes: int = 0
    conflicting: int = 0  # samples whose twin has another target
    best: float = 1.0  # share of the samples that any function of the inputs can say right
    guess: float = 0.0  # share of the largest class


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Code:
    """A number that stands far from all others of its column again and again: perhaps it means "missing"."""

    column: str = ""
    value: float = math.nan
    count: int = 0
    rows: int = 0
    low: float = math.nan  # of all others
    high: float = math.nan


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class Labels:
    """How labels stand to the answers of a simple model that never saw them; asked at the end of a training."""

    rows: int = 0  # training samples
    wrong: int = 0  # of these, whose label is not the answer
    sure: int = 0  # the half of them of which the model is surest
    against: int = 0  # of that half, whose label is not the answer
    surest: int = 0  # of these, in the surer half of that half
    guess: float = 0.0  # share of the rows that are not of the largest class
    cleanest: float = 1.0  # of the sure answers of the class that labels contradict least: share, the 95 % upper bound
    learned: float = math.nan  # of the way from guessing to these labels: what the network gets
    shown: tuple[str, ...] = ()  # places of a few, those that are contradicted most clearly


@with_config(_numbers)
@dataclass(frozen=True, slots=True)
class DataFacts:
    """All of it. What was not measured has its default, which no rule takes offence at."""

    twins: Twins = field(default_factory=Twins)
    teller: Teller = field(default_factory=Teller)
    group: Kin = field(default_factory=Kin)
    time: Kin = field(default_factory=Kin)
    order: Order = field(default_factory=Order)
    conflict: Conflict = field(default_factory=Conflict)
    code: Code = field(default_factory=Code)
    labels: Labels = field(default_factory=Labels)
    repeated: tuple[tuple[str, str], ...] = ()  # columns that are one another's copies
