"""Series that papers compare forecasts on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainwright.core.kinds import sets
from trainwright.data.published import File, PublicSet

_ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv"
_UNIVARIATE = "https://raw.githubusercontent.com/jbrownlee/Datasets/master/"


@sets.add("etth1")
def etth1() -> PublicSet:
    """The oil temperature of an electricity transformer and six loads, hourly, 2016-07 to 2018-06: 17,420 times.

    Divided as papers do: 12 months of 30 days for training, 4 for validation, 4 for the test; the last 3,020 hours are
    not used.

    Licence: CC BY-ND 4.0.

    Source: Zhou et al. 2021, "Informer: beyond efficient Transformer for long sequence time-series forecasting"; copy
    of github.com/zhouhaoyi/ETDataset.
    """
    sha256 = "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"
    parts = {"train": [0, 8640], "valid": [8640, 11520], "test": [11520, 14400]}
    file = File("ETTh1.csv", 2589657, sha256, (_ETT,))
    return PublicSet("series", (file,), {"path": file.name}, split={"ranges": parts})


@sets.add("airline_passengers")
def airline_passengers() -> PublicSet:
    """Passengers of international airlines, in thousands, each month from 1949 to 1960: 144 times.

    Licence: none is stated; published statistics.

    Source: Box & Jenkins 1970, "Time series analysis: forecasting and control"; copy of github.com/jbrownlee/Datasets.
    """
    sha256 = "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621"
    return _univariate("airline-passengers.csv", 2180, sha256, {"valid": 24, "test": 24})


@sets.add("minimum_temperatures")
def minimum_temperatures() -> PublicSet:
    """The lowest temperature of each day in Melbourne, 1981 to 1990, in degrees Celsius: 3,650 times.

    The last days of the leap years 1984 and 1988 are missing, and marked so.

    Licence: none is stated; published statistics.

    Source: Australian Bureau of Meteorology; copy of github.com/jbrownlee/Datasets.
    """
    sha256 = "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da"
    return _univariate("daily-min-temperatures.csv", 67921, sha256, {"valid": 365, "test": 730}, gaps="mark")


def _univariate(name: str, size: int, sha256: str, split: Mapping[str, Any], gaps: str = "error") -> PublicSet:
    file = File(name, size, sha256, (_UNIVARIATE + name,))
    options = {"path": name, "gaps": gaps}
    return PublicSet("series", (file,), options, split=split, folder="univariate_series")
