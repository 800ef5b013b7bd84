"""Resume measured against others: two epochs, a fresh process, two more, against four straight; and killed in between.

    script/bench resume_peers --python /path/to/a/venv/with/the/peers/bin/python

The same small network, data, first weights, seed, shuffling and dropout in every system, each by the way that its own
documentation tells. The table holds the largest difference of a weight; 0 is exact. Peers that are not installed are
said to be absent. The control is a second straight run: where that is not 0, the system does not repeat itself at all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.resume_peers_child import SYSTEMS

TITLES = ("system", "version", "straight again", "2 + 2 epochs", "killed in mid-epoch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="of an environment in which the peers are installed")
    parser.add_argument("--only", nargs="*", default=list(SYSTEMS), help="systems to run")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    asked = parser.parse_args()
    rows = [row(system, asked.python) for system in SYSTEMS if system in asked.only]
    if asked.json:
        print(json.dumps([dict(zip(TITLES, r, strict=True)) for r in rows]))
        return
    print(" | ".join(TITLES))
    for one in rows:
        print(" | ".join(one))


def row(system: str, python: str) -> tuple[str, ...]:
    version = installed(SYSTEMS[system][0], python)
    if not version:
        return (system, "absent", "", "", "")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        straight = trained(system, "straight", folder / "straight", python)
        again = trained(system, "straight", folder / "again", python)
        trained(system, "begin", folder / "halves", python)
        halves = trained(system, "go-on", folder / "halves", python)
        trained(system, "killed", folder / "killed", python)
        killed = trained(system, "go-on", folder / "killed", python)
    return (system, version, *(told(straight, other) for other in (again, halves, killed)))


def installed(distribution: str, python: str) -> str:
    """The version, or nothing."""
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


def trained(system: str, what: str, folder: Path, python: str) -> Any:
    """The weights at the end; None where the process was killed, as it should be, or failed, which is told."""
    command = [python, "-m", "benchmarks.resume_peers_child", system, what, str(folder)]
    quiet = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
    if what == "killed":
        assert ended.returncode == -signal.SIGKILL, f"{system} was not killed: {ended.stderr[-2000:]}"
        return None
    if ended.returncode:
        print(f"{system}, {what}: {ended.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    with np.load(folder / "weights.npz") as file:
        found = dict(file)
    if what != "go-on":
        shutil.rmtree(folder) if what == "straight" else (folder / "weights.npz").unlink()
    return found


def told(straight: Any, other: Any) -> str:
    if straight is None or other is None:
        return "failed"
    assert straight.keys() == other.keys()
    return f"{max(float(np.abs(straight[k] - other[k]).max()) for k in straight):.3g}"


if __name__ == "__main__":
    main()
