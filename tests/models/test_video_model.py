from __future__ import annotations

import pytest
import torch

from trainwright.core.errors import UserError
from trainwright.core.kinds import models

SIZES = {"frames": 4, "channels": 3, "size": (20, 30), "outputs": 5}


def test_shapes_are_inferred_down_to_frames_of_one_pixel() -> None:
    for size in ((20, 30), (1, 1), (3, 50), (112, 112)):
        net = models["video"](**{**SIZES, "size": size})
        assert net(torch.randn(2, 4, 3, *size)).shape == (2, 5)


def test_the_mean_over_time_is_blind_to_order_and_the_gru_is_not() -> None:
    x = torch.randn(2, 4, 3, 20, 30)
    for over_time, blind in (("mean", True), ("gru", False)):
        torch.manual_seed(0)
        net = models["video"](**SIZES, over_time=over_time).eval()
        with torch.no_grad():
            assert torch.allclose(net(x), net(x.flip(1)), atol=1e-6) is blind


def test_a_clip_is_judged_alike_whatever_else_is_in_the_batch() -> None:
    net = models["video"](**SIZES).double()
    x = torch.randn(3, 4, 3, 20, 30, dtype=torch.float64)
    assert torch.allclose(net(x)[1:2], net(x[1:2]), atol=1e-12)


def test_other_clips_than_it_was_built_for_are_refused() -> None:
    net = models["video"](**SIZES)
    with pytest.raises(UserError, match="frames, channels, height, width"):
        net(torch.randn(2, 5, 3, 20, 30))
    with pytest.raises(UserError, match=r"model\.kernel"):
        models["video"](**SIZES, kernel=2)
