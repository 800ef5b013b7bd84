"""Beam search finds what an exhaustive search finds, and every sentence ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor

from tests.sketches import seq2seq
from tests.sketches.seq2seq import END, FIRST, START, Translation, beam_search
from trainwright.core.errors import DataError
from trainwright.core.task import Progress
from trainwright.data.encode import encode_records

WORDS = 3
Memory = tuple[Tensor, Tensor]  # (N,) which table, (N,) the token before


class Tables:
    """A `TokenModel` that rolls what follows from the last two tokens; each sentence has its own table."""

    def __init__(self, sentences: int) -> None:
        vocab = FIRST + WORDS
        dice = torch.Generator().manual_seed(4)
        shape = (sentences, vocab, vocab, vocab)
        self.logits = 2 * torch.randn(shape, generator=dice, dtype=torch.float64)

    def start(self, **inputs: Tensor) -> Memory:
        which = inputs["which"]
        return which, torch.full_like(which, START)

    def step(self, token: Tensor, cache: Memory) -> tuple[Tensor, Memory]:
        which, before = cache
        return self.logits[which, before, token], (which, token)

    def reorder(self, cache: Memory, rows: Tensor) -> Memory:
        return cache[0][rows], cache[1][rows]


def sentences(limit: int) -> Iterator[tuple[int, ...]]:
    words = range(END + 1, FIRST + WORDS)
    for length in range(limit):
        yield from ((*body, END) for body in product(words, repeat=length))


def worth(model: Tables, which: int, sentence: tuple[int, ...], penalty: float) -> float:
    before, last, total = START, START, 0.0
    for token in sentence:
        total += float(model.logits[which, before, last].log_softmax(-1)[token])
        before, last = last, token
    return total / float(len(sentence) ** penalty)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.5])
def test_a_wide_beam_search_finds_the_best_sentence_of_all(penalty: float) -> None:
    model, limit = Tables(5), torch.tensor([4, 3, 4, 1, 2])
    found = beam_search(model, {"which": torch.arange(5)}, limit, 400, penalty).tolist()
    for i, row in enumerate(found):
        best = max(sentences(int(limit[i])), key=lambda s: worth(model, i, s, penalty))
        assert tuple(row[: row.index(END) + 1]) == best
        assert set(row[row.index(END) + 1 :]) <= {0}


def test_one_beam_is_greedy() -> None:
    model, limit = Tables(4), torch.full((4,), 5)
    found = beam_search(model, {"which": torch.arange(4)}, limit, 1, 0.6).tolist()
    for which, row in enumerate(found):
        before, last = START, START
        for place, token in enumerate(row[: row.index(END) + 1]):
            scores = model.logits[which, before, last].clone()
            scores[:END] = -torch.inf
            assert token == (END if place == 4 else int(scores.argmax()))
            before, last = last, token


def test_the_penalty_favours_longer_sentences() -> None:
    model, limit = Tables(40), torch.full((40,), 5)
    lengths = [
        (beam_search(model, {"which": torch.arange(40)}, limit, 8, penalty) != 0).sum().item()
        for penalty in (0.0, 0.6, 1.5)
    ]
    assert lengths[0] < lengths[1] < lengths[2]


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
