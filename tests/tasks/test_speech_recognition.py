from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainwright as tw
from tests.sounds import RATE, sentences, spoken, utterances, write
from trainwright.cli import main
from trainwright.core.batch import Draw
from trainwright.core.errors import DataError
from trainwright.core.events import StepDone
from trainwright.core.kinds import tasks
from trainwright.data.encode import encode_records
from trainwright.data.transcripts import plain

pytest.importorskip("soundfile")
SMALL = {"name": "conv_rnn", "units": 32, "layers": 1, "channels": 8, "dropout": 0.0}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 recordings of spoken-like tones, and a table that says what is said in them."""
    root = tmp_path_factory.mktemp("speech")
    rows = []
    for i, text in enumerate(sentences(160, 7)):
        write(root / "clips" / f"{i}.wav", spoken(text, 1000 + i))
        rows.append(f"clips/{i}.wav,{text.upper()}!,{'test' if i % 8 == 0 else 'valid' if i % 8 == 1 else 'train'}")
    path = root / "list.csv"
    path.write_text("\n".join(["file,text,split", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    recipe = {
        "task": {"name": "speech_recognition", "bands": 24, "shorten": 2, "masks": 0, "speed": 0.05},
        "data": {"source": "audio", "path": str(table), "part": "split"},
        "model": SMALL,
        "optimizer": {"name": "adamw", "lr": 6e-3},
        "schedule": {"name": "one_cycle"},
        "batch_size": 8,
        "clip": 1.0,
        "budget": "20 epochs",
        "eval_every": "10 epochs",
        "save_every": "10 epochs",
        "device": "cpu",
    }
    return tw.train(recipe, out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_spoken_tones_are_written_down_without_an_error(run: tw.Run) -> None:
    assert run.metrics["test/wer"] == 0.0
    assert run.metrics["test/cer"] == 0.0
    assert run.baselines["constant"]["wer"] > 0.5
    assert run.baselines["memory"]["wer"] > 0.1


def test_words_are_found_when_they_are_said(run: tw.Run) -> None:
    parts = [spoken("ab", 5), np.zeros(3200, np.float32), spoken("cd", 6)]
    (answer,) = run.predict([{"audio": (np.concatenate(parts), RATE)}])
    assert answer["text"] == "ab cd"
    first, second = answer["words"]
    ends = np.cumsum([len(p) for p in parts]) / RATE
    assert (first["word"], second["word"]) == ("ab", "cd")
    assert 0 <= first["start"] < first["end"] <= ends[0] + 0.06
    assert ends[1] - 0.06 <= second["start"] < second["end"] <= ends[2] + 0.06


def test_the_log_tells_what_was_heard_and_when(run: tw.Run) -> None:
    seen = run.view.shown[-1]
    assert len(seen.exhibits) == 2
    for exhibit in seen.exhibits:
        assert exhibit.data["text"] == exhibit.data["true"]
        assert [w["word"] for w in exhibit.data["words"]] == exhibit.data["true"].split()


def test_the_command_line_writes_texts_with_times(
    run: tw.Run, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write(tmp_path / "one.flac", spoken("da cab", 77))
    assert main(["predict", str(run.path), str(one), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert answer["text"] == "da cab"
    assert [set(w) for w in answer["words"]] == [{"word", "start", "end"}] * 2
    assert main(["predict", str(run.path), str(table.parent / "clips")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 161
    assert main(["evaluate", str(run.path), "--part", "test"]) == 0
    assert "wer" in capsys.readouterr().out


def test_a_stopped_training_goes_on_exactly(table: Path, tmp_path: Path) -> None:
    recipe = {
        "task": {"name": "speech_recognition", "bands": 16, "shorten": 2, "noise": 20.0, "beams": 2},
        "data": {"source": "audio", "path": str(table), "part": "split"},
        "model": {"name": "conformer", "width": 16, "depth": 1, "heads": 2, "channels": 4},
        "batch_size": 8,
        "budget": "6 steps",
        "device": "cpu",
        "save_every": "3 steps",
    }
    whole = tw.train(recipe, out=tmp_path / "whole", quiet=True)

    def stop(event: Any) -> tw.Stop | None:
        return tw.Stop("enough") if isinstance(event, StepDone) and event.step >= 3 else None

    tw.train(recipe, out=tmp_path / "part", quiet=True, observers=[stop])
    again = tw.resume(tmp_path / "part", quiet=True)
    weights, others = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert whole.metrics == again.metrics


def test_new_recognises_a_table_of_recordings_and_texts(table: Path, tmp_path: Path) -> None:
    text = tw.new(table, out=tmp_path / "recipe.toml").recipe.read_text()
    assert 'task = { name = "speech_recognition", target = "text" }' in text
    assert 'part = "split"' in text
    same = tw.new(table.parent, out=tmp_path / "again.toml").recipe.read_text()
    assert same.splitlines()[3:] == text.splitlines()[3:]


def test_transcripts_are_spelled_plainly_or_as_they_stand() -> None:
    assert plain("“Ça va?”  he\u2019s 1,200 YEARS-old…") == "ça va he's 1 200 years old"
    records = [{**r, "text": r["text"].title() + "."} for r in utterances(6)]
    for spelling, wanted in (("plain", "abcd "), ("written", "ABCDabcd. ")):
        task = tasks["speech_recognition"](bands=16, spelling=spelling)
        task.processor.fit(records)
        assert set(task.processor.tokenizer.pieces(list(range(2, len(task.processor.tokenizer))))) <= set(wanted)


def bad(**changed: Any) -> list[dict[str, Any]]:
    records = utterances(8)
    records[5] = {**records[5], **changed}
    return records


@pytest.mark.parametrize(
    ("options", "changed", "said"),
    [
        ({}, {"text": "abcabcabcabcabcabcabcabcabc" * 4}, r"transcript 'abc.*' of 108 pieces needs 108 frames"),
        ({}, {"text": "a", "audio": (np.zeros(900, np.int16), RATE)}, "silent, all its samples are 0, and its tran"),
        ({"alphabet": "abcd"}, {"text": "a cafe"}, "training record 5: the transcript has the character 'e'"),
        ({}, {"text": "?!"}, "training record 5: the transcript '\\?!' has no letter and no digit"),
        ({}, {"text": None}, "training record 5: 'text' is empty"),
        ({}, {"text": 7}, "training record 5: 'text' is int, not text"),
        ({}, {"audio": None}, "training record 5: the record has no field 'audio'"),
        ({}, {"audio": b""}, "training record 5, field 'audio': the file is empty"),
    ],
)
def test_a_bad_record_is_told(options: dict[str, Any], changed: dict[str, Any], said: str) -> None:
    task = tasks["speech_recognition"](bands=16, **options)

    def prepared() -> None:
        task.processor.fit(bad(**changed))
        encode_records(bad(**changed), task.processor)

    with pytest.raises(DataError, match=said):
        prepared()


def test_a_silent_recording_is_not_written_down() -> None:
    task = tasks["speech_recognition"](bands=16)
    task.processor.fit(utterances(8))
    with pytest.raises(DataError, match="the recording is silent"):
        encode_records([{"audio": (np.zeros(900, np.int16), RATE)}], task.processor)


def test_characters_that_training_did_not_have_count_as_wrong() -> None:
    task = tasks["speech_recognition"](bands=16)
    task.processor.fit(utterances(8))
    record = {"audio": (spoken("ab", 1), RATE), "text": "xb"}
    batch = task.processor.batch(encode_records([record], task.processor), None)
    assert batch.targets["text"].tolist() == [[1, task.processor.tokenizer.encode("b").item()]]
    said = {"tokens": task.processor.tokenizer.encode("ab")[None], "lengths": torch.tensor([2])}
    rows = task.metrics()["cer"].count(said, batch)
    assert rows.tolist() == [[1, 2]]


def test_no_speed_makes_a_recording_too_short_for_its_text() -> None:
    task = tasks["speech_recognition"](bands=16, shorten=4, speed=0.6, masks=0)
    text = "abcdabcda"
    records = [{"audio": (spoken("ab" * 2, i), RATE), "text": text} for i in range(6)]
    task.processor.fit(records)
    rows = encode_records(records, task.processor)
    for epoch in range(20):
        lengths = task.processor.batch(rows, Draw(0, epoch, rows.ids)).inputs["lengths"]
        assert (-(-lengths // 4) >= len(text)).all()


def test_a_search_is_never_less_likely_than_the_likeliest_path(run: tw.Run) -> None:
    """Untrained, where the two differ most."""
    task, model = run.predictor.task, run.model
    records = [{"audio": r["audio"]} for r in utterances(12, 50)]
    batch = task.processor.batch(encode_records(records, task.processor), None)
    with torch.no_grad():
        logits, lengths = model(**batch.inputs)
        fuzzy = 0.2 * logits
        beam, single = task._told(fuzzy, lengths, 32), task._told(fuzzy, lengths, 1)
    assert (beam["nats"] <= single["nats"] + 1e-6).all()
    assert (beam["nats"] < single["nats"] - 1e-3).any()
