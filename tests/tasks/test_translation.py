"""Translation: fields found, figures are the formulas', texts come back to the letter, and bad pairs are told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor, nn

from tests.builtin import numbers
from tests.tasks.cases import part_of, whole
from tests.training import baselines_of, measured
from trainwright.core.batch import Batch
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress, Record
from trainwright.models.encoder_decoder import Transformer
from trainwright.runs.predict import Predictor

PAIRS = numbers(30)


def fitted(records: list[Record] = PAIRS, **options: Any) -> Any:
    task = tasks["translation"](**{"tokenizer": "characters", "length": 60, **options})
    task.processor.fit(records)
    return task


def batch_of(task: Any, records: list[Record] = PAIRS) -> Batch:
    return whole(records, task, fit=False)


def network(task: Any) -> Any:
    torch.manual_seed(0)
    return Transformer(**task.sizes(), width=16, depth=1, heads=2).eval()


@pytest.mark.parametrize(
    ("record", "source", "target"),
    [
        ({"target": "b", "source": "a"}, "source", "target"),
        ({"id": 3, "de": "a", "en": "b"}, "de", "en"),
        ({"column_1": "a", "column_2": "b", "column_3": "c"}, "column_1", "column_2"),
        ({"path": "x", "target": "b", "question": "a"}, "question", "target"),
    ],
)
def test_the_fields_of_a_pair_are_found(record: Record, source: str, target: str) -> None:
    task = fitted([record, record])
    assert (task.processor.source, task.processor.target) == (source, target)
    turned = fitted([record, record], source=target, target=source)
    assert (turned.processor.source, turned.processor.target) == (target, source)
    assert f"'{source}' is read, '{target}' is written" in task.processor.notes()[0]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("tokenizer", ["characters", "bytes", {"name": "bpe", "pieces": 275}])
def test_every_target_piece_is_told_once_and_the_text_comes_back(tokenizer: Any, shared: bool) -> None:
    task = fitted(tokenizer=tokenizer, shared=shared)
    batch, writes = batch_of(task), task.processor.writes
    truth = batch.targets["target"]
    rows = [row[row >= 0] for row in truth]
    assert [writes.decode(row) for row in rows] == [r["target"] for r in PAIRS]
    assert all(int(row[-1]) == writes.end for row in rows)
    assert int(batch.weight) == sum(map(len, rows))
    assert task.processor.sources(batch) == [r["source"] for r in PAIRS]
    assert (task.processor.reads is writes) is shared


class Says(nn.Module):
    """Logits by what was written before, whatever the source."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, source: Tensor, lengths: Tensor, written: Tensor) -> Tensor:
        return self.table[written]


def test_loss_nats_and_perplexity_are_their_formulas() -> None:
    for smoothing in (0.0, 0.2):
        task = fitted(smoothing=smoothing)
        batch, vocab = batch_of(task), len(task.processor.writes)
        table = torch.randn(vocab, vocab, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        loss = task.loss(Says(table), batch, Progress())
        shares, nats, lost, count = table.log_softmax(1), 0.0, 0.0, 0
        for record in PAIRS:
            before = task.processor.marks.begin
            for piece in [*task.processor.writes.encode(record["target"]).tolist(), task.processor.marks.end]:
                nats -= float(shares[before, piece])
                lost -= float((1 - smoothing) * shares[before, piece] + smoothing * shares[before].mean())
                before, count = piece, count + 1
        assert float(loss.sum.detach()) == pytest.approx(lost, rel=1e-12)
        assert measured(task.metrics()["nats"], loss.outputs, batch) == pytest.approx(nats / count, rel=1e-12)
        assert measured(task.metrics()["perplexity"], loss.outputs, batch) == pytest.approx(math.exp(nats / count))


def test_bleu_is_of_the_target_as_it_stands_in_the_data() -> None:
    records = [{"source": "x", "target": "Ein Hund, groß!"}, {"source": "y", "target": "Zwei Hunde  spielen dort."}]
    task = fitted(records, tokenizer={"name": "words", "least": 1})
    batch = batch_of(task, records)
    pieces = [task.processor.writes.encode(str(r["target"])) for r in records]
    said = {"tokens": nn.utils.rnn.pad_sequence(pieces, batch_first=True), "lengths": torch.tensor([5, 5])}
    assert task.processor.texts(said)[0] == "ein hund , groß !"
    expected = BLEU().corpus_score(task.processor.texts(said), [[str(r["target"]) for r in records]]).score
    assert measured(task.metrics()["bleu"], said, batch) == pytest.approx(expected)
    assert expected < 50


def test_a_draft_is_greedy_and_a_prediction_searches() -> None:
    task = fitted(beams=4)
    model, batch = network(task), batch_of(task)
    drafted, predicted = task.draft(model, batch), task.predict(model, batch)
    assert not torch.equal(drafted["lengths"], predicted["lengths"])
    alone = fitted(beams=1)
    assert set(alone.predict(model, batch)) == set(drafted)


def test_baselines_copy_and_remember() -> None:
    task = fitted()
    part = part_of(PAIRS, task.processor)
    found = baselines_of(task, part, part)
    assert found["memory"]["chrf"] > 95  # every source was read, but letters in another order look the same
    assert found["copy"]["bleu"] < 5
    assert set(found["copy"]) == {"bleu", "chrf"}  # it tells no probabilities
    same = [{"source": r["source"], "target": r["source"]} for r in PAIRS]
    copier = fitted(same)
    both = part_of(same, copier.processor)
    assert baselines_of(copier, both, both)["copy"]["bleu"] == pytest.approx(100.0)


def test_long_texts_are_cut_without_an_end_and_counted() -> None:
    task = fitted([*PAIRS, {"source": "a" * 70, "target": "b" * 80}])
    assert "2 of 62 training texts are longer than 60 pieces and are cut" in " ".join(task.processor.notes())
    sample = task.processor.encode({"source": "a" * 70, "target": "b" * 80})
    assert (len(sample["source"]), len(sample["target"]), len(sample["reference"])) == (60, 60, 80)
    assert int(sample["target"][-1]) != task.processor.writes.end


def test_a_note_says_the_signature_of_bleu() -> None:
    assert any("BLEU|nrefs:1|case:mixed|eff:no|tok:zh" in note for note in fitted(words="zh").processor.notes())


def test_answers_are_texts_and_a_blank_source_has_a_blank_one() -> None:
    task = fitted()
    ask = Predictor(task, network(task))
    first, blank, same = ask([{"text": "two"}, {"source": "  "}, {"source": "two", "target": "ignored"}])
    assert first == same
    assert isinstance(first["translation"], str)
    assert first["nats_per_token"] > 0
    assert blank["translation"] == ""


def test_exhibits_show_the_source_what_was_written_and_what_is_true() -> None:
    task = fitted()
    model, batch = network(task), batch_of(task)
    first, _ = task.show(batch, task.predict(model, batch))
    assert (first.data["prompt"], first.data["true"]) == (PAIRS[0]["source"], PAIRS[0]["target"])
    assert (
        "true"
        not in task.show(Batch(batch.inputs, {}, batch.weight, batch.ids, 30), task.predict(model, batch))[0].data
    )


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"source": "x", "target": " "}, "training record 30.*'target' is empty"),
        ({"source": None, "target": "x"}, "training record 30.*'source' is empty"),
        ({"source": "x"}, "no field 'target'"),
        ({"source": "x", "target": 3}, "'target' is int, not text"),
        ({"source": b"x", "target": "y"}, "'source' is bytes, not text.*decode it"),
        ({"source": "\ud800", "target": "y"}, "surrogate"),
    ],
)
def test_what_is_no_pair_is_told(record: Record, says: str) -> None:
    with pytest.raises(DataError, match=says):
        fitted([*PAIRS, record])


def test_options_that_make_no_sense_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'bytes'"):
        fitted(tokenizer="byte")
    with pytest.raises(DataError, match=r"pieces, not 4,000; write \d+ or fewer"):
        fitted(tokenizer={"name": "bpe", "pieces": 4000})
    with pytest.raises(UserError, match="is the source already"):
        fitted(source="source", target="source")
    with pytest.raises(DataError, match="did you mean 'target'"):
        fitted(target="targt")
    with pytest.raises(DataError, match="no field of text for it among 'text', 'n'"):
        fitted([{"text": "a", "n": 1}])
