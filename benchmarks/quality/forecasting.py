"""Forecasts of the series that papers compare on, and of two that everybody knows."""

from __future__ import annotations

from benchmarks.quality.shows import Show

_NOTE = (
    "mean squared error of all seven variables, scaled by the training part; 8,640, 2,880 and 2,880 hours; every "
    "window of the test part counts (2,881 less the horizon); the checkpoint of four is chosen by the validation "
    "part; published for NLinear by Zeng et al. 2023"
)
_PATCHES = (
    "the same windows; published by Nie et al. 2023 for 336 hours of context: 0.375, by a program that leaves out"
    " the last windows; 3 % more are wanted"
)
_MEDIAN = "mean absolute error of the median, in deviations of the training part"
_PUBLISHED = {96: 0.374, 192: 0.408, 336: 0.429, 720: 0.440}
_WANTED = {96: 0.380, 192: 0.413, 336: 0.437, 720: 0.455}

SHOWS = (
    *(
        Show(
            f"ETTh1, {horizon} hours",
            "examples/etth1_nlinear.toml",
            "test/mse",
            wanted,
            better="lower",
            minutes=2,
            changes={"task.horizon": horizon},
            note=f"{_NOTE}: {_PUBLISHED[horizon]:.3f}",
        )
        for horizon, wanted in _WANTED.items()
    ),
    Show(
        "PatchTST, 96 hours of ETTh1",
        "examples/etth1_patchtst.toml",
        "test/mse",
        0.375 * 1.03,
        better="lower",
        minutes=15,
        note=_PATCHES,
    ),
    Show(
        "airline passengers",
        "examples/airline_nlinear.toml",
        "test/mae",
        "seasonal_naive",
        better="lower",
        minutes=1,
        note=f"{_MEDIAN}; 12 months from 24, the last 24 months",
    ),
    Show(
        "minimum temperatures",
        "examples/temperatures_dlinear.toml",
        "test/mae",
        "seasonal_naive",
        better="lower",
        minutes=2,
        note=f"{_MEDIAN}; 7 days from 365, the last two years; the season is a year",
    ),
)
