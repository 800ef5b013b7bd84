"""The second look at training samples, where little is learned and at the end: what simple models make of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from trainwright.core.facts import Facts
from trainwright.engine.labels import labels_of
from trainwright.engine.signal import signal_of
from trainwright.rules.diagnosis import Diagnosis

_NOTABLE = 0.01  # of the labels of which a simple model is sure: fewer that contradict it are not written down


@dataclass(frozen=True, slots=True)
class Samples:
    """Some of those that are trained on.

    Args:
        inputs: (N, …).
        target: (N, …).
        place: where the sample of a number is, for a person.
    """

    inputs: Tensor
    target: Tensor
    place: Callable[[int], str] = "sample {:,}".format


def second_look(
    diagnosis: Diagnosis, facts: Facts, over: bool, samples: Callable[[], Samples | None], reach: Callable[[], float]
) -> Facts | None:
    """The facts with what there is to learn, and whether labels are to be believed; None where neither is asked.

    Args:
        diagnosis: knows what is asked.
        facts: of the training.
        over: it has come to its end.
        samples: gives them; None where there is not one input and one target.
        reach: what the network gets of the way from guessing to right answers, on samples it has seen.
    """
    puzzled, far = diagnosis.puzzled(over), over and diagnosis.far()
    unsure = over and diagnosis.unsure()
    got = reach() if far or unsure else math.nan
    asked = puzzled or (far and math.isfinite(got) and diagnosis.doubtful(got))
    some = samples() if asked or unsure else None
    told = facts
    if asked:
        share, error = facts.signal, facts.signal_error
        if some is not None and math.isnan(share):
            share, error = signal_of(some.inputs, some.target)
        told = replace(told, signal=share, signal_error=error, reached=got if far else math.nan)
    if unsure and some is not None:
        labels = labels_of(some.inputs, some.target, some.place)
        if labels.against > _NOTABLE * labels.sure:
            told = replace(told, data=replace(told.data, labels=replace(labels, learned=got)))
    return told if told is not facts else None
