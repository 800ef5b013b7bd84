"""The command line: quick to answer, one message for a mistake, exactly one object for a machine."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.cli import commands, main
from trainwright.cli.rows import show
from trainwright.cli.typed import settings_of, value_of
from trainwright.core.errors import UserError

Captured = pytest.CaptureFixture[str]

LOUD = """
import os, signal
from trainwright.core.events import StepDone
from trainwright.core.kinds import observers

@observers.add("loud_cli_test")
def loud(*, stop_at: int = -1):
    \"\"\"Prints, and sends Ctrl-C.

    Args:
        stop_at: step.
    \"\"\"
    print("plugin says hello")
    os.write(1, b"past Python's standard output\\n")

    def watch(event):
        if isinstance(event, StepDone) and event.step == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    return watch
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of two epochs in ``runs/iris``."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.chdir(place)
        assert main(["train", "iris", "epochs=2", "--quiet", "--out", "runs/iris"]) == 0
    return place


@pytest.fixture
def place(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def one_object(text: str) -> dict[str, Any]:
    """Standard output that holds one JSON object and nothing else."""
    assert text.count("\n") == 1
    found: dict[str, Any] = json.loads(text)
    return found


def test_help_version_and_mistakes_answer_without_torch() -> None:
    lines = [["--help"], ["--version"], ["trian"], ["train", "digits", "--optimizer.lr"], ["train", "digits", "lr"], []]
    lines += [[name, "--help"] for name in commands.commands]
    lines += [["resume", "nowhere"], ["predict", "nowhere", "x.csv"], ["runs", "nowhere"]]
    program = f"""
import sys
from trainwright.cli import main
codes = [main(arguments) for arguments in {lines!r}]
assert set(codes) == {{0, 2}}, codes
heavy = {{"torch", "numpy", "polars", "matplotlib", "rich", "pydantic"}} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "Did you mean 'train'"),
        (["train", "digits", "--epoch", "3"], "--epochs"),
        (["train", "digits", "--lr", "fast"], "'fast' is not a valid float"),
        (["train"], "Missing argument"),
        (["train", "nodigits"], "did you mean 'digits'"),
        (["train", "lr=0.1"], "is a setting, not a recipe"),
        (["train", "digits", "recipe.toml"], "recipe.toml: is not a setting; write key=value"),
        (["train", "digits", "optimizer.lrr=1"], "optimizer.lrr: unknown option; did you mean 'lr'"),
        (["train", "digits", "batch_size=none"], "batch_size: 'none' is not valid"),
        (["train", "digits", "--epochs", "-1"], "budget: '-1 epochs'"),
        (["train", "digits", "--epochs", "nan"], "budget: 'nan epochs'"),
        (["train", "digits", "model.filters=[32"], "model.filters: [32 is not a TOML value"),
        (["train", "digits", "--lr", "1", "optimizer.lr=2"], "optimizer.lr: is set twice"),
        (["train", "digits", "--data", "x.csv"], "data.path: unknown option"),
        (["train", "digits", "--device", "tpuu"], "device: 'tpuu' is not a device"),
        (["explain", "optimizer.adamv"], "did you mean 'optimizer.adam"),
        (["runs", "nowhere"], "nowhere: is not a folder"),
    ],
)
def test_a_mistake_is_one_message_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capfd.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []
    assert main([*arguments, "--json"]) == 2
    error = one_object(capfd.readouterr().out)["error"]
    assert message in error["message"]
    assert error["exit_code"] == 2


def test_a_folder_that_is_no_run_is_answered_with_what_a_run_is_and_with_near_ones(
    place: Path, capfd: Captured
) -> None:
    for verb in (["resume"], ["evaluate"], ["predict", "new.csv"]):
        assert main([verb[0], "runs/irris", *verb[1:]]) == 2
        message = capfd.readouterr().err
        assert "runs/irris: does not exist; name a folder made by `trainwright train`" in message
        assert "did you mean runs/iris?" in message
    assert main(["resume", "runs"]) == 2
    assert "runs: is not the folder of a run" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4), (".5", 0.5), ("5.", 5.0), ("64", 64), ("1_000", 1000), ("true", True), ("all", "all"),
        ("[32, 64]", [32, 64]), ('"64"', "64"), ('{name = "cnn", filters = [8]}', {"name": "cnn", "filters": [8]}),
        ("10 epochs", "10 epochs"), ("2026-11-20", "2026-11-20"), ("[2026-11-20]", ["2026-11-20"]),
        ("12:30:00", "12:30:00"),
        ("a.b=c", "a.b=c"), ("", ""), ("1\ny = 2", "1\ny = 2"), ("data/x.csv", "data/x.csv"), ("-inf", -float("inf")),
    ],
)  # fmt: skip
def test_values_are_toml_and_bare_words_are_text(text: str, value: Any) -> None:
    read = value_of(text, "key")
    assert (type(read), read) == (type(value), value)


@given(st.integers() | st.floats(allow_nan=False) | st.booleans() | st.text("abcxyz_-/ ", min_size=1))
def test_a_value_written_plainly_reads_back(value: Any) -> None:
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    expected = value.strip() if isinstance(value, str) else value
    if expected not in ("true", "false", "inf", "nan"):
        assert value_of(text, "key") == expected


def test_settings_know_the_everyday_names_and_quoted_keys() -> None:
    assert settings_of(["epochs=3", "lr=0.1", '"model.width" = 4'], {"seed": 1, "name": None}) == {
        "seed": 1, "budget": "3 epochs", "optimizer.lr": 0.1, "model.width": 4,
    }  # fmt: skip
    assert settings_of(["lr=0.1", "optimizer.lr=1e-1"], {"optimizer.lr": 0.1}) == {"optimizer.lr": 0.1}
    with pytest.raises(UserError, match="set twice"):
        settings_of(["lr=0.1", "optimizer.lr=0.2"], {})


def test_the_flags_reach_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [
        "--epochs",
        "1.5",
        "--batch-size",
        "32",
        "--lr",
        "0.02",
        "--seed",
        "7",
        "--device",
        "cpu",
        "--name",
        "mine",
    ]
    code = main(["train", "iris", *flags, "model.width=8", "--set", "clip=1.0", "--json"])
    said = capfd.readouterr()
    assert code == 0, said.err
    from trainwright.runs.run import open_run

    config = open_run(one_object(said.out)["run"]).config
    assert [config[k] for k in ("budget", "batch_size", "seed", "device", "name", "clip")] == [
        "1.5 epochs", 32, 7, "cpu", "mine", 1.0,
    ]  # fmt: skip
    assert (config["optimizer"]["name"], config["optimizer"]["lr"], config["model"]["width"]) == ("adamw", 0.02, 8)


def test_train_json_is_one_object_whatever_plugins_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loud.py").write_text(LOUD)
    loud = ["plugins=['loud.py']", "log_every=1"]
    quiet, stopping = (f"observers=[{{name='loud_cli_test', stop_at={step}}}]" for step in (-1, 4))
    assert main(["train", "iris", "epochs=1", *loud, quiet, "--out", "here", "--json"]) == 0
    said = capfd.readouterr()
    told = one_object(said.out)
    assert told["run"] == "here"
    assert {"test/accuracy", "test/loss"} <= told["scores"].keys()
    assert "accuracy" in told["baselines"]["constant"]
    assert told["seconds"] > 0
    for text in ("plugin says hello", "past Python's standard output", "finished: 7 steps"):
        assert text in said.err

    assert main(["train", "iris", "epochs=2", *loud, stopping, "--out", "stopped", "--json"]) == 130
    said = capfd.readouterr()
    assert one_object(said.out)["state"] == "interrupted"
    assert "interrupted after step 5 of 14" in said.err
    assert "trainwright resume stopped" in said.err
    assert main(["resume", "stopped"]) == 0
    said = capfd.readouterr()
    assert "attempt 2, from step 5 of 14" in said.out
    assert "finished: 14 steps" in said.out


def test_quiet_says_nothing_but_warnings_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "iris", "epochs=1", "--quiet", "doctor=off"]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["train", "iris", "epochs=1", "--quiet"]) == 0
    said = capfd.readouterr()
    assert said.out == ""
    assert "warning: a linear model, fitted in a second, does better" in said.err
    assert "[below_linear]" in said.err
    assert "note" not in said.err


def test_an_existing_run_is_not_overwritten(place: Path, capfd: Captured) -> None:
    before = {p: p.stat().st_mtime_ns for p in (place / "runs/iris").rglob("*")}
    assert main(["train", "iris", "--out", "runs/iris"]) == 2
    assert "nothing was overwritten" in capfd.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (place / "runs/iris").rglob("*")} == before


def test_a_finished_run_says_how_to_give_it_more(place: Path, capfd: Captured) -> None:
    assert main(["resume", "runs/iris"]) == 2
    assert "its budget of 2 epochs is spent" in capfd.readouterr().err


def test_evaluate_repeats_the_scores_of_the_run(place: Path, capfd: Captured) -> None:
    from trainwright.runs.run import open_run

    assert main(["evaluate", "runs/iris", "--json"]) == 0
    scores = one_object(capfd.readouterr().out)["scores"]
    own = {k: v for k, v in open_run("runs/iris").metrics.items() if k.startswith("test/")}
    assert scores == pytest.approx(own)
    assert main(["evaluate", "runs/iris", "--part", "valid"]) == 0
    assert capfd.readouterr().out.split()[:2] == ["valid", "accuracy"]


def test_a_part_of_changed_data_is_not_evaluated(place: Path, capfd: Captured) -> None:
    rows = [f"{i},{i % 7},{'ab'[i % 2]}" for i in range(60)]
    (place / "rows.csv").write_text("\n".join(["x,y,kind", *rows]) + "\n")
    recipe = 'task = { name = "tabular_classification", target = "kind" }\nbudget = "1 epochs"\n'
    (place / "rows.toml").write_text(recipe + 'data = { source = "table", path = "rows.csv" }\n')
    assert main(["train", "rows.toml", "--out", "elsewhere/rows", "--quiet"]) == 0
    (place / "rows.csv").write_text("\n".join(["x,y,kind", *rows[1:]]) + "\n")
    capfd.readouterr()
    assert main(["evaluate", "elsewhere/rows"]) == 2
    assert "the data is not what this run began with" in capfd.readouterr().err
    assert main(["evaluate", "elsewhere/rows", "--data", "rows.csv"]) == 0


def test_runs_lists_every_run_and_one_that_cannot_be_read(place: Path, capfd: Captured) -> None:
    broken = place / "runs" / "torn"
    broken.mkdir(exist_ok=True)
    (broken / "manifest.json").write_text("{")
    assert main(["runs", "--json"]) == 0
    first, second = one_object(capfd.readouterr().out)["runs"]
    assert (first["run"], first["state"], first["score"], first["step"]) == (
        "runs/iris",
        "finished",
        "test/accuracy",
        14,
    )
    assert (second["run"], second["state"]) == ("runs/torn", "unreadable")
    assert main(["runs"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 3


def test_no_runs_yet_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert "trainwright train digits" in capfd.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert one_object(capfd.readouterr().out) == {"folder": "runs", "runs": []}


def test_explain_speaks_text_and_json(capfd: Captured) -> None:
    assert main(["explain", "optimizer.adamw"]) == 0
    assert "weight_decay" in capfd.readouterr().out
    assert main(["explain", "optimizer.adamw", "--json"]) == 0
    told = one_object(capfd.readouterr().out)
    assert {"lr", "weight_decay"} <= {o["name"] for o in told["options"]}


def test_a_fault_of_ours_is_short_and_leaves_the_traceback_in_a_file(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("trainwright.runs.train.resume", broken)
    assert main(["resume", "runs/iris", "--json"]) == 70
    said = capfd.readouterr()
    file = Path(one_object(said.out)["error"]["traceback"])
    assert file.parent == Path("runs/iris")
    assert "in broken" in file.read_text()
    assert len(said.err.splitlines()) == 2
    assert str(file) in said.err

    monkeypatch.setattr("trainwright.runs.train.train", broken)
    assert main(["train", "iris"]) == 70
    elsewhere = Path(capfd.readouterr().err.split()[-1])
    assert "ZeroDivisionError" in elsewhere.read_text()
    elsewhere.unlink()


def test_too_little_memory_is_answered_with_a_smaller_micro_batch(
    monkeypatch: pytest.MonkeyPatch, capfd: Captured, tmp_path: Path
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("trainwright.runs.train.train", full)
    assert main(["train", "iris"]) == 70
    assert "micro_batch=16" in capfd.readouterr().err


@pytest.mark.parametrize(("reason", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("KeyboardInterrupt", 130)])
def test_the_exit_code_tells_which_signal_it_was(
    reason: str, code: int, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    from trainwright.core.events import RunEnded, View
    from trainwright.runs.run import Run

    monkeypatch.setattr(Run, "view", View(ended=RunEnded(3, "interrupted", reason, 1.0)))
    monkeypatch.setattr("trainwright.runs.train.train", lambda *a, **k: Run(place / "runs" / "iris"))
    assert main(["train", "iris"]) == code


def test_ctrl_c_before_or_after_the_training_is_one_word(monkeypatch: pytest.MonkeyPatch, capfd: Captured) -> None:
    def pressed(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("trainwright.runs.train.train", pressed)
    assert main(["train", "iris"]) == 130
    assert capfd.readouterr().err.strip() == "interrupted"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = "import sys; from trainwright.cli import main; sys.exit(main(['train', '--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_answers_of_unlike_keys_line_up_and_nan_is_text(capfd: Captured) -> None:
    show([{"a": 1.0, "deep": {"x": [1, float("nan")]}}, {"b": "long text"}])
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["a", "deep.x", "b"]
    assert "1, nan" in lines[1]
    assert lines[2].endswith("long text")
    assert lines[0].index("b") == lines[2].index("long")
