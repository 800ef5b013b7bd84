"""Captions of pictures from German into English and back, without pretraining."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.shows import Show

_NOTE = (
    "sacreBLEU of the captions as they stand in the data, cased (13a, exp), by a beam search; 29,000 pairs for "
    "training, 1,014 for validation, test_2016_flickr"
)
_AT = "multi30k_en_de/"
_TURNED: dict[str, Any] = {
    "data.path": f"{_AT}train.en.gz",
    "data.languages": '["en", "de"]',
    "data.valid": f"{_AT}val.en.gz",
    "data.test": f"{_AT}test_2016_flickr.en.gz",
}

SHOWS = (
    Show(
        "Multi30k, German to English",
        "examples/multi30k_transformer.toml",
        "test/bleu",
        25.0,
        minutes=30,
        changes={"budget": "20 minutes"},
        note=_NOTE,
    ),
    Show(
        "Multi30k, English to German",
        "examples/multi30k_transformer.toml",
        "test/bleu",
        0.0,  # no aim of its own: it is only recorded
        minutes=30,
        changes={"budget": "20 minutes", **_TURNED},
        note=_NOTE,
    ),
)
