"""Mixing: averages and rectangles, with shares from the beta distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.pixels import array, images
from trainwright.core.batch import Draw
from trainwright.data.mixing import Mixer


def many(n: int = 4000, side: int = 16) -> tuple[torch.Tensor, torch.Tensor, Draw]:
    """White images with black companions: the mean is the share that is the image's own."""
    return torch.ones(n, 1, side, side), torch.zeros(n, 1, side, side), Draw(1, 2, torch.arange(n) * 3)


def test_the_shares_of_mixup_are_from_the_beta_distribution() -> None:
    from scipy.stats import beta, kstest

    x, other, draw = many()
    for alpha in (0.2, 1.0, 5.0):
        out, share = Mixer(alpha, 0.0)(x, other, draw)
        assert torch.equal(out[:, 0, 3, 5], out[:, 0, 9, 1])
        assert torch.allclose(out.mean((1, 2, 3)), share, atol=1e-6)
        assert kstest(array(share), beta(alpha, alpha).cdf).pvalue > 1e-3


def test_mixup_is_the_average_by_the_share() -> None:
    x, draw = images()
    a, b = x.float(), x.float().flip(0)
    out, share = Mixer(0.4, 0.0)(a, b, draw)
    s = array(share)[:, None, None, None]
    assert array(out) == pytest.approx(s * array(a) + (1 - s) * array(b), abs=1e-3)


def test_cutmix_pastes_one_rectangle_and_tells_the_area_that_is_left() -> None:
    x, other, draw = many(500)
    out, share = Mixer(0.0, 1.0)(x, other, draw)
    assert set(out.unique().tolist()) == {0.0, 1.0}
    for image, s in zip(array(out)[:, 0], share.tolist(), strict=True):
        rows, columns = np.flatnonzero((image == 0).any(1)), np.flatnonzero((image == 0).any(0))
        if len(rows):
            assert (image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 0).all()
            assert len(rows) == rows[-1] - rows[0] + 1
        assert s == pytest.approx(1 - len(rows) * len(columns) / image.size)


def test_the_rectangles_of_cutmix_have_the_papers_sizes_and_places() -> None:
    """Yun et al. 2019, eq. 2: a share, both sides by the root of the rest, the middle anywhere; the border cuts."""
    x, other, draw = many(2000, 96)
    _, share = Mixer(0.0, 1.0)(x, other, draw)
    dice = np.random.default_rng(0)
    side = (96 * np.sqrt(1 - dice.beta(1, 1, 100_000))).astype(int)
    inside = []
    for _ in range(2):
        middle = dice.integers(0, 96, 100_000)
        inside.append((middle + side // 2).clip(0, 96) - (middle - side // 2).clip(0, 96))
    expected = 1 - inside[0] * inside[1] / 96**2
    for q in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert np.quantile(array(share), q) == pytest.approx(np.quantile(expected, q), abs=0.03)


def test_with_both_a_coin_decides() -> None:
    x, other, draw = many(1000)
    out, share = Mixer(1.0, 1.0)(x, other, draw)
    averaged = torch.tensor([len(image.unique()) == 1 for image in out])
    assert 400 < int(averaged.sum()) < 600
    assert torch.allclose(out.mean((1, 2, 3)), share, atol=1e-5)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_a_sample_is_mixed_alike_in_any_batch(mixup: float, cutmix: float) -> None:
    x, draw = images()
    a, b = x.float(), x.float().flip(0)
    whole, shares = Mixer(mixup, cutmix)(a, b, draw)
    for cut in torch.arange(len(x)).flip(0).split(9):
        out, share = Mixer(mixup, cutmix)(a[cut], b[cut], Draw(draw.seed, draw.epoch, draw.ids[cut]))
        assert torch.allclose(out, whole[cut], atol=1e-3)
        assert torch.allclose(share, shares[cut])
    assert not torch.equal(Mixer(mixup, cutmix)(a, b, Draw(draw.seed, 7, draw.ids))[1], shares)


def test_nothing_to_mix_is_false() -> None:
    assert not Mixer(0.0, 0.0)
    assert Mixer(0.1, 0.0)
    assert Mixer(0.0, 0.1)
