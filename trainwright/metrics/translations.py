"""How near texts are to what a person wrote: BLEU and chrF by sacreBLEU, as statistics that add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.task import Metric, Outputs
from trainwright.metrics.tallies import totals

Cut: TypeAlias = Literal["13a", "intl", "zh", "char", "none"]
Texts: TypeAlias = Callable[[Outputs, Batch], tuple[Sequence[str], Sequence[str]]]  # what is said, what is true


def bleu(of: Texts, cut: Cut = "13a") -> Metric:
    """BLEU of a whole part, 0 to 100: groups of one to four words that are right, and a penalty for too few words.

    Source: Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation"; Post 2018, "A call
    for clarity in reporting BLEU scores".
    """
    return _metric(of, _bleu(cut))


def chrf(of: Texts) -> Metric:
    """chrF2, 0 to 100: groups of one to six letters, where what is missing counts twice as much as what is too much.

    It is measured at the end only, as counting letters takes longer than BLEU.

    Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation".
    """
    from sacrebleu.metrics.chrf import CHRF

    return _metric(of, CHRF(), when="final")


def signature(cut: Cut = "13a") -> str:
    """What sacreBLEU says of how BLEU is computed, for a paper."""
    scorer = _bleu(cut)
    scorer.corpus_score(["a"], [["a"]])  # it does not know how many references there are before
    return f"BLEU|{scorer.get_signature()}"


def references(batch: Batch) -> list[str]:
    """The texts of (N, B) bytes ``reference``, 0 behind."""
    return [bytes(row).rstrip(b"\0").decode() for row in batch.targets["reference"].tolist()]


def _bleu(cut: Cut) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=cut, force=True)  # without its advice on stderr


def _metric(of: Texts, scorer: Any, when: Literal["each", "final"] = "each") -> Metric:
    """Statistics by sentence, and the score of their sum, both as sacreBLEU computes them for a whole corpus."""

    def count(outputs: Outputs, batch: Batch) -> Tensor:
        said, true = of(outputs, batch)
        if not said:
            return torch.zeros(0, 1, dtype=torch.float64)
        return torch.tensor(scorer._extract_corpus_statistics(said, [true]), dtype=torch.float64)

    def value(total: Tensor) -> float:
        return float(scorer._compute_score_from_stats([round(n) for n in total.tolist()]).score)

    def many(rows: Tensor, weights: Tensor) -> Tensor:
        return torch.tensor([value(total) for total in totals(rows, weights)], dtype=torch.float64)

    return Metric(count, value, "higher", source="predict", when=when, many=many)
