"""A short form of `script/bench faults`: real runs survive what is done to them, and the controls do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks trainings, and waits for them by pidfd")

PARTS = {  # arguments of each part, and how much at least is to be done
    "kills": (["--kills", "50"], 50),
    "corruptions": (["--kills", "50"], 120),
    "signals": (["--kills", "15"], 7),
    "disks": (["--kills", "60"], 300),
    "places": ([], 12),
    "locks": (["--kills", "25"], 20),
    "soak": (["--steps", "2500"], 3),
}


@pytest.mark.parametrize("part", PARTS)
def test_all_of_a_part_is_survived_and_its_control_is_not(part: str, tmp_path: Path) -> None:
    arguments, least = PARTS[part]
    command = [sys.executable, "-m", "benchmarks.faults", part, *arguments, "--json", str(tmp_path / "rows.json")]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1200)
    assert (tmp_path / "rows.json").is_file(), ended.stdout + ended.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row for row in rows if not row["held"]] == [], ended.stdout
    assert sum(row["of"] for row in rows) >= least
    assert ended.returncode == 0, ended.stderr
