"""Object detection: find things in pictures, each with a box around it and its class.

Letters in shapes: N samples, M true boxes of a picture, A cells of all maps, C classes, K boxes of a prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot, pad

from trainwright.core.batch import Batch
from trainwright.core.boxes import areas, cut, overlaps, suppressed
from trainwright.core.exhibit import Exhibit
from trainwright.core.kinds import tasks
from trainwright.core.rows import Encoded
from trainwright.core.task import JSON, Baseline, Loss, Metric, Outputs, Progress, Task
from trainwright.data.drawn_boxes import drawn
from trainwright.data.folder import SUFFIXES
from trainwright.data.picture_files import records_in
from trainwright.data.scene_changes import Flips, SceneChanges, weights
from trainwright.data.scenes import Faulty, Scenes, returned
from trainwright.metrics import detections

_NEAR = 1.5  # cells around the middle of a box that are to tell it, in each direction
_SPAN = 8.0  # cells; what is wider is told by a coarser map
_CELLS = (2 * _NEAR) ** 2  # about as many tell a box, so that a box's loss is about that of one of them
_PLACE = 2.0  # weight of the boxes' places beside the scores: Li et al. 2020, "Generalized focal loss", table 1
_CANDIDATES = 300  # of a picture, among which those that overlap are dropped
_DRAWN = 8  # pictures of a sheet

Side = Annotated[int, Field(ge=32, le=4096)]
Share = Annotated[float, Field(ge=0, le=1)]


@tasks.add("object_detection", records=records_in, draws=True, files=SUFFIXES)
@final
class ObjectDetection(Task[Scenes]):
    """Find the things of some classes in pictures, each with a box around it.

    Records are ``{"image": …, "boxes": [[x0, y0, x1, y1], …], "labels": […]}``: an image file's bytes, or an array
    (H, W) or (H, W, C) of bytes, and for each thing its left, upper, right and lower edge in pixels, and its class. An
    image without boxes teaches that nothing is there. A box may be marked in ``"ignored"``: it is neither learned nor
    counted. Pictures are brought to one shape between black bars, their aspect kept; answers are in the pixels of the
    originals.

    Near the middle of each box the cells of one map of the model, chosen by the box's size, are taught its class, its
    score, which is how well the box they tell fits, and its place. Of predictions of one class that overlap the best is
    kept.

    Args:
        size: height and width in pixels that the model sees, or one number for both, rounded to multiples of 32; "auto"
            is the median of the training images, its longer side at most 320. Smaller is faster; things of less than
            about 8 pixels are not found.
        channels: 1 is grey, 3 is colour; "auto" is grey where every training image is.
        faulty: a box that has no area, or reaches more than a pixel out of its image: "refuse" makes the image a bad
            sample, "mend" cuts it at the edge, or leaves it out where nothing remains.
        flips: which mirror images are as good in training: "none", "sideways", or "both" where there is no up and down,
            as under a microscope or from the air.
        zoom: in training, larger or smaller by up to this share; and moved, as far as that leaves room.
        mosaic: share of the training images that are put together out of corners of four.
        light: in training, up to this share more or less brightness, contrast and saturation.
        overlap: of two predictions of a class that overlap by more than this intersection over union, one is dropped.
        least: score from 0 to 1 of the boxes that a prediction tells; the metrics count all.
        boxes: of a prediction at most; the evaluator counts 100.
        gigabytes: decoded training images that would take more are kept as files, and decoded for each batch.

    Source: Tian et al. 2019, "FCOS"; Li et al. 2020, "Generalized focal loss"; Rezatofighi et al. 2019, "Generalized
    intersection over union".
    """

    def __init__(
        self,
        *,
        size: Literal["auto"] | Side | tuple[Side, Side] = "auto",
        channels: Literal["auto", 1, 3] = "auto",
        faulty: Faulty = "refuse",
        flips: Flips = "sideways",
        zoom: Annotated[float, Field(ge=0, le=4)] = 0.5,
        mosaic: Share = 0.5,
        light: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        overlap: Share = 0.5,
        least: Share = 0.3,
        boxes: Annotated[int, Field(ge=1, le=300)] = 100,
        gigabytes: Annotated[float, Field(ge=0)] = 4.0,
    ) -> None:
        changes = SceneChanges(flips, zoom, mosaic, light)
        self.processor = Scenes(
            size=size, channels=channels, faulty=faulty, changes=changes, gigabytes=gigabytes, least=least
        )
        self.overlap, self.most = overlap, boxes

    @property
    def monitor(self) -> str:
        """Mean average precision where a box counts as found when it overlaps by half."""
        return "map50"

    @property
    def coarse(self) -> bool:
        """A box is told from its cell, in cells: three digits are a fraction of a pixel."""
        return True

    def sizes(self) -> dict[str, JSON]:
        """``channels``, ``size`` [height, width] and ``outputs`` (classes)."""
        form = self.processor.form
        size: list[JSON] = [form.height, form.width]
        return {"channels": form.channels, "size": size, "outputs": len(self.processor.labels)}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Quality focal loss of the scores and generalized IoU of the boxes, summed over boxes; ``parts`` tells each.

        A picture without boxes weighs as much as one box.
        """
        boxes, logits, stride, centre = _cells(model, batch)
        true = pad(batch.targets["boxes"], (0, 0, 0, 1))  # one more that is none: maybe no picture here has a box
        classes = pad(batch.targets["classes"], (0, 1), value=-1)
        ignored = pad(batch.targets["ignored"], (0, 1))
        owner, taken = _owners(true, (classes >= 0) & ~ignored, stride, centre)
        mine = true.gather(1, owner[..., None].expand(-1, -1, 4))
        iou, giou = overlaps(boxes, mine)
        kind = one_hot(classes.gather(1, owner).clamp_min(0), logits.shape[-1]).to(logits.dtype)
        wanted = kind * (iou.detach() * taken)[..., None]  # (N, A, C)
        focus = (wanted - logits.sigmoid()).square()
        counted = (taken | ~_within(centre, true, ignored)).to(logits.dtype)
        entropy = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        score = (entropy * focus).sum(-1).mul(counted).sum(1) / _CELLS
        place = ((1 - giou) * taken).sum(1) * (_PLACE / _CELLS)
        each = score + place
        parts = {"score": score.sum().detach(), "place": place.sum().detach()}
        return Loss(each.sum(), {}, each.detach(), parts, weights=lambda: weights(batch.targets))

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``boxes`` (N, K, 4) as the model sees them, ``scores`` (N, K), 0 for none, ``classes`` (N, K); best first."""
        boxes, logits, _, _ = _cells(model, batch)
        height, width = batch.inputs["x"].shape[2:]
        boxes = cut(boxes, float(width), float(height))
        count = logits.shape[-1]
        score, at = logits.sigmoid().flatten(1).sort(dim=1, descending=True, stable=True)
        score, at = score[:, :_CANDIDATES], at[:, :_CANDIDATES]
        kind = at % count
        boxes = boxes.gather(1, (at // count)[..., None].expand(-1, -1, 4))
        score = score.masked_fill(suppressed(boxes, kind, self.overlap) | (areas(boxes) <= 0), 0.0)
        score, order = score.sort(dim=1, descending=True, stable=True)
        score, order = score[:, : self.most], order[:, : self.most]
        found = boxes.gather(1, order[..., None].expand(-1, -1, 4)) * (score > 0)[..., None]
        kind = kind.gather(1, order) * (score > 0)
        short = self.most - score.shape[1]  # a picture may have fewer cells
        return {
            "boxes": pad(found, (0, 0, 0, short)),
            "scores": pad(score, (0, short)),
            "classes": pad(kind, (0, short)),
        }

    def exported(self, model: nn.Module, batch: Batch) -> Outputs:
        """``boxes`` (N, A, 4) in the pixels of the originals and ``scores`` (N, A, C) of every cell, none dropped."""
        boxes, logits, _, _ = _cells(model, batch)
        return {"boxes": returned(boxes, batch.inputs["place"]), "scores": logits.sigmoid()}

    def metrics(self) -> dict[str, Metric]:
        """Mean average precision at an overlap of 0.5, and over 0.50 to 0.95."""

        def pair(outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
            place = batch.inputs["place"].double()
            return returned(outputs["boxes"].double(), place), returned(batch.targets["boxes"].double(), place)

        return {
            "map50": detections.mean_average_precision(pair, self.most, 0.5),
            "map": detections.mean_average_precision(pair, self.most),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The same boxes for every picture: those that most training boxes overlap by half."""
        return {"constant": lambda seconds: detections.commonest(train, self.most)}

    def portray(self, model: nn.Module, part: Encoded) -> Sequence[Exhibit]:
        """The first pictures of a part with the boxes that are told, and with the true ones."""
        rows = part.rows(0, min(_DRAWN, len(part)))
        device = next(model.parameters()).device
        batch = self.processor.batch(rows.to(device), None)
        with torch.no_grad():
            outputs = self.predict(model, batch)
        pictures = self.processor.pictures(batch).permute(0, 2, 3, 1).cpu().numpy()
        told, true = [], []
        for i, picture in enumerate(pictures):
            sure = outputs["scores"][i] >= max(self.processor.least, 1e-9)
            told.append(drawn(picture, outputs["boxes"][i][sure].tolist(), outputs["classes"][i][sure].tolist()))
            if "boxes" in batch.targets:
                real = batch.targets["classes"][i] >= 0
                kinds = batch.targets["classes"][i][real].tolist()
                true.append(drawn(picture, batch.targets["boxes"][i][real].tolist(), kinds))
        sheet = {"found": [p.tolist() for p in told], **({"true": [p.tolist() for p in true]} if true else {})}
        return [Exhibit("sheet", "boxes", sheet)]


def _cells(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes (N, A, 4) in pixels, logits (N, A, C), stride (A,) and centre (A, 2) of every cell of every map."""
    x = batch.inputs["x"]
    boxes, logits, strides, centres = [], [], [], []
    for raw in model(x):
        height, width = raw.shape[2:]
        stride = x.shape[2] / height
        down, across = torch.meshgrid(torch.arange(height).to(x), torch.arange(width).to(x), indexing="ij")
        centre = (torch.stack([across, down], -1).reshape(-1, 2) + 0.5) * stride
        told = raw.flatten(2).transpose(1, 2)
        told = told.to(torch.promote_types(told.dtype, torch.float32))
        middle = centre + told[..., :2] * stride
        half = told[..., 2:4].clamp(-8, 8).exp() * (stride / 2)
        boxes.append(torch.cat([middle - half, middle + half], -1))
        logits.append(told[..., 4:])
        strides.append(centre.new_full((height * width,), stride))
        centres.append(centre)
    return torch.cat(boxes, 1), torch.cat(logits, 1), torch.cat(strides), torch.cat(centres)


def _owners(true: Tensor, real: Tensor, stride: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """(N, A) which box each cell tells, and whether it tells one at all: the nearest whose middle is near."""
    x0, y0, x1, y1 = true[:, None].unbind(-1)  # (N, 1, M); one axis after the other, as reducing over two is slow
    x, y, size = centre[:, 0, None], centre[:, 1, None], stride[:, None]  # (A, 1)
    away = (x - (x0 + x1) / 2).abs().maximum((y - (y0 + y1) / 2).abs()) / size  # (N, A, M) in cells
    reach = ((x1 - x0).minimum(y1 - y0) / (2 * size)).clamp(0.5 + 1e-4, _NEAR)  # never less than a cell
    wide = (x1 - x0).maximum(y1 - y0) / size
    finest, coarsest = stride.min(), stride.max()
    above = (wide > _SPAN / 2) | (size == finest)
    below = (wide <= _SPAN) | (size == coarsest)
    near = (away < reach) & above & below & real[:, None]
    nearest, owner = away.masked_fill(~near, torch.inf).min(-1)
    return owner, nearest < torch.inf


def _within(centre: Tensor, boxes: Tensor, which: Tensor) -> Tensor:
    """(N, A) whether a cell's centre lies in one of the boxes (N, M, 4) that are meant (N, M)."""
    x0, y0, x1, y1 = boxes[:, None].unbind(-1)
    x, y = centre[:, 0, None], centre[:, 1, None]
    return ((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1) & which[:, None]).any(-1)
