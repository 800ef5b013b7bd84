"""Frames become text: paths collapse as CTC says, errors are summed, and padding is never heard."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.sketches import ctc
from tests.sketches.ctc import BINS, Recognition, edits
from trainwright.core.batch import Batch
from trainwright.data.encode import encode_records


class Says(nn.Module):
    """Whatever it is told to, frame by frame."""

    def __init__(self, paths: Tensor, lengths: Tensor) -> None:
        super().__init__()
        self.paths, self.spoken = paths, lengths

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.one_hot(self.paths, 8).float(), self.spoken


def task() -> Recognition:
    made = Recognition()
    made.processor.fit(ctc.records(20))
    return made


def empty(n: int) -> Batch:
    inputs = {"frames": torch.zeros(n, 1, BINS), "lengths": torch.ones(n, dtype=torch.int64)}
    return Batch(inputs, {}, torch.tensor(float(n)), torch.arange(n), n)


@pytest.mark.parametrize(
    ("path", "length", "text"),
    [("__aa_abb", 8, "aab"), ("aaaa", 4, "a"), ("____", 4, ""), ("ab_cd", 2, "ab"), ("a_a_a", 5, "aaa")],
)
def test_a_path_collapses(path: str, length: int, text: str) -> None:
    made = task()
    ids = torch.tensor([[0 if c == "_" else made.processor.letters.index(c) + 2 for c in path]])
    said = made.predict(Says(ids, torch.tensor([length])), empty(1))
    assert made.processor.decode(said, empty(1)) == [{"text": text}]


def test_edits_are_those_of_the_book() -> None:
    assert [edits("kitten", "sitting"), edits("", "abc"), edits("abc", ""), edits("abc", "abc")] == [3, 3, 3, 0]
    assert edits(["a", "b"], ["b"]) == 1


def test_error_rates_are_of_all_words_not_of_utterances() -> None:
    made = task()
    processor, metric = made.processor, made.metrics()["wer"]

    def ids(*texts: str) -> dict[str, Tensor]:
        sequences = [torch.tensor([processor.letters.index(c) + 2 for c in t]) for t in texts]
        return {
            "text": nn.utils.rnn.pad_sequence(sequences, batch_first=True),
            "lengths": torch.tensor([len(t) for t in texts]),
        }

    meant = Batch({}, ids("a b c d", "a"), torch.tensor(2.0), torch.arange(2), 2)
    counted = metric.count(ids("a b c d", "b"), meant)
    assert counted.tolist() == [[0, 4], [1, 1]]
    assert metric.value(counted.sum(0)) == pytest.approx(0.2)  # not the mean of 0 and 1


def test_the_model_hears_no_padding() -> None:
    made, records = task(), ctc.records(6)
    torch.manual_seed(0)
    model = ctc.model_for(made.sizes()).double()
    both = made.processor.batch(encode_records(records, made.processor), None).cast(torch.float64)
    together, lengths = model(**both.inputs)
    for i, record in enumerate(records):
        single = made.processor.batch(encode_records([record], made.processor), None).cast(torch.float64)
        alone, length = model(**single.inputs)
        assert int(length) == int(lengths[i]) == alone.shape[1]
        assert torch.allclose(alone[0], together[i, : int(length)], rtol=0, atol=1e-12)


def test_a_letter_unseen_in_training_is_a_question_mark() -> None:
    processor = task().processor
    ids = processor.encode({"frames": torch.zeros(3, BINS), "text": "aXb"})["text"]
    assert isinstance(ids, Tensor)
    assert processor.written(ids.tolist()) == "a?b"
