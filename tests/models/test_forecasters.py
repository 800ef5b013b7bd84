"""Forecasters: shapes, what they are relative to, and that a window's forecast depends on it alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainwright.core.errors import UserError
from trainwright.core.kinds import models

SIZES: dict[str, Any] = {"context": 20, "horizon": 5, "variables": 3, "quantiles": 2}
ALL: list[tuple[str, dict[str, Any]]] = [
    ("nlinear", {}),
    ("nlinear", {"individual": True}),
    ("dlinear", {"window": 4}),
    ("dlinear", {"individual": True}),
    ("series_rnn", {"cell": "lstm", "units": 7, "layers": 2}),
    ("series_rnn", {"cell": "gru", "units": 7}),
    ("series_tcn", {"channels": 6, "levels": 3}),
    ("patchtst", {"patch": 6, "stride": 3, "width": 8, "heads": 2, "depth": 1}),
]


def built(name: str, options: dict[str, Any]) -> torch.nn.Module:
    torch.manual_seed(0)
    return models[name](**SIZES, **options).eval()


@pytest.mark.parametrize(("name", "options"), ALL)
def test_a_forecast_has_its_shape_and_depends_on_its_window_alone(name: str, options: dict[str, Any]) -> None:
    model = built(name, options)
    context = torch.randn(4, 20, 3, generator=torch.Generator().manual_seed(1))
    together = model(context)
    assert together.shape == (4, 5, 3, 2)
    assert torch.allclose(model(context[2:3])[0], together[2], atol=1e-5)


@pytest.mark.parametrize(("name", "options"), [a for a in ALL if a[0] != "dlinear"])
def test_a_series_that_is_moved_up_is_forecast_as_much_higher(name: str, options: dict[str, Any]) -> None:
    model = built(name, options)
    context = torch.randn(4, 20, 3, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(model(context + 7.0), model(context) + 7.0, atol=1e-3)


@pytest.mark.parametrize(("name", "options"), [("nlinear", {}), ("nlinear", {"individual": True}), ("patchtst", {})])
def test_channel_independent_models_do_not_look_at_other_series(name: str, options: dict[str, Any]) -> None:
    model = built(name, {**options, **({"patch": 6, "stride": 3} if name == "patchtst" else {})})
    context = torch.randn(4, 20, 3, generator=torch.Generator().manual_seed(1))
    changed = context.clone()
    changed[:, :, 1] *= 5
    assert torch.allclose(model(changed)[:, :, 0], model(context)[:, :, 0], atol=1e-5)


def test_dlinear_adds_maps_of_the_moving_mean_and_of_the_rest() -> None:
    model = built("dlinear", {"window": 3})
    context = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([context[:, :1], context, context[:, -1:]], 1)
    trend = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    wanted = model.trend(trend.transpose(1, 2)) + model.rest((context - trend).transpose(1, 2))  # type: ignore[operator]
    assert torch.allclose(model(context), wanted.reshape(2, 3, 5, 2).transpose(1, 2), atol=1e-5)


def test_a_patch_longer_than_the_context_is_refused() -> None:
    with pytest.raises(UserError, match="a patch of 40 steps is longer than the context of 20"):
        built("patchtst", {"patch": 40})
