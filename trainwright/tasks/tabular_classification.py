"""Tabular classification: rows of numbers and categories to one of a few classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import Criterion, mean_of_members, samples
from trainwright.core.errors import UserError
from trainwright.core.kinds import tasks
from trainwright.core.model import by_member
from trainwright.core.rows import Column, Encoded, Rows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Classes,
    Loss,
    Metric,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)
from trainwright.data.labels import Label, Labels, is_missing, label_of
from trainwright.data.table import SUFFIXES
from trainwright.data.tabular import Inputs, target_column, target_value
from trainwright.metrics import baselines, boosting, classes, probabilities
from trainwright.optim.losses import criterion_of


@final
class TableLabels(Processor):
    """Rows of a table, and the number of their class.

    Args:
        inputs: how columns become inputs.
        target: the column of labels; None finds it in the first record.
        criterion: says how much each label weighs.
    """

    def __init__(self, inputs: Inputs, target: str | None, criterion: Criterion) -> None:
        self.inputs, self.target = inputs, target
        self.labels = Labels()
        self._criterion = criterion

    def fit(self, records: Iterable[Record]) -> None:
        """Learn roles, scaling, levels and labels. A mistake of a record is raised as soon as that record is read."""
        found: list[Label] = []

        def target(index: int, record: Record) -> str:
            if index == 0:
                self.target = target_column(self.target, record)
            assert self.target is not None
            found.append(label_of(target_value(record, self.target, index), f"training record {index}"))
            return self.target

        self.inputs.fit(records, target)
        self.labels = Labels(found).checked(f"column '{self.target}'")
        self._criterion.learn(self.labels.counts)

    def notes(self) -> Sequence[str]:
        """Columns that were left out, and why; labels that look alike."""
        return [*self.inputs.notes, *self.labels.notes(f"column '{self.target}'")]

    def columns(self) -> Mapping[str, Column]:
        """The inputs, and ``y``, the class."""
        return {**self.inputs.columns(), "y": Column("dense", torch.int64, target=True)}

    def column_names(self) -> Mapping[str, Sequence[str]]:
        """Of the table's columns."""
        return self.inputs.column_names()

    def served(self, record: Record) -> Record:
        """Without the target."""
        return {name: value for name, value in record.items() if name != self.target}

    def encode(self, record: Record) -> Sample:
        """One row; without ``y`` where the label is missing."""
        sample = self.inputs.encode(record)
        label = record.get(self.target) if self.target else None
        if not is_missing(label):
            sample["y"] = torch.tensor(self.labels.index(label, f"column '{self.target}'"))
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``x`` (N, F) float32, ``categorical`` (N, K) int64; target ``y`` (N,) int64."""
        targets = {"y": rows.dense("y")} if "y" in rows.columns else {}
        weight = self._criterion.weight(targets["y"]) if targets else samples(rows.ids)
        return Batch(self.inputs.batch(rows), targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"label": …, "probability": p, "probabilities": {label: p, …}}``."""
        return list(self.labels.answers(outputs["probabilities"]))

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        return {"target": self.target, "inputs": self.inputs.state_dict(), "labels": self.labels.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.target = state["target"]
        self.inputs.load_state_dict(state["inputs"])
        self.labels.load_state_dict(state["labels"])
        self._criterion.learn(self.labels.counts)


@tasks.add("tabular_classification", files=SUFFIXES)
@final
class TabularClassification(Task[TableLabels]):
    """Tell the class of a row of a table.

    Roles are found in the training records: numbers are scaled; truth values and text with few different values are
    categories; dates become days, with weekday, month and hour as categories; constant, empty and unique columns are
    left out, and `processor.inputs.notes` says so. A missing number is replaced by the median and marked, a missing
    category has an id of its own.

    Args:
        target: the column of labels (text, whole numbers, or true and false); "target", else the last, when left out.
        numeric: columns that are numbers, whatever they look like.
        categorical: columns that are categories, whatever they look like.
        ignore: columns to leave out.
        scaling: of the numbers: "quantile" gives each the shape of a normal distribution, "standard" shifts and scales.
        loss: a loss for classes, by name or as a table {name, options}.
    """

    def __init__(
        self,
        *,
        target: str | None = None,
        numeric: tuple[str, ...] = (),
        categorical: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        scaling: Literal["quantile", "standard"] = "quantile",
        loss: str | dict[str, Any] = "cross_entropy",
    ) -> None:
        self.criterion = criterion_of(loss, "task.loss")
        if self.criterion.expects != "classes":
            raise UserError("task.loss", f"{loss!r} does not compare classes", "use 'cross_entropy'")
        inputs = Inputs(numeric=numeric, categorical=categorical, ignore=ignore, scaling=scaling)
        self.processor = TableLabels(inputs, target, self.criterion)

    @property
    def coarse(self) -> bool:
        """No: the answer is a class, but it may hang on the fourth digit of a column."""
        return False

    @property
    def monitor(self) -> str:
        """Accuracy."""
        return "accuracy"

    def strata(self, record: Record) -> str | None:
        """The column of labels."""
        return target_column(self.processor.target, record)

    def sizes(self) -> dict[str, JSON]:
        """What `Inputs.sizes` tells, ``outputs`` (classes), and that classes are expected."""
        sizes = self.processor.inputs.sizes()
        return {**sizes, "outputs": len(self.processor.labels), "expects": self.criterion.expects}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Logits (N, C), or (N, M, C) of members, compared with the classes."""
        logits = by_member(model(**batch.inputs))
        total, each = mean_of_members(self.criterion, logits, batch.targets["y"])
        weights = self.criterion.weights(batch.targets["y"])
        return Loss(total, {"logits": _agreed(logits.detach())}, each, weights=weights)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``probabilities`` (N, C), the mean of the members' where there are several."""
        return {"probabilities": by_member(model(**batch.inputs)).softmax(2).mean(1)}

    def compared(self) -> Classes:
        """Logits with the true class."""
        names = tuple(str(v) for v in self.processor.labels.values)
        return Classes(lambda outputs: outputs["logits"], lambda batch: batch.targets["y"], names)

    def metrics(self) -> dict[str, Metric]:
        """Accuracy, macro F1, area under the ROC curve (one against the rest), Brier score, log loss in nats."""
        of = self.compared()
        return {
            "accuracy": classes.accuracy(of),
            "macro_f1": classes.macro_f1(of),
            "auroc": probabilities.auroc(of),
            "brier": probabilities.brier(of),
            "log_loss": probabilities.log_loss(of),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The training frequencies, logistic regression on at most 5,000 rows and 256 features, and boosted trees."""
        return {
            "constant": lambda seconds: baselines.Constant(baselines.log_frequencies(self.processor.labels.counts)),
            "linear": lambda seconds: self._linear(train),
            "boosting": lambda seconds: self._boosting(train, seconds),
        }

    def _linear(self, train: Encoded) -> Baseline:
        inputs, labels = self.processor.inputs, len(self.processor.labels)
        limit = baselines.rows_for(self._flat(train.rows(0, 1))[0].shape[1], labels)
        return baselines.logistic(inputs.flat, *baselines.read_part(train, self._flat, limit=limit), labels)

    def _boosting(self, train: Encoded, seconds: float) -> Baseline:
        inputs = self.processor.inputs

        def table(rows: Rows) -> tuple[Tensor, Tensor]:
            return boosting.table(**inputs.batch(rows)), self._flat(rows)[1]

        rows, y = baselines.read_part(train, table, limit=boosting.ROWS)
        return boosting.boosted(rows, y, inputs.cardinalities, len(self.processor.labels), seconds)

    def _flat(self, rows: Rows) -> tuple[Tensor, Tensor]:
        return self.processor.inputs.flat(**self.processor.inputs.batch(rows)), rows.dense("y")


def _agreed(logits: Tensor) -> Tensor:
    """(N, M, C) -> (N, C): the logarithms of the members' mean probabilities; of a single one, its logits."""
    members = logits.shape[1]
    return logits[:, 0] if members == 1 else logits.log_softmax(2).logsumexp(1) - math.log(members)
