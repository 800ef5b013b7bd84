"""The recurrent language model reads step by step what it reads at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainwright.core.errors import UserError
from trainwright.models.rnn_lm import RecurrentLM


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_steps_from_a_prompt_equal_the_whole(cell: Any) -> None:
    torch.manual_seed(0)
    model = RecurrentLM(vocab=11, cell=cell, width=6, units=10, depth=2).double().eval()
    tokens = torch.randint(0, 11, (3, 12), generator=torch.Generator().manual_seed(1))
    lengths, whole = torch.tensor([4, 0, 7]), model(tokens)
    with torch.no_grad():
        state = model.start(tokens=tokens[:, :7], lengths=lengths)
        picked = model.reorder(state, torch.tensor([2, 0]))
        for ahead in range(5):
            at = lengths + ahead
            logits, state = model.step(tokens[torch.arange(3), at], state)
            assert torch.allclose(logits, whole[torch.arange(3), at], rtol=0, atol=1e-12)
        logits, _ = model.step(tokens[torch.tensor([2, 0]), lengths[[2, 0]]], picked)
    assert torch.allclose(logits, whole[[2, 0], lengths[[2, 0]]], rtol=0, atol=1e-12)


def test_an_lstm_begins_with_its_forget_gates_open_and_orthogonal_states() -> None:
    model = RecurrentLM(vocab=11, width=6, units=10, depth=1)
    layer: Any = model.layers[0]
    assert layer.bias_ih_l0.detach().view(4, 10)[1].tolist() == [1.0] * 10
    gate = layer.weight_hh_l0.detach()[:10]
    assert torch.allclose(gate @ gate.T, torch.eye(10), atol=1e-5)


def test_tied_weights_need_one_width() -> None:
    assert (model := RecurrentLM(vocab=11, width=8, units=8, tied=True)).head.weight is model.embed.weight
    with pytest.raises(UserError, match="write the same width and units"):
        RecurrentLM(vocab=11, width=8, units=10, tied=True)
