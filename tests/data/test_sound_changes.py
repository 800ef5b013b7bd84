from __future__ import annotations

import torch
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.data.sound_changes import Changes

RATE = 1000
LENGTHS = torch.tensor([800, 500, 300])


def waves() -> Tensor:
    at = torch.arange(800) / RATE
    tone = torch.sin(2 * torch.pi * 25 * at)
    return tone.repeat(3, 1) * (torch.arange(800) < LENGTHS[:, None])


def changed(changes: Changes, epoch: int = 0, least: Tensor | None = None) -> tuple[Tensor, Tensor]:
    draw = Draw(0, epoch, torch.arange(3))
    fewest = torch.ones_like(LENGTHS) if least is None else least
    return changes.of_wave(waves(), LENGTHS, fewest, RATE, draw)


def test_a_faster_recording_is_shorter_and_higher() -> None:
    lengths = torch.stack([changed(Changes(speed=0.2), e)[1] for e in range(30)])
    share = lengths / LENGTHS
    assert (share >= 1 / 1.2 - 0.01).all()
    assert (share <= 1 / 0.8 + 0.01).all()
    assert share.std() > 0.05
    wave, lengths = changed(Changes(speed=0.2), 3)
    for i in range(3):
        there = wave[i, : int(lengths[i])]
        crossings = int((there[1:] * there[:-1] < 0).sum())  # as many periods as before, in another time
        assert abs(crossings - 2 * 25 * int(LENGTHS[i]) / RATE) <= 2
        assert not wave[i, int(lengths[i]) :].any()


def test_no_recording_becomes_shorter_than_its_text_needs() -> None:
    for epoch in range(20):
        _, lengths = changed(Changes(speed=0.5), epoch, least=torch.tensor([780, 500, 9999]))
        assert (lengths >= torch.tensor([780, 500, 300])).all()


def test_a_shift_moves_within_the_recording() -> None:
    for epoch in range(10):
        wave, lengths = changed(Changes(shift=0.1), epoch)
        assert torch.equal(lengths, LENGTHS)
        assert not (wave * (torch.arange(800) >= LENGTHS[:, None])).any()
        offsets = [k for k in range(-100, 101) if _same(wave[1, :500], waves()[1, :500], k)]
        assert offsets


def _same(moved: Tensor, plain: Tensor, by: int) -> bool:
    expected = torch.zeros_like(plain)
    if by >= 0:
        expected[by:] = plain[: len(plain) - by]
    else:
        expected[:by] = plain[-by:]
    return torch.allclose(moved, expected)


def test_noise_is_as_much_fainter_as_was_asked() -> None:
    ratios = []
    for epoch in range(40):
        wave, _ = changed(Changes(noise=10.0), epoch)
        noise = (wave - waves())[0, :800]
        ratios.append(10 * torch.log10(waves()[0].square().mean() / noise.square().mean()))
        assert not (wave * (torch.arange(800) >= LENGTHS[:, None])).any()  # padding stays silent
    found = torch.stack(ratios)
    assert found.min() > 9
    assert found.max() < 31
    assert found.max() - found.min() > 10


def test_gain_is_within_its_decibels() -> None:
    factors = torch.cat([(changed(Changes(gain=6.0), e)[0][:, 10] / waves()[:, 10]) for e in range(30)])
    found = 20 * torch.log10(factors)
    assert found.abs().max() <= 6.0
    assert found.std() > 2


def test_masks_hide_stripes_of_time_and_bands_within_the_recording() -> None:
    frames = torch.ones(3, 80, 20)
    lengths = torch.tensor([80, 50, 30])
    hidden = []
    for epoch in range(30):
        out = Changes(masks=1, mask_time=0.25, mask_bands=0.5).of_frames(
            frames, lengths, Draw(0, epoch, torch.arange(3))
        )
        rows = (out == 0).all(2)
        columns = (out == 0).all(1)
        for i, count in enumerate(lengths.tolist()):
            assert int(rows[i].sum()) <= 0.25 * count
            assert not rows[i, count:].any()
            assert int(columns[i].sum()) <= 10
        assert set(out.unique().tolist()) <= {0.0, 1.0}
        hidden.append((out == 0).float().mean())
    assert torch.stack(hidden).mean() > 0.1


def test_nothing_is_changed_where_nothing_is_asked() -> None:
    wave, lengths = changed(Changes())
    assert torch.equal(wave, waves())
    assert torch.equal(lengths, LENGTHS)
