"""Writing token by token says what the whole model says, and chooses as the papers do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from trainwright.core.decoding import (
    Decoding,
    Prompts,
    chances,
    choose,
    decoding_of,
    following,
    repeated_less,
    written,
)
from trainwright.core.errors import UserError
from trainwright.models.gpt import GPT
from trainwright.models.rnn_lm import RecurrentLM

VOCAB, CONTEXT = 23, 16


def gpt(**options: Any) -> GPT:
    torch.manual_seed(5)
    return GPT(vocab=VOCAB, context=CONTEXT, size="nano", **options).double().eval()


def prompts(*lengths: int, seed: int = 0) -> tuple[Prompts, list[list[int]]]:
    rng = torch.Generator().manual_seed(seed)
    rows = [torch.randint(0, VOCAB, (n,), generator=rng).tolist() for n in lengths]
    padded = torch.tensor([row + [0] * (max(lengths) - len(row)) for row in rows])
    return Prompts(padded, torch.tensor(lengths)), rows


def together(model: Any, asked: Prompts, limit: int, how: Decoding, **more: Any) -> list[list[int]]:
    return torch.stack(list(written(model, asked, limit, how, **more)), 1).tolist()  # type: ignore[no-any-return]


@torch.no_grad()
def slowly(model: GPT | RecurrentLM, row: Sequence[int], limit: int) -> list[int]:
    """The likeliest tokens by the full forward, one prompt, with the window that the docstring tells of."""
    context = model.context
    window, said = list(row)[-(context or len(row)) :], []
    for _ in range(limit):
        said.append(int(model(torch.tensor([window]))[0, -1].argmax()))
        window.append(said[-1])
        if context and len(window) > context:
            window = window[-(context // 2) :]
    return said


@pytest.mark.parametrize("options", [{}, {"positions": "learned", "norm": "rms", "groups": 1}])
def test_prompts_of_any_length_are_continued_as_if_alone_and_without_a_cache(options: dict[str, Any]) -> None:
    model = gpt(**options)
    asked, rows = prompts(1, 40, 7, 16, 15)
    assert together(model, asked, 60, Decoding(temperature=0)) == [slowly(model, row, 60) for row in rows]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_recurrent_model_carries_its_state_without_end(cell: Any) -> None:
    torch.manual_seed(2)
    model = RecurrentLM(vocab=VOCAB, cell=cell, width=8, units=12).double().eval()
    asked, rows = prompts(1, 9, 4)
    assert together(model, asked, 20, Decoding(temperature=0)) == [slowly(model, row, 20) for row in rows]


def test_what_a_seed_writes_depends_on_nothing_beside_it() -> None:
    model, how = gpt(), Decoding(temperature=1.5, top_k=9, top_p=0.95, repetition=1.3)
    asked, rows = prompts(3, 12, 5)
    seeds = torch.tensor([7, 8, 7])
    found = together(model, asked, 30, how, seeds=seeds)
    for row, seed, text in zip(rows, seeds, found, strict=True):
        alone = Prompts(torch.tensor([row]), torch.tensor([len(row)]))
        assert together(model, alone, 30, how, seeds=seed[None]) == [text]
        assert together(model, alone, 30, how, seeds=seed[None] + 1) != [text]


def test_what_must_not_be_written_is_not() -> None:
    asked, _ = prompts(4, 6)
    found = together(gpt(), asked, 200, Decoding(temperature=5.0), never=(0, 3))
    assert not {0, 3} & {token for row in found for token in row}
    assert len({token for row in found for token in row}) > VOCAB / 2


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="no token to go on from"):
        Prompts(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([2, 0]))


LOGITS = torch.tensor([2.0, -1.0, 0.5, 1.0, -3.0, 0.0]).log_softmax(0)


def shares(how: Decoding, logits: Tensor = LOGITS, n: int = 20_000) -> Tensor:
    """How often each token is chosen, by dice spread evenly."""
    dice = (torch.arange(n) + 0.5) / n
    return torch.bincount(choose(logits.expand(n, -1), how, dice), minlength=len(logits)) / n


def test_tokens_are_chosen_as_often_as_the_model_says() -> None:
    assert torch.allclose(shares(Decoding()), LOGITS.softmax(0), atol=1e-4)
    assert torch.allclose(shares(Decoding(temperature=0.5)), (LOGITS / 0.5).softmax(0), atol=1e-4)


def test_top_k_keeps_the_likeliest() -> None:
    kept = torch.tensor([True, False, True, True, False, False])
    expected = LOGITS.masked_fill(~kept, -torch.inf).softmax(0)
    assert torch.allclose(shares(Decoding(top_k=3)), expected, atol=1e-4)


@pytest.mark.parametrize("top_p", [0.1, 0.6, 0.85, 0.95, 0.999])
def test_top_p_keeps_the_smallest_set_that_has_the_probability(top_p: float) -> None:
    chances = sorted(((float(p), i) for i, p in enumerate(LOGITS.softmax(0))), reverse=True)
    kept, total = [], 0.0
    for chance, token in chances:
        kept.append(token)
        total += chance
        if total >= top_p:
            break
    expected = torch.full_like(LOGITS, -torch.inf)
    expected[kept] = LOGITS[kept]
    assert torch.allclose(shares(Decoding(top_p=top_p)), expected.softmax(0), atol=1e-4)


def test_no_dice_choose_what_is_impossible() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf], [0.0, -torch.inf, -torch.inf]])
    for dice in (0.0, 1 - 2**-24):
        for how in (Decoding(), Decoding(top_k=2), Decoding(top_p=0.5), Decoding(temperature=0)):
            assert choose(logits, how, torch.full((2,), dice)).tolist() == [1, 0]


def test_repetition_divides_what_is_above_zero_and_multiplies_what_is_below() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5, 3.0]])
    found = repeated_less(logits, torch.tensor([[0, 1, 1]]), 2.0)
    assert found.tolist() == [[1.0, -2.0, 0.5, 3.0]]


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}, {"repetition": 0.0}, {"tok_p": 1}]
)
def test_options_out_of_range_are_told_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"generate.{next(iter(wrong))}"):
        decoding_of(wrong, "generate")


@pytest.mark.parametrize(
    "how",
    [Decoding(0.7), Decoding(1.3, top_k=4), Decoding(1.0, top_p=0.6), Decoding(0.9, top_k=6, top_p=0.8), Decoding(0)],
)
def test_chances_are_how_often_each_token_is_chosen(how: Decoding) -> None:
    torch.manual_seed(1)
    logits, count = 2 * torch.randn(1, VOCAB), 20_000
    dice = (torch.arange(count) + 0.5) / count
    often = torch.bincount(choose(logits.expand(count, -1), how, dice), minlength=VOCAB) / count
    assert (chances(logits, how)[0] - often).abs().max() <= 1 / count + 1e-6


def test_what_follows_a_prompt_is_what_the_whole_model_says_behind_the_end_that_it_sees() -> None:
    model = gpt()
    asked, rows = prompts(1, 40, 7, 16)
    said = following(model, asked, Decoding())
    for row, logits in zip(rows, said, strict=True):
        torch.testing.assert_close(logits, model(torch.tensor([row[-CONTEXT:]]))[0, -1])
    less = following(model, asked, Decoding(repetition=2.0))
    assert (less != said).any(1).all()
