"""Five small, complete tasks that prove the core types: detection, speech, translation, text, forecasting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from tests.sketches import ctc, detection, forecasting, language, seq2seq
from trainwright.core.task import Record, Task


class Sketch(NamedTuple):
    """A task with all that is needed to train it."""

    name: str
    make: Callable[[], Task[Any]]
    model_for: Callable[[Mapping[str, Any]], nn.Module]
    records: Callable[..., list[Record]]  # (n, seed)
    unlabelled: Callable[[Record], Record]
    lr: float  # of AdamW
    steps: int  # at 16 samples that beat the baseline by far
    windowed: bool = False

    def __repr__(self) -> str:
        return self.name


SKETCHES: Sequence[Sketch] = (
    Sketch("detection", detection.Detection, detection.model_for, detection.records, detection.unlabelled, 1e-2, 60),
    Sketch("ctc", ctc.Recognition, ctc.model_for, ctc.records, ctc.unlabelled, 1e-2, 60),
    Sketch("seq2seq", seq2seq.Translation, seq2seq.model_for, seq2seq.records, seq2seq.unlabelled, 1e-2, 90),
    Sketch("language", language.Language, language.model_for, language.records, language.unlabelled, 1e-2, 60, True),
    Sketch(
        "series",
        forecasting.Forecasting,
        forecasting.model_for,
        forecasting.records,
        forecasting.unlabelled,
        1e-2,
        60,
        True,
    ),
)
