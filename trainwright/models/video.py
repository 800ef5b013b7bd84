"""A network for films: convolutions see each frame, and what they saw is put together over time.

Letters in shapes: N clips, T frames, C channels, H height, W width, F features.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.models.activations import conv, dense

Size = Annotated[int, Field(ge=1)]
_GRID = 4  # the last maps are brought to at most so many rows and columns: where something is stays known
_GROUPS = 8  # of group norm; Wu & He 2018 find 8 to 32 alike


@models.add("video", default_for="video_classification")
@final
class Video(nn.Module):
    """The same convolutions for every frame, each with group norm, ReLU and a max-pool; then one layer over time.

    Group norm, as it is the same for a frame whatever else is in the batch: batches of films are small.

    Args:
        frames: of a clip; given by the data.
        channels: of the frames; given by the data.
        size: height and width of the frames in pixels; given by the data.
        outputs: numbers that come out; given by the data.
        filters: channels of each convolution.
        kernel: height and width of each convolution's window, an odd number.
        features: numbers that each frame is told by.
        over_time: "gru" reads the frames in their order in both directions and takes the mean of its states; "mean"
            takes the mean of the frames, blind to their order.
        units: of the GRU, in each direction.
        dropout: share of the features silenced before the outputs in training.

    Source: Donahue et al. 2015, "Long-term recurrent convolutional networks"; Cho et al. 2014 for the GRU; Wu & He
    2018, "Group normalization".
    """

    def __init__(
        self,
        *,
        frames: Size,
        channels: Size,
        size: tuple[Size, Size],
        outputs: Size,
        filters: tuple[Size, ...] = (16, 32, 64),
        kernel: Size = 3,
        features: Size = 128,
        over_time: Literal["gru", "mean"] = "gru",
        units: Size = 128,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise UserError("model.kernel", f"{kernel} is even: no padding keeps the size", "use an odd kernel")
        self.shape = (frames, channels, *size)
        self.maps = nn.Sequential()
        before, sides = channels, size
        for maps in filters:
            pool = nn.MaxPool2d(2, ceil_mode=True) if max(sides) > 1 else nn.Identity()
            self.maps.extend([conv(before, maps, kernel, same=True, activation="relu"), _norm(maps), nn.ReLU(), pool])
            before, sides = maps, (-(-sides[0] // 2), -(-sides[1] // 2))
        self.grid = (min(_GRID, sides[0]), min(_GRID, sides[1]))
        self.frame = nn.Sequential(dense(before * self.grid[0] * self.grid[1], features, "relu"), nn.ReLU())
        gru = over_time == "gru"
        self.time = nn.GRU(features, units, batch_first=True, bidirectional=True) if gru else None
        self.dropout = nn.Dropout(dropout)
        self.head = dense(2 * units if gru else features, outputs, None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) -> (N, outputs)."""
        if x.shape[1:] != self.shape:
            what = f"is built for clips {self.shape}, but was given {tuple(x.shape[1:])}"
            raise UserError("model", what, "the axes are frames, channels, height, width")
        maps = adaptive_avg_pool2d(self.maps(x.flatten(0, 1)), self.grid)
        told = self.frame(maps.flatten(1)).unflatten(0, (-1, self.shape[0]))  # (N, T, F)
        if self.time is not None:
            told, _ = self.time(told)
        return self.head(self.dropout(told.mean(1)))  # type: ignore[no-any-return]


def _norm(maps: int) -> nn.GroupNorm:
    """In as many groups as divide the maps, up to 8."""
    return nn.GroupNorm(next(g for g in range(min(_GROUPS, maps), 0, -1) if maps % g == 0), maps)
