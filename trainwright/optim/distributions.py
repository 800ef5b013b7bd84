"""Losses over whole distributions: NLL from log-probabilities, and the divergence from a target distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from trainwright.core.criterion import Criterion
from trainwright.core.errors import UserError
from trainwright.core.kinds import losses
from trainwright.optim.measures import ClassWeights, Counted, classes, counted_by, own_sum, wide

Form: TypeAlias = Literal["probabilities", "log_probabilities", "logits"]
_FAR = 0.5  # of a sum of probabilities from 1, as a logarithm: far beyond rounding, and less than two logits of 0 have


@losses.add("nll")
def nll(*, class_weights: ClassWeights = None, ignore_index: int = -100) -> Criterion:
    """Minus the log-probability of the true class, from log-probabilities (N, C, …) and class numbers (N, …).

    For models that end in a log-softmax; for logits take cross_entropy. Logits given here would have no lowest loss,
    so the first batch is looked at: its probabilities must add up to 1. A sample with several positions adds them up.

    Args:
        class_weights: how much each class counts, in the order of the labels; all alike where it is left out;
            "balanced" weighs each by samples / (classes · its samples), counted in the training part. The loss is
            divided by the sum of the weights of its targets.
        ignore_index: a class number that does not count.
    """
    made = classes(counted_by(class_weights, ignore_index, "loss.class_weights"), 0.0, logs=True)
    return replace(made, each=First(_of_log_probabilities, made.each))


@losses.add("kl")
def kl(*, target: Form = "probabilities") -> Criterion:
    """Kullback-Leibler divergence KL(target || model), from the model's logits (N, C, …) and a target of that shape.

    The model's output goes through a softmax over the classes (log-probabilities are left as they are by it). A
    sample's classes are added up, and its positions too: it weighs as many as it has. Class numbers as targets are
    for cross_entropy.

    Args:
        target: what the target holds over its C classes: probabilities, their logarithms, or logits (of a teacher).

    Source: Kullback & Leibler 1951, "On information and sufficiency".
    """
    return Criterion(First(partial(_is_form, target), partial(_kl, target)), "classes", Counted(None, -100))


@final
class First:
    """A measure whose first batch is checked, which waits for the device once."""

    def __init__(self, check: Callable[[Tensor, Tensor], None], measure: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.check, self.measure, self.done = check, measure, False

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """(N,) what the measure gives."""
        each = self.measure(output, target)  # first: it says which shapes do not fit
        if not self.done and output.numel():
            self.check(output.detach(), target)
            self.done = True
        return each


def _of_log_probabilities(output: Tensor, target: Tensor) -> None:
    sums = wide(output).logsumexp(1).flatten()
    worst = float(sums[sums.abs().argmax()])  # the wait; NaN is the engine's to tell
    if abs(worst) > _FAR:
        what = f"the model's output is no logarithm of probabilities: those of one sample add up to e^{worst:.3g}"
        raise UserError("loss", what, "end the model with a log-softmax, or use 'cross_entropy' for logits")


def _is_form(form: Form, output: Tensor, target: Tensor) -> None:
    target = wide(target)
    if form == "logits":
        return  # any numbers are
    share = target if form == "probabilities" else target.exp()
    if bool((share < 0).any() | (share.sum(1).log().abs().max() > _FAR)):  # the wait
        what = f"the target does not hold {form.replace('_', '-')}: over the classes they must add up to 1"
        others = " or ".join(f'target = "{f}"' for f in ("probabilities", "log_probabilities", "logits") if f != form)
        raise UserError("loss.target", what, f"give what it says, or write {others}")


def _kl(form: Form, output: Tensor, target: Tensor) -> Tensor:
    if not target.is_floating_point() or target.shape != output.shape or output.ndim < 2:
        what = f"the target has shape {tuple(target.shape)} ({str(target.dtype).removeprefix('torch.')})"
        instead = f"kl needs a distribution of the output's shape {tuple(output.shape)}; class numbers: 'cross_entropy'"
        raise UserError("loss", what, instead)
    output = wide(output)
    target = target.to(output.dtype)
    match form:
        case "probabilities":
            logs = target.log()
        case "log_probabilities":
            logs = target
        case "logits":
            logs = target.log_softmax(1)
    share = target if form == "probabilities" else logs.exp()
    terms = torch.where(share > 0, share * (logs - output.log_softmax(1)), 0.0)  # 0 log 0 is 0
    return own_sum(terms.sum(1))
