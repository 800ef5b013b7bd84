"""Autoencoders: shapes of codes and reconstructions, points and distributions, pictures of any size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainwright.core.errors import UserError
from trainwright.core.kinds import models


def built(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return models[name](codes=3, **options)


@pytest.mark.parametrize("latent", ["point", "normal"])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (9, 13), (1, 2)])
def test_pictures_of_any_size_come_back_in_their_size(latent: str, height: int, width: int) -> None:
    x = torch.rand(4, 2, height, width, generator=torch.Generator().manual_seed(1))
    conv = built("conv_autoencoder", channels=2, size=(height, width), filters=(4, 5), latent=latent)
    dense = built("autoencoder", inputs=2 * height * width, units=(7,), latent=latent)
    for model in (conv, dense):
        said, code, divergence = model(x)
        assert (said.shape, code.shape, divergence.shape) == (x.shape, (4, 3), (4,))
        assert torch.equal(model.encode(x), code)
        assert torch.allclose(model.decode(code).view_as(x), said)


def test_a_point_has_no_divergence_and_a_distribution_that_of_its_formula() -> None:
    x = torch.rand(5, 6, generator=torch.Generator().manual_seed(1))
    assert not built("autoencoder", inputs=6)(x)[2].any()
    model = built("autoencoder", inputs=6, latent="normal")
    mean, spread = model.code.says(model.encoder(x)).chunk(2, 1)
    wanted = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (spread / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(1)
    assert torch.allclose(model(x)[2], wanted, atol=1e-5)


def test_codes_are_drawn_by_the_dice_alone() -> None:
    x = torch.rand(5, 6, generator=torch.Generator().manual_seed(1))
    dice = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    model = built("autoencoder", inputs=6, latent="normal")
    before = torch.get_rng_state()
    first, code, _ = model(x, dice)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, model(x, dice)[0])
    assert not torch.allclose(first, model(x, -dice)[0])
    assert torch.equal(code, model(x)[1])
    point = built("autoencoder", inputs=6)
    assert torch.equal(point(x, dice)[0], point(x)[0])


@pytest.mark.parametrize(("options", "says"), [({"kernel": 4}, "4 is even"), ({"filters": ()}, "there is none")])
def test_what_makes_no_network_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        built("conv_autoencoder", channels=1, size=(8, 8), **options)
