"""The small translator says step by step what it was taught, and its words come back."""

from __future__ import annotations

import pytest
import torch

from tests.sketches import seq2seq
from tests.sketches.seq2seq import START, Translation
from trainwright.core.errors import DataError
from trainwright.core.task import Progress
from trainwright.data.encode import encode_records


def test_the_model_written_step_by_step_is_the_model_taught() -> None:
    task = Translation()
    task.processor.fit(seq2seq.records(40))
    torch.manual_seed(0)
    model = seq2seq.model_for(task.sizes()).double()
    batch = task.processor.batch(encode_records(seq2seq.records(6, 2), task.processor), None)
    taught = task.loss(model, batch, Progress()).sum
    assert isinstance(model, seq2seq.Attentive)
    cache, newest = model.start(**batch.inputs), torch.full((6,), START)
    total = torch.zeros((), dtype=torch.float64)
    for place in range(batch.targets["target"].shape[1]):
        logits, cache = model.step(newest, cache)
        newest = batch.targets["target"][:, place]
        nats = -logits.log_softmax(-1).gather(1, newest[:, None])[:, 0]
        total = total + nats[newest != 0].sum()
    assert float(total.detach()) == pytest.approx(float(taught.detach()), rel=1e-12)


def test_words_come_back_from_their_ids() -> None:
    task, records = Translation(), seq2seq.records(40)
    task.processor.fit(records)
    batch = task.processor.batch(encode_records(records, task.processor), None)
    told = task.processor.decode(batch.targets, batch)
    assert [t["target"] for t in told] == [r["target"] for r in records]


def test_the_weight_is_the_number_of_target_tokens() -> None:
    task, records = Translation(), seq2seq.records(7)
    task.processor.fit(records)
    batch = task.processor.batch(encode_records(records, task.processor), None)
    assert float(batch.weight) == sum(len(r["target"].split()) + 1 for r in records)


def test_a_record_without_a_source_is_told_with_its_place() -> None:
    task = Translation()
    task.processor.fit(seq2seq.records(4))
    with pytest.raises(DataError, match="record 1"):
        encode_records([{"source": "dog"}, {"text": "cat"}], task.processor)
