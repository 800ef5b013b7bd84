from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainwright as tw
from tests.sounds import RATE, calls, file, folders, spoken, write
from trainwright.cli import main
from trainwright.core.batch import Draw
from trainwright.core.errors import DataError, UserError
from trainwright.core.events import StepDone
from trainwright.core.kinds import tasks
from trainwright.data.audio import resampled
from trainwright.data.encode import encode_records

pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders(tmp_path_factory.mktemp("calls"), 30, ("wav", "flac", "ogg"))


@pytest.fixture(scope="module")
def run(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    recipe = {
        "task": {"name": "audio_classification", "bands": 24},
        "data": {"source": "audio", "path": str(sounds), "valid": 0.2, "test": 0.2},
        "model": {"name": "audio_cnn", "filters": (8, 16)},
        "optimizer": {"lr": 4e-3},
        "batch_size": 8,
        "budget": "6 epochs",
        "device": "cpu",
    }
    return tw.train(recipe, out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_classes_are_learned_from_a_folder(run: tw.Run) -> None:
    assert run.metrics["test/accuracy"] >= 0.9
    assert run.metrics["test/accuracy"] > run.baselines["constant"]["accuracy"]
    assert {"constant", "linear"} <= run.baselines.keys()


def test_the_command_line_evaluates_and_predicts_files_and_folders(
    run: tw.Run, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write(tmp_path / "one.flac", spoken("abab", 500))
    assert main(["predict", str(run.path), str(one), str(sounds / "cd"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert answers[0] == {"input": str(one), **answers[0]}
    assert answers[0]["label"] == "ab"
    assert set(answers[0]["probabilities"]) == {"ab", "cd"}
    assert [a["label"] for a in answers[1:]].count("cd") >= 27
    assert main(["evaluate", str(run.path), "--part", "test"]) == 0
    assert "accuracy" in capsys.readouterr().out
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    assert main(["predict", str(run.path), str(one), str(tmp_path / "bad.wav")]) == 2
    assert "bad.wav, field 'audio': is damaged, or no recording" in capsys.readouterr().err


def test_a_stopped_training_goes_on_exactly(sounds: Path, tmp_path: Path) -> None:
    recipe = {
        "task": {"name": "audio_classification", "bands": 16, "noise": 20.0},
        "data": {"source": "audio", "path": str(sounds), "valid": 0.2, "test": 0},
        "model": {"name": "audio_cnn", "filters": (4, 8)},
        "batch_size": 16,
        "budget": "6 steps",
        "device": "cpu",
        "save_every": "3 steps",
    }
    whole = tw.train(recipe, out=tmp_path / "whole", quiet=True)

    def stop(event: Any) -> tw.Stop | None:
        return tw.Stop("enough") if isinstance(event, StepDone) and event.step >= 3 else None

    tw.train(recipe, out=tmp_path / "part", quiet=True, observers=[stop])
    again = tw.resume(tmp_path / "part", quiet=True)
    assert again.view.step == 6
    weights, others = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_new_recognises_a_folder_of_recordings(sounds: Path, tmp_path: Path) -> None:
    proposal = tw.new(sounds, out=tmp_path / "recipe.toml")
    text = proposal.recipe.read_text()
    assert 'task = { name = "audio_classification" }' in text
    assert 'source = "audio"' in text
    assert tw.train(proposal.recipe, {"budget": "1 steps", "device": "cpu"}, out=tmp_path / "run", quiet=True).view.step


def broken_wav(size: int, told: int) -> bytes:
    data = bytearray(file(spoken("ab", 1)))
    data[40:44] = told.to_bytes(4, "little")
    return bytes(data[:size] if size else data)


BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no samples": lambda: file(np.zeros(0, np.float32)),
    "silent": lambda: file(np.zeros(800, np.float32)),
    "cut off": lambda: file(spoken("abcd", 1), kind="FLAC")[:900],
    "lying header": lambda: broken_wav(0, 99_000_000),
    "unknown format": lambda: b"\x00\x01\x02" * 400,
    "not a number": lambda: file(np.full(800, np.nan, np.float32), subtype="FLOAT"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_recording_ends_the_command_with_one_message_that_names_it(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders(tmp_path / "calls", 6)
    (root / "ab" / "bad.wav").write_bytes(BAD[kind]())
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'task = "audio_classification"\nmodel = {{ name = "audio_cnn", filters = [4] }}\nbudget = "1 epochs"\n'
        f'data = {{ source = "audio", path = "{root}", valid = 2, test = 0 }}\ndevice = "cpu"\n'
    )
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "ab/bad.wav" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
    changes = ["--set", "on_bad_sample=skip", "--set", "bad_samples=1"]
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "--quiet", *changes]) == 0
    assert "ab/bad.wav" in (tmp_path / "run" / "bad_samples.csv").read_text()


def test_silence_may_be_a_class() -> None:
    records = [*calls(10), *({"audio": (np.zeros(700 + i, np.int16), RATE), "label": "none"} for i in range(4))]
    task = tasks["audio_classification"](silent="keep", bands=16)
    task.processor.fit(records)
    batch = task.processor.batch(encode_records(records, task.processor), None)
    assert torch.isfinite(batch.inputs["frames"]).all()
    refusing = tasks["audio_classification"](bands=16)
    refusing.processor.fit(records)
    with pytest.raises(DataError, match="the recording is silent"):
        encode_records(records, refusing.processor)


def test_recordings_of_several_rates_are_brought_to_one_and_told() -> None:
    mixed = [
        {"audio": (spoken("ab" if i % 2 else "cd", i, rate), rate), "label": str(i % 2)}
        for i, rate in enumerate([8000, 8000, 8000, 8000, 16000, 11025])
    ]
    task = tasks["audio_classification"](bands=16)
    task.processor.fit(mixed)
    assert task.processor.recordings.rate == 8000
    (note,) = [n for n in task.processor.notes() if "several rates" in n]
    assert "4 at 8,000 Hz, 1 at 11,025 Hz, 1 at 16,000 Hz" in note
    higher = tasks["audio_classification"](bands=16, rate=16000)
    higher.processor.fit(mixed)
    assert any("5 of them hold nothing of the highest tones" in n for n in higher.processor.notes())
    lengths = [len(task.processor.encode(r)["wave"]) / 8000 for r in mixed]
    seconds = [len(r["audio"][0]) / r["audio"][1] for r in mixed]
    assert lengths == pytest.approx(seconds, abs=1e-3)


def test_a_recording_sounds_the_same_at_another_rate() -> None:
    task = tasks["audio_classification"](bands=16, rate=8000)
    task.processor.fit(calls(10))
    wave = spoken("ab", 3)
    both = [{"audio": (resampled(wave, RATE, rate), rate)} for rate in (RATE, 2 * RATE, 44_100)]
    frames = [task.processor.batch(encode_records([r], task.processor), None).inputs["frames"] for r in both]
    for other in frames[1:]:
        assert other.shape == frames[0].shape
        assert (frames[0] - other)[:, :, :-2].abs().mean() < 0.05  # the highest tones are lost on the way


def test_training_hears_a_recording_otherwise_in_every_epoch() -> None:
    task = tasks["audio_classification"](bands=16, noise=30.0)
    records = calls(8)
    task.processor.fit(records)
    rows = encode_records(records, task.processor)
    first, second, again = (task.processor.batch(rows, Draw(0, e, rows.ids)).inputs for e in (0, 1, 0))
    assert first["lengths"].tolist() != second["lengths"].tolist()
    assert torch.equal(first["frames"], again["frames"])


def test_records_and_options_that_do_not_fit_are_told() -> None:
    with pytest.raises(DataError, match="no field 'audio'"):
        tasks["audio_classification"]().processor.fit([{"label": "a", "adio": 3}])
    with pytest.raises(DataError, match="training record 0: the record has no label 'label'"):
        tasks["audio_classification"]().processor.fit([{"audio": (spoken("ab"), RATE)}])
    with pytest.raises(DataError, match="no records"):
        tasks["audio_classification"]().processor.fit([])
    with pytest.raises(UserError, match=r"task\.loss"):
        tasks["audio_classification"](loss="mse")
    short = tasks["audio_classification"](longest=0.1)
    short.processor.fit(calls(4))
    with pytest.raises(DataError, match=r"lasts .* and 0\.1 s are allowed"):
        short.processor.encode(calls(4)[0])
