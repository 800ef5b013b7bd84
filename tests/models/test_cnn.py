"""The small convolutional network: shapes, and the classic written exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.schema import check

cnn = models["cnn"]


@given(
    channels=st.sampled_from([1, 3]),
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    filters=st.lists(st.integers(1, 6), max_size=3),
    dense=st.lists(st.integers(1, 8), max_size=2),
    kernel=st.sampled_from([1, 3]),
    pool=st.integers(1, 2),
)
@settings(max_examples=25, deadline=None)
def test_images_of_any_size_go_in_and_outputs_come_out(
    channels: int, height: int, width: int, filters: list[int], dense: list[int], kernel: int, pool: int
) -> None:
    net = cnn(
        channels=channels, size=(height, width), outputs=3, filters=tuple(filters), dense=tuple(dense), kernel=kernel,
        pool=pool,
    )  # fmt: skip
    assert net(torch.randn(2, channels, height, width)).shape == (2, 3)


def test_the_classic_is_expressed_exactly() -> None:
    net = cnn(channels=1, size=(28, 28), outputs=10, filters=(32,), kernel=3, padding="none", pool=2, dense=(128,))
    layers = [m for m in net.modules() if not list(m.children())]
    assert [type(m) for m in layers] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Linear, nn.ReLU, nn.Linear]
    assert [tuple(p.shape) for p in net.parameters() if p.ndim > 1] == [(32, 1, 3, 3), (128, 32 * 13 * 13), (10, 128)]


def test_the_defaults_suit_images_from_8_to_64_pixels() -> None:
    for side, channels in ((8, 1), (28, 1), (32, 3), (64, 3)):
        net = cnn(channels=channels, size=(side, side), outputs=10)
        assert sum(p.numel() for p in net.parameters()) < 3e6


def test_signals_keep_their_size() -> None:
    torch.manual_seed(0)
    net = cnn(channels=3, size=(32, 32), outputs=10, filters=(32, 64, 128), pool=1)
    assert 0.3 < float(net.features(torch.randn(8, 3, 32, 32)).detach().square().mean().sqrt()) < 3


def test_too_many_pools_are_told() -> None:
    with pytest.raises(UserError, match=r"nothing of an image of 8x8 pixels is left after 4 filters"):
        cnn(channels=1, size=(8, 8), outputs=2, filters=(4, 4, 4, 4))
    with pytest.raises(UserError, match=r"model\.filters"):
        cnn(channels=1, size=(3, 3), outputs=2, filters=(4,), kernel=5, padding="none")


def test_an_even_kernel_cannot_keep_the_size() -> None:
    with pytest.raises(UserError, match=r"model\.kernel"):
        cnn(channels=1, size=(8, 8), outputs=2, kernel=4)
    assert cnn(channels=1, size=(8, 8), outputs=2, kernel=4, padding="none", filters=(3,))(
        torch.randn(1, 1, 8, 8)
    ).shape == (1, 2)


def test_images_of_another_shape_are_told() -> None:
    with pytest.raises(UserError, match=r"built for images \(1, 8, 8\), but was given \(3, 8, 8\)"):
        cnn(channels=1, size=(8, 8), outputs=2)(torch.randn(1, 3, 8, 8))


def test_options_are_checked() -> None:
    given_ = {"channels": 1, "size": [8, 8], "outputs": 2}
    assert check(cnn, {**given_, "filters": [4]}, "model")["filters"] == (4,)
    with pytest.raises(UserError, match=r"model\.filters"):
        check(cnn, {**given_, "filters": [0]}, "model")


def test_it_is_the_default_of_image_classification() -> None:
    assert models.default_for("image_classification") == "cnn"
