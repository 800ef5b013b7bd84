"""Models of frames: probabilities that sum to one, the past alone, and writing that says the same as reading."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainwright.core.decoding import Decoding, composed
from trainwright.models.chords import Apart, InTurn, from_above
from trainwright.models.frame_rnn import FrameRNN
from trainwright.models.frame_tcn import FrameTCN

KEYS = 5
Make = Callable[[], Any]
MODELS: list[Make] = [
    lambda: FrameRNN(keys=KEYS, units=6, hidden=7),
    lambda: FrameRNN(keys=KEYS, units=6, chords="apart", cell="lstm", layers=2),
    lambda: FrameRNN(keys=KEYS, units=6, cell="simple"),
    lambda: FrameTCN(keys=KEYS, channels=6, levels=2),
    lambda: FrameTCN(keys=KEYS, channels=6, levels=3, chords="in_turn", hidden=4),
]


def made(make: Make) -> Any:
    torch.manual_seed(1)
    return make().double().eval()


def music(n: int = 3, length: int = 7) -> Tensor:
    return (torch.rand(n, length, KEYS, generator=torch.Generator().manual_seed(2)) < 0.4).double()


@pytest.mark.parametrize("chords", [Apart(4, KEYS, 0.0), InTurn(4, KEYS, 6, 0.0)], ids=["apart", "in turn"])
def test_all_sets_of_keys_together_have_probability_one(chords: nn.Module) -> None:
    every = torch.tensor(list(product([0.0, 1.0], repeat=KEYS))).double()[None]
    past = torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(0)).double().expand(1, every.shape[1], 4)
    nats = chords.double().eval()(past, every).detach()
    assert float((-nats).exp().sum()) == pytest.approx(1.0, abs=1e-9)


def test_chords_are_read_from_the_highest_key_down() -> None:
    frames = torch.tensor([[1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
    assert from_above(frames).tolist() == [[4, 2, 0, 5], [5, 5, 5, 5], [1, 5, 5, 5]]
    assert from_above(torch.zeros(2, 5)).tolist() == [[5], [5]]


@pytest.mark.parametrize("make", MODELS)
def test_a_frame_is_told_from_those_before_it_alone(make: Make) -> None:
    model, frames = made(make), music()
    changed = frames.clone()
    changed[:, 4] = 1 - changed[:, 4]
    before, after = (model(x, None) for x in (frames, changed))
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(0).all()  # the frame itself, and all behind it


@pytest.mark.parametrize("make", MODELS)
def test_writing_follows_the_probabilities_that_reading_tells(make: Make) -> None:
    """The last frame of many continuations has the frequencies that the forward says."""
    model, primer = made(make), music(1, 3)
    count = 4000
    given = primer.expand(count, -1, -1), torch.full((count,), 3)
    (written,) = composed(model, *given, 1, Decoding(), seeds=torch.arange(count))
    every = torch.tensor(list(product([0.0, 1.0], repeat=KEYS))).double()
    whole = torch.cat([primer.expand(len(every), -1, -1), every[:, None]], 1)
    said = (-model(whole, None)[:, 3]).exp().detach()
    place = (written * 2.0 ** torch.arange(KEYS - 1, -1, -1)).sum(1).long()
    found = torch.bincount(place, minlength=len(every)) / count
    assert float((said - found).abs().max()) < 0.03


@pytest.mark.parametrize("make", MODELS)
def test_pieces_of_different_lengths_go_on_as_each_would_alone(make: Make) -> None:
    model, frames, lengths = made(make), music(4, 6), torch.tensor([6, 0, 3, 5])
    seeds, how = torch.tensor([5, 6, 7, 8]), Decoding(temperature=0.8)
    together = torch.stack(list(composed(model, frames, lengths, 5, how, seeds=seeds)), 1)
    for i, n in enumerate(lengths.tolist()):
        alone = composed(model, frames[i : i + 1, :n], lengths[i : i + 1], 5, how, seeds=seeds[i : i + 1])
        assert torch.equal(torch.cat(list(alone)), together[i])


@pytest.mark.parametrize("make", MODELS)
def test_at_temperature_0_the_likeliest_keys_are_written_whatever_the_dice(make: Make) -> None:
    model, frames, lengths = made(make), music(2, 4), torch.tensor([4, 4])
    runs = [
        torch.stack(list(composed(model, frames, lengths, 4, Decoding(temperature=0), seeds=torch.tensor(s))))
        for s in ([0, 1], [2, 3])
    ]
    assert torch.equal(*runs)
