"""A log that is followed says what a log that is read at once says, however it grew."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.run_folders import NOW, lines, steps, training, write
from trainwright.core.events import EvalDone, Found, Probed, RunStarted, Shown
from trainwright.core.exhibit import Exhibit
from trainwright.core.finding import Finding
from trainwright.runs.directory import EVENTS, read_view
from trainwright.studio.files import Place, UnreadableError
from trainwright.studio.followed import LOSS, MEMORY, NORM, RATE, SPEED, Followed
from trainwright.studio.told import state


def followed(folder: Path) -> Followed:
    run = Followed(Place(folder.parent, (folder.name,)))
    run.catch_up()
    return run


def same(run: Followed, folder: Path) -> None:
    """As one fold of all events sees it."""
    view = read_view(folder)
    told = {int(s): v for s, v in zip(run.columns[LOSS].steps, run.columns[LOSS].values, strict=True)}
    assert list(told) == list(view.losses)
    assert all(told[s] == v or (math.isnan(v) and math.isnan(told[s])) for s, v in view.losses.items())
    assert run.columns[NORM].steps.tolist() == list(view.norms)
    assert lines(run.view.evals) == lines(view.evals)
    assert run.view.attempts == view.attempts
    assert run.view.checkpoints == view.checkpoints
    assert run.view.findings == view.findings
    assert run.view.ended == view.ended
    assert run.view.unreadable == view.unreadable
    assert run.step == view.step
    for part in {e.part for e in view.evals}:
        evals = {e.step: e.metrics["loss"] for e in view.evals if e.part == part and "loss" in e.metrics}
        assert run.columns[f"{part}/loss"].values == pytest.approx(list(evals.values()), nan_ok=True)


RESUMED = lines([
    *training(40)[:-1], RunStarted(2, 20, 60, 10, NOW, "resumed"), steps(21, [0.5, math.nan, math.inf]),
    Found(23, Finding("a_rule", "warning", "something")), EvalDone(23, 2, "valid", {"loss": math.nan}, 0.1),
    *training(60)[9:],
])  # fmt: skip
TORN = RESUMED[:700] + b"\n" + lines(training())
BROKEN = b'{"event":"StepDone","step":"x"}\nnot json\n[]\n\n' + lines(training())


@pytest.mark.parametrize("log", [RESUMED, TORN, BROKEN, RESUMED[:-30]], ids=["resumed", "torn", "broken", "growing"])
def test_what_is_followed_is_what_one_fold_sees(log: bytes, tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    (folder / EVENTS).write_bytes(log)
    same(followed(folder), folder)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, len(RESUMED)), max_size=6))
def test_it_does_not_matter_where_the_looks_fall(ends: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = write(Path(place) / "run")
        run = followed(folder)
        for end in [*sorted(ends), len(RESUMED)]:
            (folder / EVENTS).write_bytes(RESUMED[:end])  # in place: the same file, longer
            run.catch_up()
        same(run, folder)


def test_a_look_that_finds_nothing_new_says_so_and_reads_nothing(tmp_path: Path) -> None:
    run = followed(write(tmp_path / "run", training()))
    version = run.version
    assert not run.catch_up()
    assert run.version == version


def test_how_a_run_ended_is_not_told_before_its_log_was_read(tmp_path: Path) -> None:
    write(tmp_path / "ended", training())
    write(tmp_path / "killed", training()[:-1])
    for name, outcome in (("ended", "finished"), ("killed", "interrupted")):
        run = Followed(Place(tmp_path, (name,)))
        assert state(run) == "reading"
        run.catch_up()
        assert state(run) == outcome


def test_a_log_that_was_cut_or_replaced_is_read_anew(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", training(40))
    run = followed(folder)
    (folder / EVENTS).write_bytes(lines(training(40)[:4]))
    assert run.catch_up()
    same(run, folder)
    other = tmp_path / "other"
    other.write_bytes(lines(training(60)))
    other.replace(folder / EVENTS)
    assert run.catch_up()
    same(run, folder)


def test_a_run_that_is_gone_says_why_and_comes_back(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", training())
    run = followed(folder)
    folder.rename(tmp_path / "elsewhere")
    assert run.catch_up()
    assert "No such file" in run.why
    assert not run.catch_up()
    (tmp_path / "elsewhere").rename(folder)
    assert run.catch_up()
    assert run.why == ""


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainwright.studio.followed._LINE", 1000)
    monkeypatch.setattr("trainwright.studio.followed._PIECE", 300)
    folder = write(tmp_path / "run")
    (folder / EVENTS).write_bytes(lines(training(20)) + b"x" * 5000 + b"\n" + lines([steps(21, [0.25] * 5)]))
    run = followed(folder)
    assert run.columns[LOSS].values[-5:].tolist() == [0.25] * 5
    assert run.view.unreadable == 1


def test_names_without_number_are_no_columns_without_number(tmp_path: Path) -> None:
    metrics = {f"m{i}": 1.0 for i in range(9000)}
    run = followed(write(tmp_path / "run", [*training(), EvalDone(50, 5, "valid", metrics, 0.1)]))
    assert len(run.columns) <= 4000
    assert run.view.unreadable == 0


def test_throughput_is_samples_over_seconds_since_the_last_line(tmp_path: Path) -> None:
    run = followed(write(tmp_path / "run", [steps(1, [1.0] * 10, 0.5), steps(11, [1.0] * 10, 0.25)]))
    assert run.columns[SPEED].values.tolist() == [16.0, 32.0]
    assert run.columns[RATE].steps.tolist() == [10, 20]
    assert run.seconds == 7.5


def test_memory_is_told_where_it_is_known(tmp_path: Path) -> None:
    known = replace(steps(11, [1.0] * 10), memory=512_000_000)
    run = followed(write(tmp_path / "run", [steps(1, [1.0] * 10), known]))
    assert run.columns[MEMORY].steps.tolist() == [20]
    assert run.columns[MEMORY].values.tolist() == [512.0]


def test_statistics_of_layers_are_kept_by_layer_and_cut_when_the_run_goes_back(tmp_path: Path) -> None:
    probes = [Probed(s, {"a": {"gradient": s / 10}, "b": {"gradient": math.inf}}) for s in (10, 20, 30)]
    run = followed(write(tmp_path / "run", [*probes, RunStarted(2, 20, 40, 10, NOW)]))
    assert run.layers["gradient"]["a"].values.tolist() == [1.0, 2.0]
    assert list(run.layers["gradient"]) == ["a", "b"]


def test_what_the_network_said_is_read_when_somebody_looks(tmp_path: Path) -> None:
    said = [Shown(s, "valid", (Exhibit("text", "sample 1", {"text": f"words of {s} ü"}),)) for s in (10, 20)]
    folder = write(tmp_path / "run", [*training(10), *said])
    run = followed(folder)
    assert run.view.shown == []
    assert [run.exhibits(spot) for spot in run.shown] == said
    (folder / EVENTS).write_bytes(lines(training(60)))
    with pytest.raises(UnreadableError, match="not the file it was"):
        run.exhibits(run.shown[1])
