"""Networks for sound: padding is not heard, lengths are as announced, gradients reach everything."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.models.cells import both_ways
from trainwright.models.hearing import RealNorm

SPOKEN: list[tuple[str, dict[str, Any]]] = [
    ("conv_rnn", {"units": 6, "layers": 2, "channels": 3}),
    ("conv_rnn", {"units": 6, "layers": 1, "channels": 3, "cell": "lstm"}),
    ("conformer", {"width": 8, "depth": 2, "heads": 2, "kernel": 5, "channels": 3}),
]


def heard(lengths: list[int], bands: int = 10) -> tuple[Tensor, Tensor]:
    frames = torch.randn(len(lengths), max(lengths), bands, generator=torch.Generator().manual_seed(1)).double()
    count = torch.tensor(lengths)
    return frames * (torch.arange(max(lengths)) < count[:, None])[:, :, None], count


def built(name: str, options: dict[str, Any], times: int = 4) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"bands": 10, "outputs": 5}
    more = {} if name == "audio_cnn" else {"shorten": times}
    return models[name](**sizes, **more, **options).double().eval()


@pytest.mark.parametrize("times", [1, 2, 4])
@pytest.mark.parametrize(("name", "options"), SPOKEN, ids=lambda x: str(x))
def test_a_recording_is_heard_alike_alone_and_beside_longer_ones(
    name: str, options: dict[str, Any], times: int
) -> None:
    model: Any = built(name, options, times)
    frames, lengths = heard([23, 40, 9, 1])
    together, counts = model(frames, lengths)
    assert counts.tolist() == model.lengths(lengths).tolist() == [-(-n // times) for n in lengths.tolist()]
    for i, length in enumerate(lengths.tolist()):
        alone, count = model(frames[i : i + 1, :length], lengths[i : i + 1])
        assert alone.shape == (1, int(count), 5)
        assert torch.allclose(alone[0], together[i, : int(count)], rtol=0, atol=1e-10)


def test_a_sound_is_judged_alike_alone_and_beside_longer_ones() -> None:
    model = built("audio_cnn", {"filters": (4, 6, 8)})
    frames, lengths = heard([23, 40, 9, 1])
    together = model(frames, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = model(frames[i : i + 1, :length], lengths[i : i + 1])
        assert torch.allclose(alone[0], together[i], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), [*SPOKEN, ("audio_cnn", {"filters": (4, 6)})], ids=lambda x: str(x))
def test_every_weight_learns(name: str, options: dict[str, Any]) -> None:
    model = built(name, options).train()
    said = model(*heard([23, 40]))
    (said[0] if isinstance(said, tuple) else said).square().sum().backward()
    assert [n for n, w in model.named_parameters() if w.grad is None or not w.grad.isfinite().all()] == []
    assert all(bool(w.grad.any()) for n, w in model.named_parameters() if w.grad is not None and "bias" not in n)


def test_batch_norm_is_of_the_real_frames_alone() -> None:
    norm = RealNorm(3).double()
    x, real = torch.randn(2, 3, 8, 5).double(), torch.ones(2, 1, 8, 1).double()
    real[1, :, 5:] = 0
    out = norm(x + 100 * (1 - real), real)
    kept = torch.cat([x[0].flatten(1), x[1, :, :5].flatten(1)], 1)
    plain = (kept - kept.mean(1, keepdim=True)) / (kept.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    found = torch.cat([out[0].flatten(1), out[1, :, :5].flatten(1)], 1)
    assert torch.allclose(found, plain, atol=1e-9)
    assert not out[1, :, 5:].any()
    assert torch.allclose(norm.get_buffer("running_mean"), 0.1 * kept.mean(1), atol=1e-6)
    norm.eval()
    assert torch.allclose(norm(x, torch.ones_like(real))[:, 0], (x[:, 0] - norm.get_buffer("running_mean")[0])
                          / (norm.get_buffer("running_var")[0] + 1e-5).sqrt())  # fmt: skip


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.kernel"):
        built("conformer", {"kernel": 4})


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
def test_a_layer_in_both_directions_is_that_of_packed_sequences(cell: type[nn.GRU] | type[nn.LSTM]) -> None:
    torch.manual_seed(0)
    layer = cell(3, 4, batch_first=True, bidirectional=True).double()
    x, lengths = torch.randn(3, 7, 3).double(), torch.tensor([2, 7, 4])

    def learned(said: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(said.square().sum(), list(layer.parameters())))

    packed = layer(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0]
    wanted = pad_packed_sequence(packed, batch_first=True, total_length=7)[0]
    said = both_ways(layer, x, lengths)
    torch.testing.assert_close(said, wanted)
    for mine, theirs in zip(learned(said), learned(wanted), strict=True):
        torch.testing.assert_close(mine, theirs)
