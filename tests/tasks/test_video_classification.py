from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import trainwright as tw
from tests.films import fading, folders, moving, sound, write
from trainwright.cli import main
from trainwright.core.batch import Draw
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.data.encode import encode_records


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders(tmp_path_factory.mktemp("films"), 40)


@pytest.fixture(scope="module")
def run(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    """The defaults of the task and of the model."""
    recipe = {
        "task": "video_classification",
        "data": {"source": "videos", "path": str(films), "valid": 0.2, "test": 0.25},
        "optimizer": {"lr": 2e-3},
        "batch_size": 16,
        "budget": "20 epochs",
        "device": "cpu",
    }
    return tw.train(recipe, out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_the_default_model_tells_what_no_single_frame_and_no_mean_frame_tells(run: tw.Run) -> None:
    reached, linear = run.metrics["test/accuracy"], run.baselines["linear"]["accuracy"]
    assert linear < 0.8  # of 20 films, half of each class: the mean frame is a bright stripe
    assert reached > 0.9
    assert reached > linear


def test_a_film_that_turns_round_is_told_along_its_time(run: tw.Run, tmp_path: Path) -> None:
    there, back = moving(True, 32, seed=900), moving(False, 32, seed=901)
    path = write(tmp_path / "both.mp4", np.concatenate([there, back]))
    (answer,) = run.predict([{"video": str(path)}])
    seconds = [entry["second"] for entry in answer["timeline"]]
    assert seconds == sorted(seconds)
    assert seconds[0] == 0
    span = 0.8  # half of what a training film of 16 frames takes at 10 a second
    assert seconds[-1] == pytest.approx(6.4 - span)
    first = [e["label"] for e in answer["timeline"] if e["second"] + span <= 3.2]
    last = [e["label"] for e in answer["timeline"] if e["second"] >= 3.2]
    assert first.count("right") / len(first) > 0.8
    assert last.count("left") / len(last) > 0.8


def test_the_command_line_predicts_a_film_and_a_folder_of_pictures(
    run: tw.Run, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    shot = tmp_path / "shot"
    shot.mkdir()
    for t, frame in enumerate(moving(True, 16, seed=77)):
        Image.fromarray(frame).save(shot / f"{t}.png")
    film = films / "left" / "0.mp4"
    assert main(["predict", str(run.path), str(film), str(shot), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert answers[0]["input"] == str(film)
    assert answers[0]["label"] == "left"
    assert {"second", "label", "probability"} == set(answers[0]["timeline"][0])
    assert {"frame", "label", "probability"} == set(answers[1]["timeline"][0])
    assert main(["predict", str(run.path), str(film)]) == 0
    said = capsys.readouterr().out
    (row,) = csv.DictReader(io.StringIO(said))
    assert row["label"] == "left"
    assert [set(at) for at in json.loads(row["timeline"])] == [{"second", "label", "probability"}] * 3
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    assert main(["predict", str(run.path), str(film), str(tmp_path / "bad.mp4")]) == 2
    assert "bad.mp4, field 'video': the film is damaged" in capsys.readouterr().err


def test_the_whole_answer_is_the_mean_of_what_the_windows_say(run: tw.Run, films: Path) -> None:
    task, model = run.predictor.task, run.model
    rows = encode_records([{"video": str(films / "left" / "1.mp4")}, {"video": moving(True, 5)}], task.processor)
    batch = task.processor.batch(rows, None)
    outputs = task.predict(model, batch)
    for i, count in enumerate(batch.inputs["windows"].tolist()):
        with torch.no_grad():
            logits = model(batch.inputs["x"][i, :count])
        assert torch.allclose(outputs["probabilities"][i], logits.mean(0).softmax(0), atol=1e-5)
        assert torch.allclose(outputs["timeline"][i, :count], logits.softmax(1), atol=1e-5)
        assert not outputs["timeline"][i, count:].any()


def records(count: int = 12) -> list[dict[str, object]]:
    return [{"video": moving(bool(i % 2), 8, 16, seed=i), "label": str(i % 2)} for i in range(count)]


def test_every_frame_of_a_clip_is_changed_in_the_same_way() -> None:
    task = tasks["video_classification"](augment={"flip": True, "shift": 3, "brightness": 0.3}, span=8.0)
    still = [{"video": np.repeat(r["video"][:1], 8, 0), "label": r["label"]} for r in records()]  # type: ignore[index]
    task.processor.fit(still)
    rows = encode_records(still, task.processor)
    x = task.processor.batch(rows, Draw(0, 1, rows.ids)).inputs["x"]
    plain = task.processor.batch(rows, None).inputs["x"]
    assert torch.allclose(x, x[:, :, :1].expand_as(x), atol=1e-5)  # a still film stays still
    changed = (x != plain).flatten(1).any(1)
    assert changed.all()


def test_training_sees_other_windows_of_a_film_in_other_epochs() -> None:
    task = tasks["video_classification"](augment="none", frames=2, span=2.0)
    given = [{"video": fading(20, (8, 8)), "label": str(i % 2)} for i in range(8)]
    task.processor.fit(given)
    rows = encode_records(given, task.processor)
    starts = torch.stack([task.processor.batch(rows, Draw(0, e, rows.ids)).inputs["start"][:, 0] for e in range(20)])
    everywhere = task.processor.batch(rows, None).inputs
    assert set(starts.flatten().tolist()) == set(everywhere["start"][0, : int(everywhere["windows"][0])].tolist())
    assert (starts[0] != starts[1]).any()


def test_auto_never_flips_a_film() -> None:
    task = tasks["video_classification"]()
    task.processor.fit(records())
    assert set(task.processor.changes) == {"shift"}


def test_shape_and_span_are_learned_or_as_asked(tmp_path: Path) -> None:
    given = [
        {"video": str(write(tmp_path / f"{i}.mp4", fading(10 + i)[:, :, :, :])), "label": str(i % 2)} for i in range(5)
    ]
    task = tasks["video_classification"]()
    task.processor.fit(given)
    assert task.sizes() == {"frames": 8, "channels": 3, "size": [32, 48], "outputs": 2}
    assert task.processor.spans == {"seconds": pytest.approx(0.6)}
    asked = tasks["video_classification"](frames=4, size=20, channels=1, span=0.3)
    asked.processor.fit(given)
    assert asked.sizes() == {"frames": 4, "channels": 1, "size": [20, 20], "outputs": 2}
    large = [{"video": np.zeros((2, 200, 400), np.uint8), "label": str(i)} for i in range(2)]
    task.processor.fit(large)
    assert task.sizes()["size"] == [56, 112]


@pytest.mark.parametrize("kind", ["sound", "empty", "cut"])
def test_a_bad_film_ends_the_command_with_one_message_that_names_it(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders(tmp_path / "films", 4, frames=4)
    bad = root / "left" / "bad.mkv"
    if kind == "sound":
        sound(bad)
    elif kind == "empty":
        bad.write_bytes(b"")
    else:
        write(bad, np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8))
        bad.write_bytes(bad.read_bytes()[:9000])
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'task = "video_classification"\ndata = {{ source = "videos", path = "{root}" }}\n')
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "left/bad.mkv" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_records_without_films_or_labels_are_told() -> None:
    task = tasks["video_classification"]()
    with pytest.raises(DataError, match="no field 'video'"):
        task.processor.fit([{"vidoe": 1, "label": "a"}])
    with pytest.raises(DataError, match="training record 0: the record has no label"):
        task.processor.fit([{"video": fading(3)}])
    with pytest.raises(DataError, match="no records"):
        task.processor.fit([])


def test_a_loss_that_compares_no_classes_is_refused() -> None:
    with pytest.raises(UserError, match=r"task\.loss"):
        tasks["video_classification"](loss="mse")
