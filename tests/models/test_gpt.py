"""The decoder-only model has the published size, writes the same with its cache, and sees nothing ahead."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainwright.models.gpt import GPT

KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "gpt-2": {"size": "gpt2-124m", "width": 24, "depth": 2, "heads": 2},
    "modern": {"norm": "rms", "activation": "swiglu", "groups": 2, "qk_norm": True, "tied": False},
}


def made(**options: Any) -> GPT:
    torch.manual_seed(1)
    return GPT(vocab=31, context=40, **options).double().eval()


def test_gpt_2_has_as_many_weights_as_published() -> None:
    with torch.device("meta"):
        model = GPT(vocab=50257, context=1024, size="gpt2-124m")
        assert sum(p.numel() for p in model.parameters()) == 124_439_808
        assert sum(p.numel() for p in GPT(vocab=50257, context=1024, size="gpt2-1558m").parameters()) == 1_557_611_200


@pytest.mark.parametrize("name", KINDS)
def test_a_token_sees_nothing_behind_it(name: str) -> None:
    model = made(**KINDS[name])
    tokens = torch.randint(0, 31, (2, 12), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[:, 7] = (other[:, 7] + 1) % 31
    first, second = model(tokens), model(other)
    assert torch.equal(first[:, :7], second[:, :7])
    assert not torch.allclose(first[:, 7:], second[:, 7:])


@pytest.mark.parametrize("name", KINDS)
def test_the_cache_equals_the_full_forward(name: str) -> None:
    model = made(**KINDS[name])
    tokens = torch.randint(0, 31, (3, 40), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([5, 1, 9])
    whole = model(tokens)
    with torch.no_grad():
        cache = model.start(tokens=tokens[:, :8], lengths=lengths - 1)
        for ahead in range(30):
            logits, cache = model.step(tokens[torch.arange(3), lengths - 1 + ahead], cache)
            expected = whole[torch.arange(3), lengths - 1 + ahead]
            assert torch.allclose(logits, expected, rtol=0, atol=1e-11)


def test_the_first_loss_is_that_of_a_guess() -> None:
    model = GPT(vocab=64, context=32)
    tokens = torch.randint(0, 64, (8, 33), generator=torch.Generator().manual_seed(2))
    loss = torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert float(loss.detach()) == pytest.approx(4.16, abs=0.3)


def test_tied_weights_are_one_weight() -> None:
    model = made()
    assert model.head.weight is model.embed.tokens.weight
    other = made(tied=False)
    assert other.head.weight is not other.embed.tokens.weight
