"""`check_task` finds a good task good, and each planted fault by the promise it breaks, and no other."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.builtin import films, lines
from tests.runs.faulty_processors import (
    AColumnTooMany,
    AnotherShape,
    AnotherType,
    AnswersInSets,
    BadRecord,
    ByNeighbours,
    ByPlaceInBatch,
    EncodesLabelsIn,
    Forgets,
    InPlace,
    LearnsByChance,
    MeanWeight,
    MixesLabelsIn,
    Moody,
    NeedsLabels,
    OwnNumbers,
    ReadsTwice,
    RollsPythonsDice,
    RollsTheDice,
    RollsWhenAugmenting,
    RoundsItsState,
    ScalarInput,
    WholeWeight,
    WritesIntoRecords,
)
from tests.runs.faulty_tasks import (
    ArraySizes,
    ComparesAcross,
    CountsOnSize,
    DividesByWeight,
    ForgetsWeights,
    HalfShares,
    Infinite,
    KeepsGraphs,
    Mean,
    MeanAccuracy,
    MeanParts,
    MetricCalledLoss,
    MonitorsNothing,
    MonitorsTooLate,
    MovedShares,
    NoNumber,
    OffTopic,
    OneRowForAll,
    Peeks,
    PenaltyPerBatch,
    RelativeRows,
    RootOfZero,
    SharesOverBatch,
    ShowsTensors,
    StrataOfNothing,
    SwitchesMode,
    TensorMetric,
    TooFewSizes,
    TupleSizes,
    Wears,
    counting,
    two_lines,
)
from tests.runs.points import Points, PointsProcessor, linear, points, without_label
from tests.sketches import SKETCHES, Sketch, ctc
from trainwright.core.batch import Batch
from trainwright.core.kinds import models, tasks
from trainwright.core.task import (
    Outputs,
    Record,
    Task,
)
from trainwright.models.cnn import CNN
from trainwright.models.mlp import MLP
from trainwright.runs.conformance import PROMISES, Promise, check_task, report


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
