"""A run of the task generation writes: from Python, from the command line, whole and as it comes, and shows samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import UserError

LINES = ["the cat sat on the mat", "a dog ran to the sea", "the sun is hot", "we ate a red fig"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("".join(f"{LINES[(i * i + i // 3) % 4]}\n" for i in range(400)))
    return path


def recipe(text: Path, **changes: Any) -> dict[str, Any]:
    return {
        "task": {"name": "generation", "context": 24, "write": 12},
        "data": {"source": "documents", "path": str(text), "valid": 0.1, "test": 0},
        "model": {"name": "gpt", "size": "nano"},
        "optimizer": {"name": "adamw", "lr": 5e-3},
        "batch_size": 16,
        "budget": "60 steps",
        "eval_every": "30 steps",
        "save_every": "60 steps",
        **changes,
    }


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    return tw.train(recipe(text), out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_a_model_that_learned_is_better_than_counts_and_writes_what_it_read(run: tw.Run) -> None:
    assert run.metrics["valid/perplexity"] < run.baselines["linear"]["perplexity"]
    assert run.baselines["linear"]["perplexity"] < run.baselines["constant"]["perplexity"]
    assert run.generate("the c", temperature=0, tokens=6).startswith("at ")


def test_samples_are_in_the_log_after_each_evaluation(run: tw.Run) -> None:
    shown = run.view.shown
    assert [s.step for s in shown] == [e.step for e in run.view.evals if e.part == "valid"][: len(shown)] == [30, 60]
    assert {e.kind for s in shown for e in s.exhibits} == {"text"}
    assert all(e.data["text"] for s in shown for e in s.exhibits)


def test_showing_samples_changes_no_weight(run: tw.Run, text: Path, tmp_path: Path) -> None:
    seldom = tw.train(recipe(text, eval_every="60 steps"), out=tmp_path / "run", quiet=True)
    assert list(seldom.view.losses.values()) == list(run.view.losses.values())


def test_the_same_seed_writes_the_same_text_alone_and_beside_others(run: tw.Run) -> None:
    one = run.generate("the ", seed=5)
    assert isinstance(one, str)
    several = run.generate(["a dog", "the "], samples=3, seed=5)
    assert [len(texts) for texts in several] == [3, 3]
    assert several[1][0] == one
    assert several[1][1] == run.generate("the ", seed=6)
    assert run.generate(["the "]) == [run.generate("the ")]


def test_a_stream_is_the_text_piece_by_piece(run: tw.Run) -> None:
    for options in ({}, {"stop": "t "}, {"stop": ["e", "\n"], "temperature": 1.5}):
        found = list(run.stream("we ", tokens=40, **options))
        assert "".join(found) == run.generate("we ", tokens=40, **options)
    assert len(list(run.stream("we ", tokens=40))) == 40


def test_empty_long_and_strange_prompts(run: tw.Run) -> None:
    assert len(run.generate("")) == 12
    with pytest.warns(UserWarning, match="50 tokens; the model looks back on the last 24"):
        run.generate("a" * 50)
    with pytest.warns(UserWarning, match="do not have all of the prompt: '漢', 'Q'"):
        run.generate("漢Q")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tokens": 0}, "no number of tokens above 0"),
        ({"samples": 0}, "0 is below 1"),
        ({"temperature": -1.0}, "generate.temperature"),
        ({"top_p": 2.0}, "generate.top_p"),
        ({"stop": ""}, "empty string"),
        ({"prompt": 3}, "is not iterable|not text"),
        ({"prompt": [3]}, "int, not text"),
    ],
)
def test_what_cannot_be_asked_is_told(run: tw.Run, options: dict[str, Any], says: str) -> None:
    with pytest.raises((UserError, TypeError), match=says):
        run.generate(**{"prompt": "a", **options})


def test_the_command_line_writes_as_python_does(run: tw.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run.path), "--prompt", "the ", "--seed", "5", "--tokens", "30"]) == 0
    assert capsys.readouterr().out == "the " + run.generate("the ", seed=5, tokens=30) + "\n"
    assert main(["predict", str(run.path), "--prompt", "a", "--samples", "2", "--json", "--top-k", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["answers"] == [{"prompt": "a", "texts": run.generate("a", samples=2, top_k=3)}]
    assert main(["predict", str(run.path), "--prompt", "Q", "--prompt", "we", "--stop", "e"]) == 0
    told = capsys.readouterr()
    assert told.err == "note: the training texts do not have all of the prompt: 'Q'\n"
    assert "e" not in told.out.split("we", 1)[1]


def test_prompts_are_read_from_a_file(run: tw.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.txt").write_text("the \nwe\n")
    assert main(["predict", str(run.path), str(tmp_path / "prompts.txt"), "--format", "jsonl"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f["prompt"] for f in found] == ["the ", "we"]
    assert [f["text"] for f in found] == [run.generate("the "), run.generate("we")]


def test_flags_that_do_not_go_together_are_told(run: tw.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run.path), "x.txt", "--prompt", "a"]) == 2
    assert "INPUT: does not go together with --prompt" in capsys.readouterr().err
    assert main(["predict", str(run.path), "x.txt", "--top-k", "3"]) == 2
    assert "--top-k: is for a run that writes texts" in capsys.readouterr().err


def test_a_run_of_another_task_says_that_it_does_not_write(tmp_path: Path) -> None:
    other = tw.train("iris", {"budget": "2 steps"}, out=tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match="does not write texts"):
        other.generate("a")


def test_a_run_goes_on_from_another_with_layers_frozen(run: tw.Run, text: Path, tmp_path: Path) -> None:
    more = {"init_from": {"path": str(run.path)}, "freeze": ["embed.*", "stack.blocks.0.*"], "budget": "4 steps"}
    tuned = tw.train(recipe(text, **more, eval_every="4 steps"), out=tmp_path / "run", quiet=True)
    before, after = dict(run.model.named_parameters()), dict(tuned.model.named_parameters())
    same = {name for name in before if bool((before[name] == after[name]).all())}
    assert {n for n in before if n.startswith(("embed.", "stack.blocks.0."))} <= same
    assert any(n.startswith("stack.blocks.1.") for n in before.keys() - same)
    assert tuned.view.losses[1] < run.view.losses[1] / 2


def test_resume_continues_as_if_nothing_had_happened(text: Path, tmp_path: Path) -> None:
    whole = tw.train(recipe(text, budget="20 steps", eval_every="10 steps"), out=tmp_path / "whole", quiet=True)
    short = {"budget": "10 steps", "eval_every": "10 steps", "save_every": "10 steps"}
    part = tw.train(recipe(text, **short), out=tmp_path / "part", quiet=True)
    again = tw.resume(part.path, {"budget": "20 steps"}, quiet=True)
    assert list(again.view.losses.values()) == list(whole.view.losses.values())
    assert [s.exhibits for s in again.view.shown] == [s.exhibits for s in whole.view.shown]


def test_another_text_is_scored_and_a_part_continued(
    run: tw.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.txt").write_text("the cat ran to the sea\n" * 20)
    assert main(["evaluate", str(run.path), "--data", str(tmp_path / "other.txt"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert 1 < scores["data/perplexity"] < 8
    assert main(["predict", str(run.path), "--part", "valid", "--format", "jsonl"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["prompt"].rstrip("\n").split("\n")[0] in LINES


def test_a_model_that_writes_cannot_be_one_graph(
    run: tw.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run.path), str(tmp_path / "m.onnx")]) == 2
    assert "'tokens', which is read as it comes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_its_steps_can_be_proved(run: tw.Run) -> None:
    assert tw.verify(run.path).exact


def test_texts_in_json_lines_are_documents(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"body": f"{LINES[i % 4]}.", "id": i}) + "\n" for i in range(60))
    (tmp_path / "t.jsonl").write_text(lines)
    data = {"source": "table", "path": str(tmp_path / "t.jsonl"), "valid": 0.2, "test": 0}
    task = {"name": "generation", "context": 16, "text": "body", "write": 40}
    asked = {"data": data, "task": task, "budget": "40 steps", "model": {"name": "rnn_lm", "units": 48, "depth": 1}}
    made = tw.train(recipe(Path(), **asked), out=tmp_path / "run", quiet=True)
    answer = made.predict([{"body": "the sun "}])[0]
    assert answer["prompt"] == "the sun "
    assert len(answer["text"]) == 40 or answer["ended"] == "end"


@pytest.mark.parametrize(
    ("content", "changes", "says"),
    [
        ("caf\xe9 au lait\n" * 90, {}, "bad.txt: byte 3 is no UTF-8"),
        ("", {}, "holds no text"),
        ("one line", {}, "0.1 of 1 records would be empty"),
        ("abc\n" * 900, {"task": {"name": "generation", "text": "body"}}, "no field 'body', only 'text', 'end'"),
        ("abc\n" * 900, {"task": {"name": "generation", "tokenizer": {"name": "bpe", "pieces": 900}}}, "not 900"),
        ("abc\n" * 900, {"task": {"name": "generation", "context": 1}}, "task.context"),
        ("abc\n" * 900, {"model": {"name": "gpt", "size": "huge"}}, "model.size"),
        ("abc\n" * 900, {"model": {"name": "gpt", "width": 30, "heads": 4}}, "4 heads do not divide a width of 30"),
        ("abc\n" * 900, {"model": {"name": "mlp"}}, "mlp"),
    ],
)
def test_a_mistake_is_one_message(
    content: str, changes: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=says):
        tw.train(recipe(file, **changes), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_text_shorter_than_the_context_is_one_window(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("abc\n" * 90)
    task = {"name": "generation", "context": 5000, "write": 3}
    made = tw.train(recipe(tmp_path / "t.txt", task=task, budget="2 steps"), out=tmp_path / "run", quiet=True)
    assert made.manifest["data"]["samples"] == {"train": 1, "valid": 1}


def test_samples_stand_between_the_evaluations_on_the_screen(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tw.train(recipe(text, budget="4 steps", eval_every="2 steps"), out=tmp_path / "run")
    said = capsys.readouterr().out
    assert said.count("sample 1 |") == 2
    assert said.index("step 2/4") < said.index("sample 1 |") < said.index("step 4/4")
    assert f"trainwright predict {tmp_path / 'run'} --prompt" in said
