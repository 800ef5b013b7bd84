"""The command line as people of other systems type it: their verbs, their options, in any order."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainwright.cli import commands, main
from trainwright.cli.grammar import FLAGS, VERBS, settings_from_options
from trainwright.core.aliases import ALIASES, REFUSED

Captured = pytest.CaptureFixture[str]


def read_out(arguments: list[str]) -> list[str]:
    return settings_from_options(arguments, {"--epochs", "--set"})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--learning-rate", "1e-3"], ["--set", "learning_rate=1e-3"]),
        (["--learning_rate=1e-3", "x"], ["--set", "learning_rate=1e-3", "x"]),
        (["--optimizer.weight-decay", "-1"], ["--set", "optimizer.weight_decay=-1"]),
        (["--micro-batch", "16", "digits"], ["--set", "micro_batch=16", "digits"]),
        (["--amp", "digits"], ["--set", "amp=true", "digits"]),
        (["--amp", "false", "digits"], ["--set", "amp=false", "digits"]),
        (["--cos-lr"], ["--set", "cos_lr=true"]),
        (["--model.layers", '[{name="dense"}]'], ["--set", 'model.layers=[{name="dense"}]']),
        (["--epochs", "3", "--nobody", "4"], ["--epochs", "3", "--nobody", "4"]),
        (["--", "--learning-rate", "3"], ["--", "--learning-rate", "3"]),
    ],
)
def test_any_key_of_a_recipe_is_an_option(typed: list[str], meant: list[str]) -> None:
    assert read_out(typed) == meant


def test_options_without_a_value_are_names_of_others() -> None:
    assert set(FLAGS) <= set(ALIASES) | set(REFUSED)


def test_every_verb_of_others_leads_to_a_command() -> None:
    assert set(VERBS.values()) <= set(commands.commands)
    assert set(VERBS) & set(commands.commands) == set()


def trained(place: Path, name: str) -> dict[str, Any]:
    from trainwright.runs.run import open_run

    return open_run(place / name).config


def test_verbs_options_and_names_of_others_train_and_score_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(
        'task = "tabular_classification"\ndata = { source = "embedded", set = "iris" }\nlearning_rate = 0.5\n'
    )
    typed = ["--out", "a", "fit", "--config", "recipe.toml", "--max-epochs", "1", "--wd=0.1", "batch=32"]
    assert main(typed) == 0
    said = capfd.readouterr()
    assert "note: fit is called train here" in said.err
    for line in ("max_epochs = 1 is budget = '1 epochs' here", "wd is called optimizer.weight_decay here"):
        assert f"note     {line}" in said.out
    config = trained(tmp_path, "a")
    assert (config["budget"], config["batch_size"]) == ("1 epochs", 32)
    assert (config["optimizer"]["lr"], config["optimizer"]["weight_decay"]) == (0.5, 0.1)

    assert main(["val", "a", "--json"]) == 0
    assert "test/accuracy" in json.loads(capfd.readouterr().out)["scores"]
    assert main(["train", "--resume", "a", "--epochs", "2", "--quiet"]) == 0
    assert trained(tmp_path, "a")["budget"] == "2 epochs"
    assert main(["train", "--resume", "a", "max_epochs=3", "--quiet"]) == 0
    assert trained(tmp_path, "a")["budget"] == "3 epochs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--resume", "a", "iris"], "iris: a run goes on with its own recipe"),
        (["train", "iris", "--config", "r.toml"], "iris: and --config both name a recipe"),
        (["train", "iris", "--optimizer.lr"], "--optimizer.lr: needs a value"),
        (["train", "iris", "--per-device-train-batch-size", "8"], "counts the samples of one device"),
        (["train", "iris", "--lr", "0.1", "learning_rate=0.2"], "learning_rate: contradicts optimizer.lr"),
        (["train", "iris", "--epochs", "1", "max_steps=2"], "max_steps: contradicts budget"),
        (["tset", "runs/a"], "No such command 'tset'"),
    ],
)
def test_what_cannot_be_meant_is_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
