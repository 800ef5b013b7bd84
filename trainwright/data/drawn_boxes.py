"""Boxes drawn into pictures, each class in a colour of its own, with its name and score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainwright.data.images import Pixels

# Paul Tol's bright and vibrant schemes, which colour-blind readers can tell apart
_COLOURS = (
    "#ee3377",
    "#33bbee",
    "#ee7733",
    "#009988",
    "#ccbb44",
    "#4477aa",
    "#aa3377",
    "#66ccee",
    "#228833",
    "#bbbbbb",
)


def drawn(
    picture: Any, boxes: Sequence[Sequence[float]], classes: Sequence[int], words: Sequence[str] | None = None
) -> Pixels:
    """A picture with its boxes, (H, W, 3) uint8.

    Args:
        picture: (H, W), (H, W, C) of bytes, or a picture of Pillow.
        boxes: left, upper, right and lower edge of each.
        classes: the number of each, which chooses its colour.
        words: what is written beside each.
    """
    from PIL import Image, ImageDraw, ImageFont

    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture[:, :, 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)
    canvas = picture.convert("RGB")
    brush = ImageDraw.Draw(canvas)
    line = max(1, round(min(canvas.size) / 200))
    font = ImageFont.load_default(max(9, round(min(canvas.size) / 36))) if words else None
    for i in reversed(range(len(boxes))):  # the best last, on top
        x0, y0, x1, y1 = boxes[i]
        colour = _COLOURS[classes[i] % len(_COLOURS)]
        brush.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=line)
        if words and font is not None:
            left, _, right, bottom = brush.textbbox((0, 0), words[i], font=font)
            height = bottom + 2
            at = (x0, y0 - height if y0 >= height else y0)
            brush.rectangle((at[0], at[1], at[0] + right - left + 4, at[1] + height), fill=colour)
            brush.text((at[0] + 2, at[1]), words[i], fill="white", font=font)
    return np.asarray(canvas)
