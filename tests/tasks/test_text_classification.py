"""Text classification: fields found, lengths cut, words silenced, labels one or several, and bad texts."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

import trainwright as tw
from tests.tasks.cases import part_of, reviews, whole
from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.data.label_sets import LabelSets, labels_of
from trainwright.data.letters import Letters
from trainwright.runs.score import evaluate_run


def fitted(records: list[dict[str, Any]], **options: Any) -> Any:
    task = tasks["text_classification"](**options)
    task.processor.fit(records)
    return task


@pytest.mark.parametrize(
    ("record", "text", "target"),
    [
        ({"text": "a b", "label": "x"}, "text", "label"),
        ({"id": 1, "sentence": "a b", "sentiment": "x"}, "sentence", "sentiment"),
        ({"column_1": "a b", "column_2": 1}, "column_1", "column_2"),
        ({"short": "a", "long": "a b c", "mood": "x"}, "long", "mood"),
    ],
)
def test_the_fields_of_text_and_label_are_found(record: dict[str, Any], text: str, target: str) -> None:
    other = {**record, target: "y" if isinstance(record[target], str) else 2}
    task = fitted([record, other], tokenizer={"name": "words", "least": 1})
    assert (task.processor.reader.field, task.processor.target) == (text, target)
    assert task.strata(record) == target


def test_long_texts_lose_their_end_and_a_note_says_so() -> None:
    records = [{"text": " ".join("abcdefgh"[: i + 1]), "label": i % 2} for i in range(8)]
    task = fitted(records, length=3, tokenizer={"name": "words", "least": 1})
    (note,) = task.processor.notes()
    assert note.startswith("5 of 8 training texts are longer than 3 pieces")
    ids = task.processor.encode(records[-1])["tokens"]
    assert task.processor.reader.tokenizer.decode(ids.long()) == "a b c"
    assert not fitted(records, tokenizer={"name": "words", "least": 1}).processor.notes()


def test_batches_are_padded_behind_and_know_their_lengths() -> None:
    records = reviews(12)
    task = fitted(records)
    batch = whole(records, task, fit=False)
    lengths = batch.inputs["lengths"]
    for row, n, record in zip(batch.inputs["tokens"], lengths.tolist(), records, strict=True):
        assert n == len(record["text"].split())
        assert not bool((row[:n] == 0).any())
        assert not bool(row[n:].any())


def test_words_are_silenced_in_training_alone_by_the_share_and_the_sample_alone() -> None:
    records = [{"text": "word " * 200, "label": i % 2} for i in range(40)]
    task = fitted(records, silenced=0.25)
    part = part_of(records, task.processor)
    rows = part.rows(0, 40)
    batch = task.processor.batch(rows, Draw(3, 0, rows.ids))
    share = float((batch.inputs["tokens"] == task.processor.reader.tokenizer.unknown).float().mean())
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 8000) ** 0.5
    some = part.rows(5, 6)
    alone = task.processor.batch(some, Draw(3, 0, some.ids)).inputs["tokens"][0]
    assert torch.equal(alone, batch.inputs["tokens"][5])
    assert not bool((task.processor.batch(rows, None).inputs["tokens"] == 1).any())


def judged(task: Any, records: list[dict[str, Any]], logits: torch.Tensor) -> dict[str, float]:
    batch: Batch = whole(records, task, fit=False)
    return {
        name: metric.value(
            metric.count({"logits": logits}, batch).sum(0)
            if metric.combine == "add"
            else metric.count({"logits": logits}, batch)
        )
        for name, metric in task.metrics().items()
    }


def test_metrics_of_several_labels_are_those_of_scikit_learn() -> None:
    records = reviews(40, several=True)
    task = fitted(records, classes="several")
    logits = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    true = np.array([[int(v in r["label"]) for v in ("bad", "good")] for r in records])
    said = (logits >= 0).int().numpy()
    found = judged(task, records, logits)
    assert found["exact_match"] == pytest.approx(accuracy_score(true, said))
    assert found["macro_f1"] == pytest.approx(f1_score(true, said, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(true, said, average="micro"))
    assert task.monitor == "macro_f1"


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (["a", "b"], ["a", "b"]),
        ("a; b", ["a", "b"]),
        ("a|b|a", ["a", "b"]),
        ("a,b", ["a", "b"]),
        ("a", ["a"]),
        ([], []),
        (3, [3]),
    ],
)
def test_several_labels_are_a_list_or_text_with_marks(value: Any, labels: list[Any]) -> None:
    assert labels_of(value, "here") == labels


def test_labels_that_tell_nothing_apart_are_refused() -> None:
    with pytest.raises(DataError, match="are the same: 'a'"):
        LabelSets([["a"], ["a"]]).checked("field 'label'")
    with pytest.raises(DataError, match="are the same: none"):
        LabelSets([[], []]).checked("field 'label'")
    with pytest.raises(DataError, match="is empty"):
        labels_of("a;;b", "here")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "mse"}, r"task\.loss: 'mse' does not compare classes; use 'cross_entropy'"),
        (
            {"classes": "several", "loss": "cross_entropy"},
            r"does not compare several labels; use 'binary_cross_entropy'",
        ),
        ({"text": "a", "target": "a"}, r"task\.target: 'a' is the text already"),
        ({"tokenizer": "word"}, r"did you mean 'words'"),
    ],
)
def test_a_wrong_option_is_one_message(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        tasks["text_classification"](**options)


BAD = {
    "empty": ({"text": "", "label": "pos"}, "is empty"),
    "blank": ({"text": " \n\t", "label": "pos"}, "is empty"),
    "missing": ({"text": None, "label": "pos"}, "is empty"),
    "bytes": ({"text": b"caf\xe9", "label": "pos"}, "is bytes, not text"),
    "half a character": ({"text": "a\ud800", "label": "pos"}, "surrogate"),
    "without a label": ({"text": "a film", "label": None}, "the label 'label' is missing"),
    "without the field": ({"label": "pos"}, "no field 'text'"),
}


@pytest.mark.parametrize("place", [0, 17])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_text_is_told_of_in_training(kind: str, place: int) -> None:
    record, said = BAD[kind]
    records: list[dict[str, Any]] = reviews(30)
    records[place] = record
    with pytest.raises(DataError, match=said):
        fitted(records, text="text", target="label")


@pytest.mark.parametrize("kind", ["empty", "blank", "missing", "bytes", "half a character", "without the field"])
def test_a_bad_text_is_told_of_when_it_is_served(kind: str) -> None:
    record, said = BAD[kind]
    processor = fitted(reviews(30)).processor
    with pytest.raises(DataError, match=said):
        processor.encode(processor.served(record))


def test_texts_train_resume_evaluate_and_answer(tmp_path: Path) -> None:
    for label, word in (("good", "warm"), ("bad", "dull")):
        (tmp_path / "films" / label).mkdir(parents=True)
        for i in range(30):
            (tmp_path / "films" / label / f"{i}.txt").write_text(f"a {word} film, number {i % 4} of the year")
    (tmp_path / "films/bad/30.txt").write_bytes(b"caf\xe9 dull")
    (tmp_path / "films/bad/31.txt").write_bytes(b"")
    recipe = {
        "task": {"name": "text_classification"},
        "data": {"source": "texts", "path": str(tmp_path / "films"), "valid": 0.2, "test": 0.2},
        "model": {"name": "text_cnn", "width": 16, "filters": 8},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "batch_size": 8,
        "budget": "4 epochs",
        "on_bad_sample": "skip",
        "bad_samples": 2,
    }
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.metrics["test/accuracy"] == 1.0
    assert run.baselines["linear"]["accuracy"] == 1.0
    assert 0.3 < run.baselines["constant"]["accuracy"] < 0.7
    again = tw.resume(run.path, {"budget": "5 epochs"}, quiet=True)
    assert evaluate_run(again).scores["test/accuracy"] == again.metrics["test/accuracy"]
    answers = again.predict([{"text": "what a warm film"}, {"text": "dull and again dull"}])
    assert [a["label"] for a in answers] == ["good", "bad"]
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1.0)
    assert again.predict(["what a warm film"]) == answers[:1]
    with pytest.raises(tw.UserError, match=r"export it as \.safetensors instead"):
        tw.export(again, tmp_path / "model.onnx")


def test_several_labels_train_and_answer(tmp_path: Path) -> None:
    import json

    path = tmp_path / "films.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in reviews(80, several=True)))
    recipe = {
        "task": {"name": "text_classification", "classes": "several"},
        "data": {"source": "table", "path": str(path), "test": 0.25},
        "budget": "2 epochs",
    }
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert {"test/macro_f1", "test/micro_f1", "test/exact_match"} <= run.metrics.keys()
    (answer,) = run.predict([{"text": "a funny film"}])
    assert set(answer["probabilities"]) == {"good", "bad"}
    assert set(answer["labels"]) == {name for name, p in answer["probabilities"].items() if p >= 0.5}


def test_letters_of_words_are_the_same_in_every_process_and_leave_room_for_padding() -> None:
    letters = Letters(2, 3, 1000)
    found = letters("Ab c", 9)
    groups = ["<a", "ab", "b>", "<ab", "ab>", "<c", "c>", "<c>"]
    assert found.tolist() == [1 + zlib.crc32(g.encode()) % 1000 for g in groups]
    assert letters("ab c d", 2).tolist() == found.tolist()
    assert letters("", 9).tolist() == []


def test_letters_are_padded_and_silenced_as_words_are() -> None:
    records = [{"text": "word " * (20 + i), "label": i % 2} for i in range(40)]
    task = fitted(records, silenced=0.25, letters=(2, 3))
    rows = part_of(records, task.processor).rows(0, 40)
    plain = task.processor.batch(rows, None).inputs["letters"]
    assert [int((row != 0).sum()) for row in plain] == [(5 + 4) * (20 + i) for i in range(40)]
    drawn = task.processor.batch(rows, Draw(3, 0, rows.ids)).inputs["letters"]
    kept = drawn == plain
    assert bool((kept | (drawn == 0)).all())
    assert abs(float(kept[plain != 0].float().mean()) - 0.75) < 0.01
    assert "letters" not in fitted(records, letters="none").processor.columns()
    assert task.sizes()["letters"] == 50_000
