"""Every task learns: a short training beats the baselines, is judged alike however it is batched, and predicts."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.sketches import SKETCHES, Sketch
from tests.training import Case, Class, baselines_of, cases, enrol, losses
from trainwright.core.batch import Batch
from trainwright.core.task import Answer, Task
from trainwright.data.encode import encode_records
from trainwright.data.loader import batches
from trainwright.data.part import Part
from trainwright.engine.evaluate import evaluate
from trainwright.engine.runtime import Runtime


def held_out(taught: Class) -> Part:
    """The validation part, whatever the loader of the training part has."""
    store = taught.loader.part.store
    ids = torch.arange(int(taught.loader.part.ids.max()) + 1, len(store))
    return Part(store, ids, taught.task.processor.windows, taught.task.processor)


def judged(taught: Class, batch_size: Any) -> dict[str, float]:
    part = held_out(taught)
    chosen = batches(part, taught.task.processor, batch_size=batch_size)
    return evaluate(taught.state.model, taught.task, chosen, Runtime(precision=taught.runtime.precision), final=True)


def answers(task: Task[Any], model: nn.Module, batch: Batch) -> list[Answer]:
    with torch.no_grad():
        return list(task.processor.decode(task.predict(model.eval(), batch), batch))


@pytest.mark.parametrize("sketch", SKETCHES, ids=repr)
def test_a_short_training_beats_every_baseline(sketch: Sketch) -> None:
    taught = enrol(sketch, n=200, batch_size=16, lr=sketch.lr, valid=40)
    part = held_out(taught)
    taught.train(sketch.steps, steps=sketch.steps * 2)
    scores, task = taught.evaluate(), taught.task
    better = task.metrics()[task.monitor].better
    simple_models = baselines_of(task, taught.loader.part, part)
    assert simple_models
    for name, found in simple_models.items():
        reached, simple = scores[task.monitor], found[task.monitor]
        beats = reached > simple if better == "higher" else reached < simple
        assert beats, f"{task.monitor} {reached} against {simple} of '{name}'"


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_the_loss_falls_while_training(case: Case) -> None:
    taught = enrol(case, n=60)
    events, _ = taught.train(30, steps=60)
    curve = losses(events)
    assert all(math.isfinite(x) for x in curve)
    assert sum(curve[-4:]) < 0.9 * sum(curve[:4])


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_an_evaluation_is_the_same_for_any_batch_size(case: Case) -> None:
    taught = enrol(case, Runtime(precision="float64"))
    taught.train(3)
    whole = judged(taught, "all")
    for size in (1, 2, 3, 7):
        assert judged(taught, size) == pytest.approx(whole, rel=1e-9, abs=1e-9, nan_ok=True), f"batches of {size}"


@pytest.mark.parametrize("sketch", SKETCHES, ids=repr)
def test_a_trained_model_answers_records_without_labels(sketch: Sketch) -> None:
    taught = enrol(sketch, n=60, lr=sketch.lr)
    taught.train(5)
    records = [sketch.unlabelled(r) for r in sketch.records(5, 9)]
    batch = taught.task.processor.batch(encode_records(records, taught.task.processor), None)
    found = answers(taught.task, taught.state.model, batch)
    assert len(found) == 5
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("sketch", SKETCHES, ids=repr)
def test_what_was_learned_survives_a_new_process(sketch: Sketch) -> None:
    """A fresh task and a fresh model, filled from JSON and weights, answer the same."""
    taught = enrol(sketch, n=60, lr=sketch.lr)
    taught.train(3)
    records = [sketch.unlabelled(r) for r in sketch.records(5, 9)]
    task = sketch.make()
    task.processor.load_state_dict(json.loads(json.dumps(taught.task.processor.state_dict())))
    model = sketch.model_for(json.loads(json.dumps(task.sizes())))
    model.load_state_dict(taught.state.model.state_dict())
    batch = task.processor.batch(encode_records(records, task.processor), None)
    assert answers(task, model, batch) == answers(taught.task, taught.state.model, batch)
