"""Augmentation: which changes in which order, and that they depend on the sample alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.data.pixels import array, changed, images
from trainwright.core.batch import Draw
from trainwright.core.errors import UserError
from trainwright.core.kinds import augmentations
from trainwright.data.augmentation import STAGES, asked, fits, usual, warped

OURS = [n for n in augmentations.names() if augmentations[n].__module__.startswith("trainwright.")]


def table(**more: Any) -> dict[str, Any]:
    """Everything at once."""
    return {**dict.fromkeys(OURS, True), **more}


def test_without_changes_images_become_floats_and_nothing_else() -> None:
    x, draw = images()
    assert torch.equal(changed(x, draw), x.float())
    assert torch.equal(changed(x, draw, flip=False, noise=False), x.float())


@pytest.mark.parametrize("name", OURS)
def test_a_sample_is_changed_alike_in_any_batch_and_anew_each_epoch(name: str) -> None:
    x, draw = images()
    together = changed(x, draw, **{name: True})
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(5))
    for cut in (*order.split(7), order[:1]):
        alone = changed(x[cut], Draw(draw.seed, draw.epoch, draw.ids[cut]), **{name: True})
        assert torch.allclose(alone, together[cut], atol=1e-3)
    assert not torch.equal(changed(x, Draw(draw.seed, 2, draw.ids), **{name: True}), together)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 8)])
def test_values_stay_in_range_and_the_images_given_stay_as_they_are(name: str, size: tuple[int, int]) -> None:
    x, draw = images(height=size[0], width=size[1])
    before, state = x.clone(), torch.get_rng_state()
    out = changed(x, draw, **{name: True})
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert out.dtype == torch.float32
    assert out.shape == x.shape
    assert 0 <= float(out.min()) <= float(out.max()) <= 255
    floats = changed(x.float(), draw, **{name: True})
    assert torch.equal(floats, out)


def test_each_change_depends_on_dice_of_its_own() -> None:
    x, draw = images()
    for name in OURS:
        alone = {n: changed(x, draw, **{n: True}) for n in OURS if n != name}
        assert all(not torch.equal(changed(x, draw, **{name: True}), other) for other in alone.values()), name


def test_the_order_of_the_table_changes_nothing() -> None:
    x, draw = images()
    backwards = dict(reversed(table().items()))
    assert torch.equal(changed(x, draw, **table()), changed(x, draw, **backwards))


def test_every_change_names_a_stage() -> None:
    assert {augmentations.tags(name)["stage"] for name in OURS} == set(STAGES)


def test_several_warps_sample_the_image_once() -> None:
    """Two half turns with nothing between them give the image back, which two samplings would have blurred."""
    x, _ = images(4)
    half = torch.tensor([[0.7, -0.6, 1.3], [0.6, 0.7, -0.4], [0, 0, 1]]).double().expand(4, 3, 3)
    there = torch.linalg.inv(half)
    assert torch.allclose(warped(x.double(), half @ there), x.double(), atol=1e-9)
    assert not torch.allclose(warped(warped(x.double(), half), there), x.double(), atol=1)


@pytest.mark.parametrize("shape", [(9, 8), (16, 5), (1, 6)])
def test_a_warp_is_scipys_affine_transform(shape: tuple[int, int]) -> None:
    from scipy.ndimage import affine_transform

    x, _ = images(6, channels=2, height=shape[0], width=shape[1])
    dice = np.random.default_rng(0)
    matrix = np.tile(np.eye(3), (6, 1, 1))
    matrix[:, :2] += dice.normal(0, [[0.4, 0.4, 2.0]], (6, 2, 3))
    found = array(warped(x.double(), torch.from_numpy(matrix)))
    middle = np.array([(shape[0] - 1) / 2, (shape[1] - 1) / 2])
    for n, m in enumerate(matrix):
        swapped = m[[1, 0]][:, [1, 0]]  # scipy counts rows first
        offset = middle + m[[1, 0], 2] - swapped @ middle
        for c in range(2):
            expected = affine_transform(array(x)[n, c], swapped, offset, order=1, mode="nearest")
            assert found[n, c] == pytest.approx(expected, abs=1e-6)


def test_true_stands_for_the_defaults_and_a_value_for_the_first_option() -> None:
    assert asked({"shift": True}) == {"shift": {"pixels": 4, "border": "repeat"}}
    assert asked({"shift": 2}) == asked({"shift": {"pixels": 2}})
    assert asked({"flip": "both"}) == {"flip": {"direction": "both"}}
    assert asked({"flip": False}) == {}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"flop": True}, r"task\.augment\.flop: unknown option; did you mean 'flip'"),
        ({"shift": -1}, r"task\.augment\.shift\.pixels: -1 is out of range"),
        ({"rotate": "much"}, r"task\.augment\.rotate\.degrees: 'much' is not valid; write number"),
        ({"flip": "sideways"}, r"task\.augment\.flip\.direction: 'sideways' is not valid"),
        ({"crop": {"smalest": 0.5}}, r"task\.augment\.crop\.smalest: unknown option; did you mean 'smallest'"),
        ({"erase": {"area": [0.1, 1.5]}}, r"task\.augment\.erase\.area: 1\.5"),
        ({"noise": float("nan")}, r"task\.augment\.noise\.deviation"),
    ],
)
def test_mistakes_are_told(written: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asked(written)


def test_grey_images_have_no_colours_to_change() -> None:
    fits(asked(table()), 3)
    fits(asked(table(hue=False, saturation=False)), 1)
    for name in ("hue", "saturation"):
        with pytest.raises(UserError, match=rf"task\.augment\.{name}: changes colours, but the images are grey"):
            fits(asked({name: True}), 1)


def test_the_usual_changes_never_flip_grey_images() -> None:
    assert "flip" not in usual(1, 28, 28)
    assert usual(1, 28, 28)["shift"]["pixels"] == 2
    assert usual(1, 8, 8)["shift"]["pixels"] == 1
    assert usual(3, 32, 32).keys() == {"flip", "shift"}
    assert usual(3, 64, 96).keys() == {"flip", "crop", "brightness", "contrast", "saturation"}
    for channels, side in ((1, 28), (1, 200), (3, 8), (3, 200)):
        fits(usual(channels, side, side), channels)


def test_a_change_of_ones_own_joins_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def negative() -> Any:
        """Black becomes white."""
        return lambda x, draw: 255 - x

    monkeypatch.setitem(augmentations._entries, "negative", negative)
    monkeypatch.setitem(augmentations._tags, "negative", {})
    x, draw = images()
    out: Tensor = changed(x, draw, negative=True)
    assert torch.equal(out, 255 - x.float())
    with pytest.raises(UserError, match=r"task\.augment\.negative: 2 is not valid: it has no options"):
        asked({"negative": 2})
