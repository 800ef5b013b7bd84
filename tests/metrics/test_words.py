from __future__ import annotations

import random

import pytest
import torch

from trainwright.core.batch import Batch
from trainwright.core.task import Metric
from trainwright.metrics.words import character_errors, edits, word_errors


def book(a: str, b: str) -> int:
    """As the definition says it, which takes for ever on long texts."""
    if not a or not b:
        return len(a) + len(b)
    return min(book(a[1:], b) + 1, book(a, b[1:]) + 1, book(a[1:], b[1:]) + (a[0] != b[0]))


def test_edits_are_those_of_the_definition() -> None:
    assert [edits("kitten", "sitting"), edits("", "abc"), edits("abc", ""), edits("", "")] == [3, 3, 3, 0]
    assert edits(["a", "b"], ["b"]) == 1
    dice = random.Random(0)
    for _ in range(60):
        a, b = ("".join(dice.choices("abc", k=dice.randrange(7))) for _ in range(2))
        assert edits(a, b) == book(a, b)


def rate(metric: Metric) -> tuple[list[list[float]], float]:
    rows = metric.count({}, Batch({}, {}, torch.tensor(2.0), torch.arange(2), 2))
    return rows.tolist(), metric.value(rows.sum(0))


def test_error_rates_are_of_all_words_not_of_utterances() -> None:
    said, true = ["the cat sat down", "dog"], ["the cat sat down", "cat"]
    rows, value = rate(word_errors(lambda outputs, batch: (said, true)))
    assert rows == [[0, 4], [1, 1]]
    assert value == pytest.approx(0.2)  # not the mean of 0 and 1
    rows, value = rate(character_errors(lambda outputs, batch: (said, true)))
    assert rows == [[0, 16], [3, 3]]
    assert value == pytest.approx(3 / 19)


def test_a_rate_may_be_above_one_and_an_empty_answer_is_all_wrong() -> None:
    assert rate(word_errors(lambda outputs, batch: (["a b c", ""], ["x", "y"])))[1] == pytest.approx(2.0)
