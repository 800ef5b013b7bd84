"""A short form of `script/bench faults`: real runs survive what is done to them, and the controls do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.faults import agreed, even, pieces_of
from benchmarks.faults_row import Pace, Row, merged, paced
from benchmarks.faults_run import ended, kept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks trainings, and waits for them by pidfd")

PARTS = {  # how large each is, and how much at least it does; other parts have tests of their own, call by call
    "kills": ("kills=25", 25),
    "corruptions": ("corruptions=50", 250),
    "signals": ("signals=15", 8),
    "disks": ("disks=50", 300),
    "places": ("places", 15),
    "locks": ("locks=25", 25),
    "soak": ("soak", 3),
}

PLANNED = """
import os, signal, sys, time
from pathlib import Path
from benchmarks.faults_row import Row
from benchmarks.faults_run import ends_by_itself, run

def holds(place, whole, dice):
    yield Row("holds", 2, 2, "", 0.0)

def is_killed(place, whole, dice):
    yield Row("before its end", 1, 1, "", 0.0)
    os.kill(os.getpid(), signal.SIGKILL)

def fails(place, whole, dice):
    yield Row("loses", 1, 2, "", 0.0)
    raise ValueError("not foreseen")

def signals_its_group(place, whole, dice):
    os.killpg(0, signal.SIGHUP)
    time.sleep(9000)
    yield Row("never", 1, 1, "", 0.0)

def goes_on(place, whole, dice):
    (place / "there").touch()
    yield Row("at once", 1, 1, "", 0.0)
    try:
        print("ready", flush=True)
        time.sleep(9000)
    finally:
        (whole / "cleared").touch()

place = Path(sys.argv[1])
ends_by_itself()
run({name: globals()[name] for name in sys.argv[2:]}, place, place, 0, place, 2)
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run of all parts: torch is loaded once, and every core has something to do."""
    rows = tmp_path_factory.mktemp("faults") / "rows"
    command = [
        sys.executable,
        "-m",
        "benchmarks.faults",
        *(size for size, _ in PARTS.values()),
        "--short",
        "--rows",
        str(rows),
    ]
    return rows, subprocess.run(command, check=False, capture_output=True, text=True, timeout=3000)


@pytest.mark.parametrize("part", PARTS)
def test_all_of_a_part_is_survived_and_its_control_is_not(
    part: str, measured: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    folder, process = measured
    rows = [Row.kept(file) for file in folder.glob(f"{part}.*-*.json")]
    assert [row for row in rows if not row.held] == [], process.stdout + process.stderr
    assert sum(row.of for row in rows) >= PARTS[part][1], process.stdout + process.stderr
    assert all(f"| {row.check} |" in process.stdout for row in rows)
    assert process.returncode == 0, process.stderr


def planned(place: Path, *parts: str) -> subprocess.Popen[str]:
    """A run of parts that do nothing but what is to be noticed."""
    command = [sys.executable, "-c", PLANNED, str(place), *parts]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def checks(place: Path) -> dict[str, bool]:
    return {row.check: row.held for row in map(Row.kept, place.glob("*-*.json"))}


def test_a_part_that_ends_early_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    process = planned(tmp_path, "is_killed", "fails", "signals_its_group", "holds")
    process.communicate(timeout=900)
    assert process.returncode == 0
    assert checks(tmp_path) == {
        "before its end": True,
        "is_killed, to its end": False,
        "loses": False,
        "fails, to its end": False,
        "signals_its_group, to its end": False,
        "holds": True,
    }
    assert Row.kept(tmp_path / "is_killed-99.json").note == "killed by SIGKILL"
    assert Row.kept(tmp_path / "fails-99.json").note == "ValueError: not foreseen"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_keeps_its_rows_and_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    process = planned(tmp_path, "goes_on")
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        pass
    process.send_signal(number)
    said, _ = process.communicate(timeout=900)  # the child has the other end too
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}" in said
    assert checks(tmp_path) == {"at once": True}
    assert (tmp_path / "cleared").exists()


def test_a_run_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    process = planned(tmp_path, "goes_on")
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=900)
    assert checks(tmp_path) == {"at once": True}
    assert (tmp_path / "cleared").exists()


def test_how_far_it_is_and_how_much_is_left_is_said_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = time.perf_counter()
    pace = Pace("kills", 10, began=now - 40, said=now - 40)
    pace.at(0)  # nothing to be reckoned from
    assert capsys.readouterr().out == ""
    pace.at(2)
    assert capsys.readouterr().out == "    kills: 2 of 10, about 160 s more\n"
    pace.at(3)  # said a moment ago
    assert list(paced("kills", range(10))) == list(range(10))
    assert capsys.readouterr().out == ""


def test_a_call_goes_on_with_the_pieces_that_have_not_come_to_their_end(tmp_path: Path) -> None:
    process = planned(tmp_path, "is_killed", "holds")
    process.communicate(timeout=900)
    assert [ended(name, tmp_path) for name in ("holds", "is_killed")] == [True, False]
    process = planned(tmp_path, "is_killed")
    process.communicate(timeout=900)
    assert len(kept(tmp_path)) == 3, "what a piece found before it was cut off is not counted twice"


def test_a_folder_of_rows_is_gone_on_with_as_it_was_begun(tmp_path: Path) -> None:
    assert agreed(tmp_path, {"seed": 0, "kills": 500}) == ""
    assert agreed(tmp_path, {"seed": 0, "locks": 500}) == ""
    assert agreed(tmp_path, {"seed": 1, "kills": 50, "locks": 500}) == "seed 0, kills 500"


def test_pieces_are_as_large_together_as_the_part() -> None:
    assert {name: len(pieces) for name, pieces in pieces_of(500, 10).items()} == {
        **dict.fromkeys(("kills", "fuzz", "signals", "locks", "hostile"), 5),
        **dict.fromkeys(("disks", "soak", "crashes", "corruptions", "places"), 1),
    }
    assert even(50, 3) == [17, 17, 16]


def test_the_rows_of_one_check_are_one_line_whose_counts_are_added() -> None:
    rows = [
        Row("a", 100, 100, "in place: 3 of 10 lost", 60.0, "5 runs, slowest 0.12 s"),
        Row("b", 1, 1, "", 1.0),
        Row("a", 99, 100, "in place: 0 of 10 lost", 70.0, "1,006 runs, slowest 2.50 s", blind=True),
    ]
    whole = Row("a", 199, 200, "in place: 3 of 20 lost", 130.0, "1,011 runs, slowest 2.5 s", blind=True)
    assert merged(rows) == [whole, rows[1]]
    assert (
        merged([Row("a", 1, 1, "", 0.0, "x"), Row("a", 1, 1, "", 0.0, "y"), Row("a", 1, 1, "", 0.0)])[0].note == "x; y"
    )


def test_a_row_is_lost_where_one_is_missing_or_the_control_saw_nothing() -> None:
    assert Row("x", 2, 2, "", 0.0).held
    assert not Row("x", 1, 2, "", 0.0).held
    assert not Row("x", 2, 2, "", 0.0, blind=True).held
