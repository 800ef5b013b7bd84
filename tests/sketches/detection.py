"""Detection in small: squares on grey images, images without any, mosaic, answers in the original's pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, interpolate, pad, relu

from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.rows import Column, Encoded, Rows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Loss,
    Metric,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)

# letters of shapes: N samples, S side of the square image, M boxes, A cells of all maps, C kinds, K boxes predicted
SIDE, KINDS, LARGE, TOP = 32, ("dark", "light"), 11.0, 8


@final
class BoxProcessor(Processor):
    """Images letterboxed to S x S; boxes as (x0, y0, x1, y1) in its pixels, moved together with them."""

    companions = 3

    def __init__(self) -> None:
        self.mean = 0.0

    def fit(self, records: Iterable[Record]) -> None:
        means = [float(torch.as_tensor(r["image"]).float().mean()) / 255 for r in records]
        self.mean = sum(means) / len(means)

    def columns(self) -> Mapping[str, Column]:
        return {
            "image": Column("dense", torch.uint8, (1, SIDE, SIDE)),
            "scale": Column("dense", torch.float32),
            "boxes": Column("ragged", torch.float32, (4,), target=True),
            "kinds": Column("ragged", torch.int64, target=True),
        }

    def encode(self, record: Record) -> Sample:
        image = torch.as_tensor(record["image"])
        scale = SIDE / max(image.shape)
        size = [max(1, round(n * scale)) for n in image.shape]
        fitted = interpolate(image.float()[None, None], size=size, mode="bilinear", antialias=True)[0]
        canvas = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
        canvas[:, : size[0], : size[1]] = fitted.round().clamp(0, 255).to(torch.uint8)
        sample: dict[str, Tensor] = {"image": canvas, "scale": torch.tensor(scale)}
        if "boxes" in record:
            boxes = torch.tensor(record["boxes"], dtype=torch.float32).view(-1, 4)
            if bool((boxes[:, 2:] <= boxes[:, :2]).any()):
                raise DataError("boxes", "a box without area", "give x0 < x1 and y0 < y1")
            sample["boxes"] = boxes * scale
            sample["kinds"] = torch.tensor([KINDS.index(k) for k in record["kinds"]], dtype=torch.int64)
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        image = rows.dense("image")
        targets: dict[str, Tensor] = {}
        weight = torch.zeros((), device=image.device)
        if "boxes" in rows.columns:
            boxes, kinds = rows.ragged("boxes").padded(), rows.ragged("kinds").padded()
            real = torch.arange(boxes.shape[1], device=image.device) < rows.ragged("boxes").lengths[:, None]
            if draw is not None:
                image, boxes, kinds, real = _mosaic(rows, draw)
                image, boxes = _flipped(image, boxes, real, draw)
            targets = {"boxes": boxes, "kinds": kinds, "real": real}
            weight = real.sum().float()
        inputs = {"image": image.float() / 255 - self.mean, "scale": rows.dense("scale")}
        return Batch(inputs, targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        boxes = (outputs["boxes"] / batch.inputs["scale"][:, None, None]).tolist()
        columns = zip(boxes, outputs["scores"].tolist(), outputs["kinds"].tolist(), strict=True)
        return [
            {"boxes": [{"box": b, "score": s, "kind": KINDS[k]} for b, s, k in zip(*row, strict=True) if s > 0.3]}
            for row in columns
        ]

    def state_dict(self) -> dict[str, JSON]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None:
        self.mean = cast(float, state["mean"])


def _mosaic(rows: Rows, draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each sample keeps a corner of itself and takes the others from its companions; half of the samples stay whole.

    Boxes are cut where their pixels are; one that keeps less than half of its area is dropped.
    """
    centre = SIDE // 4 + draw.integers("centre", SIDE // 2, 2)
    centre = torch.where(draw.uniform("mosaic") < 0.5, centre, torch.full_like(centre, SIDE))
    at = torch.arange(SIDE, device=rows.ids.device)
    right, below = at[None, None, :] >= centre[:, :1, None], at[None, :, None] >= centre[:, 1:, None]
    image = torch.zeros_like(rows.dense("image"))
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for part, (x, y) in zip((rows, *rows.companions), ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
        region = ((right == bool(x)) & (below == bool(y)))[:, None]
        image = torch.where(region, part.dense("image"), image)
        zero, side = torch.zeros_like(centre), torch.full_like(centre, SIDE)
        which = torch.tensor([x, y], device=centre.device, dtype=torch.bool)
        low, high = torch.where(which, centre, zero)[:, None], torch.where(which, side, centre)[:, None]
        boxes, kinds = part.ragged("boxes").padded(), part.ragged("kinds").padded()
        cut = torch.cat([boxes[..., :2].maximum(low), boxes[..., 2:].minimum(high)], -1)
        kept = (_area(cut) >= 0.5 * _area(boxes)) & (_area(cut) > 0)
        found.append((cut * kept[..., None], kinds * kept, kept))
    boxes, kinds, real = (torch.cat(list(column), 1) for column in zip(*found, strict=True))
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)  # real ones first, whatever the padding between
    return image, boxes.gather(1, order[..., None].expand_as(boxes)), kinds.gather(1, order), real.gather(1, order)


def _flipped(image: Tensor, boxes: Tensor, real: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    turn = draw.uniform("flip") < 0.5  # (N, 1)
    mirrored = torch.stack([SIDE - boxes[..., 2], boxes[..., 1], SIDE - boxes[..., 0], boxes[..., 3]], -1)
    return torch.where(turn[..., None, None], image.flip(-1), image), torch.where(
        (turn & real)[..., None], mirrored, boxes
    )


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]).clamp_min(0) * (boxes[..., 3] - boxes[..., 1]).clamp_min(0)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalized IoU of boxes (…, 4), elementwise (Rezatofighi et al. 2019)."""
    inner = torch.cat([a[..., :2].maximum(b[..., :2]), a[..., 2:].minimum(b[..., 2:])], -1)
    outer = torch.cat([a[..., :2].minimum(b[..., :2]), a[..., 2:].maximum(b[..., 2:])], -1)
    union = _area(a) + _area(b) - _area(inner)
    iou = _area(inner) / union.clamp_min(1e-6)
    return iou, iou - 1 + union / _area(outer).clamp_min(1e-6)


@final
class Detection(Task[BoxProcessor]):
    """Find every square and say its kind."""

    monitor = "ap50"

    def __init__(self) -> None:
        self.processor = BoxProcessor()

    def sizes(self) -> dict[str, JSON]:
        return {"channels": 1, "kinds": len(KINDS)}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        boxes, logits, stride, centre = _cells(model, batch)
        true = pad(batch.targets["boxes"], (0, 0, 0, 1))  # one more that is not real: maybe no image here has a box
        kinds, real = pad(batch.targets["kinds"], (0, 1)), pad(batch.targets["real"], (0, 1))
        middle, side = (true[..., :2] + true[..., 2:]) / 2, (true[..., 2:] - true[..., :2]).amax(-1)
        away = (centre[None, :, None] - middle[:, None]).abs().amax(-1)  # (N, A, M)
        level = (stride > stride.min())[None, :, None] == (side > LARGE)[:, None]
        inside = (away < stride[None, :, None]) & level & real[:, None]
        owner = torch.where(inside, away, torch.inf).argmin(-1)  # (N, A): the nearest truth
        taken = inside.any(-1)
        wanted = nn.functional.one_hot(kinds.gather(1, owner), logits.shape[-1]).to(logits.dtype) * taken[..., None]
        chance = logits.sigmoid()
        focus = (wanted - chance).abs().square() * (0.25 + 0.5 * wanted)  # focal, gamma 2 (Lin et al. 2017)
        score = (binary_cross_entropy_with_logits(logits, wanted, reduction="none") * focus).sum((1, 2))
        _, giou = _overlap(boxes, true.gather(1, owner[..., None].expand(-1, -1, 4)))
        cells = torch.zeros_like(side).scatter_add(1, owner, taken.to(side.dtype)).gather(1, owner).clamp_min(1)
        place = ((1 - giou) * taken / cells).sum(1)  # each box weighs the same, however many cells it has
        each = score + place
        return Loss(each.sum(), {}, each.detach(), {"score": score.sum().detach(), "place": place.sum().detach()})

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        boxes, logits, _, _ = _cells(model, batch)
        score, kind = logits.sigmoid().max(-1)
        score, best = score.topk(TOP, dim=1)
        boxes, kind = boxes.gather(1, best[..., None].expand(-1, -1, 4)).clamp(0, SIDE), kind.gather(1, best)
        iou, _ = _overlap(boxes[:, :, None], boxes[:, None])
        clash = (iou > 0.4) & (kind[:, :, None] == kind[:, None])
        kept = torch.ones_like(score, dtype=torch.bool)
        for k in range(1, TOP):  # greedy suppression, all images at once
            kept[:, k] = ~(clash[:, k, :k] & kept[:, :k]).any(1)
        return {"boxes": boxes, "scores": score * kept, "kinds": kind}

    def metrics(self) -> dict[str, Metric]:
        return {"ap50": Metric(_matches, _average_precision, "higher", combine="rows", source="predict")}

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Always the mean box of the training part, once for each kind."""
        mean = train.rows(0, len(train)).ragged("boxes").values.mean(0)

        def said(batch: Batch) -> Outputs:
            each = (batch.size, len(KINDS))
            kinds = torch.arange(len(KINDS)).expand(each)
            return {"boxes": mean.expand(*each, 4), "scores": torch.ones(each), "kinds": kinds}

        return {"constant": lambda seconds: said}


def _cells(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes (N, A, 4) in pixels, logits (N, A, C), stride (A,) and centre (A, 2) of every cell of every map."""
    boxes, logits, strides, centres = [], [], [], []
    for raw in model(batch.inputs["image"]):
        h, w = raw.shape[2:]
        stride = SIDE / h
        y, x = torch.meshgrid(torch.arange(h).to(raw), torch.arange(w).to(raw), indexing="ij")
        centre = (torch.stack([x, y], -1).view(-1, 2) + 0.5) * stride
        flat = raw.flatten(2).transpose(1, 2)
        middle = centre + flat[..., :2] * stride
        half = flat[..., 2:4].clamp_max(4).exp() * stride / 2
        boxes.append(torch.cat([middle - half, middle + half], -1))
        logits.append(flat[..., 4:])
        strides.append(centre.new_full((h * w,), stride))
        centres.append(centre)
    return torch.cat(boxes, 1), torch.cat(logits, 1), torch.cat(strides), torch.cat(centres)


def _matches(outputs: Outputs, batch: Batch) -> Tensor:
    """(N, 3 K + C): score, kind and hit of every prediction, then how many truths of each kind there are."""
    true, kinds, real = batch.targets["boxes"], batch.targets["kinds"], batch.targets["real"]
    score, kind = outputs["scores"], outputs["kinds"]
    iou, _ = _overlap(outputs["boxes"].to(true.dtype)[:, :, None], true[:, None])  # (N, K, M)
    fits = (iou >= 0.5) & (kind[:, :, None] == kinds[:, None]) & real[:, None]
    free, hits = real.clone(), []
    for k in range(score.shape[1] if true.shape[1] else 0):  # best score first; each truth is found once
        chosen = torch.where(fits[:, k] & free, iou[:, k], -1.0)
        best = chosen.argmax(1, keepdim=True)
        hit = (chosen.gather(1, best) >= 0) & (score[:, k, None] > 0)
        free = free.scatter(1, best, free.gather(1, best) & ~hit)
        hits.append(hit.to(score.dtype))
    hit = torch.cat(hits, 1) if hits else torch.zeros_like(score)
    counts = [((kinds == c) & real).sum(1, keepdim=True).to(score.dtype) for c in range(len(KINDS))]
    return torch.cat([score, kind.to(score.dtype), hit, *counts], 1)


def _average_precision(rows: Tensor) -> float:
    """AP at IoU 0.5, the area under the interpolated precision-recall curve, averaged over the kinds that occur."""
    k = (rows.shape[1] - len(KINDS)) // 3
    score, kind, hit, truths = rows.split([k, k, k, len(KINDS)], 1)
    values = []
    for c in range(len(KINDS)):
        total = float(truths[:, c].sum())
        mine = (kind == c) & (score > 0)
        order = score[mine].argsort(descending=True, stable=True)
        right = hit[mine][order].cumsum(0)
        precision = right / torch.arange(1, len(right) + 1)
        best = precision.flip(0).cummax(0).values.flip(0)
        if total:
            values.append(float((best * hit[mine][order]).sum()) / total)
    return sum(values) / len(values) if values else math.nan


@final
class SmallDetector(nn.Module):
    """Convolutions down to two maps; speaks `core.model.Pyramid`."""

    strides = (4, 8)

    def __init__(self, channels: int, kinds: int, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.low = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.mid = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.high = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.heads = nn.ModuleList(nn.Conv2d(2 * width, 4 + kinds, 1) for _ in self.strides)
        for head in self.heads:
            nn.init.constant_(head.bias[4:], -3.0)  # type: ignore[index]  # few cells have a box

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, channels, S, S) -> one (N, 4 + C, S / stride, S / stride) for each stride."""
        x = avg_pool2d(relu(self.stem(image)), 2)
        fine = relu(self.mid(avg_pool2d(relu(self.low(x)), 2)))
        maps = (fine, relu(self.high(avg_pool2d(fine, 2))))
        return tuple(head(m) for head, m in zip(self.heads, maps, strict=True))


def model_for(sizes: Mapping[str, Any]) -> nn.Module:
    return SmallDetector(sizes["channels"], sizes["kinds"])


def records(n: int = 96, seed: int = 0) -> list[Record]:
    """Grey images of 26 to 48 pixels a side with 0 to 3 squares; every fourth has none."""
    rng = torch.Generator().manual_seed(seed)
    return [_record(i % 4, rng) for i in range(n)]


def _record(count: int, rng: torch.Generator) -> Record:
    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=rng))

    height, width = whole(26, 49), whole(26, 49)
    image = torch.randint(110, 140, (height, width), generator=rng, dtype=torch.uint8)
    boxes: list[list[int]] = []
    kinds: list[str] = []
    for _ in range(20):
        side = whole(8, 17)
        x, y = whole(0, width - side), whole(0, height - side)
        apart = all(x + side < b[0] or b[2] < x or y + side < b[1] or b[3] < y for b in boxes)
        if len(boxes) < count and apart:
            kind = KINDS[whole(0, 2)]
            image[y : y + side, x : x + side] = 230 if kind == "light" else 25
            boxes.append([x, y, x + side, y + side])
            kinds.append(kind)
    return {"image": image.numpy(), "boxes": boxes, "kinds": kinds}


def unlabelled(record: Record) -> Record:
    return {"image": record["image"]}
