"""Tabular regression: rows of numbers and categories to a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import Criterion, mean_of_members, samples
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.model import by_member
from trainwright.core.rows import Column, Encoded, Rows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Loss,
    Metric,
    Numbers,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)
from trainwright.data.labels import is_missing
from trainwright.data.table import SUFFIXES
from trainwright.data.tabular import Inputs, target_column, target_value
from trainwright.data.written import number_of
from trainwright.metrics import baselines, boosting, numbers
from trainwright.optim.losses import criterion_of

_FAR = 1_000  # deviations from 0, where the mean of a target leaves float32 few digits for what differs


@final
class TableValues(Processor):
    """Rows of a table, and their target, standardized by the training part.

    Args:
        inputs: how columns become inputs.
        target: the column to predict; None finds it in the first record.
        criterion: says how much each target weighs.
    """

    def __init__(self, inputs: Inputs, target: str | None, criterion: Criterion) -> None:
        self.inputs, self.target = inputs, target
        self.mean, self.deviation = 0.0, 1.0
        self.unit = ""  # that stands beside the numbers of the target, such as "$"
        self._weight = criterion.weight

    def fit(self, records: Iterable[Record]) -> None:
        """Learn roles, scaling and levels. A mistake of a record is raised as soon as that record is read."""
        found: list[float] = []

        def target(index: int, record: Record) -> str:
            if index == 0:
                self.target = target_column(self.target, record)
            assert self.target is not None
            value, where = target_value(record, self.target, index), f"training record {index}"
            number, unit = _number(value, where, self.target, self.unit)
            found.append(number)
            self.unit = unit or self.unit
            return self.target

        self.unit = ""

        self.inputs.fit(records, target)
        unit = max(abs(v) for v in found) or 1.0  # keeps the squares in range
        self.mean = unit * fmean(v / unit for v in found)
        self.deviation = unit * math.sqrt(fmean(((v - self.mean) / unit) ** 2 for v in found))
        if min(found) == max(found):
            what = f"the target is {found[0]:g} in every training record"
            raise DataError(f"column '{self.target}'", what, "there is nothing to predict; choose another target")

    def notes(self) -> Sequence[str]:
        """Columns that were left out, and why."""
        return self.inputs.notes

    def columns(self) -> Mapping[str, Column]:
        """The inputs, and ``y``, the standardized target."""
        return {**self.inputs.columns(), "y": Column("dense", torch.float32, target=True)}

    def column_names(self) -> Mapping[str, Sequence[str]]:
        """Of the table's columns."""
        return self.inputs.column_names()

    def served(self, record: Record) -> Record:
        """Without the target."""
        return {name: value for name, value in record.items() if name != self.target}

    def encode(self, record: Record) -> Sample:
        """One row; without ``y`` where the target is missing."""
        sample = self.inputs.encode(record)
        value = record.get(self.target) if self.target else None
        if not is_missing(value):
            y, _ = _number(value, f"column '{self.target}'", str(self.target), self.unit, learned=True)
            scaled = (y - self.mean) / self.deviation
            if not abs(scaled) < 3e38:  # float32's largest
                raise DataError(f"column '{self.target}'", "the number is too large to compute with", "correct it")
            sample["y"] = torch.tensor(scaled, dtype=torch.float32)
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``x`` (N, F) float32, ``categorical`` (N, K) int64; target ``y`` (N,) float32, standardized."""
        targets = {"y": rows.dense("y")} if "y" in rows.columns else {}
        weight = self._weight(targets["y"]) if targets else samples(rows.ids)
        return Batch(self.inputs.batch(rows), targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"value": …}`` in the target's own unit."""
        return [{"value": v} for v in outputs["value"].tolist()]

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        own: dict[str, JSON] = {"target": self.target, "mean": self.mean, "deviation": self.deviation}
        own |= {"unit": self.unit} if self.unit else {}
        return {**own, "inputs": self.inputs.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.target, self.mean, self.deviation = state["target"], state["mean"], state["deviation"]
        self.unit = state.get("unit", "")
        self.inputs.load_state_dict(state["inputs"])


@tasks.add("tabular_regression", files=SUFFIXES)
@final
class TabularRegression(Task[TableValues]):
    """Tell a number from a row of a table.

    Roles are found in the training records: numbers are scaled; truth values and text with few different values are
    categories; dates become days, with weekday, month and hour as categories; constant, empty and unique columns are
    left out, and `processor.inputs.notes` says so. A missing number is replaced by the median and marked, a missing
    category has an id of its own. The target is standardized for the loss; metrics and answers are in its own unit.

    Args:
        target: the column of numbers to predict; "target", else the last, when left out.
        numeric: columns that are numbers, whatever they look like.
        categorical: columns that are categories, whatever they look like.
        ignore: columns to leave out.
        scaling: of the numbers: "quantile" gives each the shape of a normal distribution, "standard" shifts and scales.
        loss: a loss for numbers, by name or as a table {name, options}; it sees the standardized target.
    """

    def __init__(
        self,
        *,
        target: str | None = None,
        numeric: tuple[str, ...] = (),
        categorical: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        scaling: Literal["quantile", "standard"] = "quantile",
        loss: str | dict[str, Any] = "mse",
    ) -> None:
        self.criterion = criterion_of(loss, "task.loss")
        if self.criterion.expects != "numbers":
            raise UserError("task.loss", f"{loss!r} does not compare numbers", "use 'mse', 'mae' or 'huber'")
        inputs = Inputs(numeric=numeric, categorical=categorical, ignore=ignore, scaling=scaling)
        self.processor = TableValues(inputs, target, self.criterion)

    @property
    def monitor(self) -> str:
        """The root of the mean squared error."""
        return "rmse"

    def sizes(self) -> dict[str, JSON]:
        """What `Inputs.sizes` tells, ``outputs`` (1), and that numbers are expected."""
        return {**self.processor.inputs.sizes(), "outputs": 1, "expects": self.criterion.expects}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Values (N, 1), or (N, M, 1) of members, compared with the standardized targets."""
        values = by_member(model(**batch.inputs))
        total, each = mean_of_members(self.criterion, values, batch.targets["y"])
        weights = self.criterion.weights(batch.targets["y"])
        return Loss(total, {"value": values.detach().mean(1).flatten()}, each, weights=weights)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``value`` (N,), in the target's own unit; the mean of the members' where there are several.

        In float64 where float32 could not tell apart what lies that close together, such as times in seconds.
        """
        value = by_member(model(**batch.inputs)).mean(1).flatten()
        mean, deviation = self.processor.mean, self.processor.deviation
        if abs(mean) > _FAR * deviation and value.device.type != "mps":
            value = value.double()
            return {
                "value": value.new_tensor(mean) + deviation * value
            }  # a bare number is float32 in an exported graph
        return {"value": mean + deviation * value}

    def compared(self) -> Numbers:
        """Standardized values with the standardized target; errors are told in its own unit."""
        unit = self.processor.deviation
        return Numbers(lambda outputs: outputs["value"], lambda batch: batch.targets["y"], unit)

    def metrics(self) -> dict[str, Metric]:
        """Root mean squared error and mean absolute error in the target's own unit, and R²."""
        of = self.compared()
        return {"rmse": numbers.rmse(of), "mae": numbers.mae(of), "r2": numbers.r2(of)}

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The training mean, ridge regression on at most 5,000 rows and 256 features, and boosted trees."""
        return {
            "constant": lambda seconds: baselines.Constant(torch.zeros(())),
            "linear": lambda seconds: self._linear(train),
            "boosting": lambda seconds: self._boosting(train, seconds),
        }

    def _linear(self, train: Encoded) -> Baseline:
        x, y = baselines.read_part(train, self._flat, limit=baselines.ROWS)
        return baselines.ridge(self.processor.inputs.flat, x, y)

    def _boosting(self, train: Encoded, seconds: float) -> Baseline:
        inputs = self.processor.inputs

        def table(rows: Rows) -> tuple[Tensor, Tensor]:
            return boosting.table(**inputs.batch(rows)), self._flat(rows)[1]

        rows, y = baselines.read_part(train, table, limit=boosting.ROWS)
        return boosting.boosted(rows, y, inputs.cardinalities, 0, seconds)

    def _flat(self, rows: Rows) -> tuple[Tensor, Tensor]:
        return self.processor.inputs.flat(**self.processor.inputs.batch(rows)), rows.dense("y")


def _number(value: Any, where: str, name: str, known: str, learned: bool = False) -> tuple[float, str]:
    """A target as a finite number, and its unit: ``known``, none, or where nothing was ``learned`` yet a first one."""
    if isinstance(value, bool):
        raise DataError(where, f"the target '{name}' is {value}, not a number", "use the task 'tabular_classification'")
    try:
        number, unit = number_of(value) if isinstance(value, str) else (float(value), "")
    except (TypeError, ValueError, OverflowError):
        what = f"the target '{name}' is {value!r}, not a number"
        raise DataError(where, what, "correct it, or use the task 'tabular_classification'") from None
    if unit not in ("", known) and (known or learned):
        what = f"the target '{name}' is {value!r}, in another unit than the training records ({known or 'none'})"
        raise DataError(where, what, "write all of them in one unit")
    if not math.isfinite(number):
        raise DataError(where, f"the target '{name}' is {number}", "correct it, or leave the record out")
    return number, unit
