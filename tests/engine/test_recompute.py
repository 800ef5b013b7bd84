"""Blocks that compute again what they would keep: less is kept, and every number stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training import cases, difference, enrol, losses, weights
from trainwright.core.errors import UserError
from trainwright.engine.recompute import recompute
from trainwright.engine.runtime import Runtime

GPT = next(case for case in cases() if case.name == "generation")


def kept(model: nn.Module, tokens: torch.Tensor) -> int:
    """Bytes that a forward pass keeps for its gradient, weights left out."""
    own = {p.data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if x.data_ptr() not in own:
            seen[x.data_ptr()] = max(seen.get(x.data_ptr(), 0), x.numel() * x.element_size())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        model(tokens)
    return sum(seen.values())


def test_a_training_that_computes_again_gives_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = enrol(GPT)
    events, _ = plain.train(3)
    place = Runtime.place
    monkeypatch.setattr(Runtime, "place", lambda self, model: place(self, model, again=True))
    again = enrol(GPT)
    assert any("forward" in vars(module) for module in again.state.model.modules())
    told, _ = again.train(3)
    assert losses(told) == losses(events)
    assert difference(weights(again.state), weights(plain.state)) == 0


def test_blocks_that_compute_again_keep_less() -> None:
    taught = enrol(GPT)
    model = taught.state.model.train()
    tokens = next(iter(taught.loader))[0].inputs["tokens"]
    whole = kept(model, tokens)
    assert recompute(model) > 0
    assert kept(model, tokens) < whole / 2


def test_a_model_without_blocks_says_so() -> None:
    with pytest.raises(UserError, match="finds no block"):
        recompute(nn.Linear(2, 2))
    with pytest.raises(UserError, match="finds no block"):
        recompute(nn.Sequential(nn.BatchNorm1d(2)))
