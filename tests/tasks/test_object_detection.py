"""Boxes are learned, found again in the pixels of the original, counted as COCO counts them, and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import trainwright as tw
from tests.films import write as write_film
from tests.shapes import COLOURS, png, scene, scenes, voc_object, written_coco, written_voc, written_yolo
from tests.tasks.cases import network, whole
from trainwright.cli import main
from trainwright.core.batch import Batch, Draw
from trainwright.core.boxes import cut, suppressed
from trainwright.core.errors import DataError
from trainwright.core.events import StepDone
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress
from trainwright.data.encode import encode_records
from trainwright.metrics.detections import mean_average_precision

SMALL = {"name": "fcos", "width": 8, "features": 16, "towers": 1}


def recipe(path: Path, **more: Any) -> dict[str, Any]:
    data = {"source": "boxes", "path": str(path), "valid": 0.2, "test": 0.2}
    return {"task": {"name": "object_detection"}, "data": data, "model": SMALL, "device": "cpu", **more}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_voc(tmp_path_factory.mktemp("data") / "shapes", 100)


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    chosen = recipe(shapes, batch_size=8, budget="100 steps", optimizer={"lr": 4e-3}, eval_every="100 steps")
    return tw.train(chosen, out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_shapes_are_learned_far_better_than_the_commonest_boxes(run: tw.Run) -> None:
    assert run.metrics["test/map50"] > 0.5
    assert run.metrics["test/map50"] >= run.metrics["test/map"] > 0.1
    assert 0 < run.baselines["constant"]["map50"] < 0.3


def test_a_sheet_of_what_was_found_is_drawn_into_the_run(run: tw.Run) -> None:
    with Image.open(run.path / "portraits" / "boxes.png") as image:
        assert min(image.size) > 50


def test_an_answer_is_in_the_pixels_of_the_original_whatever_its_shape() -> None:
    records = [
        {
            "image": np.zeros((h, w, 3), np.uint8),
            "boxes": [[0, 0, w, h], [w / 3, h / 4, w / 2, h - 1]],
            "labels": [*"ab"],
        }
        for h, w in ((40, 100), (333, 50), (64, 64), (7, 500))
    ]
    task = tasks["object_detection"](size=(64, 96))
    batch = whole(records, task)
    boxes, classes = batch.targets["boxes"], batch.targets["classes"]
    answers = task.processor.decode({"boxes": boxes, "classes": classes, "scores": torch.ones(4, 2)}, batch)
    for record, answer in zip(records, answers, strict=True):
        assert [b["label"] for b in answer["boxes"]] == ["a", "b"]
        assert np.allclose([b["box"] for b in answer["boxes"]], record["boxes"], atol=0.02)
    assert bool((boxes >= 0).all() and (boxes[..., 2] <= 96).all() and (boxes[..., 3] <= 64).all())


def test_predictions_are_within_the_original(run: tw.Run) -> None:
    wide = np.full((64, 200, 3), 110, np.uint8)
    wide[:, 60:124] = scene(503)["image"]
    for found in run.predict([{"image": wide}])[0]["boxes"]:
        assert 0 <= found["box"][0] <= found["box"][2] <= 200
        assert 0 <= found["box"][1] <= found["box"][3] <= 64


def test_the_command_line_evaluates_and_draws_pictures_and_films(
    run: tw.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(scene(203)))
    film = write_film(tmp_path / "film.mp4", [scene(203)["image"]] * 4)
    out = tmp_path / "out"
    inputs = [str(tmp_path / "in"), str(film)]
    assert main(["predict", str(run.path), *inputs, "--out", str(out), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [a.get("frame") for a in answers] == [None, 0, 1, 2, 3]
    assert [a["second"] for a in answers[1:]] == [0.0, 0.1, 0.2, 0.3]
    assert {Path(a["file"]).name for a in answers} == {"a.png", "film.mp4"}
    lines = [json.loads(line) for line in (out / "boxes.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in a.items() if k != "file"} for a in answers] == lines
    assert set(lines[0]["boxes"][0]) == {"label", "score", "box"}
    with Image.open(out / "a.png") as drawn:
        assert drawn.size == (64, 64)
        assert np.abs(np.asarray(drawn).astype(int) - scene(203)["image"]).max() > 50
    from trainwright.data.stream import Stream

    assert len(list(Stream(out / "film.mp4").frames())) == 4
    assert main(["predict", str(run.path), inputs[0], "--out", str(out)]) == 0
    assert "a-2.png" in capsys.readouterr().out  # nothing is overwritten
    assert main(["evaluate", str(run.path), "--part", "test"]) == 0
    assert "map50" in capsys.readouterr().out


def test_inputs_that_cannot_be_used_are_told_or_passed_over(
    run: tw.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "good.png").write_bytes(png(scene(3)))
    both = [str(tmp_path / "bad.jpg"), str(tmp_path / "good.png"), "--out", str(tmp_path / "out")]
    assert main(["predict", str(run.path), *both]) == 2
    assert "bad.jpg" in capsys.readouterr().err
    assert main(["predict", str(run.path), *both, "--on-bad", "skip"]) == 0
    said = capsys.readouterr()
    assert "good.png" in said.out
    assert "bad.jpg" in said.err
    assert main(["predict", str(run.path), "--part", "test", "--tokens", "3"]) == 2
    assert "--tokens: does not go together" in capsys.readouterr().err


def test_a_stopped_training_goes_on_exactly(shapes: Path, tmp_path: Path) -> None:
    chosen = recipe(shapes, batch_size=16, budget="4 steps", save_every="2 steps")
    whole_run = tw.train(chosen, out=tmp_path / "whole", quiet=True)

    def stop(event: Any) -> tw.Stop | None:
        return tw.Stop("enough") if isinstance(event, StepDone) and event.step >= 2 else None

    tw.train(chosen, out=tmp_path / "part", quiet=True, observers=[stop])
    again = tw.resume(tmp_path / "part", quiet=True)
    assert again.view.step == 4
    weights, others = whole_run.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("write", [written_voc, written_coco, written_yolo])
def test_new_recognises_pictures_with_boxes(write: Callable[[Path, int], Path], tmp_path: Path) -> None:
    proposal = tw.new(write(tmp_path / "data", 25), out=tmp_path / "recipe.toml")
    text = proposal.recipe.read_text()
    assert 'name = "object_detection"' in text
    assert 'source = "boxes"' in text
    changes = {"budget": "1 steps", "device": "cpu", "model": SMALL}
    assert tw.train(proposal.recipe, changes, out=tmp_path / "run", quiet=True).view.step == 1


BAD: dict[str, tuple[list[float], str]] = {
    "outside": ([40, 10, 80, 20], "reaches out of its image of 64x64 pixels"),
    "without area": ([10, 10, 10, 30], "has no area"),
    "turned": ([30, 10, 20, 30], "has no area"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_box_ends_the_command_with_one_message_that_names_its_picture(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box, message = BAD[kind]
    root = written_voc(tmp_path / "shapes", 16)
    things = voc_object([5, 5, 20, 20], "disc") + voc_object(box, "disc")
    (root / "Annotations" / "007.xml").write_text(f"<annotation>{things}</annotation>")
    file = tmp_path / "recipe.toml"
    file.write_text(
        'task = "object_detection"\nmodel = { name = "fcos", width = 4, features = 8, towers = 0 }\n'
        f'data = {{ source = "boxes", path = "{root}", valid = 4, test = 0 }}\nbudget = "1 steps"\ndevice = "cpu"\n'
    )
    train = ["train", str(file), "--out", str(tmp_path / "run"), "--quiet"]
    assert main(train) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "007.png" in said
    assert "box 2 (disc)" in said
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
    assert main([*train, "--set", "on_bad_sample=skip", "--set", "bad_samples=1"]) == 0
    assert "007.png" in (tmp_path / "run" / "bad_samples.csv").read_text()


def test_mended_boxes_are_cut_or_left_out_and_counted() -> None:
    record = {"image": scene(0)["image"], "boxes": [[40, 10, 80, 20], [5, 5, 5, 9], [1, 1, 9, 9]], "labels": [*"abc"]}
    task = tasks["object_detection"](faulty="mend")
    batch = whole([record], task)
    assert batch.targets["boxes"][0].tolist() == [[40, 10, 64, 20], [1, 1, 9, 9]]
    assert any(note.endswith("left out as empty: 2") for note in task.processor.notes())


def test_records_that_do_not_fit_are_told() -> None:
    image = scene(0)["image"]
    for record, message in (
        ({"imag": image, "boxes": [], "labels": []}, "no field 'image'"),
        ({"image": image, "labels": []}, "no field 'boxes'"),
        ({"image": image, "boxes": [[1, 2, 3, 4]], "labels": []}, "1 boxes have 0 labels"),
        ({"image": image, "boxes": [[1, 2, 3]], "labels": ["a"]}, "is no box"),
        ({"image": image, "boxes": [], "labels": []}, "no training image has a box"),
    ):
        with pytest.raises(DataError, match=message):
            tasks["object_detection"]().processor.fit([record])
    task = tasks["object_detection"]()
    task.processor.fit(scenes(8))
    with pytest.raises(DataError, match="'circle' occurs in no training record"):
        task.processor.encode({"image": image, "boxes": [[1, 2, 9, 9]], "labels": ["circle"]})


def wrong_pixels(task: Any, batch: Batch) -> list[str]:
    """Boxes whose middle has not the colour of their class."""
    pictures, found = task.processor.pictures(batch), []
    for i, (boxes, classes) in enumerate(zip(batch.targets["boxes"], batch.targets["classes"], strict=True)):
        for box, kind in zip(boxes[classes >= 0].tolist(), classes[classes >= 0].tolist(), strict=True):
            x, y = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
            colour = pictures[i, :, y, x].int().tolist()
            if max(abs(a - b) for a, b in zip(colour, COLOURS[("disc", "square")[kind]], strict=True)) > 60:
                found.append(f"{i}: {box} {kind} {colour}")
    return found


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_changes_move_boxes_with_their_pixels(mosaic: float) -> None:
    task = tasks["object_detection"](flips="both", zoom=0.4, mosaic=mosaic, light=0.0)
    records = scenes(40)
    task.processor.fit(records)
    rows = encode_records(records, task.processor)
    if mosaic:
        from trainwright.core.rows import Rows

        others = tuple(encode_records(records[k:] + records[:k], task.processor) for k in (1, 2, 3))
        rows = Rows(rows.columns, rows.ids, rows.lengths, others)
    count = 0
    for epoch in range(4):
        batch = task.processor.batch(rows, Draw(1, epoch, rows.ids))
        real = batch.targets["classes"] >= 0
        edges = batch.targets["boxes"][real]
        assert bool((edges >= 0).all() and (edges <= 64).all() and (edges[:, 2:] > edges[:, :2]).all())
        assert float(batch.weight) == float(real.sum(1).clamp_min(1).sum())
        # a square that is cut at an edge keeps its colour in the middle, and so does a disc of which enough is seen
        assert len(wrong_pixels(task, batch)) <= 0.03 * int(real.sum())
        count += int(real.sum())
    assert count > 150
    shifted = {**batch.targets, "boxes": batch.targets["boxes"].roll(1, 0)}
    moved = Batch(batch.inputs, shifted, batch.weight, batch.ids, batch.size)
    assert len(wrong_pixels(task, moved)) > 20  # boxes that stay behind would be seen


def test_a_picture_without_boxes_weighs_one_and_still_teaches() -> None:
    task = tasks["object_detection"](size=64)
    task.processor.fit(scenes(8))
    empty = [{"image": scene(0)["image"], "boxes": [], "labels": []}] * 2
    batch = whole(empty, task, fit=False)
    model = network("fcos", width=4, features=8, towers=1)(task.sizes())
    loss = task.loss(model, batch, Progress())
    loss.sum.backward()
    assert float(batch.weight) == 2
    assert float(loss.sum.detach()) > 0
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_what_is_ignored_is_neither_learned_nor_counted() -> None:
    known = scene(3)
    task = tasks["object_detection"](size=64)
    task.processor.fit([known])
    marked = {**known, "ignored": [True, False, False]}
    left_out = {**known, "boxes": known["boxes"][1:], "labels": known["labels"][1:]}
    batches = [whole([r], task, fit=False) for r in (known, marked, left_out)]
    assert [float(b.weight) for b in batches] == [3, 2, 2]
    model = network("fcos", width=4, features=8, towers=1)(task.sizes()).eval()
    one, two, three = (float(task.loss(model, b, Progress()).sum.detach()) for b in batches)
    assert two < one
    assert two <= three  # nothing is punished for being found there


def test_of_boxes_of_a_class_that_overlap_the_best_is_kept() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [2, 0, 12, 10], [0, 0, 10, 10], [40, 40, 50, 50]]])
    classes = torch.tensor([[0, 0, 0, 1, 0]])
    assert suppressed(boxes, classes, 0.7).tolist() == [[False, True, False, False, False]]
    assert suppressed(boxes, classes, 0.5).tolist() == [[False, True, True, False, False]]
    assert cut(torch.tensor([-3.0, 2, 99, 120]), 64, 32).tolist() == [0, 2, 64, 32]


def told(boxes: list[list[float]], scores: list[float], *true: list[float], ignored: int = 0) -> float:
    """Mean average precision at 0.5 of boxes told of one picture against true ones, the last of which are ignored."""
    outputs = {
        "boxes": torch.tensor([boxes]).double(),
        "scores": torch.tensor([scores]).double(),
        "classes": torch.zeros(1, len(boxes), dtype=torch.int64),
    }
    marks = torch.zeros(1, len(true), dtype=torch.bool)
    marks[0, len(true) - ignored :] = True
    targets = {
        "boxes": torch.tensor([list(true)]).double(),
        "classes": torch.zeros(1, len(true)).long(),
        "ignored": marks,
    }
    batch = Batch({}, targets, torch.tensor(1.0), torch.arange(1), 1)
    metric = mean_average_precision(lambda o, b: (o["boxes"], b.targets["boxes"]), len(boxes), 0.5)
    return metric.value(metric.count(outputs, batch))


A, B, FAR = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0], [12.0, 0.0, 18.0, 6.0]


def test_average_precision_of_cases_counted_by_hand() -> None:
    # 101 recalls are looked at; up to 0.5 there are 51 of them
    assert told([A, B], [0.9, 0.8], A, B) == pytest.approx(1.0)
    assert told([A, FAR, B], [0.9, 0.8, 0.7], A, B) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert told([A, A, B], [0.9, 0.8, 0.7], A, B) == pytest.approx((51 + 50 * 2 / 3) / 101)  # found once
    assert told([FAR], [0.9], A, B) == 0
    assert told([A], [0.9], A, B) == pytest.approx(51 / 101)
    assert told([A, B], [0.0, 0.8], A, B) == pytest.approx(51 / 101)  # dropped
    assert told([[0.0, 0.0, 10.0, 4.9], B], [0.9, 0.8], A, B) == pytest.approx(51 / 101 / 2)  # an overlap of 0.49
    assert told([B, A], [0.9, 0.8], A, B, ignored=1) == pytest.approx(1.0)
    assert np.isnan(told([A], [0.9], A, ignored=1))
