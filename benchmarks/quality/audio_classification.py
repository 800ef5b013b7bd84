"""Spoken digits, on the split of their authors and with speakers who are heard in the test alone."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.shows import Show

_APART: dict[str, Any] = {
    "budget": "6 epochs",
    "data.split": "grouped",
    "data.group": "speaker",
    "data.valid": 500,
    "data.test": 500,
}

SHOWS = (
    Show(
        "FSDD, its authors' split",
        "examples/fsdd_cnn.toml",
        "test/accuracy",
        0.98,
        minutes=4,
        note="the first five recordings of each digit and speaker are the test part (300), as its authors say; a tenth "
        "of the others chose the checkpoint",
    ),
    Show(
        "FSDD, a speaker held out, 6 epochs",
        "examples/fsdd_cnn.toml",
        "test/accuracy",
        0.0,  # no aim of its own: it is only recorded
        minutes=4,
        changes=_APART,
        note="500 recordings of a speaker who is heard in the test alone, those of another chose the checkpoint; four "
        "speakers to learn from; the seed draws who",
    ),
)
