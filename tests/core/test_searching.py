"""A search finds what trying everything finds, ends every sequence, and knows no neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor

from trainwright.core.searching import Found, Marks, beam_search, greedy

PAD, UNKNOWN, BEGIN, END, FIRST, WORDS = 0, 1, 2, 3, 4, 3
MARKS = Marks(BEGIN, END, PAD, [UNKNOWN])
Memory = tuple[Tensor, Tensor]  # (N,) which table, (N,) the token before


class Tables:
    """Rolls what follows from the last two tokens; each input has a table of its own."""

    context = None

    def __init__(self, inputs: int, seed: int = 4) -> None:
        shape = (inputs, FIRST + WORDS, FIRST + WORDS, FIRST + WORDS)
        self.logits = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def start(self, **inputs: Tensor) -> Memory:
        return inputs["which"], torch.full_like(inputs["which"], BEGIN)

    def step(self, token: Tensor, cache: Memory) -> tuple[Tensor, Memory]:
        which, before = cache
        return self.logits[which, before, token], (which, token)

    def reorder(self, cache: Memory, rows: Tensor) -> Memory:
        return cache[0][rows], cache[1][rows]

    def shares(self, which: int, before: int, last: int) -> Tensor:
        """Log probabilities where padding, beginnings and unknown tokens are never written."""
        logits = self.logits[which, before, last].clone()
        logits[[PAD, UNKNOWN, BEGIN]] = -torch.inf
        return logits.log_softmax(0)


def every(limit: int) -> Iterator[tuple[int, ...]]:
    for length in range(limit):
        yield from ((*body, END) for body in product(range(FIRST, FIRST + WORDS), repeat=length))


def nats(model: Tables, which: int, sequence: tuple[int, ...]) -> float:
    before, last, total = BEGIN, BEGIN, 0.0
    for token in sequence:
        total -= float(model.shares(which, before, last)[token])
        before, last = last, token
    return total


def rows(found: Found) -> list[tuple[int, ...]]:
    return [tuple(r[:n]) for r, n in zip(found.tokens.tolist(), found.lengths.tolist(), strict=True)]


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.5])
def test_a_wide_search_finds_the_best_sequence_of_all(penalty: float) -> None:
    model, limit = Tables(5), torch.tensor([4, 3, 4, 1, 2])
    found = beam_search(model, {"which": torch.arange(5)}, limit, MARKS, 100, penalty)
    for i, row in enumerate(rows(found)):
        best = max(every(int(limit[i])), key=lambda s: -nats(model, i, s) / len(s) ** penalty)
        assert row == best
        assert float(found.nats[i]) == pytest.approx(nats(model, i, best), rel=1e-6)


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_an_input_gets_the_same_alone_and_beside_others_and_no_more_than_it_may_have(beams: int) -> None:
    model, limit = Tables(30), torch.arange(30) % 7 + 1
    together = beam_search(model, {"which": torch.arange(30)}, limit, MARKS, beams, 0.7)
    for i in range(30):
        alone = beam_search(model, {"which": torch.tensor([i])}, limit[i : i + 1], MARKS, beams, 0.7)
        assert rows(alone) == rows(together)[i : i + 1]
        assert len(rows(together)[i]) <= int(limit[i])


def test_greedy_writes_the_likeliest_token_each_time_up_to_its_end_or_limit() -> None:
    model, limit = Tables(40), torch.arange(40) % 9 + 1
    found = greedy(model, {"which": torch.arange(40)}, limit, MARKS)
    lengths = found.lengths.tolist()
    for i, row in enumerate(rows(found)):
        before, last, expected, taken = BEGIN, BEGIN, [], 0.0
        while len(expected) < int(limit[i]) and (not expected or expected[-1] != END):
            shares = model.shares(i, before, last)
            before, last = last, int(shares.argmax())
            expected.append(last)
            taken -= float(shares.max())
        assert list(row) == expected
        assert float(found.nats[i]) == pytest.approx(taken, rel=1e-5)
    assert {END} == {row[-1] for row, n in zip(rows(found), limit.tolist(), strict=True) if len(row) < n}
    assert found.tokens.shape[1] == max(lengths)
    behind = torch.arange(max(lengths)) >= found.lengths[:, None]
    assert bool((found.tokens[behind] == PAD).all())


def test_the_penalty_favours_longer_sequences() -> None:
    model, limit = Tables(40), torch.full((40,), 5)
    found = [beam_search(model, {"which": torch.arange(40)}, limit, MARKS, 8, p).lengths for p in (0.0, 0.6, 1.5)]
    assert int(found[0].sum()) < int(found[1].sum()) < int(found[2].sum())


def test_no_inputs_are_no_sequences() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    for found in (
        greedy(Tables(1), {"which": none}, none, MARKS),
        beam_search(Tables(1), {"which": none}, none, MARKS, 3, 1.0),
    ):
        assert found.tokens.shape == (0, 0)


def test_a_model_that_says_nothing_finite_gives_nats_that_say_so() -> None:
    model = Tables(2)
    model.logits[:] = torch.nan
    found = beam_search(model, {"which": torch.arange(2)}, torch.tensor([3, 3]), MARKS, 2, 1.0)
    assert bool(found.nats.isnan().all())
