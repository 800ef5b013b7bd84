"""Models of texts: padding says nothing, and each computes what its source says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.models.pooling import pooled

SIZES = {"vocab": 30, "padding": 0, "outputs": 3, "letters": 0}
BUILT: dict[str, Callable[[], nn.Module]] = {
    "text_cnn": lambda: models["text_cnn"](**SIZES, width=6, filters=5, windows=(1, 2, 5)),
    "letters": lambda: models["text_cnn"](**{**SIZES, "letters": 9}, width=6, filters=5, spelling=3),
    "a bag": lambda: models["text_cnn"](**SIZES, width=6, windows=()),
    "windows alone": lambda: models["text_cnn"](**SIZES, width=6, filters=5, bag=False),
    "gru": lambda: models["rnn"](**SIZES, width=6, units=4),
    "lstm": lambda: models["rnn"](**SIZES, width=6, units=4, cell="lstm", layers=2, pool="last"),
    "simple": lambda: models["rnn"](**SIZES, width=6, units=4, cell="simple", both=False, pool="max"),
    "transformer_encoder": lambda: models["transformer_encoder"](**SIZES, context=40, width=8, heads=2),
    "learned places": lambda: models["transformer_encoder"](
        **SIZES, context=40, width=8, heads=2, positions="learned", pool="mean_max", norm="rms", activation="swiglu"
    ),
}
LENGTHS = torch.tensor([1, 7, 2, 12])


def texts(width: int, filling: int = 0) -> Tensor:
    dice = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 30, (len(LENGTHS), 12), generator=dice)
    tokens = torch.where(torch.arange(12) < LENGTHS[:, None], tokens, filling)
    return nn.functional.pad(tokens, (0, width - 12), value=filling)


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return BUILT[name]().double().eval()


def given(name: str, tokens: Tensor) -> dict[str, Tensor]:
    """Letters beside the pieces, where the model reads them."""
    return {"letters": tokens % 10} if name == "letters" else {}


every = pytest.mark.parametrize("name", BUILT)


@every
def test_padding_and_neighbours_change_nothing(name: str) -> None:
    model = made(name)
    whole = model(texts(12), LENGTHS, **given(name, texts(12)))
    assert whole.shape == (4, 3)
    torch.testing.assert_close(model(texts(20), LENGTHS, **given(name, texts(20))), whole)
    for i, n in enumerate(LENGTHS.tolist()):
        alone = texts(12)[i : i + 1, :n]
        torch.testing.assert_close(model(alone, LENGTHS[i : i + 1], **given(name, alone)), whole[i : i + 1])


@every
def test_every_weight_learns_and_padding_stays_zero(name: str) -> None:
    model = made(name).train()
    model(texts(12), LENGTHS, **given(name, texts(12))).square().sum().backward()
    for weight_name, weight in model.named_parameters():
        assert weight.grad is not None, weight_name
        assert bool(weight.grad.any()), weight_name
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.padding_idx is not None]
    assert len(tables) == 1 + (name == "letters")
    for table in tables:
        assert not bool(table.weight[0].any())
        assert table.weight.grad is not None
        assert not bool(table.weight.grad[0].any())


@pytest.mark.parametrize("name", ["text_cnn", "gru", "transformer_encoder"])
def test_the_order_of_pieces_matters_but_not_to_a_bag(name: str) -> None:
    turned = texts(12)[3:].flip(1)
    model, bag = made(name), made("a bag")
    assert not torch.allclose(model(turned, LENGTHS[3:]), model(texts(12)[3:], LENGTHS[3:]))
    torch.testing.assert_close(bag(turned, LENGTHS[3:]), bag(texts(12)[3:], LENGTHS[3:]))


def test_filters_find_the_best_window_as_written_out_by_hand() -> None:
    """Kim 2014, eq. 2 to 4, window by window; windows may hang over both ends by all but one piece."""
    model: Any = made("windows alone")
    for row, n in zip(texts(12), LENGTHS.tolist(), strict=True):
        x = model.pieces.table(row[:n])  # (n, W)
        told = []
        for conv in model.filters:
            h = conv.kernel_size[0]
            padded = torch.cat([x.new_zeros(h - 1, x.shape[1]), x, x.new_zeros(h - 1, x.shape[1])])
            fits = [(conv.weight * padded[i : i + h].T).sum((1, 2)) + conv.bias for i in range(n + h - 1)]
            told.append(torch.stack(fits).relu().amax(0))
        torch.testing.assert_close(model(row[None, :n], torch.tensor([n]))[0], model.head(torch.cat(told)))


@pytest.mark.parametrize("pool", ["mean", "max", "mean_max", "last"])
@pytest.mark.parametrize("cell", ["gru", "lstm", "simple"])
def test_recurrent_states_are_those_of_texts_read_one_by_one_in_both_directions(cell: str, pool: str) -> None:
    model: Any = models["rnn"](**SIZES, width=6, units=4, cell=cell, pool=pool).double().eval()
    whole = model(texts(12), LENGTHS)
    for i, n in enumerate(LENGTHS.tolist()):
        states, _ = model.cells(model.pieces.table(texts(12)[i : i + 1, :n]))
        there = states[0]
        last = torch.cat([there[-1, :4], there[0, 4:]])
        told = {"mean": there.mean(0), "max": there.amax(0), "last": last}
        told["mean_max"] = torch.cat([told["mean"], told["max"]])
        torch.testing.assert_close(whole[i], model.head(told[pool]))


def test_pools_read_real_pieces_alone() -> None:
    x = torch.tensor([[[1.0], [-5.0], [99.0]], [[-2.0], [99.0], [99.0]]])
    real = torch.tensor([[True, True, False], [True, False, False]])
    assert pooled(x, real, "mean").tolist() == [[-2.0], [-2.0]]
    assert pooled(x, real, "max").tolist() == [[1.0], [-2.0]]
    assert pooled(x, real, "mean_max").tolist() == [[-2.0, 1.0], [-2.0, -2.0]]


def test_letters_are_summed_and_divided_by_the_root_of_their_number() -> None:
    model: Any = made("letters")
    told = model.spelling.beside(torch.zeros(1, 2).double(), torch.tensor([[3, 0, 5, 3, 4, 0]]))
    table = model.spelling.table.weight
    torch.testing.assert_close(told, torch.cat([torch.zeros(2), (2 * table[3] + table[5] + table[4]) / 2])[None])


def test_nothing_to_look_at_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.windows"):
        models["text_cnn"](**SIZES, windows=(), bag=False)


def test_forget_gates_begin_open() -> None:
    model: Any = made("lstm")
    both = model.cells.bias_ih_l0 + model.cells.bias_hh_l0
    assert both.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
