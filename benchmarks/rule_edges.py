"""Patients beside those that rules bring along: at the edges of their clauses, with what must be said of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainwright.core.data_facts import DataFacts, Labels, Order
from trainwright.core.events import StepSkipped, advance
from trainwright.core.facts import Facts, LossFacts, Output, Target, Values
from trainwright.core.finding import Evidence
from trainwright.core.trial_facts import DeviceTest, Heart, Invariance
from trainwright.rules.patients import patient

Edge = tuple[str, Evidence, str]  # (what it is, the patient, the severity that must be said; "" for silence)
_LOSS = LossFacts("cross_entropy", "logits", 2.3, 2.3)
_LABELS = Labels(1000, 110, 500, 50, 24, 0.5, 0.13, math.nan, ("record 7",))


def _heart(steps: int, start: float, reached: float) -> Evidence:
    return patient(Facts(heart=Heart(32, steps, start, reached, 1.0), loss=_LOSS))


def _device(error: float) -> Evidence:
    return patient(Facts(device=DeviceTest("cuda", "float32", "matrix product", error, 1e-5)))


def _ways(**found: float) -> Evidence:
    return patient(Facts(precision="bfloat16", invariance=replace(Invariance(4, 0.0, 0.0, 0.0, 0.0), **found)))


def _labels(accuracy: float | None = None, **changed: float) -> Evidence:
    evals = {300: {"accuracy": accuracy}} if accuracy is not None else None
    facts = Facts(data=DataFacts(labels=replace(_LABELS, **changed)), loss=LossFacts(guess=0.69))  # type: ignore[arg-type]
    return patient(facts, [0.4] * 300, evals=evals, over=True)


def _order(alike: float, chance: float, error: float, single: float) -> Evidence:
    return patient(Facts(data=DataFacts(order=Order(500, alike, chance, error, single))))


def _far(outlying: float, loss: float, targets: bool = False, name: str = "mse") -> Evidence:
    values = Values((2,), outlying=outlying, outlier_at="record 7", high=outlying)
    of = LossFacts(name, "numbers", 1.0, 1.0)
    facts = Facts(target=Target(values, "numbers"), loss=of) if targets else Facts(inputs={"x": values}, loss=of)
    return patient(facts, [loss] * 300, over=True)


def _ends(
    last: str, wants: str, low: float, high: float, *, loss: float = 1.0, shape: tuple[int, ...] = (3,),
    reach: tuple[float, float] = (-math.inf, math.inf), coding: str = "classes",
) -> Evidence:  # fmt: skip
    output = Output(Values(shape, low=low, high=high), last, reach=reach)
    facts = Facts(
        output=output,
        target=Target(Values(), coding),  # type: ignore[arg-type]
        loss=LossFacts("cross_entropy", wants, 1.1, 1.0),
    )
    return patient(facts, [loss] * 300, over=True)


def _skipped(count: int) -> Evidence:
    evidence = patient(losses=[1.0] * 30)
    for step in range(10, 10 + count):
        advance(evidence.view, StepSkipped(step, "the loss was NaN", math.nan, math.nan, 8, (1, 2)))
    return evidence


EDGES: Mapping[str, Sequence[Edge]] = {
    "batch_not_learned": (
        ("hardly below guessing", _heart(600, 2.3, 2.25), "warning"),
        ("too few steps to tell", _heart(60, 2.3, 2.3), ""),
        ("clearly below guessing", _heart(600, 2.3, 1.9), ""),
        ("from far above guessing down to it, which is learning", _heart(600, 9.0, 2.4), ""),
        ("from far below guessing, where little is left", _heart(600, 0.5, 0.49), ""),
    ),
    "device_miscounts": (
        ("beyond what rounding explains", _device(1.1e-5), "error"),
        ("within it", _device(0.9e-5), ""),
    ),
    "pieces_differ": (
        ("two hundredths", _ways(cut=0.02), "warning"),
        ("a kink that falls otherwise", _ways(cut=2e-3), ""),
        ("not measured", _ways(cut=math.nan), ""),
    ),
    "precision_too_coarse": (
        ("the gradient alone", _ways(precision=0.6), "warning"),
        ("the loss alone", _ways(precision_loss=0.06), "warning"),
        ("neither", _ways(precision=0.4, precision_loss=0.04), ""),
    ),
    "noisy_labels": (
        ("one in ten, everywhere", _labels(), "warning"),
        ("few, and perhaps chance", _labels(against=12, surest=6, wrong=20), ""),
        ("the simple model knows little", _labels(wrong=260), ""),
        ("most errors lie where it is not sure", _labels(wrong=200), ""),
        ("more where it is less sure of the sure ones", _labels(surest=12), ""),
        ("a class has none", _labels(cleanest=0.05), ""),
        ("not asked", _labels(sure=0), ""),
        ("none is wrong", _labels(wrong=0, against=0), ""),
        ("the network is right about all labels, of others too", _labels(0.99, learned=0.99), ""),
        ("the network knows its own samples by heart", _labels(0.8, learned=0.99), "warning"),
        ("the network is right about others, and not about these", _labels(0.99, learned=0.8), "warning"),
    ),
    "sorted_targets": (
        ("whole batches of one class", _order(0.99, 0.34, 0.02, 0.8), "error"),
        ("neighbours alike, batches mixed", _order(0.9, 0.34, 0.02, 0.1), "warning"),
        ("a little alike", _order(0.6, 0.34, 0.02, 0.0), ""),
        ("too few to tell", _order(0.99, 0.34, 0.2, 0.8), ""),
    ),
    "absurd_values": (
        ("a target far away", _far(150, 1.0, targets=True), "error"),
        ("a usual tail", _far(60, 1.0), ""),
        ("learned all the same", _far(150, 0.3), ""),
    ),
    "output_contradicts_loss": (
        ("softmax twice, and nothing is learned", _ends("softmax", "logits", 0, 1, reach=(0, 1)), "error"),
        ("softmax twice, and it learns", _ends("softmax", "logits", 0, 1, loss=0.4, reach=(0, 1)), "warning"),
        ("ReLU before logits", _ends("relu", "logits", 0, 3, loss=0.4, reach=(0, math.inf)), "warning"),
        ("tanh before logits, which is allowed", _ends("tanh", "logits", -1, 1, loss=0.4), ""),
        ("raw numbers as probabilities", _ends("linear", "probabilities", -2, 3), "error"),
        ("raw numbers that happen to be between 0 and 1", _ends("linear", "probabilities", 0.2, 0.8), "error"),
        ("numbers cut to 0 and 1 by hand", _ends("clamp", "probabilities", 0.0, 1.0), ""),
        ("numbers above 1", _ends("exp", "probabilities", 0.2, 1.8), "error"),
        ("numbers below 0", _ends("sub", "probabilities", -0.2, 0.8), "error"),
        ("a softmax, as is right", _ends("softmax", "probabilities", 0, 1, reach=(0, 1)), ""),
        ("sigmoids of which one is right", _ends("sigmoid", "probabilities", 0, 1, loss=0.4, reach=(0, 1)), "note"),
        ("the same, and nothing is learned", _ends("sigmoid", "probabilities", 0, 1, reach=(0, 1)), "error"),
        (
            "sigmoids of which several may be",
            _ends("sigmoid", "probabilities", 0, 1, reach=(0, 1), coding="several"),
            "",
        ),
        ("one sigmoid", _ends("sigmoid", "probabilities", 0, 1, shape=(1,), reach=(0, 1)), ""),
        ("raw numbers as logarithms", _ends("linear", "log_probabilities", -2, 3), "error"),
        ("logarithms by hand", _ends("sub", "log_probabilities", -9, 0), ""),
        ("log_softmax, as is right", _ends("log_softmax", "log_probabilities", -9, 0.1), ""),
        ("nothing is known of the end", _ends("", "probabilities", -2, 3), ""),
    ),
    "not_finite_steps": (
        ("one step", _skipped(1), "warning"),
        ("three steps", _skipped(3), "warning"),
        ("four steps", _skipped(4), "error"),
        ("a loop that took such a step", patient(losses=[1.0, math.nan, 1.0]), "error"),
        ("a usual loop", patient(losses=[1.0, 0.9, 0.8]), ""),
    ),
}
