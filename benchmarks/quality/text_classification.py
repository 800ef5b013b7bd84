"""Sentiment of film reviews, without pretraining."""

from __future__ import annotations

from benchmarks.quality.shows import Show

SHOWS = (
    Show(
        "SST-2, sentences",
        "examples/sst2_text_cnn.toml",
        "test/accuracy",
        0.82,
        minutes=4,
        note="6,920 sentences for training, 872 for validation, 1,821 for the test, as its authors split them",
    ),
    Show(
        "rotten_tomatoes",
        "examples/rotten_tomatoes_text_cnn.toml",
        "test/accuracy",
        0.76,
        minutes=4,
        note="8,530, 1,066 and 1,066 of the 10,662 sentences, drawn by the seed, every class in its proportion",
    ),
)
