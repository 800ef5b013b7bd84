"""Language models of characters on Tiny Shakespeare."""

from __future__ import annotations

from benchmarks.quality.shows import Show

_NOTE = (
    "nats per character; the last tenth of the records (111,644 characters) in windows of 128 without an overlap, "
    "every character counted"
)

SHOWS = (
    Show(
        "Tiny Shakespeare, 3 minutes",
        "examples/shakespeare_gpt.toml",
        "valid/loss",
        1.88,
        better="lower",
        minutes=3,
        changes={"budget": "150 seconds"},
        note=_NOTE,
    ),
    Show(
        "Tiny Shakespeare, 10 minutes",
        "examples/shakespeare_gpt.toml",
        "valid/loss",
        1.70,
        better="lower",
        minutes=10,
        changes={"budget": "540 seconds"},
        note=_NOTE,
    ),
)
