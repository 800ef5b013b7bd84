"""Boxes stay with their pixels, whatever is done to the image, and are counted as mAP counts them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.sketches import detection
from tests.sketches.detection import KINDS, SIDE, TOP, BoxProcessor, Detection
from tests.training import Case, enrol
from trainwright.core.batch import Batch
from trainwright.core.errors import DataError
from trainwright.core.task import Outputs, Progress, Record
from trainwright.data.encode import encode_records
from trainwright.data.loader import Loader

CASE = Case("detection", Detection, detection.model_for, detection.records)


def fitted() -> BoxProcessor:
    processor = BoxProcessor()
    processor.fit(detection.records(8))
    return processor


def batch_of(records: list[Record]) -> Batch:
    processor = fitted()
    return processor.batch(encode_records(records, processor), None)


def wrong_pixels(batch: Batch, mean: float) -> list[str]:
    """Boxes whose inner pixels are not of their kind."""
    found = []
    image = batch.inputs["image"][:, 0] + mean
    for i, (boxes, kinds, real) in enumerate(zip(*(batch.targets[k] for k in ("boxes", "kinds", "real")), strict=True)):
        for box, kind in zip(boxes[real].tolist(), kinds[real].tolist(), strict=True):
            x0, y0, x1, y1 = round(box[0] + 1.5), round(box[1] + 1.5), round(box[2] - 1.5), round(box[3] - 1.5)
            inner = image[i, y0:y1, x0:x1]
            light = float(inner.mean()) > 0.8 if KINDS[kind] == "light" else float(inner.mean()) < 0.2
            if inner.numel() and not light:
                found.append(f"sample {i}, {KINDS[kind]} at {box}: {float(inner.mean()):.2f}")
    return found


def test_mosaic_and_flip_move_boxes_with_their_pixels() -> None:
    taught = enrol(CASE, n=60, batch_size="all")
    mean, boxes, alone = taught.task.processor.mean, 0, 0
    for _ in range(6):
        (batch,) = next(taught.loader)
        assert not wrong_pixels(batch, mean)
        real = batch.targets["boxes"][batch.targets["real"]]
        assert bool((real >= 0).all() and (real <= SIDE).all() and (real[:, 2:] > real[:, :2]).all())
        assert float(batch.weight) == len(real)
        boxes, alone = boxes + len(real), alone + int((batch.targets["real"].sum(1) == 0).sum())
    assert boxes > 100
    assert alone > 0  # images without boxes stay in


def test_the_pixel_test_sees_boxes_that_stay_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_pixels(image: Tensor, boxes: Tensor, real: Tensor, draw: object) -> tuple[Tensor, Tensor]:
        return image.flip(-1), boxes

    monkeypatch.setattr(detection, "_flipped", only_pixels)
    taught = enrol(CASE, n=60, batch_size="all")
    assert wrong_pixels(next(taught.loader)[0], taught.task.processor.mean)


def test_a_mosaic_holds_pixels_of_its_companions() -> None:
    taught = enrol(CASE, n=60)
    part, processor = taught.loader.part, taught.task.processor
    (batch,) = next(Loader(part, processor, batch_size="all", seed=1, shuffle=False))
    plain = processor.batch(part.rows(0, len(part)), None).inputs["image"]
    same = (batch.inputs["image"] == plain).flatten(1).all(1)
    flipped = (batch.inputs["image"] == plain.flip(-1)).flatten(1).all(1)
    whole = float((same | flipped).double().mean())
    assert 0.25 < whole < 0.75  # half of them are drawn to stay whole


def test_a_box_comes_back_in_the_pixels_of_the_original() -> None:
    records = detection.records(12)
    batch = batch_of(records)
    boxes, kinds, real = (batch.targets[k] for k in ("boxes", "kinds", "real"))
    told = fitted().decode({"boxes": boxes, "kinds": kinds, "scores": real.float()}, batch)
    for record, answer in zip(records, told, strict=True):
        found = torch.tensor([b["box"] for b in answer["boxes"]]).view(-1, 4)
        assert [b["kind"] for b in answer["boxes"]] == record["kinds"]
        assert torch.allclose(found, torch.tensor(record["boxes"]).float().view(-1, 4), atol=1e-3)


def test_images_without_boxes_weigh_nothing_and_still_teach() -> None:
    record = {**detection.records(1)[0], "boxes": [], "kinds": []}
    batch, task = batch_of([record, record]), Detection()
    model = detection.model_for({"channels": 1, "kinds": 2})
    loss = task.loss(model, batch, Progress())
    loss.sum.backward()
    assert float(batch.weight) == 0
    assert float(loss.sum.detach()) > 0
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_predictions_of_one_kind_do_not_overlap() -> None:
    taught = enrol(CASE, n=40)
    taught.train(10)
    for batch in taught.valid():
        found = taught.task.predict(taught.state.model.eval(), batch)
        assert found["boxes"].shape[1:] == (TOP, 4)
        for boxes, scores, kinds in zip(found["boxes"], found["scores"], found["kinds"], strict=True):
            for c in range(len(KINDS)):
                kept = boxes[(scores > 0) & (kinds == c)]
                iou, _ = detection._overlap(kept[:, None], kept[None])
                assert bool((iou - torch.eye(len(kept)) <= 0.4 + 1e-6).all())


def guesses(boxes: list[list[float]], scores: list[float]) -> Outputs:
    return {
        "boxes": torch.tensor([boxes], dtype=torch.float32),
        "scores": torch.tensor([scores]),
        "kinds": torch.zeros(1, len(boxes), dtype=torch.int64),
    }


def truths(*boxes: list[float]) -> Batch:
    n = len(boxes)
    real, kinds = torch.ones(1, n, dtype=torch.bool), torch.zeros(1, n, dtype=torch.int64)
    targets = {"boxes": torch.tensor([list(boxes)]).float(), "kinds": kinds, "real": real}
    return Batch({}, targets, torch.tensor(float(n)), torch.arange(1), 1)


A, B, FAR = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0], [12.0, 0.0, 18.0, 6.0]


@pytest.mark.parametrize(
    ("boxes", "scores", "expected"),
    [
        ([A, B], [0.9, 0.8], 1.0),
        ([A, FAR, B], [0.9, 0.8, 0.7], (1 + 2 / 3) / 2),  # a miss between two hits
        ([A, A, B], [0.9, 0.8, 0.7], (1 + 2 / 3) / 2),  # a truth is found once
        ([FAR], [0.9], 0.0),
        ([A], [0.9], 0.5),
        ([A, B], [0.0, 0.8], 0.5),  # suppressed
        ([[0.0, 0.0, 10.0, 4.9], B], [0.9, 0.8], 0.25),  # IoU 0.49
    ],
)
def test_average_precision_of_cases_counted_by_hand(
    boxes: list[list[float]], scores: list[float], expected: float
) -> None:
    rows = detection._matches(guesses(boxes, scores), truths(A, B)).double()
    assert detection._average_precision(rows) == pytest.approx(expected)


def test_a_box_without_area_is_refused() -> None:
    record = {**detection.records(2)[1], "boxes": [[3, 3, 3, 9]], "kinds": ["dark"]}
    with pytest.raises(DataError, match="without area"):
        fitted().encode(record)
