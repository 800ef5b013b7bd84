"""Batch norm over a handful of samples."""

from __future__ import annotations

import math

from trainwright.core.facts import Facts, LayerFacts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import failing, gravity, number, standing

_FEW, _APART = 4, 1.5
_NORMS = {"batchnorm1d", "batchnorm2d", "batchnorm3d"}


def check(evidence: Evidence) -> Finding | None:
    """Statistics of four samples and fewer, where nothing is learned, or validation is far worse than training."""
    facts = evidence.facts
    norms = [layer.name for layer in facts.layers if layer.kind in _NORMS]
    size = facts.micro_batch or facts.batch_size
    if not norms or not 0 < size <= _FEW:
        return None
    bad, now = failing(evidence), standing(evidence)
    valid = [e.metrics.get("loss", math.nan) for e in evidence.view.evals if e.part == "valid"][-1:]
    apart = bool(now and valid and evidence.over and valid[0] > _APART * now.loss and valid[0] > now.guess)
    if bad is None and not apart:
        return None
    told = f"and {bad.outcome}" if bad else ""
    if bad is None and now is not None:
        told = (
            f"and validation, where running means are used, has a loss of {number(valid[0])} beside {number(now.loss)}"
        )
    return Finding(
        rule="batch_norm_of_few",
        severity=gravity(evidence) if bad else "warning",
        what=f"{len(norms)} batch norms take their mean and deviation from {size} samples at a time, {told}",
        where=norms[0],
        evidence={
            "samples": size,
            "batch norms": len(norms),
            **({"validation loss": valid[0]} if valid else {}),
            **(bad.numbers if bad else {}),
        },
        why="The mean of so few samples is mostly noise, and not what the running means are that answer afterwards.",
        fixes=(
            Patch({"batch_size": 32, "micro_batch": 32}),
            Advice("use a norm that looks at one sample: group norm or layer norm"),
        ),
    )


@rules.add("batch_norm_of_few")
def batch_norm_of_few() -> Rule:
    """Batch norm over four samples or fewer at a time.

    Said where nothing is learned, or where at the end the validation loss is worse than guessing and half as much again
    as the training loss.
    """
    facts = Facts(layers=(LayerFacts("bn", "batchnorm2d", 8),), batch_size=2, loss=LossFacts(guess=1.0, start=1.0))
    return Rule(
        "batch_norm_of_few",
        check,
        sick=lambda: patient(facts, [0.3] * 300, evals={300: {"loss": 2.5}}, over=True),
        healthy=lambda: patient(facts, [0.3] * 300, evals={300: {"loss": 0.35}}, over=True),
        causes=("not_finite_data", "constant_target", "constant_input"),
    )
