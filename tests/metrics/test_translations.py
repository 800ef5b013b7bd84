"""BLEU and chrF are sacreBLEU's over a corpus, whatever the batches; a memory answers with its nearest source."""

from __future__ import annotations

import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from trainwright.core.batch import Batch
from trainwright.core.task import Metric
from trainwright.metrics import translations

TRUE = ["A man is riding a bicycle.", "Two dogs play in the snow", "Zwei Hunde, 3.5 Meter", "a", "The old house"]
SAID = ["A man rides a bicycle.", "Two dogs are playing in snow", "Zwei Hunde , 3.5 Metern", "", "The old house ."]


def batch_of(start: int, stop: int) -> Batch:
    ids = torch.arange(start, stop)
    return Batch({}, {}, torch.tensor(1.0), ids, stop - start)


def said_and_true(outputs: object, batch: Batch) -> tuple[list[str], list[str]]:
    return [SAID[i] for i in batch.ids.tolist()], [TRUE[i] for i in batch.ids.tolist()]


@pytest.mark.parametrize("cut", ["13a", "intl", "zh", "char", "none"])
def test_bleu_is_sacrebleus_however_the_batches_are_cut(cut: translations.Cut) -> None:
    metric = translations.bleu(said_and_true, cut)
    expected = BLEU(tokenize=cut).corpus_score(SAID, [TRUE]).score
    for pieces in ([(0, 5)], [(0, 1), (1, 4), (4, 5)]):
        total = torch.stack([metric.count({}, batch_of(*p)).sum(0) for p in pieces]).sum(0)
        assert metric.value(total) == pytest.approx(expected, abs=1e-9)


def test_chrf_is_sacrebleus_and_measured_at_the_end() -> None:
    metric = translations.chrf(said_and_true)
    rows = metric.count({}, batch_of(0, 5))
    assert metric.value(rows.sum(0)) == pytest.approx(CHRF().corpus_score(SAID, [TRUE]).score, abs=1e-9)
    assert metric.when == "final"


@pytest.mark.parametrize("metric", [translations.bleu(said_and_true), translations.chrf(said_and_true)])
def test_resamples_at_once_are_corpora_of_their_own(metric: Metric) -> None:
    rows = metric.count({}, batch_of(0, 5))
    weights = torch.tensor([[1.0, 2, 0, 1, 1], [0, 0, 5, 0, 0]], dtype=torch.float64)
    assert metric.many is not None
    found = metric.many(rows, weights)
    alone = [metric.value(rows.repeat_interleave(w.long(), 0).sum(0)) for w in weights]
    assert found.tolist() == pytest.approx(alone)


def test_the_signature_says_how_it_is_computed() -> None:
    said = translations.signature()
    assert said.startswith("BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "tok:zh" in translations.signature("zh")


def test_references_are_the_texts_to_the_letter() -> None:
    texts = ["Größe", "a", "漢字 und mehr"]
    raw = [torch.frombuffer(bytearray(t.encode()), dtype=torch.uint8) for t in texts]
    batch = Batch({}, {"reference": torch.nn.utils.rnn.pad_sequence(raw, batch_first=True)}, torch.tensor(1), raw[0], 3)
    assert translations.references(batch) == texts
