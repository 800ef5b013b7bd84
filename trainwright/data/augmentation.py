"""Augmentation of images: which changes, with which options, and their order; a whole batch at once, on its device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast, final

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from trainwright.core.batch import Draw
from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.kinds import Change, Warp, augmentations
from trainwright.core.schema import check, options

# Of a change registered as @augmentations.add(name, stage=…); "colour" where it says nothing. First whole pixels are
# moved, then all warps together sample the image once, so that it is blurred once, then its values change.
STAGES = ("pixels", "warp", "colour", "damage")

_PHOTO = 64  # pixels of the shorter side from which a colour image is taken for a photo

Table: TypeAlias = dict[str, dict[str, Any]]  # name -> options


@final
class Augmenter:
    """Changes images at random, each by numbers that depend on seed, epoch and sample alone.

    The order follows from the stages, within a stage from the alphabet: not from the order in which a table is written.

    Args:
        table: the changes by name, with options that are checked and complete, as `asked` gives them.
    """

    def __init__(self, table: Mapping[str, Mapping[str, Any]]) -> None:
        self.changes: dict[str, list[Any]] = {stage: [] for stage in STAGES}
        for name in sorted(table):
            self.changes[_stage(name)].append(augmentations.make(name, table[name]))

    def __call__(self, x: Tensor, draw: Draw) -> Tensor:
        """Images (N, C, H, W), 0 to 255, of any type -> the same shape, float32, 0 to 255; ``x`` is left as it is."""
        for move in cast(list[Change], self.changes["pixels"]):
            x = move(x, draw)
        x = x.float()
        if warps := cast(list[Warp], self.changes["warp"]):
            x = warped(x, _joined([warp((x.shape[2], x.shape[3]), draw) for warp in warps]))
        for change in cast(list[Change], [*self.changes["colour"], *self.changes["damage"]]):
            x = change(x, draw).clamp(0, 255)
        return x


def asked(table: Mapping[str, Any], where: str = "task.augment") -> Table:
    """What a person wrote, checked and complete.

    ``{flip = true, shift = 4, erase = {chance = 0.25}, noise = false}``: true stands for the defaults, false for
    nothing, a number or a word for the first option.
    """
    return {name: _options(name, value, where) for name, value in table.items() if value is not False}


def usual(channels: int, height: int, width: int) -> Table:
    """What suits most images of that shape.

    Grey images are shifted only: they are often digits, letters or scans, which their mirror image is not. Colour
    images are mirrored too. Large ones are photos: a part of them shows the same thing, larger, in another light.
    """
    side = min(height, width)
    if channels == 1:
        return asked({"shift": max(1, round(side / 14))})
    if side < _PHOTO:
        return asked({"flip": True, "shift": max(1, round(side / 8))})
    return asked({"flip": True, "crop": True, "brightness": True, "contrast": True, "saturation": True})


def fits(table: Mapping[str, Any], channels: int, where: str = "task.augment") -> None:
    """UserError for a change of colour where the images have none."""
    for name in table:
        if augmentations.tags(name).get("channels", channels) != channels:
            raise UserError(f"{where}.{name}", "changes colours, but the images are grey", "leave it out")


def warped(x: Tensor, matrix: Tensor) -> Tensor:
    """Float images (N, C, H, W) sampled where ``matrix`` (N, 3, 3) says, linearly; outside, the border is repeated."""
    height, width = x.shape[2:]
    across = torch.arange(width, device=x.device, dtype=x.dtype) - (width - 1) / 2
    down = (torch.arange(height, device=x.device, dtype=x.dtype) - (height - 1) / 2)[:, None]
    m = matrix.to(x.dtype)[:, :, :, None, None]
    # by hand, since a matrix product may round differently in another batch
    source = [(m[:, i, 0] * across + m[:, i, 1] * down + m[:, i, 2]) * (2 / n) for i, n in ((0, width), (1, height))]
    return grid_sample(x, torch.stack(source, 3), mode="bilinear", padding_mode="border", align_corners=False)


def _joined(matrices: list[Tensor]) -> Tensor:
    """The matrices one after the other, the first of them next to the new image."""
    whole = matrices[0]
    for matrix in matrices[1:]:
        whole = (matrix[:, :, :, None] * whole[:, None]).sum(2)
    return whole


def _stage(name: str) -> Literal["pixels", "warp", "colour", "damage"]:
    stage = augmentations.tags(name).get("stage", "colour")
    assert stage in STAGES, f"augmentation '{name}' is registered for no stage: {stage!r}"
    return cast(Literal["pixels", "warp", "colour", "damage"], stage)


def _options(name: str, value: Any, where: str) -> dict[str, Any]:
    if name not in augmentations:
        raise UserError(f"{where}.{name}", "unknown option", did_you_mean(name, augmentations.names()))
    factory = augmentations[name]
    if value is True:
        given: Mapping[str, Any] = {}
    elif isinstance(value, Mapping):
        given = value
    elif first := next(iter(options(factory)), None):
        given = {first: value}
    else:
        raise UserError(f"{where}.{name}", f"{value!r} is not valid: it has no options", "write true or false")
    return check(factory, given, f"{where}.{name}")
