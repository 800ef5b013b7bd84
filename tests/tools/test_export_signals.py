"""Detectors and networks for sound answer in onnxruntime as they do in the run, whatever the length of a recording."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainwright as tw
from tests import sounds
from tests.shapes import scene, written_voc
from trainwright.data.encode import encode_records
from trainwright.data.scenes import returned

onnxruntime = pytest.importorskip("onnxruntime")


def exported(recipe: Mapping[str, Any], place: Path) -> tuple[tw.Run, Any, dict[str, Any]]:
    """A run of two steps, a session with its exported file, and what stands beside it."""
    short = {"budget": "2 steps", "device": "cpu", "pace": "plain", "batch_size": 8}
    run = tw.train({**recipe, **short}, out=place / "run", quiet=True)
    tw.export(run, place / "m.onnx")
    return run, onnxruntime.InferenceSession(place / "m.onnx"), json.loads((place / "m.json").read_text())


def test_a_detector_tells_boxes_in_the_pixels_of_the_original_and_their_scores(tmp_path: Path) -> None:
    small = {"name": "fcos", "width": 4, "features": 8, "towers": 1}
    data = {"source": "boxes", "path": str(written_voc(tmp_path / "shapes", 16)), "valid": 0.2, "test": 0.2}
    run, session, about = exported({"task": {"name": "object_detection"}, "data": data, "model": small}, tmp_path)
    assert about["outputs"]["scores"]["shape"] == ["batch", 64 + 16 + 4, 2]
    wide = np.full((64, 128, 3), 110, np.uint8)
    wide[:, 32:96] = scene(503)["image"]
    task = run.predictor.task
    rows = encode_records([{"image": wide}], task.processor)
    boxes, scores = map(
        torch.from_numpy,
        session.run(["boxes", "scores"], {name: rows.dense(name).numpy() for name in ("image", "place")}),
    )
    assert 64 < float(boxes[..., 2].max()) <= 128
    assert float(boxes[..., 3].max()) <= 64
    with torch.no_grad():
        told = task.predict(run.predictor.model, task.processor.batch(rows, None))
    answer = returned(told["boxes"][:, :1], rows.dense("place"))
    assert float(scores.max()) == pytest.approx(float(told["scores"].max()), abs=1e-5)
    best = boxes[0, int(scores[0].amax(1).argmax())]
    torch.testing.assert_close(best, answer[0, 0], atol=1e-2, rtol=1e-3)


def test_a_classifier_of_recordings_takes_features_of_any_length(tmp_path: Path) -> None:
    data = {"source": "audio", "path": str(sounds.folders(tmp_path / "calls", 12)), "valid": 0.25, "test": 0.25}
    model = {"name": "audio_cnn", "filters": [4, 4]}
    task = {"name": "audio_classification", "bands": 16}
    run, session, about = exported({"task": task, "data": data, "model": model}, tmp_path)
    assert about["inputs"]["frames"]["shape"] == ["batch", "length", 16]
    assert about["outputs"]["probabilities"]["shape"] == ["batch", 2]
    for records in (sounds.calls(5), sounds.calls(1)):
        heard = [{"audio": r["audio"]} for r in records]
        inputs = run.predictor.task.processor.batch(encode_records(heard, run.predictor.task.processor), None).inputs
        found = session.run(["probabilities"], {name: t.numpy() for name, t in inputs.items()})[0]
        wanted = [list(answer["probabilities"].values()) for answer in run.predict(heard)]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
