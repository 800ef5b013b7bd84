"""Supervised learning of a person's own: any module, arrays for inputs and targets, any loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.kinds import tasks
from trainwright.core.rows import Encoded, Rows
from trainwright.core.task import (
    JSON,
    Baseline,
    Classes,
    Compared,
    Loss,
    Metric,
    Numbers,
    Outputs,
    Progress,
    Record,
    Task,
)
from trainwright.data.plain import Fields, Meaning
from trainwright.metrics import baselines, classes, numbers
from trainwright.optim.losses import (
    LossSpec,
    applies,
    criterion_of,
    first_tensor,
    is_known,
    must_be_probabilities,
    refuse_twice,
    wants_probabilities,
)


@tasks.add("supervised")
@final
class Supervised(Task[Fields]):
    """Any model on arrays: ``{"x": …, "y": …}``, one shape per field, compared by any loss.

    Floats become 32 bits wide, whole numbers 64. The model returns a tensor; or a mapping or a tuple, whose first
    tensor is the output. A person's own loss gets what the model returned, and a mapping where there are several
    targets; without targets it gets the first input in their place, as an autoencoder needs it.

    Args:
        loss: a name, a table {name, options}, one of torch's loss modules or functions, or a callable
            (output, target) that returns one number per sample, or their mean.
        inputs: fields that the model gets, in this order.
        targets: fields that the loss compares with; one for every loss by name.
        call: how the model gets its inputs, by position or by name.
    """

    def __init__(
        self,
        *,
        loss: LossSpec,
        inputs: tuple[str, ...] = ("x",),
        targets: tuple[str, ...] = ("y",),
        call: Literal["positional", "keyword"] = "positional",
    ) -> None:
        if not inputs:
            raise UserError("task.inputs", "a model needs an input at least", 'write inputs = ["x"]')
        if both := set(inputs) & set(targets):
            raise UserError("task.targets", f"'{min(both)}' is an input as well", "leave it out of one")
        self.inputs, self.targets, self.call = inputs, targets, call
        self.criterion = criterion_of(loss, "task.loss")
        self._known, self._applied, self._unseen = is_known(loss), applies(loss), wants_probabilities(loss)
        if self._known and len(targets) > 1:
            what = f"this loss compares with one target, not with {len(targets)}"
            raise UserError("task.targets", what, "name one, or give a callable (output, {name: target})")
        meaning: Meaning = self.criterion.expects if self._known else "own"
        if wants_probabilities(loss):
            meaning = "probability"
        if not targets and meaning not in ("numbers", "own"):
            raise UserError("task.targets", f"{loss!r} needs a target", 'write targets = ["y"]')
        self.processor = Fields(inputs, targets, meaning, self.criterion)

    @property
    def monitor(self) -> str:
        """Accuracy for classes and for yes or no, else the loss."""
        return "accuracy" if self.processor.meaning in ("classes", "binary", "probability") else "loss"

    def strata(self, record: Record) -> str | None:
        """The target, where it is a class, or yes or no."""
        value = record.get(self.targets[0]) if self.targets else None
        yes_or_no = self.processor.meaning in ("binary", "probability") and isinstance(value, bool | int)
        one = self.processor.meaning == "classes" and isinstance(value, bool | int | float | np.number)
        return self.targets[0] if one or yes_or_no else None

    def weigh(self, targets: Mapping[str, Tensor]) -> Tensor:
        """The weight (0-d) that a batch of these targets has, for batches that a foreign loader made."""
        return self.processor.weigh(targets)

    def sizes(self) -> dict[str, JSON]:
        """``inputs`` (numbers of all inputs), ``outputs``; of one input (C, H, W) also ``channels`` and ``size``.

        ``expects`` says what the loss compares with, where that is known and the loss itself makes it of the outputs.
        """
        plain = self.processor.plain
        shapes = [plain[n].shape for n in self.inputs]
        sizes: dict[str, JSON] = {"inputs": sum(math.prod(s) for s in shapes)}
        if len(shapes) == 1 and len(shapes[0]) == 3:
            channels, height, width = shapes[0]
            sizes |= {"channels": channels, "size": [height, width]}
        if self.processor.meaning in ("classes", "binary", "numbers"):
            sizes["expects"] = self.processor.meaning
        truth = plain[(*self.targets, *self.inputs)[0]].shape
        return {**sizes, "outputs": max(self.processor.classes, 2) if self._classes else math.prod(truth)}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """What the model says, compared with the targets."""
        said: Any = self._say(model, batch)
        output = first_tensor(said)
        if not self._known:
            own = self.criterion.each(said, self._truths(batch))
            return Loss(own.sum(), {"output": output.detach()}, own.detach())
        if self._applied and output.requires_grad:
            refuse_twice(output, self._applied)
            self._applied = ""  # one look is enough
        if self._unseen:
            must_be_probabilities(output)
            self._unseen = False
        truth = self._truth(batch)
        if self._classes:
            self._check_classes(output, truth)
        total, each = self.criterion.summed(output, truth)
        weights = self.criterion.weights(truth) if self.targets else None
        if self._classes:
            return Loss(total, {"logits": output.detach()}, each, weights=weights)
        name = "value" if self.processor.meaning == "numbers" else "logits"
        return Loss(total, {name: output.detach().reshape(truth.shape)}, each, weights=weights)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``probabilities`` (N, C), ``probability`` of yes, or ``value``: the model's first tensor."""
        output = first_tensor(self._say(model, batch))
        match self.processor.meaning:
            case "classes":
                return {"probabilities": output.softmax(1)}
            case "binary":
                return {"probability": output.sigmoid()}
            case "probability":
                return {"probability": output}
            case _:
                return {"value": output}

    def compared(self) -> Compared | None:
        """Classes, yes or no as two of them, or numbers; None for a loss of a person's own."""
        match self.processor.meaning:
            case "classes":
                names = tuple(map(str, range(self.processor.classes)))
                return Classes(lambda outputs: outputs["logits"], self._class, names)
            case "binary":
                return Classes(lambda outputs: _odds(outputs["logits"]), self._yes, ("0", "1"))
            case "probability":
                return Classes(lambda outputs: _shares(outputs["logits"]), self._yes, ("0", "1"))
            case "numbers":
                centre = tuple(self.processor.centre) or (0.0,)
                return Numbers(lambda outputs: outputs["value"], self._truth, centre=centre)
            case _:
                return None

    def metrics(self) -> dict[str, Metric]:
        """By what the loss compares: accuracy; or errors and R². A person's own loss has none beside itself."""
        match self.compared():
            case Classes() as of:
                return {"accuracy": classes.accuracy(of)}
            case Numbers() as of:
                share = {"r2": numbers.r2(of)} if self.processor.centre else {}
                return {"rmse": numbers.rmse(of), "mae": numbers.mae(of), **share}
            case None:
                return {}

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The constant, and for one input the linear model, on at most 5,000 records and 256 of their numbers.

        None for losses of a person's own, autoencoders, and targets other than one class, yes or no, or numbers.
        """
        meaning, plain = self.processor.meaning, self.processor.plain
        truth = plain[self.targets[0]] if self.targets else None
        if truth is None or meaning == "own" or (meaning != "numbers" and math.prod(truth.shape) != 1):
            return {}
        fits = {"constant": lambda seconds: self._constant(train), "linear": lambda seconds: self._linear(train)}
        return fits if len(self.inputs) == 1 else {"constant": fits["constant"]}

    def _constant(self, train: Encoded) -> Baseline:
        _, y = baselines.read_part(train, lambda rows: (rows.ids, rows.dense(self.targets[0])), limit=100_000)
        if self.processor.meaning == "numbers":
            return baselines.Constant(y.double().mean(0))
        counts = torch.bincount(self._labels(y), minlength=self._many).clamp_min(1)
        return baselines.Constant(self._as_said(baselines.log_frequencies(counts.tolist()).unsqueeze(0))[0])

    def _linear(self, train: Encoded) -> Baseline:
        shape = self.processor.plain[self.inputs[0]].shape
        width = math.prod(shape)
        limit = min(baselines.rows_for(min(width, baselines.FEATURES), self._many), max(100, 2**24 // max(1, width)))
        x, y = baselines.read_part(train, self._flat, limit=limit)
        # numbers in a row may have a unit each; those of a picture or a series share one
        mean, deviation = baselines.scale_of(x if len(shape) < 2 else x.reshape(-1, 1))

        def scaled(*inputs: Tensor, **named: Tensor) -> Tensor:
            return (_flattened(*inputs, **named) - mean) / deviation

        if self.processor.meaning == "numbers":
            return baselines.ridge(scaled, scaled(x), y)
        labels = self._labels(y)
        if len(labels.unique()) < 2:
            return self._constant(train)
        counted = x[y.flatten() >= 0] if self._classes else x
        linear = baselines.logistic(scaled, scaled(counted), labels, self._many)
        logs = linear.said
        linear.said = lambda scores: self._as_said(logs(scores))
        return linear

    @property
    def _many(self) -> int:
        """Classes, of yes or no two."""
        return self.processor.classes if self._classes else 2

    def _labels(self, y: Tensor) -> Tensor:
        """(M,) the classes among targets (N, …), those that count."""
        labels = y.flatten().long() if self._classes else (y.flatten() > 0.5).long()
        return labels[labels >= 0]

    def _as_said(self, logs: Tensor) -> Tensor:
        """Log-probabilities (N, C) in the form of the model's output: logits, for yes or no of the target's shape."""
        if self._classes:
            return logs
        odds = (logs[:, 1] - logs[:, 0]).reshape(len(logs), *self.processor.plain[self.targets[0]].shape)
        return odds.sigmoid() if self.processor.meaning == "probability" else odds

    @property
    def _classes(self) -> bool:
        return self.processor.meaning == "classes"

    def _say(self, model: nn.Module, batch: Batch) -> Any:
        return model(*batch.inputs.values()) if self.call == "positional" else model(**batch.inputs)

    def _truth(self, batch: Batch) -> Tensor:
        """The one target; the first input where there is none."""
        return next(iter((batch.targets if self.targets else batch.inputs).values()))

    def _class(self, batch: Batch) -> Tensor:
        """(N, …) class numbers, of probabilities the likeliest."""
        truth = self._truth(batch)
        return truth.argmax(1) if truth.is_floating_point() else truth

    def _truths(self, batch: Batch) -> Any:
        """What a person's own loss compares with."""
        return dict(batch.targets) if len(self.targets) > 1 else self._truth(batch)

    def _check_classes(self, output: Tensor, truth: Tensor) -> None:
        """Enough outputs for the classes there are; without waiting for a device, where training records told them.

        Of records that were counted each target was looked at when it was encoded; of a loader's nobody has seen any.
        """
        if output.ndim < 2 or output.shape[1] < 2 or truth.is_floating_point():
            return  # the loss says what is wrong, if anything
        largest = self.processor.classes - 1
        if truth.is_cpu and truth.numel() and not self.processor.counts:
            least, most = map(int, torch.aminmax(truth))
            largest = max(largest, most)
            negative = truth[truth < 0] if least < 0 else truth[:0]
            if len(negative) and float(self.criterion.weight(negative)) != 0:
                raise UserError("loss", f"a class is {int(negative[0])}", "number the classes from 0")
        if largest >= output.shape[1]:
            what = f"the model gives {output.shape[1]} outputs, but there are classes up to {largest}"
            raise UserError("model", what, f"give it {largest + 1} outputs, or number the classes from 0")

    def _flat(self, rows: Rows) -> tuple[Tensor, Tensor]:
        return _flattened(rows.dense(self.inputs[0])), rows.dense(self.targets[0])

    def _yes(self, batch: Batch) -> Tensor:
        """1 where the target is above a half, 0 elsewhere."""
        return (self._truth(batch) > 0.5).long()


def _odds(odds: Tensor) -> Tensor:
    """(N, 2, …) logits of no and yes, from the log-odds of yes (N, …)."""
    return torch.stack([torch.zeros_like(odds), odds], 1)


def _shares(yes: Tensor) -> Tensor:
    """(N, 2, …) logits of no and yes, from the probability of yes (N, …)."""
    return torch.stack([torch.log1p(-yes), yes.log()], 1)


def _flattened(*inputs: Tensor, **named: Tensor) -> Tensor:
    """(N, F) float64 of the one input."""
    (x,) = (*inputs, *named.values())
    return x.double().reshape(len(x), -1)
