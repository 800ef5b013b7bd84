"""What a task is: everything the engine does not know about the problem being solved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from torch import Tensor, nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.exhibit import Exhibit
from trainwright.core.rows import Column, Encoded, Rows, Windows

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Record: TypeAlias = Mapping[str, Any]  # one raw example, as the source gives it
Sample: TypeAlias = Mapping[str, "Tensor | bytes"]  # one encoded example, no batch dimension
Outputs: TypeAlias = Mapping[str, Tensor]  # what the model said, one entry per head; dim 0 is the sample
Answer: TypeAlias = Mapping[str, Any]  # one prediction a person can read, JSON-able


@dataclass(frozen=True, slots=True)
class Loss:
    """One forward pass. ``sum`` is a scalar: the loss SUMMED over the batch's weight."""

    sum: Tensor  # over the batch's weight, a scalar with its graph
    outputs: Outputs = field(default_factory=dict)  # detached; what metrics with source "loss" read
    each: Tensor | None = None  # (N,) detached, each sample's share of the sum; may be left out where gradients are on
    parts: Mapping[str, Tensor] = field(default_factory=dict)  # named summands, summed likewise, for the log
    weights: Callable[[], Tensor] | None = None  # gives (N,), each sample's share of the weight; None: 1 each


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the training is, for losses that warm up (KL terms, scheduled sampling)."""

    step: int = 0  # optimizer steps taken
    steps: int = 1  # of the whole budget
    epoch: int = 0  # the one that the batch belongs to


@dataclass(frozen=True, slots=True)
class Metric:
    """A number computed honestly over uneven batches, over ranks, and over resamples of the records.

    ``count`` gives one row per sample, (N, …). With ``combine="add"`` rows are statistics of one shape that add up:
    they are summed over samples, batches and ranks, and ``value`` turns the total into the number. With
    ``combine="rows"`` they are kept in the order of record ids (narrower ones filled with NaN along dim 1), and
    ``value`` reads all of them at once (AUROC, mAP). Totals and kept rows are float64, on the CPU.

    ``many`` is ``value`` over many resamples at once, where that is faster than one by one: from rows (N, …) and
    weights (B, N), how often each row counts in each resample, to (B,).
    """

    count: Callable[[Outputs, Batch], Tensor]  # one row per sample, (N, …)
    value: Callable[[Tensor], float]  # of the total, or of all rows
    better: Literal["higher", "lower"]  # when comparing
    combine: Literal["add", "rows"] = "add"  # rows are summed, or kept
    source: Literal["loss", "predict"] = "loss"  # which pass its outputs come from
    when: Literal["each", "final"] = "each"  # at each evaluation, or only at the end
    many: Callable[[Tensor, Tensor], Tensor] | None = None  # of many resamples at once: (N, …), (B, N) -> (B,)


@dataclass(frozen=True, slots=True)
class Classes:
    """What a metric of classes compares; yes or no are two classes."""

    logits: Callable[[Outputs], Tensor]  # (N, C, …)
    truth: Callable[[Batch], Tensor]  # (N, …) class numbers; those below 0 do not count
    names: tuple[str, ...] = ()  # of the classes


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a metric of numbers compares."""

    value: Callable[[Outputs], Tensor]  # (N, …)
    truth: Callable[[Batch], Tensor]  # (N, …)
    scale: float = 1.0  # the unit of a standardized target
    centre: tuple[float, ...] = (0.0,)  # near the targets' means, one or one for each of K


Compared: TypeAlias = Classes | Numbers
Baseline: TypeAlias = "nn.Module | Callable[[Batch], Outputs]"
"""A simple model, fitted. A module is asked as the network is, so that it has the same loss and metrics; any other
callable gives the outputs that metrics read, and has no loss."""


class TooSlowError(Exception):
    """A baseline that would take longer than it may; the message says how long."""


class Processor(ABC):
    """Records to tensors and back. All it knows it learned from the training part."""

    companions: int = 0  # further samples the loader gathers beside each (mosaic 3, mixup 1)
    bucketed: str | None = None  # a ragged column: training batches are of samples about as long as each other in it
    windows: Windows | None = None  # set when samples are windows over one stream of all records

    @abstractmethod
    def fit(self, records: Iterable[Record]) -> None:
        """Learn vocabulary, scaling, labels, bin edges from the training records.

        A `DataError` about one of them is raised as soon as it is read, or says "training record 17" (counted from 0)
        where it is noticed later; `fit` may then be called again, without that record.
        """

    @abstractmethod
    def columns(self) -> Mapping[str, Column]:
        """How each part of a sample is kept; known once fitted."""

    @abstractmethod
    def encode(self, record: Record) -> Sample:
        """One record as tensors; deterministic; columns marked ``target`` may be absent from a served record.

        Raises `DataError` for a record that cannot be used.
        """

    def fit_blocks(self, blocks: Iterable[Mapping[str, Any]]) -> bool:
        """The same as `fit` of records that lie in arrays, many at a time; False where `fit` must look at each.

        Nothing is then learned. Unless overridden, that is always so.
        """
        return False

    def encode_block(self, records: Mapping[str, Any]) -> Mapping[str, Tensor] | None:
        """What `encode` gives of each of many records, stacked, where they lie in arrays; None where it must say it."""
        return None

    def served(self, record: Record) -> Record:
        """What a prediction reads of a record: all but its targets, which may then be missing, or anything."""
        return record

    def notes(self) -> Sequence[str]:
        """What `fit` decided that a person should know, such as columns left out and why."""
        return ()

    def column_names(self) -> Mapping[str, Sequence[str]]:
        """What the columns of each input of a model are called, where a person named them; known once fitted."""
        return {}

    def unpack(self, column: str, data: bytes) -> Tensor:
        """A ``bytes`` column's file as a tensor of the column's shape; runs in the loader's threads."""
        raise NotImplementedError(f"{type(self).__name__} keeps no column of bytes, so '{column}' cannot be unpacked")

    @abstractmethod
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """Rows as a batch, on the rows' device: features, padding, masks, targets, weight.

        With ``draw``, augmented; with None (evaluation, serving, export), as they are.
        """

    @abstractmethod
    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """One readable answer per sample of a prediction, in the original's coordinates."""

    @abstractmethod
    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned, as JSON."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, JSON]) -> None:
        """The inverse of `state_dict`."""


P = TypeVar("P", bound=Processor)


class Task(ABC, Generic[P]):
    """A problem: its processor, its loss, its metrics. Abstract here, final below."""

    processor: P

    @property
    @abstractmethod
    def monitor(self) -> str:
        """The metric that decides which checkpoint is best; "loss" is always there."""

    @property
    def coarse(self) -> bool:
        """Whether the forward pass may be computed in bfloat16, which has three digits, and still answer as well.

        Scores of classes are only compared with each other; numbers that are the answer need all their digits.
        """
        return isinstance(self.compared(), Classes)

    def strata(self, record: Record) -> str | None:
        """The record field whose values a split keeps in proportion: the label of a classification; None for none."""
        return None

    @abstractmethod
    def sizes(self) -> dict[str, JSON]:
        """What a model must know of the data: ``{"inputs": 8, "outputs": 10}``; known once the processor is fitted."""

    @property
    def essential(self) -> tuple[str, ...]:
        """Sizes that a model must ask for: without them it would not look at what the recipe says is there."""
        return ()

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """The forward pass and the loss, summed over the batch's weight."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """What serving and export run. Never reads targets."""

    def draft(self, model: nn.Module, batch: Batch) -> Outputs:
        """What evaluations during the training read in place of `predict`, where that takes long, as a search does.

        The final scores are those of `predict`; the two are the same unless a task says otherwise.
        """
        return self.predict(model, batch)

    def exported(self, model: nn.Module, batch: Batch) -> Outputs:
        """What a graph for other programs computes: what `predict` does, unless that searches or puts in order."""
        return self.predict(model, batch)

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """The numbers of an evaluation, beside "loss"."""

    def compared(self) -> Compared | None:
        """What metrics by name compare, once the processor is fitted; None where they do not apply."""
        return None

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Simple models by name, which are then judged on the same encoded data as the network.

        Each is fitted when it is called, told how many seconds it may take; it raises `TooSlowError` where they do not
        suffice. ``constant`` and ``linear`` must be quick, for they are always fitted; others only in what time is
        left. Their inputs are on the CPU, in float64.
        """
        return {}

    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        """What a person should see of a few predictions."""
        return ()

    def portray(self, model: nn.Module, part: Encoded) -> Sequence[Exhibit]:
        """What a person should see of the whole model, drawn once, when the training has ended.

        Of the kinds "map" (points in a plane, by group), "sheet" (rows of pictures) and "curves" (windows over series).
        """
        return ()
