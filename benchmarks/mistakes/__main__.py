"""The same planted mistakes in several systems: who says something, names it, stops in time, repairs it.

    script/bench mistakes --python /a/venv/bin/python --python fastai=/another/venv/bin/python --json OUT

Every system trains the same small networks on the same rows by the ways that its own documentation shows, once at its
defaults and once with the best guards that it offers, each training in a process of its own. A healthy twin of each
mistake says what is usual in a system: only what is said beyond that counts, whatever it is. A row goes on where the
file has it already. Peers that are not installed in any of the environments are left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.mistakes.child import SYSTEMS
from benchmarks.mistakes.judge import Judged, constant, judged
from benchmarks.mistakes.page import each, summary, words
from benchmarks.mistakes.planted import BASES, MISTAKES

LEVELS = ("default", "guarded")
TITLES = {
    "torch_loop": "torch loop",
    "ours": "Trainwright",
    "lightning": "Lightning",
    "keras": "Keras",
    "transformers": "HF Trainer",
    "skorch": "skorch",
    "fastai": "fastai",
}
_ROOT = Path(__file__).resolve().parents[2]
Records = dict[str, dict[str, dict[str, Any]]]  # "system, level" -> plan -> record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python", action="append", default=[], metavar="[SYSTEM=]PATH",
        help="of an environment; with a name before it, for that system alone",
    )  # fmt: skip
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--levels", nargs="*", default=list(LEVELS), choices=LEVELS)
    parser.add_argument("--only", nargs="*", default=[], help="mistakes, by name")
    parser.add_argument("--json", type=Path, help="every record, and what is there already")
    parser.add_argument("--words", action="store_true", help="also everything that was said")
    asked = parser.parse_args()
    held = json.loads(asked.json.read_text()) if asked.json and asked.json.exists() else {"records": {}, "versions": {}}
    for system in asked.systems:
        python, version = found(system, asked.python)
        if not python:
            print(f"{TITLES[system]} is not installed in any of these environments: left out", file=sys.stderr)
            continue
        if held["versions"].get(system) not in (None, version):
            held["records"] = {k: v for k, v in held["records"].items() if not k.startswith(f"{system}, ")}
        held["versions"][system] = version
        for level in asked.levels:
            known = held["records"].setdefault(f"{system}, {level}", {})
            known |= run(system, level, python, [n for n in plans(asked.only) if n not in known])
            if asked.json:
                asked.json.write_text(json.dumps(held, indent=1) + "\n")
    print(told(held, asked.words))


def plans(only: list[str]) -> list[str]:
    """Names of what is trained: all twins, and the mistakes that are asked for."""
    return [*(f"healthy: {kind}" for kind in BASES), *(m.name for m in MISTAKES if not only or m.name in only)]


def found(system: str, given: list[str]) -> tuple[str, str]:
    """The environment of a system and its version; nothing where there is none."""
    distribution = import_module(f"benchmarks.mistakes.systems.{system}").DISTRIBUTION
    pairs = [item.rpartition("=")[::2] for item in given]
    own = [path for name, path in pairs if name == system]
    for python in own or [*(path for name, path in pairs if not name), sys.executable]:
        code = f"from importlib.metadata import version as v; print(v({distribution!r}), v('torch'))"
        ended = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        if not ended.returncode:
            version, torch = ended.stdout.split()
            return python, version if system == "torch_loop" else f"{version} (torch {torch})"
    return "", ""


def run(system: str, level: str, python: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """The records of one system at one level."""
    if not names:
        return {}
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out.jsonl"
        ended = subprocess.run(
            [python, "-m", "benchmarks.mistakes.child", system, level, str(out), *names],
            cwd=place, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        lines = out.read_text().splitlines() if out.exists() else []
    if ended.returncode:
        print(f"{TITLES[system]}, {level}: {ended.stderr.strip()[-500:]}", file=sys.stderr)
    return {record.pop("plan"): record for record in map(json.loads, lines)}


def judgements(records: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Judged]]:
    """Every record judged; the plain loop says which mistakes harm."""
    plain = records.get("torch_loop, default", {})
    rows: dict[tuple[str, str], dict[str, Judged]] = {}
    for key, found in records.items():
        healthy = [r for name, r in found.items() if name.startswith("healthy: ")]
        system, _, level = key.partition(", ")
        row = rows.setdefault((TITLES[system], level), {})
        for mistake in (m for m in MISTAKES if m.name in found):
            twin = f"healthy: {mistake.base}"
            beside = (number(plain.get(mistake.name)), number(plain.get(twin)))
            floor = constant(BASES[mistake.base])
            row[mistake.name] = judged(found[mistake.name], healthy, found.get(twin, {}), beside, floor, mistake.names)
    return rows


def number(record: Mapping[str, Any] | None) -> float:
    """The metric of a run; NaN where there is none."""
    return float((record or {}).get("metric", math.nan))


def told(held: Mapping[str, Any], spoken: bool) -> str:
    """The tables."""
    rows = judgements(held["records"])
    records = {(TITLES[k.partition(", ")[0]], k.partition(", ")[2]): v for k, v in held["records"].items()}
    versions = {TITLES[k]: v for k, v in held["versions"].items()}
    parts = [summary(rows, records, versions)]
    parts += [f"\n{level}:\n\n{each(rows, level)}" for level in LEVELS if any(of == level for _, of in rows)]
    return "\n".join(parts + ([words(rows)] if spoken else []))


if __name__ == "__main__":
    main()
