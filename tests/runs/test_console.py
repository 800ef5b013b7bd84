"""What a person sees: little, at the right time, readable anywhere; and never a traceback."""

import io
import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from tests.runs.screens import CADENCE, Clock, Screen, attempt, judged, step, told
from trainwright.cli import commands
from trainwright.core.events import (
    CheckpointSaved,
    Found,
    RunEnded,
    RunStarted,
    StepSkipped,
    dump,
)
from trainwright.core.finding import Advice, Finding, Patch
from trainwright.runs.console import Console
from trainwright.runs.figures import duration, number
from trainwright.runs.run import Run
from trainwright.runs.surface import fitted
from trainwright.runs.words import next_commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder as an attempt leaves it before its first step."""
    path = tmp_path / "my runs" / "digits"
    path.mkdir(parents=True)
    config = {
        "batch_size": 64,
        "budget": "10 epochs",
        "task": {"name": "image_classification"},
        "data": {"source": "idx", "path": "x"},
        "model": {"name": "cnn"},
    }
    manifest = {
        "kind": "recipe",
        "written": "2026-11-20T10:00:00+00:00",
        "versions": {},
        "attempts": [{"from_step": 0}],
        "plan": {"precision": "float32", "ranks": 1, "parallel": "single", "steps_per_epoch": 20},
        "data": {"fingerprint": "", "split": "stratified", "samples": {"train": 1280, "valid": 100, "test": 200}},
        "model": {"class": "Sequential", "parameters": 53002},
        "machine": {"device": "cpu", "device_name": ""},
        "monitor": {"name": "accuracy", "better": "higher"},
    }
    (path / "config.toml").write_text(tomli_w.dumps(config))
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "events.jsonl").write_text("")
    return path


def test_the_facts_of_the_run_come_first(folder: Path) -> None:
    text = told(folder, io.StringIO())
    head = text.split("epoch 1/10")[0]
    for fact in (str(folder), "image_classification", "cnn, 53,002 parameters", "1,280 train, 100 valid, 200 test",
                 "stratified", "200 in 10 epochs of 20, batches of 64", "accuracy, higher is better"):  # fmt: skip
        assert fact in head


def test_a_pipe_gets_one_line_per_evaluation_and_a_step_line_every_ten_seconds(folder: Path) -> None:
    lines = told(folder, io.StringIO(), seconds=1.0).splitlines()
    assert sum("valid loss" in line for line in lines) == 10
    assert not any("left" in line for line in lines)  # an evaluation line every few seconds says enough
    slow = told(folder, io.StringIO(), seconds=6.0)
    assert sum("samples/s" in line for line in slow.splitlines()) > 3
    assert "\x1b" not in slow
    assert "\r" not in slow


def test_step_lines_are_at_least_ten_seconds_apart() -> None:
    clock, stream = Clock(), io.StringIO()
    console = Console(stream=stream, clock=clock)
    console(RunStarted(1, 0, 10_000, 20, ""))
    for n in range(10, 5010, 10):
        clock.now += 1.0
        console(step(n))
    assert 45 <= len(stream.getvalue().splitlines()) <= 50


def test_the_rate_the_share_and_the_time_left_are_right() -> None:
    clock, stream = Clock(), io.StringIO()
    console = Console(stream=stream, clock=clock)
    console(RunStarted(1, 0, 200, 20, ""))
    clock.now += 20.0
    console(step(50))
    (line,) = stream.getvalue().splitlines()
    assert line == "epoch 2.5/10  step 50/200  loss 0.5000  3,200 samples/s  25%  1:00 left"


def test_a_resumed_attempt_counts_its_time_from_where_it_began() -> None:
    clock, stream = Clock(), io.StringIO()
    console = Console(stream=stream, clock=clock)
    console(RunStarted(2, 100, 200, 20, "", "budget = 10 epochs"))
    clock.now += 20.0
    console(step(150))
    first, line = stream.getvalue().splitlines()
    assert first == "attempt 2, from step 100 of 200 (budget = 10 epochs)"
    assert line.endswith("75%  0:20 left")
    assert "samples/s" not in line  # those before it are not its own


def test_the_best_evaluation_is_marked_and_the_train_loss_is_the_mean_since_the_last(folder: Path) -> None:
    stream = io.StringIO()
    console = Console(stream=stream, clock=Clock())
    console.start(attempt(folder), CADENCE, "accuracy", "higher")
    console(RunStarted(1, 0, 200, 20, ""))
    console(step(10, 1.0))
    console(step(20, 3.0))
    console(judged(20, 0.5, best=True))
    console(step(30, 8.0))
    console(judged(30, 0.4))
    *_, first, second = stream.getvalue().splitlines()
    assert "train loss 2.0000  valid loss 0.4000  accuracy 0.5000  f1 0.3000  best" in first
    assert "train loss 8.0000" in second
    assert "best" not in second


def test_an_attempt_that_begins_anew_has_no_losses_of_the_one_before(folder: Path) -> None:
    stream = io.StringIO()
    console = Console(stream=stream, clock=Clock())
    console.start(attempt(folder), CADENCE, "accuracy", "higher")
    for turn, loss in ((1, 1e30), (2, 3.0)):
        console(RunStarted(turn, 0, 200, 20, ""))
        console(step(10, loss))
    console(judged(20, 0.5, best=True))
    assert "train loss 3.0000" in stream.getvalue().splitlines()[-1]


def test_penalties_stand_beside_the_training_loss(folder: Path) -> None:
    stream = io.StringIO()
    console = Console(stream=stream, clock=Clock())
    console.start(attempt(folder), CADENCE, "accuracy", "higher")
    console(RunStarted(1, 0, 200, 20, ""))
    console(replace(step(20, 3.0), parts={"l1": 0.25, "l2": 0.125}))
    console(judged(20, 0.5))
    assert "train loss 3.0000  l1 0.2500  l2 0.1250  valid loss 0.4000" in stream.getvalue()


@pytest.mark.parametrize("width", [32, 50, 80, 200])
def test_a_terminal_of_any_width_is_readable(folder: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    lines = [line.rstrip() for line in told(folder, Screen()).splitlines()]
    spoken = [line for line in lines if "trainwright " not in line and str(folder) not in line]
    assert max(map(len, spoken)) <= width
    header = next(
        line for line in lines if line.split()[:1] == ["epoch"] and "valid loss" in line and "left" not in line
    )
    assert ("accuracy" in header, "f1" in header) == (True, width >= 80)
    assert any(line.split()[:1] == ["8"] and "best" in line for line in lines) == (width > 48)


def test_a_terminal_shows_colours_unless_the_environment_forbids_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    told(folder, screen := Screen())
    assert colour.search(screen.getvalue())
    monkeypatch.setenv("NO_COLOR", "1")
    told(folder, screen := Screen())
    assert not colour.search(screen.getvalue())


def test_a_dumb_terminal_gets_plain_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    told(folder, screen := Screen())
    assert "\x1b" not in screen.getvalue()


def test_the_cursor_comes_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(stream=(screen := Screen()), clock=Clock())
    console.progress("encoding", 10, 100)
    assert screen.getvalue().rfind("\x1b[?25l") > screen.getvalue().rfind("\x1b[?25h")
    del console  # as when the data could not be read, and nobody closed it
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")


def test_encoding_shows_how_much_how_fast_and_how_long() -> None:
    clock, stream = Clock(), io.StringIO()
    console = Console(stream=stream, clock=clock)
    console.progress("encoding", 0, 48842)
    clock.now = 10.0
    console.progress("encoding", 12000, 48842)
    clock.now = 41.0
    console.progress("encoding", 48842, 48842)
    assert stream.getvalue().splitlines() == [
        "encoding 12,000 / 48,842  1,200/s  0:31 left",
        "encoding 48,842 took 41.0 s",
    ]


def test_a_download_draws_a_bar_on_a_terminal_and_none_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, drawn in ((Screen(), True), (io.StringIO(), False)):
        clock = Clock()
        console = Console(stream=stream, clock=clock)
        console.progress("downloading a.csv (kB)", 0, 4000)
        clock.now = 20.0
        console.progress("downloading a.csv (kB)", 3000, 4000)
        console.close()
        assert "downloading a.csv (kB) 3,000 / 4,000" in stream.getvalue()
        assert ("[##################------]" in stream.getvalue()) == drawn


def test_what_is_encoded_in_no_time_is_not_worth_a_line() -> None:
    stream = io.StringIO()
    console = Console(stream=stream, clock=Clock())
    console.progress("encoding", 100, 100)
    assert stream.getvalue() == ""


def test_a_finding_is_told_with_its_evidence_and_its_fixes() -> None:
    stream = io.StringIO()
    console = Console(stream=stream, clock=Clock())
    fixes = (Patch({"optimizer.lr": 1e-4}), Advice("look at record 7"))
    numbers = {"loss": 12.5, "steps": 3}
    finding = Finding("diverged", "error", "The loss grows.", "layer 3", numbers, "The rate is high.", fixes)
    console(Found(3, finding))
    assert stream.getvalue().splitlines() == [
        "error: The loss grows. (layer 3) [diverged]",
        "         evidence: loss 12.500, steps 3",
        "         why: The rate is high.",
        "         try: optimizer.lr = 0.0001",
        "         try: look at record 7",
    ]


def test_nan_is_never_hidden() -> None:
    clock, stream = Clock(), io.StringIO()
    console = Console(stream=stream, clock=clock)
    console(RunStarted(1, 0, 200, 20, ""))
    clock.now = 20.0
    console(
        StepSkipped(9, "the loss was NaN", math.nan, math.nan, 3, (4, 5, 6), (5,), ("t.csv, row 6",), "incidents/0001")
    )
    console(step(10, math.nan, skipped=2))
    console(judged(20, math.nan))
    clock.now = 40.0
    console(step(30, math.nan, skipped=2))
    skipped, evaluation, line = stream.getvalue().splitlines()
    assert skipped == (
        "step 9 was skipped: the loss was NaN; not finite in themselves: records 5 (t.csv, row 6); see incidents/0001"
    )
    assert "train loss nan" in evaluation
    assert "accuracy nan" in evaluation
    assert "loss nan" in line


def test_a_loop_that_waits_for_data_is_told() -> None:
    clock, stream = Clock(), io.StringIO()
    console = Console(stream=stream, clock=clock)
    console(RunStarted(1, 0, 200, 20, ""))
    clock.now = 20.0
    console(step(10, waited=0.06))
    assert "60% waiting for data" in stream.getvalue()


def test_the_end_shows_scores_beside_baselines_the_monitor_first(folder: Path) -> None:
    text = told(folder, io.StringIO())
    table = text[text.index("scores of") :].splitlines()
    assert table[0] == "scores of the checkpoint of step 160, best by valid accuracy"
    assert table[1].split() == ["test", "linear"]
    assert table[2].split() == ["accuracy", "0.7000", "0.6000"]
    assert table[3].split() == ["loss", "0.3000"]


def test_every_command_that_is_proposed_can_be_typed(folder: Path) -> None:
    proposed = next_commands(Run(folder))
    (folder / "events.jsonl").write_text(dump(RunEnded(200, "finished", "", 1.0)) + "\n")
    proposed += next_commands(Run(folder))
    verbs = set()
    for text in proposed:
        program, verb, *arguments = shlex.split(text)
        assert program == "trainwright"
        assert arguments[0] == str(folder)
        commands.commands[verb].make_context(verb, arguments)  # a usage error otherwise
        verbs.add(verb)
    assert verbs == {"resume", "predict", "evaluate"}


def test_a_run_of_ones_own_module_is_reopened_in_python(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"kind": "own"}))
    assert next_commands(Run(folder)) == [f"in Python: tw.open({str(folder)!r}, model=net).predict(x)"]


@pytest.mark.parametrize(
    ("outcome", "reason", "words"),
    [
        ("finished", "the budget is spent", "finished: 40 steps"),
        ("stopped", "overfitting", "stopped after step 40 of 200, 1.0 s: overfitting"),
        ("interrupted", "SIGINT", "interrupted after step 40 of 200, 1.0 s (Ctrl-C); everything is saved"),
        ("failed", "NumericsError: …", "failed at step 40 of 200, 1.0 s"),
        ("interrupted", "KeyboardInterrupt", "interrupted at step 40 of 200, 1.0 s"),
    ],
)
def test_every_end_is_said_plainly(folder: Path, outcome: str, reason: str, words: str) -> None:
    stream = io.StringIO()
    console = Console(stream=stream, clock=Clock())
    console.start(attempt(folder), CADENCE, "accuracy", "higher")
    console(RunStarted(1, 0, 200, 20, ""))
    console(CheckpointSaved(20, "checkpoints/step-00000020", 0.1))
    console(RunEnded(40, outcome, reason, 1.0))
    assert words in stream.getvalue()
    broken_off = outcome == "failed" or reason == "KeyboardInterrupt"
    assert (
        f"step 20; go on from it with: trainwright resume {shlex.quote(str(folder))}" in stream.getvalue()
    ) == broken_off


class Gone(io.StringIO):
    """A stream that cannot be written any more."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(5, "I/O error"), ValueError("closed file"), RuntimeError()]
)
def test_a_stream_that_is_gone_never_ends_the_training(
    folder: Path, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    told(folder, Gone(error))
    said = capsys.readouterr().err
    assert said.count("the console is silent") == (not isinstance(error, BrokenPipeError))
    assert "Traceback" not in said


def test_a_stream_without_unicode_gets_question_marks() -> None:
    raw = io.BytesIO()
    console = Console(stream=io.TextIOWrapper(raw, encoding="ascii"), clock=Clock())
    console.say("perte d'entraînement ≤ 1")
    assert raw.getvalue().decode().rstrip() == "perte d'entra?nement ? 1"


def test_the_least_telling_parts_of_a_line_are_left_out_first() -> None:
    parts = [(1, "aaa"), (0, "bbb"), (2, "ccc")]
    assert fitted(parts, 13) == "aaa  bbb  ccc"
    assert fitted(parts, 12) == "aaa  bbb"
    assert fitted(parts, 7) == "bbb"
    assert fitted(parts, 2) == "bb"


@given(st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_number_reads_back_to_three_digits_and_is_short(x: float) -> None:
    text = number(x)
    assert len(text) <= 11
    assert float(text.replace(",", "")) == pytest.approx(x, rel=6e-3, abs=1e-300, nan_ok=True)


@given(st.floats(min_value=0))
def test_a_duration_is_always_short(x: float) -> None:
    assert x > 1e12 or len(duration(x)) <= 17
