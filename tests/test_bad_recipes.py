"""Recipes and flags that are wrong: told by file and key before any data is read, whatever is in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mistakes import refused
from trainwright.runs.recipe import read

GOOD = 'task = "tabular_classification"\ndata = { source = "table", path = "no_such.csv" }\n'
LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
YAML = "task: tabular_classification\ndata: {source: table, path: no_such.csv}\n"
BROKEN: dict[str, tuple[str, str | bytes, str]] = {
    "a table that is not closed": ("r.toml", "task = {", "is not valid TOML"),
    "a key twice in TOML": ("r.toml", GOOD + "seed = 1\nseed = 2\n", "is not valid TOML"),
    "a section twice in TOML": ("r.toml", GOOD + "[model]\nname = 'mlp'\n[model]\nwidth = 3\n", "is not valid TOML"),
    "a key twice in YAML": ("r.yaml", YAML + "seed: 1\nseed: 2\n", "seed"),
    "a key twice in JSON": ("r.json", '{"task": "x", "data": "iris", "seed": 1, "seed": 2}', "'seed' stands twice"),
    "a key twice within JSON": (
        "r.json",
        '{"task": {"name": "x", "name": "y"}, "data": "mnist"}',
        "'name' stands twice",
    ),
    "single quotes in JSON": ("r.json", "{'task': 1}", "is not valid JSON"),
    "NaN in JSON": ("r.json", '{"task": "tabular_classification", "data": "mnist", "clip": NaN}', "clip"),
    "a list of recipes": ("r.json", "[1, 2]", "a recipe is a table of keys"),
    "a number": ("r.yaml", "3", "a recipe is a table of keys"),
    "nothing at all in YAML": ("r.yaml", "", "a recipe is a table of keys"),
    "nothing at all in TOML": ("r.toml", "", "task: required"),
    "indentation that does not line up": ("r.yaml", "task:\n  name: x\n name: y\n", "is not valid YAML"),
    "a tab for indentation": ("r.yaml", "task:\n\tname: x\n", "is not valid YAML"),
    "an alias of nothing": ("r.yaml", "task: *nobody\n", "is not valid YAML"),
    "an object of Python in YAML": ("r.yaml", "task: !!python/object/apply:os.system ['touch pwned']\n", "r.yaml"),
    "a name of Python in YAML": ("r.yaml", "task: !!python/name:os.system\n", "r.yaml"),
    "a billion laughs": ("r.yaml", LAUGHS + YAML, "its aliases unfold to more than 100,000 values"),
    "a snake that eats its tail": ("r.yaml", "task: &a [*a]\n", "unfold"),
    "a million brackets": ("r.json", "[" * 200_000, "is not valid JSON"),
    "brackets without end in YAML": ("r.yaml", "[" * 20_000, "r.yaml"),
    "brackets without end in TOML": ("r.toml", "x = " + "[" * 20_000, "is not valid TOML"),
    "a file of a megabyte": ("r.toml", GOOD + "#" * 1_100_000, "is larger than 1000 kB"),
    "a picture": ("r.toml", b"\x89PNG\r\n\x1a\n\xff\xfe\xfd", "is not a text file"),
    "a text in UTF-16": ("r.toml", GOOD.encode("utf-16"), "is not a text file"),
    "a null character": ("r.toml", GOOD + 'name = "a\0b"\n', "is not valid TOML"),
    "a number beyond all numbers": ("r.toml", GOOD + "clip = 1e400\n", "clip"),
    "a whole number beyond 64 bits": ("r.toml", GOOD + f"seed = {2**70}\n", "seed"),
    "a date for a number": ("r.toml", GOOD + "seed = 2024-01-01\n", "seed"),
    "true for a number": ("r.toml", GOOD + "seed = true\n", "seed"),
    "a number for true": ("r.toml", GOOD + "shuffle = 1\n", "shuffle"),
    "a fraction for a whole number": ("r.toml", GOOD + "batch_size = 2.5\n", "batch_size"),
    "a share for a number of bad samples": ("r.toml", GOOD + "bad_samples = 1.5\n", "bad_samples"),
    "an unknown policy for bad samples": ("r.toml", GOOD + 'on_bad_sample = "ignore"\n', "on_bad_sample"),
    "a list for a table": ("r.toml", 'task = ["x"]\ndata = "mnist"\n', "task"),
    "a format of the future": ("r.toml", GOOD + "format = 99\n", "format"),
    "a name that looks like code": ("r.toml", GOOD.replace("tabular_classification", "os.system"), "no task is named"),
    "a plugin that is a module's name": ("r.toml", GOOD + 'plugins = ["os"]\n', "'os' is not a file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_recipe_is_one_message(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, content, told = BROKEN[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refused(["train", file], told, capsys, tmp_path)
    assert len(said) < 2000  # however large what was given


def test_a_mistake_of_a_key_is_told_before_the_data_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(GOOD + "batchsize = 3\n")
    said = refused(["train", "r.toml"], "did you mean 'batch_size'", capsys, tmp_path)
    assert "no_such" not in said


def test_aliases_of_a_reasonable_size_are_read(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("data: {source: embedded, set: iris}\ntask: &t tabular_classification\nname: *t\n")
    assert read(file).config.name == "tabular_classification"


FLAGS: dict[str, tuple[list[str], str]] = {
    "no command": (["trian", "iris"], "trian"),
    "no recipe": (["train"], "RECIPE"),
    "a recipe that is a folder": (["train", "."], "is a folder"),
    "an empty name": (["train", ""], "is a folder"),
    "a name with a null character": (["train", "a\0b"], "no such recipe"),
    "a name beyond the length of names": (["train", "x" * 5000], "no such recipe"),
    "an unknown flag": (["train", "iris", "--epoch", "3"], "--epoch"),
    "a flag without its value": (["train", "iris", "--epochs"], "--epochs"),
    "words for a number": (["train", "iris", "--epochs", "three"], "three"),
    "NaN epochs": (["train", "iris", "--epochs", "nan"], "budget"),
    "epochs below zero": (["train", "iris", "--epochs", "-1"], "budget"),
    "endless epochs": (["train", "iris", "--epochs", "inf"], "budget"),
    "a rate that is no number": (["train", "iris", "--lr", "nan"], "optimizer.lr"),
    "a seed below zero": (["train", "iris", "--seed", "-1"], "seed"),
    "a batch of nothing": (["train", "iris", "--batch-size", "0"], "batch_size"),
    "a batch of everybody": (["train", "iris", "--batch-size", "everybody"], "batch_size"),
    "a setting without a value": (["train", "iris", "--set", "seed"], "seed"),
    "a setting without a key": (["train", "iris", "--set", "=3"], "is not a setting"),
    "a setting with a hole": (["train", "iris", "--set", "optimizer..lr=3"], "optimizer..lr"),
    "a setting below a number": (["train", "iris", "--set", "seed.x=3"], "seed"),
    "a setting twice": (["train", "iris", "--seed", "1", "--set", "seed=2"], "is set twice"),
    "a setting that is half a list": (["train", "iris", "--set", "plugins=[1"], "plugins"),
    "a data path that is not there": (["train", "iris", "--data", "no.csv"], "data.path"),
    "an unknown device": (["train", "iris", "--device", "cuda:99"], "cuda:99"),
    "an empty run folder": (["train", "iris", "--out", ""], "out"),
    "a run folder with a null character": (["train", "iris", "--out", "a\0b"], "null"),
    "a run that is a file": (["resume", "file.txt"], "is not the folder of a run"),
    "a run that is not there": (["evaluate", "runs/nowhere"], "does not exist"),
    "an unknown part": (["evaluate", "runs/x", "--part", "exam"], "exam"),
    "nothing to predict": (["predict", "runs/x"], "INPUT"),
    "an unknown word to explain": (["explain", "optimiser"], "did you mean 'optimizer'"),
    "an unknown set to explain": (["explain", "set.mnst"], "mnist"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_mistaken_flag_is_one_message(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, told = FLAGS[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    refused(arguments, told, capsys, tmp_path)


def started(arguments: list[str], **how: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "trainwright", *arguments]
    whole = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 900, **how}
    return subprocess.run(command, check=False, **whole)  # type: ignore[call-overload,no-any-return]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["explain"], ["--help"], ["explain", "--json"], ["runs"]])
def test_standard_output_on_a_full_disk_is_told(arguments: list[str], tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = started(arguments, stdout=full, cwd=tmp_path)
    assert ended.returncode == 74, ended.stderr
    assert ended.stderr.startswith("error: standard output: cannot be written (No space left on device)")
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be deleted there")
@pytest.mark.parametrize("arguments", [["train", "r.toml"], ["train", "iris"], ["runs"], ["resume", "run"]])
def test_a_working_folder_that_is_gone_is_told(arguments: list[str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'cd "{gone}" && rmdir "{gone}" && exec "{sys.executable}" -m trainwright {" ".join(arguments)}'
    ended = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 73, ended.stderr
    assert ended.stderr.startswith("error: the working folder no longer exists")
    assert ended.stderr.count("error:") == 1
    assert "Traceback" not in ended.stderr
    assert "not expected" not in ended.stderr
    assert not list(tmp_path.iterdir())
