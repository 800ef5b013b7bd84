"""A run that translates: trained from two files, resumed, judged on others, and asked by line, by table and by word."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from tests.builtin import numbers
from trainwright.cli import main
from trainwright.core.errors import DataError
from trainwright.runs.score import evaluate_run

Captured = pytest.CaptureFixture[str]


def pair(folder: Path, stem: str, n: int, seed: int) -> Path:
    records = numbers(n, seed)
    for field, language in (("source", "en"), ("target", "de")):
        text = "".join(f"{r[field]}\n" for r in records)
        (folder / f"{stem}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    return folder / f"{stem}.en.gz"


def recipe(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "task": {"name": "translation", "tokenizer": "characters", "length": 60, "beams": 2},
        "data": {
            "source": "parallel",
            "path": str(folder / "train.en.gz"),
            "languages": ["en", "de"],
            "valid": str(folder / "val.en.gz"),
            "test": 0,
        },
        "model": {"name": "transformer", "width": 32, "depth": 1, "heads": 2, "dropout": 0.0},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "schedule": {"name": "linear", "warmup": 0.1},
        "batch_size": 32,
        "budget": "10 epochs",
        "eval_every": "5 epochs",
        **more,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    pair(folder, "train", 500, 1)
    pair(folder, "val", 24, 2)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> tw.Run:
    return tw.train(recipe(place), out=place / "run", quiet=True)


def asked(capsys: Captured, *given: str) -> list[dict[str, Any]]:
    assert main(["predict", *given, "--json"]) == 0
    answers: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["answers"]
    return answers


def test_it_learns_to_translate_and_is_held_against_a_copy_and_a_memory(run: tw.Run) -> None:
    assert run.metrics["valid/bleu"] > 60
    assert run.metrics["valid/bleu"] > run.baselines["copy"]["bleu"]
    assert {"valid/bleu", "valid/chrf", "valid/nats", "valid/perplexity", "valid/loss"} <= set(run.metrics)
    assert set(run.baselines) == {"copy", "memory"}
    low, high = run.view.ended.intervals["valid/bleu"]  # type: ignore[union-attr]
    assert low <= run.metrics["valid/bleu"] <= high


def test_the_log_shows_translations_and_the_signature_is_kept(run: tw.Run) -> None:
    assert any("BLEU|nrefs:1|case:mixed|eff:no|tok:13a" in note for note in run.manifest["data"]["notes"])
    events = [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]
    shown = [e for e in events if "exhibits" in e]
    assert len(shown) == 2
    first = shown[-1]["exhibits"][0]["data"]
    assert {"prompt", "text", "true"} == set(first)


def test_typed_texts_lines_and_tables_are_translated(run: tw.Run, place: Path, capsys: Captured) -> None:
    record = numbers(1, 7)[0]
    typed = asked(capsys, str(run.path), "--text", str(record["source"]))
    (place / "new.txt").write_text(f"{record['source']}\n\n{record['source']}\n")
    lines = asked(capsys, str(run.path), str(place / "new.txt"))
    assert [a["row"] for a in lines] == [1, 2, 3]
    assert [a["translation"] for a in lines] == [typed[0]["translation"], "", typed[0]["translation"]]
    (place / "new.csv").write_text(f'source,id\n"{record["source"]}",7\n')
    (table,) = asked(capsys, str(run.path), str(place / "new.csv"), "--keep", "id")
    assert (table["translation"], table["id"]) == (typed[0]["translation"], 7)
    packed = asked(capsys, str(run.path), str(place / "val.en.gz"))
    assert len(packed) == 24
    part = asked(capsys, str(run.path), "--part", "valid")
    assert [a["translation"] for a in part] == [a["translation"] for a in packed]


def test_a_line_in_another_encoding_is_told_by_its_number(run: tw.Run, place: Path, capsys: Captured) -> None:
    (place / "bad.txt").write_bytes(b"two\nGr\xf6\xdfe\ntwo\n")
    assert main(["predict", str(run.path), str(place / "bad.txt")]) == 2
    assert "bad.txt, line 2" in capsys.readouterr().err
    assert main(["predict", str(run.path), str(place / "bad.txt"), "--on-bad", "skip", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["answers"]) == 2


def test_other_files_of_the_same_kind_are_judged(run: tw.Run, place: Path) -> None:
    scores = evaluate_run(run, data=str(pair(place, "other", 20, 5))).scores
    assert scores["data/bleu"] > 50
    own = evaluate_run(run, part="valid").scores
    assert own["valid/bleu"] == pytest.approx(run.metrics["valid/bleu"])


def test_a_run_goes_on_exactly(place: Path, tmp_path: Path) -> None:
    given = recipe(place, budget="2 epochs", eval_every="1 epoch", ema=0.9)
    whole = tw.train(given, out=tmp_path / "whole", quiet=True)
    tw.train(
        given, {"observers": [{"name": "goal", "metric": "loss", "below": 100.0}]}, out=tmp_path / "cut", quiet=True
    )
    cut = tw.resume(tmp_path / "cut", {"observers": []}, quiet=True)
    assert cut.view.step == whole.view.step
    assert cut.metrics == whole.metrics


def test_bad_pairs_end_the_run_or_are_passed_over(place: Path, tmp_path: Path) -> None:
    pair(tmp_path, "train", 60, 1)
    pair(tmp_path, "val", 10, 2)
    text = gzip.decompress((tmp_path / "train.de.gz").read_bytes()).decode().splitlines()
    text[6] = ""
    (tmp_path / "train.de.gz").write_bytes(gzip.compress("\n".join(text).encode("utf-8")))
    short = recipe(tmp_path, budget="1 epoch", eval_every="1 epoch")
    with pytest.raises(DataError, match=r"train.en.gz and train.de.gz, line 7.*'target' is empty"):
        tw.train(short, out=tmp_path / "one", quiet=True)
    skipped = tw.train({**short, "on_bad_sample": "skip"}, out=tmp_path / "two", quiet=True)
    assert skipped.state == "finished"
    (tmp_path / "train.de.gz").write_bytes(gzip.compress("\n".join(text[:50]).encode("utf-8")))
    with pytest.raises(DataError, match=r"train.en.gz has 60 lines, and train.de.gz 50"):
        tw.train(short, out=tmp_path / "three", quiet=True)
