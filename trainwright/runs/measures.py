"""Metrics beside the task's own: by name from a recipe, and functions of the caller's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, Literal, TypeAlias, TypeVar, cast, final

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.config import split_spec
from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.kinds import metrics
from trainwright.core.registry import failed
from trainwright.core.schema import check
from trainwright.core.task import Classes, Metric, Outputs, Task
from trainwright.optim.losses import first_tensor
from trainwright.optim.theirs import crossed

T = TypeVar("T")
Better: TypeAlias = Literal["higher", "lower"]
Own: TypeAlias = Callable[[Any, Any], Any]
MetricSpec: TypeAlias = str | Mapping[str, Any] | Metric | Own | tuple[Own, Better]
MetricSpecs: TypeAlias = Sequence[str | Mapping[str, Any]] | Mapping[str, MetricSpec]


def checked_metrics(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every spec by its label, with all its options; UserError for a name or an option that nobody knows."""
    found = {}
    for label, spec in specs.items():
        name, options = split_spec(spec, f"metrics.{label}")
        found[label] = {"name": name, **check(metrics[name], options, f"metrics.{label}")}
    return found


def by_name(specs: Mapping[str, Mapping[str, Any]], task: Task[Any]) -> dict[str, Metric]:
    """The metrics of checked specs, of what the task compares; its processor is fitted."""
    return {label: _made(label, spec, task) for label, spec in specs.items()}


def fitting_names(task: Task[Any]) -> list[str]:
    """The metrics by name that fit what the task compares."""
    of = task.compared()
    return [n for n in metrics.names() if of is not None and isinstance(of, metrics.tags(n).get("of", object))]


def by_label(given: MetricSpecs) -> dict[str, MetricSpec]:
    """What a caller gave, each under the name it is to have."""
    if isinstance(given, str) or not isinstance(given, Sequence | Mapping):
        raise UserError("metrics", f"{given!r} is no list", 'give names, ["top_k_accuracy"], or {"name": function}')
    if isinstance(given, Mapping):
        return dict(given)
    named: dict[str, MetricSpec] = {}
    for spec in given:
        name = spec if isinstance(spec, str) else split_spec(spec, "metrics")[0] if isinstance(spec, Mapping) else None
        if name is None:
            raise UserError("metrics", f"{spec!r} has no name", 'give a function by name: {"profit": function}')
        named[name] = spec
    return named


def written(given: Mapping[str, MetricSpec]) -> dict[str, dict[str, Any]]:
    """The same as config.toml has it."""
    return {label: _spec(spec) or {"name": "own"} for label, spec in given.items()}


def is_own(spec: MetricSpec) -> bool:
    """Whether a metric is code of the caller's."""
    return not isinstance(spec, str | Mapping)


def metrics_of(given: Mapping[str, MetricSpec], task: Task[Any]) -> dict[str, Metric]:
    """Names, specs and functions as metrics of a task whose processor is fitted."""
    made: dict[str, Metric] = {}
    for label, spec in given.items():
        if label == "loss":
            raise UserError("metrics.loss", "is the loss's own name", "give it another")
        if (table := _spec(spec)) is not None:
            made[label] = _made(label, checked_metrics({label: table})[label], task)
        elif isinstance(spec, Metric):
            made[label] = spec
        else:
            made[label] = _own(label, spec)
    return made


def _spec(given: MetricSpec) -> dict[str, Any] | None:
    return {"name": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else None


def _made(label: str, spec: Mapping[str, Any], task: Task[Any]) -> Metric:
    name, options = split_spec(spec, f"metrics.{label}")
    wanted, of = metrics.tags(name).get("of"), task.compared()
    if wanted is not None and not isinstance(of, wanted):
        this = "nothing that metrics by name know" if of is None else _said(type(of))
        what = f"'{name}' compares {_said(wanted)}, this training compares {this}"
        fitting = fitting_names(task)
        raise UserError(f"metrics.{label}", what, f"choose from {', '.join(fitting)}" if fitting else "leave it out")
    made: Metric = metrics.make(name, options, of)
    if metrics[name].__module__.startswith("trainwright."):
        return made
    where = f"metrics.{label}"
    return replace(made, count=_told(made.count, where), value=_told(made.value, where))


def _told(part: Callable[..., T], where: str) -> Callable[..., T]:
    """A part of a plugin's metric, whose errors are told as such."""

    def guarded(*given: Any) -> T:
        try:
            return part(*given)
        except TrainwrightError:
            raise
        except Exception as error:
            raise failed(where, error) from error

    return guarded


def _said(kind: type) -> str:
    return "classes" if kind is Classes else "numbers"


def _own(label: str, given: Any) -> Metric:
    function, better = given if isinstance(given, tuple) and len(given) == 2 else (given, "higher")
    if not callable(function) or better not in ("higher", "lower"):
        what = f"{given!r} is no metric"
        instead = 'give a name, a function (outputs, targets) -> number, or a pair (function, "lower")'
        raise UserError(f"metrics.{label}", what, instead)
    measure = _Rows(label, function)
    return Metric(measure.count, measure.value, cast(Better, better), combine="rows")


@final
class _Rows:
    """Outputs and targets of every sample, kept until all are there, and a person's function of all of them at once."""

    def __init__(self, label: str, function: Own) -> None:
        self.where, self.function = f"metrics.{label}", function
        self._forms: list[tuple[torch.Size, torch.dtype]] = []  # of the outputs and of each target, of one sample
        self._names: tuple[str, ...] = ()
        self._looked = False  # whether it was seen to compare each sample with its own target

    def count(self, outputs: Outputs, batch: Batch) -> Tensor:
        """(N, K) the outputs and the targets of each sample in one row."""
        compared = batch.targets or dict(list(batch.inputs.items())[:1])
        parts = [first_tensor(outputs), *compared.values()]
        self._names = tuple(batch.targets)
        self._forms = [(p.shape[1:], p.dtype) for p in parts]
        wide = torch.float32 if parts[0].device.type == "mps" else torch.float64
        return torch.cat([p.reshape(len(p), -1).to(parts[0].device, wide) for p in parts], 1)

    def value(self, rows: Tensor) -> float:
        """What the function says; the mean where it gives one number per sample."""
        if not self._forms:  # a rank that saw no sample; the first rank, which tells, always does
            return math.nan
        output, *truths = self._taken_apart(rows)
        compared = truths[0] if len(truths) == 1 else dict(zip(self._names, truths, strict=True))
        try:
            found = self._measured(output, compared)
        except TrainwrightError:
            raise
        except Exception as error:
            raise failed(self.where, error) from error
        if not self._looked and len(truths) == 1 and crossed(output, truths[0]):
            self._looked = True
            self._look(output, truths[0], found)
        return found

    def _look(self, output: Tensor, truth: Tensor, found: float) -> None:
        """UserError where each output is compared with the targets of all: the same in one form is another number."""
        try:
            again, alike = self._measured(output, truth), self._measured(output, truth.reshape(output.shape))
        except Exception:  # it does not take that form
            return
        if math.isclose(again, found, rel_tol=1e-6) and not math.isclose(alike, found, rel_tol=1e-4, abs_tol=1e-9):
            what = f"compares outputs {tuple(output.shape)} with targets {tuple(truth.shape)}, each with all others"
            raise UserError(self.where, what, "write target.reshape(output.shape) in it")

    def _measured(self, output: Tensor, compared: Any) -> float:
        found, rows = self.function(output, compared), output
        shown = repr(found)
        if isinstance(found, Tensor | np.ndarray | np.generic):
            array = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
            if array.shape == (len(rows),) or (array.ndim == 0 and array.dtype.kind in "fiu"):
                return float(array.astype(np.float64).mean())
            shown = f"{array.dtype} numbers of shape {array.shape}"
        elif isinstance(found, Real) and not isinstance(found, bool):
            return float(found)
        what = f"returned {shown} for {len(rows)} samples"
        raise UserError(self.where, what, "return a number, or one for each sample")

    def _taken_apart(self, rows: Tensor) -> list[Tensor]:
        sizes = [form.numel() for form, _ in self._forms]
        pairs = zip(rows.split(sizes, 1), self._forms, strict=True)
        return [part.reshape(len(rows), *form).to(dtype) for part, (form, dtype) in pairs]
