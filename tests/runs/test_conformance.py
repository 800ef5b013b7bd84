"""`check_task` finds a good task good, and each planted fault by the promise it breaks, and no other."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.builtin import films, lines
from tests.sketches import SKETCHES, Sketch, ctc
from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.kinds import models, tasks
from trainwright.core.rows import Column, Encoded, Rows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Classes,
    Exhibit,
    Loss,
    Metric,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)
from trainwright.models.cnn import CNN
from trainwright.models.mlp import MLP
from trainwright.runs.conformance import PROMISES, Promise, check_task, report


class PointsProcessor(Processor):
    """Points in the plane and the side of a line they are on."""

    companions = 1

    def __init__(self) -> None:
        self.mean = 0.0

    def fit(self, records: Iterable[Record]) -> None:
        self.mean = float(np.mean([r["x"] for r in records]))

    def columns(self) -> Mapping[str, Column]:
        return {"x": Column("dense", torch.float32, (2,)), "label": Column("dense", torch.int64, target=True)}

    def encode(self, record: Record) -> Sample:
        sample = {"x": torch.tensor(record["x"], dtype=torch.float32)}
        return {**sample, "label": torch.tensor(record["label"])} if "label" in record else sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        x = rows.dense("x") - self.mean
        if draw is not None:
            mix = 0.1 * draw.uniform("mix")
            x = (1 - mix) * x + mix * (rows.companions[0].dense("x") - self.mean)
        targets = {"label": rows.dense("label")} if "label" in rows.columns else {}
        return Batch({"x": x}, targets, torch.tensor(float(len(rows))), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        columns = zip(outputs["label"].tolist(), outputs["share"].tolist(), strict=True)
        return [{"label": label, "share": share} for label, share in columns]

    def state_dict(self) -> dict[str, JSON]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None:
        self.mean = cast(float, state["mean"])


class Points(Task[PointsProcessor]):
    """The side of a point."""

    def __init__(self, processor: type[PointsProcessor] = PointsProcessor) -> None:
        self.processor = processor()

    @property
    def monitor(self) -> str:
        return "accuracy"

    def strata(self, record: Record) -> str | None:
        return "label"

    def sizes(self) -> dict[str, JSON]:
        return {"inputs": 2, "outputs": 2}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        logits = model(**batch.inputs)
        each = cross_entropy(logits, batch.targets["label"], reduction="none")
        return Loss(each.sum(), {"logits": logits.detach()}, each.detach(), {"nats": each.detach().sum()})

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        share, label = model(**batch.inputs).softmax(-1).max(-1)
        return {"share": share, "label": label}

    def metrics(self) -> dict[str, Metric]:
        def right(outputs: Outputs, batch: Batch) -> Tensor:
            hits = outputs["logits"].argmax(-1) == batch.targets["label"]
            return torch.stack([hits, torch.ones_like(hits)], 1).double()

        def sides(outputs: Outputs, batch: Batch) -> Tensor:
            return torch.stack([outputs["label"], batch.targets["label"]], 1).double()

        return {
            "accuracy": Metric(
                right,
                lambda total: float(total[0] / total[1]),
                "higher",
                many=lambda rows, weights: (weights @ rows)[:, 0] / (weights @ rows)[:, 1],
            ),
            "agreement": Metric(
                sides, lambda rows: float((rows[:, 0] == rows[:, 1]).double().mean()), "higher", "rows", "predict"
            ),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        return {"constant": lambda seconds: always_yes()}

    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        return [Exhibit("text", "first", {"label": int(outputs["label"][0])})]


def linear(sizes: Mapping[str, Any]) -> nn.Module:
    return Line(sizes["inputs"], sizes["outputs"])


class Line(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.map = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.map(x))


def always_yes() -> Line:
    """The second class, whatever it is asked."""
    line = Line(2, 2).double()
    nn.init.zeros_(line.map.weight)
    with torch.no_grad():
        line.map.bias.copy_(torch.tensor([0.0, 1.0]))
    return line


def points(n: int = 24) -> list[Record]:
    rng = random.Random(0)
    found: list[Record] = []
    for number in range(n):
        x = [rng.uniform(-1, 1), rng.uniform(-1, 1)]
        found.append({"x": x, "label": int(x[0] > x[1]), "number": number})
    return found


def without_label(record: Record) -> Record:
    return {"x": record["x"]}


# ------------------------------------------------------------------------------------------------- faults of processors


class LearnsByChance(PointsProcessor):
    def fit(self, records: Iterable[Record]) -> None:
        self.mean = float(torch.rand(()))


class ReadsTwice(PointsProcessor):
    def fit(self, records: Iterable[Record]) -> None:
        self.mean = float(len(list(records))) + float(len(list(records)))


class AnotherType(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        sample = super().encode(record)
        return {**sample, "x": cast(Tensor, sample["x"]).double()}


class AnotherShape(PointsProcessor):
    def columns(self) -> Mapping[str, Column]:
        return {**super().columns(), "x": Column("dense", torch.float32, (3,))}


class AColumnTooMany(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        return {**super().encode(record), "number": torch.tensor(1)}


class BadRecord(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        if record.get("number") == 20:
            raise DataError("x", "cannot be read")
        return super().encode(record)


class Forgets(PointsProcessor):
    """The second time it sees a record, it says something else."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Record] = []

    def encode(self, record: Record) -> Sample:
        again = any(record is r for r in self.seen)
        self.seen.append(record)
        sample = super().encode(record)
        return {**sample, "x": cast(Tensor, sample["x"]) + 1} if again else sample


class WritesIntoRecords(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        if "label" in record:
            cast("dict[str, Any]", record)["seen"] = True
        return super().encode(record)


class RoundsItsState(PointsProcessor):
    def state_dict(self) -> dict[str, JSON]:
        return {"mean": round(self.mean, 2)}


class InPlace(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        rows.dense("x").mul_(2)
        return made


class Moody(PointsProcessor):
    """Evaluation with a coin thrown, by a generator of its own so that the global ones stand still."""

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        last = getattr(self, "last", None)
        self.last = rows
        return replace(made, inputs={"x": made.inputs["x"] + 1}) if last is rows else made


class RollsTheDice(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        if draw is None:
            torch.rand(1)
        return super().batch(rows, draw)


class RollsPythonsDice(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        if draw is None:
            random.random()
        return super().batch(rows, draw)


class ByPlaceInBatch(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        noise = 0.1 * torch.arange(len(rows))[:, None] if draw is not None else 0.0
        return replace(made, inputs={"x": made.inputs["x"] + noise})


class ByNeighbours(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        x = made.inputs["x"]
        return replace(made, inputs={"x": 0.9 * x + 0.1 * x.roll(1, 0)}) if draw is not None else made


class RollsWhenAugmenting(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        if draw is not None:
            np.random.random()
        return super().batch(rows, draw)


class WholeWeight(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        return replace(made, weight=made.weight.long())


class ScalarInput(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        return replace(made, targets={**made.targets, "longest": torch.tensor(2)} if draw is None else made.targets)


class OwnNumbers(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        return replace(made, ids=torch.arange(len(rows)) + 100) if draw is None else made


class MeanWeight(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        return replace(super().batch(rows, draw), weight=torch.tensor(1.0))


class MixesLabelsIn(PointsProcessor):
    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        made = super().batch(rows, draw)
        leak = rows.dense("label")[:, None].float() if "label" in rows.columns else 0.0
        return replace(made, inputs={"x": made.inputs["x"] + leak})


class EncodesLabelsIn(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        sample = super().encode(record)
        return {**sample, "x": cast(Tensor, sample["x"]) + record.get("label", 0)}


class NeedsLabels(PointsProcessor):
    def encode(self, record: Record) -> Sample:
        return {**super().encode(record), "label": torch.tensor(record["label"])}


class AnswersInSets(PointsProcessor):
    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        return [{"labels": {i}} for i in outputs["label"].tolist()]


# ------------------------------------------------------------------------------------------------------ faults of tasks


class ArraySizes(Points):
    def sizes(self) -> dict[str, JSON]:
        return {"inputs": cast(int, np.int64(2)), "outputs": 2}


class TupleSizes(Points):
    def sizes(self) -> dict[str, JSON]:
        return {**super().sizes(), "shape": cast("list[JSON]", (2,))}


class TooFewSizes(Points):
    def sizes(self) -> dict[str, JSON]:
        return {"inputs": 2}


class Infinite(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, sum=loss.sum * torch.inf)


class Mean(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return Loss(loss.sum / len(batch.ids), loss.outputs)


class PenaltyPerBatch(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return Loss(loss.sum + sum(p.square().sum() for p in model.parameters()), loss.outputs)


class HalfShares(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        assert loss.each is not None
        return replace(loss, each=loss.each / 2)


class MovedShares(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        assert loss.each is not None
        return replace(loss, each=loss.each.roll(1))


class MeanParts(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, parts={"nats": loss.parts["nats"] / len(batch.ids)})


class KeepsGraphs(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, outputs={"logits": model(**batch.inputs)})


class RootOfZero(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        nothing = sum((p - p.detach()).square().sum() for p in model.parameters())
        return replace(loss, sum=loss.sum + torch.sqrt(cast(Tensor, nothing)))


class TwoLines(nn.Module):
    """A second line that only some samples need."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.rare = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        rare = x[:, :1] > 0
        if not bool(rare.any()):
            return cast(Tensor, self.map(x))
        return torch.where(rare, self.rare(x), self.map(x))


class CountsOnSize(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, outputs={"logits": loss.outputs["logits"].view(batch.size, -1)})


class DividesByWeight(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        return replace(loss, sum=loss.sum / batch.weight * len(batch.ids))


class MeanAccuracy(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        right = found["accuracy"].count
        mean = replace(found["accuracy"], count=lambda o, b: right(o, b) / len(b.ids))
        return {**found, "accuracy": mean}


class ForgetsWeights(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()

        def many(rows: Tensor, weights: Tensor) -> Tensor:
            return rows[:, 0].mean().expand(len(weights))

        return {**found, "accuracy": replace(found["accuracy"], many=many)}


class RelativeRows(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        sides = found["agreement"].count
        shifted = replace(found["agreement"], count=lambda o, b: sides(o, b) - sides(o, b).mean(0))
        return {**found, "agreement": shifted}


class OneRowForAll(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        sides = found["agreement"].count
        return {**found, "agreement": replace(found["agreement"], count=lambda o, b: sides(o, b).sum(0, keepdim=True))}


class TensorMetric(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        value = cast("Callable[[Tensor], float]", lambda total: total[0] / total[1])
        return {**found, "accuracy": replace(found["accuracy"], value=value)}


class MetricCalledLoss(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        return {**found, "loss": found["accuracy"]}


class MonitorsNothing(Points):
    @property
    def monitor(self) -> str:
        return "f1"

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        return {}


class MonitorsTooLate(Points):
    def metrics(self) -> dict[str, Metric]:
        found = super().metrics()
        return {**found, "accuracy": replace(found["accuracy"], when="final")}


class ComparesAcross(Points):
    def compared(self) -> Classes:
        return Classes(lambda outputs: outputs["logits"].T, lambda batch: batch.targets["label"])


class StrataOfNothing(Points):
    def strata(self, record: Record) -> str:
        return "class"


class OffTopic(Points):
    @property
    def monitor(self) -> str:
        return "loss"

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """A function has no loss."""
        return {"constant": lambda seconds: lambda batch: {"logits": batch.inputs["x"], "label": batch.ids}}


class NoNumber(Points):
    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        def fit(seconds: float) -> Baseline:
            fitted = always_yes()
            nn.init.constant_(fitted.map.bias, float("nan"))
            return fitted

        return {"constant": fit}


class Peeks(Points):
    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        outputs = super().predict(model, batch)
        return {**outputs, "label": batch.targets["label"]} if "label" in batch.targets else outputs


class SharesOverBatch(Points):
    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        outputs = super().predict(model, batch)
        return {**outputs, "share": outputs["share"] / outputs["share"].sum()}


class ShowsTensors(Points):
    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        return [Exhibit("text", "first", {"label": outputs["label"][0]})]


class Wears(Points):
    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        loss = super().loss(model, batch, progress)
        with torch.no_grad():
            next(model.parameters()).mul_(1 - 1e-15)
        return loss


class Counting(nn.Module):
    """A line that counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(2, 2)
        self.asked: Tensor
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return cast(Tensor, self.map(x))


class SwitchesMode(Points):
    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        return super().predict(model.eval(), batch)


@dataclass(frozen=True)
class Fault:
    """A task that breaks one promise."""

    breaks: str
    task: type[Points] = Points
    processor: type[PointsProcessor] = PointsProcessor
    model_for: Callable[[dict[str, Any]], nn.Module] = linear

    def __str__(self) -> str:
        part = next((c for c in (self.task, self.processor) if c not in (Points, PointsProcessor)), self.model_for)
        return part.__name__


def two_lines(sizes: Mapping[str, Any]) -> nn.Module:
    return TwoLines()


def counting(sizes: Mapping[str, Any]) -> nn.Module:
    return Counting()


FAULTS = (
    Fault("the processor learns, and the same from the same records", processor=LearnsByChance),
    Fault("the processor learns, and the same from the same records", processor=ReadsTwice),
    Fault("columns() describes what encode() returns", processor=AnotherType),
    Fault("columns() describes what encode() returns", processor=AnotherShape),
    Fault("columns() describes what encode() returns", processor=AColumnTooMany),
    Fault("every record can be stored", processor=BadRecord),
    Fault("sizes() is JSON", ArraySizes),
    Fault("sizes() is JSON", TupleSizes),
    Fault("sizes() is enough for a model", TooFewSizes),
    Fault("the loss is finite", Infinite),
    Fault("encode() is deterministic", processor=Forgets),
    Fault("fit() and encode() leave records as they are", processor=WritesIntoRecords),
    Fault("the processor survives JSON", processor=RoundsItsState),
    Fault("batch() without a draw is deterministic", processor=InPlace),
    Fault("batch() without a draw is deterministic", processor=Moody),
    Fault("batch() without a draw leaves global randomness alone", processor=RollsTheDice),
    Fault("batch() without a draw leaves global randomness alone", processor=RollsPythonsDice),
    Fault("augmentation depends on the draw and the sample alone", processor=ByPlaceInBatch),
    Fault("augmentation depends on the draw and the sample alone", processor=ByNeighbours),
    Fault("augmentation leaves global randomness alone", processor=RollsWhenAugmenting),
    Fault("a batch is well formed", processor=WholeWeight),
    Fault("a batch is well formed", processor=ScalarInput),
    Fault("ids travel", processor=OwnNumbers),
    Fault("weights add up", processor=MeanWeight),
    Fault("the loss is a sum", Mean),
    Fault("the loss is a sum", PenaltyPerBatch),
    Fault("each sample's share of the loss adds up", HalfShares),
    Fault("each sample's share of the loss adds up", MovedShares),
    Fault("the parts of the loss add up", MeanParts),
    Fault("what a loss hands on is detached", KeepsGraphs),
    Fault("the gradient is finite", RootOfZero),
    Fault("the loss reaches every weight, whatever is in the batch", model_for=two_lines),
    Fault("a filler runs", CountsOnSize),
    Fault("a filler runs", DividesByWeight),
    Fault("rows of metrics belong to their samples", MeanAccuracy),
    Fault("metrics by name can be measured", ComparesAcross),
    Fault("resamples at once agree with each alone", ForgetsWeights),
    Fault("rows of metrics belong to their samples", RelativeRows),
    Fault("rows of metrics belong to their samples", OneRowForAll),
    Fault("metrics are numbers", TensorMetric),
    Fault("metrics are numbers", MetricCalledLoss),
    Fault("the monitor is the loss or a metric", MonitorsNothing),
    Fault("the monitor is the loss or a metric", MonitorsTooLate),
    Fault("strata are a field of the records", StrataOfNothing),
    Fault("baselines speak of the monitor", OffTopic),
    Fault("baselines speak of the monitor", NoNumber),
    Fault("predictions do not peek at targets", Peeks),
    Fault("inputs do not need targets", processor=MixesLabelsIn),
    Fault("inputs do not need targets", processor=EncodesLabelsIn),
    Fault("unlabelled records can be served", processor=NeedsLabels),
    Fault("an answer does not depend on its neighbours", SharesOverBatch),
    Fault("answers are JSON, one per sample", processor=AnswersInSets),
    Fault("exhibits are JSON", ShowsTensors),
    Fault("judging leaves the model as it is", Wears),
    Fault("judging leaves the model as it is", SwitchesMode),
    Fault("judging leaves the model as it is", model_for=counting),
)


def broken(promises: Iterable[Promise]) -> list[str]:
    return [p.name for p in promises if not p.kept]


def test_a_good_task_keeps_every_promise() -> None:
    promises = list(check_task(Points, linear, points(), without_label))
    assert [p.name for p in promises] == list(PROMISES)
    assert broken(promises) == [], report(promises)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_breaks_its_promise_and_no_other(fault: Fault) -> None:
    promises = list(check_task(lambda: fault.task(fault.processor), fault.model_for, points(), without_label))
    assert broken(promises) == [fault.breaks], report(promises)


def test_every_promise_has_a_planted_fault() -> None:
    assert {f.breaks for f in FAULTS} == set(PROMISES)


@pytest.mark.parametrize("sketch", SKETCHES, ids=repr)
def test_every_sketch_keeps_every_promise(sketch: Sketch) -> None:
    promises = list(check_task(sketch.make, sketch.model_for, sketch.records(60, 1), sketch.unlabelled))
    assert len(promises) == len(PROMISES)
    assert broken(promises) == [], report(promises)


class BuiltIn(NamedTuple):
    """A built-in task on a few records of its kind."""

    name: str
    options: Mapping[str, Any]
    model: Callable[..., nn.Module]
    records: Callable[[], list[Record]]
    label: str

    def make(self) -> Task[Any]:
        return tasks[self.name](**self.options)

    def model_for(self, sizes: Mapping[str, Any]) -> nn.Module:
        known = inspect.signature(self.model).parameters
        return self.model(**{k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items() if k in known})

    def unlabelled(self, record: Record) -> Record:
        return {k: v for k, v in record.items() if k != self.label}


def table(classes: bool) -> list[Record]:
    rng = random.Random(1)
    found: list[Record] = []
    for _ in range(48):
        a, b, kind = rng.gauss(0, 1), rng.gauss(5, 2), rng.choice(["red", "green", "blue"])
        target = a + 0.3 * b + (kind == "red")
        value = ("high" if target > 1.8 else "low") if classes else target
        found.append({"a": a if rng.random() > 0.1 else None, "b": b, "kind": kind, "target": value})
    return found


def pictures() -> list[Record]:
    rng = np.random.default_rng(0)
    found: list[Record] = []
    for i in range(24):
        image = rng.integers(0, 90, (12, 12), dtype=np.uint8)
        image[:, :6] += np.uint8(120 * (i % 2))
        found.append({"image": image, "label": "left" if i % 2 else "none"})
    return found


def files() -> list[Record]:
    """The pictures as they would lie in a folder."""
    found: list[Record] = []
    for record in pictures():
        file = BytesIO()
        Image.fromarray(record["image"]).save(file, "png")
        found.append({**record, "image": file.getvalue()})
    return found


def arrays(kind: str) -> list[Record]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 4)).astype(np.float32)
    truths: dict[str, Any] = {
        "cross_entropy": (x[:, 0] > 0).astype(np.int64),
        "binary_cross_entropy": (x[:, :1] > 0).astype(np.float32),
        "mse": x[:, :2] * 2,
    }
    return [{"x": a, "y": b} for a, b in zip(x, truths[kind], strict=True)]


def small_cnn(*, channels: int, size: tuple[int, int], outputs: int, inputs: int) -> nn.Module:
    return CNN(channels=channels, size=size, outputs=outputs, filters=(4,), dense=(8,))


def small_mlp(*, inputs: int, outputs: int, cardinalities: tuple[int, ...] = ()) -> nn.Module:
    return MLP(inputs=inputs, outputs=outputs, cardinalities=cardinalities, width=8)


def small_video(*, frames: int, channels: int, size: tuple[int, int], outputs: int) -> nn.Module:
    return models["video"](
        frames=frames, channels=channels, size=size, outputs=outputs, filters=(4,), features=8, units=8
    )


def small_gpt(*, vocab: int, context: int) -> nn.Module:
    return models["gpt"](vocab=vocab, context=context, size="nano", depth=1)


def small_reader(*, vocab: int, padding: int, context: int, letters: int, outputs: int) -> nn.Module:
    sizes = {"vocab": vocab, "padding": padding, "letters": letters, "outputs": outputs}
    return models["text_cnn"](**sizes, width=8, filters=4, dropout=0.0, embedding_dropout=0.0)


def reviews() -> list[dict[str, Any]]:
    words = ("good", "bad", "odd")
    return [{"text": "a film " * (1 + i % 5) + words[i % 3], "label": words[i % 3]} for i in range(24)]


BUILT_IN = (
    BuiltIn("tabular_classification", {}, small_mlp, lambda: table(True), "target"),
    BuiltIn("tabular_regression", {}, small_mlp, lambda: table(False), "target"),
    BuiltIn("image_classification", {}, small_cnn, pictures, "label"),
    BuiltIn("image_classification", {"gigabytes": 0.0}, small_cnn, files, "label"),  # kept as bytes
    BuiltIn("video_classification", {"frames": 3}, small_video, lambda: films(16), "label"),
    BuiltIn("generation", {"context": 16, "write": 4}, small_gpt, lines, "label"),
    BuiltIn("text_classification", {"silenced": 0.2}, small_reader, reviews, "label"),
    BuiltIn("supervised", {"loss": "cross_entropy"}, small_mlp, lambda: arrays("cross_entropy"), "y"),
    BuiltIn("supervised", {"loss": "binary_cross_entropy"}, small_mlp, lambda: arrays("binary_cross_entropy"), "y"),
    BuiltIn("supervised", {"loss": "mse"}, small_mlp, lambda: arrays("mse"), "y"),
)


@pytest.mark.parametrize("case", BUILT_IN, ids=lambda c: " ".join([c.name, *map(str, c.options.values())]))
def test_every_built_in_task_keeps_every_promise(case: BuiltIn) -> None:
    promises = list(check_task(case.make, case.model_for, case.records(), case.unlabelled))
    assert broken(promises) == [], report(promises)
    assert len(promises) == len(PROMISES)


def test_a_speech_model_that_hears_the_padding_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctc, "_silenced", lambda x, lengths: x + 0.1)
    found = broken(check_task(ctc.Recognition, ctc.model_for, ctc.records(24), ctc.unlabelled))
    assert found == ["the loss is a sum", "each sample's share of the loss adds up"]


def test_nothing_is_raised_and_the_message_is_the_evidence() -> None:
    class Fails(Points):
        def predict(self, model: nn.Module, batch: Batch) -> Outputs:
            raise ZeroDivisionError("no way")

    promises = list(check_task(Fails, linear, points(), without_label))
    served = next(p for p in promises if p.name == "unlabelled records can be served")
    assert served == (served.name, False, "ZeroDivisionError: no way")


def test_too_few_records_are_told_not_raised() -> None:
    promises = list(check_task(Points, linear, points(5), without_label))
    assert broken(promises) == ["every record can be stored"]
    assert "5 samples are too few" in report(promises)


def test_checking_moves_no_global_dice_and_no_record() -> None:
    records, again = points(), points()
    torch.manual_seed(3)
    random.seed(3)
    expected = torch.rand(3).tolist(), random.random()
    torch.manual_seed(3)
    random.seed(3)
    list(check_task(Points, linear, records, without_label))
    assert (torch.rand(3).tolist(), random.random()) == expected
    assert records == again


def test_the_report_names_what_is_broken_first() -> None:
    text = report([Promise("a", True, "seen"), Promise("b", False, "1 is not 2")])
    assert text.splitlines()[:2] == ["BROKEN  b: 1 is not 2", "kept    a (seen)"]
    assert text.splitlines()[2].startswith("1 kept, 1 broken")
