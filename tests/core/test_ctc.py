"""Paths collapse as CTC says; searches and alignments are those that trying every path finds."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import numpy as np
import pytest
import torch

from trainwright.core.ctc import Logs, aligned, greedy, needed, prefix_search


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    kept = [v for i, v in enumerate(path) if i == 0 or path[i - 1] != v]
    return tuple(v for v in kept if v != 0)


def paths(logs: Logs) -> list[tuple[tuple[int, ...], float]]:
    return [(p, sum(logs[u, v] for u, v in enumerate(p))) for p in product(range(logs.shape[1]), repeat=len(logs))]


def texts(logs: Logs) -> dict[tuple[int, ...], float]:
    """The log probability of each text, over all its paths."""
    found: dict[tuple[int, ...], float] = defaultdict(lambda: -np.inf)
    for path, worth in paths(logs):
        found[collapsed(path)] = np.logaddexp(found[collapsed(path)], worth)
    return found


def drawn(seed: int, frames: int = 6, pieces: int = 4, sharp: float = 2.0) -> Logs:
    logits = torch.randn(frames, pieces, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found: Logs = (sharp * logits).log_softmax(1).numpy()
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_search_finds_the_likeliest_text_and_its_probability(seed: int) -> None:
    logs = drawn(seed)
    every = texts(logs)
    text, worth = prefix_search(logs, 2000)
    assert tuple(text) == max(every, key=lambda t: every[t])
    assert worth == pytest.approx(every[tuple(text)])


def test_a_search_finds_what_the_likeliest_path_does_not_spell() -> None:
    logs = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))  # the path of two blanks: 0.36; the text "1": 0.64
    assert greedy(torch.from_numpy(logs)[None], torch.tensor([2]))[1].tolist() == [0]
    assert prefix_search(logs, 4) == ([1], pytest.approx(np.log(0.64)))


def test_a_narrow_search_keeps_what_it_found_likely() -> None:
    for seed in range(20):
        logs = drawn(seed, 12, 6, sharp=4.0)
        narrow, wide = prefix_search(logs, 4)[1], prefix_search(logs, 200)[1]
        assert narrow <= wide + 1e-9
        assert narrow > wide - 2


@pytest.mark.parametrize("seed", range(8))
def test_an_alignment_is_the_likeliest_path_that_spells_the_text(seed: int) -> None:
    logs = drawn(seed)
    for text in ([1], [1, 2], [2, 2], [3, 1, 3], [1, 1, 2]):
        best = max((p for p in paths(logs) if collapsed(p[0]) == tuple(text)), key=lambda p: p[1])
        spans = aligned(logs, text)
        path = np.zeros(len(logs), int)
        for piece, (first, behind) in zip(text, spans, strict=True):
            path[first:behind] = piece
        assert sum(logs[u, v] for u, v in enumerate(path)) == pytest.approx(best[1])
        assert collapsed(tuple(path.tolist())) == tuple(text)
        assert (spans[1:, 0] >= spans[:-1, 1]).all()


def test_too_few_frames_have_no_alignment() -> None:
    assert [needed([]), needed([1, 2]), needed([1, 1]), needed([1, 1, 1, 2])] == [0, 2, 3, 6]
    assert aligned(drawn(0, 3), [1, 1]).tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="2 frames cannot spell 2 pieces"):
        aligned(drawn(0, 2), [1, 1])
    assert aligned(drawn(0), []).shape == (0, 2)


@pytest.mark.parametrize(
    ("path", "length", "text"),
    [([0, 0, 1, 1, 0, 1, 2, 2], 8, [1, 1, 2]), ([1, 1, 1], 3, [1]), ([0, 0], 2, []), ([1, 2, 0, 3], 2, [1, 2])],
)
def test_the_likeliest_path_is_collapsed(path: list[int], length: int, text: list[int]) -> None:
    logits = torch.nn.functional.one_hot(torch.tensor([path]), 4).float()
    tokens, count = greedy(logits, torch.tensor([length]))
    assert tokens[0, : int(count)].tolist() == text
