"""Supervised learning of a person's own: any module, arrays for inputs and targets, any loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.kinds import tasks
from trainwright.core.rows import Encoded, Rows
from trainwright.core.task import JSON, Loss, Metric, Outputs, Progress, Record, Task
from trainwright.data.plain import Fields, Meaning
from trainwright.metrics import baselines, numbers
from trainwright.optim.losses import LossSpec, criterion_of, first_tensor, is_known, wants_probabilities


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
        self._known = is_known(loss)
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
            each = self.criterion.each(said, self._truths(batch))
            return Loss(each.sum(), {"output": output.detach()}, each.detach())
        truth = self._truth(batch)
        if self._classes:
            self._check_classes(output, truth)
        each = self.criterion.each(output, truth)
        if self._classes:
            return Loss(each.sum(), {"logits": output.detach()}, each.detach())
        name = "value" if self.processor.meaning == "numbers" else "logits"
        return Loss(each.sum(), {name: output.detach().reshape(truth.shape)}, each.detach())

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

    def metrics(self) -> dict[str, Metric]:
        """By what the loss compares: accuracy; or errors and R². A person's own loss has none beside itself."""
        match self.processor.meaning:
            case "classes":
                return {"accuracy": numbers.accuracy(target=self._class)}
            case "binary":
                return {"accuracy": numbers.binary_accuracy(target=self._truth)}
            case "probability":
                return {"accuracy": numbers.binary_accuracy(target=self._truth, threshold=0.5)}
            case "numbers":
                centre = self.processor.centre
                share = {"r2": numbers.r2(target=self._truth, shift=centre)} if centre else {}
                return {"rmse": numbers.rmse(target=self._truth), "mae": numbers.mae(target=self._truth), **share}
            case _:
                return {}

    def baselines(self, train: Encoded, test: Encoded) -> dict[str, dict[str, float]]:
        """The constant, and where the input is one row of up to 1,024 numbers the linear model, on up to 20,000 rows.

        None for losses of a person's own, autoencoders, and targets other than one class, yes or no, or numbers.
        """
        meaning, plain = self.processor.meaning, self.processor.plain
        truth = plain[self.targets[0]] if self.targets else None
        if truth is None or meaning == "own" or (meaning != "numbers" and math.prod(truth.shape) != 1):
            return {}
        shape = plain[self.inputs[0]].shape
        flat = len(self.inputs) == 1 and len(shape) == 1 and shape[0] <= 1024
        classes = 2 if meaning in ("binary", "probability") else self.processor.classes
        limit = baselines.rows_for(shape[0] if flat else 1, 1 if meaning == "numbers" else classes)
        x, y = baselines.read_part(train, self._flat if flat else self._bare, limit=limit)
        x_test, y_test = baselines.read_part(test, self._flat if flat else self._bare)
        said = _predicted(meaning, x if flat else None, y, x_test, classes)
        return {name: self._scored(output, y_test) for name, output in said.items()}

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
        """Enough outputs for the classes there are; without waiting for a device, where training records told them."""
        if output.ndim < 2 or output.shape[1] < 2 or truth.is_floating_point():
            return  # the loss says what is wrong, if anything
        largest = self.processor.classes - 1
        if truth.is_cpu and truth.numel():
            largest = max(largest, int(truth.max()))
            negative = truth[truth < 0]
            if len(negative) and float(self.criterion.weight(negative)) != 0:
                raise UserError("loss", f"a class is {int(negative[0])}", "number the classes from 0")
        if largest >= output.shape[1]:
            what = f"the model gives {output.shape[1]} outputs, but there are classes up to {largest}"
            raise UserError("model", what, f"give it {largest + 1} outputs, or number the classes from 0")

    def _flat(self, rows: Rows) -> tuple[Tensor, Tensor]:
        return rows.dense(self.inputs[0]).double(), rows.dense(self.targets[0])

    def _bare(self, rows: Rows) -> tuple[Tensor, Tensor]:
        return rows.ids, rows.dense(self.targets[0])

    def _scored(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """The loss and every metric of a baseline's output."""
        mean = self.criterion.each(output, y).sum() / self.criterion.weight(y)
        name = "value" if self.processor.meaning == "numbers" else "logits"
        return {"loss": float(mean), **baselines.score(self.metrics(), {name: output}, {self.targets[0]: y})}


def _predicted(meaning: Meaning, x: Tensor | None, y: Tensor, x_test: Tensor, classes: int) -> dict[str, Tensor]:
    """What simple models say of M test samples, in the form of the model's output; None for x leaves the linear out."""
    m = len(x_test)
    if meaning == "numbers":
        constant = y.double().mean(0).expand(m, *y.shape[1:])
        return {"constant": constant} | ({} if x is None else {"linear": baselines.linear_values(x, y, x_test)})
    labels = y.flatten().long() if meaning == "classes" else (y.flatten() > 0.5).long()
    counted = labels >= 0
    counts = torch.bincount(labels[counted], minlength=classes)
    said = {"constant": baselines.constant_logits(counts.clamp_min(1).tolist(), m)}
    if x is not None and int((counts > 0).sum()) > 1:
        said["linear"] = baselines.linear_logits(x[counted], labels[counted], x_test, classes)
    if meaning == "classes":
        return said
    odds = {name: z[:, 1] - z[:, 0] for name, z in said.items()}
    return odds if meaning == "binary" else {name: z.sigmoid() for name, z in odds.items()}
