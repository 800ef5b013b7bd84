"""Random changes of pictures that move their boxes with the pixels: mosaic, mirror, zoom and shift; and of the light.

Letters in shapes: N samples, C channels, H height, W width, M boxes of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.core.boxes import areas
from trainwright.core.rows import Rows
from trainwright.data.augmentation import Augmenter, asked, warped

Flips: TypeAlias = Literal["none", "sideways", "both"]
_KEPT = 0.3  # share of a box that must be seen, or it is left out
_SMALL = 2.0  # pixels that a side must keep


@final
class SceneChanges:
    """Changes pictures and boxes, each sample by numbers that depend on seed, epoch and sample alone.

    Args:
        flips: which mirror images are as good.
        zoom: the size is multiplied by up to 1 + zoom, or divided by it.
        mosaic: share of the training images that are put together out of four.
        light: of brightness, contrast and saturation, how much they change.
    """

    def __init__(self, flips: Flips, zoom: float, mosaic: float, light: float) -> None:
        self.flips, self.zoom, self.mosaic, self.light = flips, zoom, mosaic, light
        self.companions = 3 if mosaic > 0 else 0
        self.colours = Augmenter({})

    def fits(self, channels: int) -> None:
        """Choose the changes of light for so many channels."""
        names = ["brightness", "contrast", *(["saturation"] if channels == 3 else [])]
        self.colours = Augmenter(asked(dict.fromkeys(names, self.light)) if self.light else {})

    def __call__(self, rows: Rows, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Pictures (N, C, H, W) float32, 0 to 255, and the targets (see `scenes.Scenes.batch`)."""
        x, targets = rows.dense("image"), scene_targets(rows)
        if self.mosaic > 0:
            x, targets = _put_together(rows, draw, self.mosaic)
        x, targets = self._moved(x.float(), targets, draw)
        return self.colours(x, draw), targets

    def _moved(self, x: Tensor, targets: dict[str, Tensor], draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Mirrored, larger or smaller, and shifted, all at once."""
        height, width = x.shape[2:]
        size = (1 + self.zoom) ** (2 * draw.uniform("zoom") - 1)  # (N, 1)
        signs = torch.ones_like(draw.uniform("flip", 2))
        if self.flips != "none":
            signs = 1 - 2 * (draw.uniform("flip", 2) < 0.5).float()
        if self.flips == "sideways":
            signs = signs * torch.tensor([1.0, 0.0], device=x.device) + torch.tensor([0.0, 1.0], device=x.device)
        sides = torch.tensor([width, height], dtype=torch.float32, device=x.device)
        room = (size - 1).abs() / 2 * sides  # of the picture, or beside it
        shift = (2 * draw.uniform("shift", 2) - 1) * room  # in pixels of the new picture
        scale = signs * size  # new = scale * old + shift, from the middle
        matrix = torch.zeros(len(x), 3, 3, device=x.device)
        matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = 1 / scale[:, 0], 1 / scale[:, 1], 1.0
        matrix[:, 0, 2], matrix[:, 1, 2] = -shift[:, 0] / scale[:, 0], -shift[:, 1] / scale[:, 1]
        middle, times, by = (torch.cat([t, t], -1)[..., None, :] for t in (sides / 2, scale, shift))
        corners = (targets["boxes"] - middle) * times + by + middle
        low, high = corners[..., :2].minimum(corners[..., 2:]), corners[..., :2].maximum(corners[..., 2:])
        within = (0.0, 0.0, float(width), float(height))
        return _dark(warped(x, matrix), matrix), _seen(torch.cat([low, high], -1), targets, within)


def scene_targets(rows: Rows) -> dict[str, Tensor]:
    """Padded ``boxes`` (N, M, 4), ``classes`` (N, M), ``ignored`` (N, M) bool; nothing where rows have none."""
    if "boxes" not in rows.columns:
        return {}
    classes = rows.ragged("classes").padded(-1)
    return {
        "boxes": rows.ragged("boxes").padded(),
        "classes": classes,
        "ignored": rows.ragged("ignored").padded().bool(),
    }


def weights(targets: Mapping[str, Tensor]) -> Tensor:
    """(N,) boxes that count, and 1 where there is none, so that a picture without any has a say too."""
    real = (targets["classes"] >= 0) & ~targets["ignored"]
    return real.sum(1).clamp_min(1).float()


def _dark(x: Tensor, matrix: Tensor) -> Tensor:
    """Pictures (N, C, H, W) with black where nothing of the old one is, as the bars beside it are."""
    outside = []
    for axis, count in ((0, x.shape[3]), (1, x.shape[2])):
        at = torch.arange(count, device=x.device) - (count - 1) / 2
        outside.append((at * matrix[:, axis, axis, None] + matrix[:, axis, 2, None]).abs() > count / 2)  # (N, count)
    return x.masked_fill((outside[0][:, None, :] | outside[1][:, :, None])[:, None], 0.0)


def _seen(
    boxes: Tensor, targets: Mapping[str, Tensor], window: tuple[float, float, float, float] | Tensor
) -> dict[str, Tensor]:
    """The boxes cut to a window (4,) or (N, 1, 4); those of which little is left become padding, behind the others."""
    edges = torch.as_tensor(window, device=boxes.device, dtype=boxes.dtype)
    inside = torch.cat(
        [
            boxes[..., :2].maximum(edges[..., :2]).minimum(edges[..., 2:]),
            boxes[..., 2:].maximum(edges[..., :2]).minimum(edges[..., 2:]),
        ],
        -1,
    )
    sides = (inside[..., 2:] - inside[..., :2]).amin(-1)
    kept = (targets["classes"] >= 0) & (areas(inside) >= _KEPT * areas(boxes)) & (sides >= _SMALL)
    return _packed({**targets, "boxes": inside}, kept)


def _packed(targets: Mapping[str, Tensor], kept: Tensor) -> dict[str, Tensor]:
    """The boxes that are kept, in their order, and padding behind them."""
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)
    there = kept.gather(1, order)
    boxes = targets["boxes"].gather(1, order[..., None].expand(-1, -1, 4)) * there[..., None]
    classes = targets["classes"].gather(1, order).masked_fill(~there, -1)
    return {"boxes": boxes, "classes": classes, "ignored": targets["ignored"].gather(1, order) & there}


def _put_together(rows: Rows, draw: Draw, chance: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Each picture keeps a corner of itself and takes the others from its companions; some stay whole.

    Source: Bochkovskiy et al. 2020, "YOLOv4: optimal speed and accuracy of object detection", for the mosaic.
    """
    image = rows.dense("image")
    height, width = image.shape[2:]
    sides = torch.tensor([width, height], device=image.device)
    centre = (sides * (0.25 + 0.5 * draw.uniform("centre", 2))).long()
    centre = torch.where(draw.uniform("mosaic") < chance, centre, sides)  # (N, 2)
    right = torch.arange(width, device=image.device)[None, None, :] >= centre[:, :1, None]
    below = torch.arange(height, device=image.device)[None, :, None] >= centre[:, 1:, None]
    x = torch.zeros_like(image)
    found: list[dict[str, Tensor]] = []
    for part, (across, down) in zip((rows, *rows.companions), ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
        region = ((right == bool(across)) & (below == bool(down)))[:, None]
        x |= part.dense("image") * region  # not torch.where, which takes ten times as long for bytes on a CPU
        second = torch.tensor([bool(across), bool(down)], device=image.device)
        low = torch.where(second, centre, torch.zeros_like(centre))
        high = torch.where(second, sides, centre)
        targets = scene_targets(part)
        found.append(_seen(targets["boxes"], targets, torch.cat([low, high], -1)[:, None].to(targets["boxes"].dtype)))
    joined = {name: torch.cat([t[name] for t in found], 1) for name in found[0]}
    return x, _packed(joined, joined["classes"] >= 0)
