"""Batch norm: torch's own, but for a batch of one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainwright.models.norms import FeatureNorm, MapNorm


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (FeatureNorm, nn.BatchNorm1d, (5, 3)),
        (MapNorm, nn.BatchNorm2d, (5, 3, 2, 2)),
        (MapNorm, nn.BatchNorm2d, (1, 3, 2, 2)),
    ],
)
def test_it_is_torchs_for_several_values(
    ours: type[nn.Module], theirs: type[nn.Module], shape: tuple[int, ...]
) -> None:
    a, b = ours(3), theirs(3)
    for _ in range(3):
        x = torch.randn(shape)
        assert torch.equal(a(x), b(x))
    a.eval(), b.eval()
    assert torch.equal(a(x), b(x))
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


@pytest.mark.parametrize(("norm", "shape"), [(FeatureNorm(3), (1, 3)), (MapNorm(3), (1, 3, 1, 1))])
def test_one_value_is_normed_by_the_running_statistics_and_leaves_them(
    norm: FeatureNorm | MapNorm, shape: tuple[int, ...]
) -> None:
    norm(torch.randn(8, *shape[1:]) * 3 + 1)
    kept = {k: v.clone() for k, v in norm.state_dict().items()}
    x = torch.randn(shape)
    trained = norm(x)
    assert all(torch.equal(v, kept[k]) for k, v in norm.state_dict().items())
    assert torch.equal(trained, norm.eval()(x))
