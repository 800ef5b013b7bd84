"""How fast each system trains the same network on the same data, side by side, in one run.

    script/bench speed --python /path/to/a/venv/with/the/peers/bin/python [--rounds 5] [--only CNN] [--json OUT]

Every training is a process of its own; a round runs every system once, in an order that turns with the round, so that
a machine that grows slower favours none. The first epoch warms up. A cell is the median over the rounds of the samples
per second of each training's median epoch, with the lowest and the highest. Peers that are not there are said to be.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.systems import SYSTEMS
from benchmarks.speed.works import WORKS, Work

_OURS = "Trainwright"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="of an environment in which the peers are installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4, help="of each training, the first of which warms up")
    parser.add_argument("--only", default="", help="works whose name has this in it")
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="every figure, for others to look into")
    asked = parser.parse_args()
    rows = []
    for work in (w for w in WORKS if asked.only.lower() in w.name.lower()):
        found = measured(work, asked)
        rows.append({"work": work.name, "systems": found})
        print(table(work, found), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"machine": machine(asked), "rows": rows}, indent=1) + "\n")
    print(machine(asked))


def measured(work: Work, asked: argparse.Namespace) -> dict[str, Any]:
    """system -> {"rates": samples per second of each round, "peaks": MB} or {"absent": why}."""
    found: dict[str, Any] = {name: {"rates": [], "peaks": []} for name in asked.systems}
    for turn in range(asked.rounds):
        names = asked.systems[turn % len(asked.systems) :] + asked.systems[: turn % len(asked.systems)]
        for name in names:
            if "absent" in found[name]:
                continue
            told = trained(name, work, asked)
            if isinstance(told, str):
                found[name] = {"absent": told}
                continue
            found[name]["rates"].append(work.samples / statistics.median(told["seconds"][1:]))
            found[name]["peaks"].append(told["peak"])
    return found


def trained(system: str, work: Work, asked: argparse.Namespace) -> Any:
    """What the process prints, or a line why there is nothing."""
    there = subprocess.run(
        [asked.python, "-c", f"import importlib.util as u; assert u.find_spec({SYSTEMS[system][0]!r})"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if there.returncode and not system.startswith(_OURS):
        return "not installed"
    threads = {"OMP_NUM_THREADS": str(asked.threads), "TF_NUM_INTRAOP_THREADS": str(asked.threads)}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        [asked.python if not system.startswith(_OURS) else sys.executable, "-m", "benchmarks.speed.systems", system,
         work.name, str(asked.epochs)],
        env={**os.environ, **threads, **quiet}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ended.returncode:
        return f"failed: {(ended.stderr.strip().splitlines() or ['without a word'])[-1][:120]}"
    told = json.loads(ended.stdout.strip().splitlines()[-1])
    return told if told["seconds"] else "cannot be said in it"


def table(work: Work, found: dict[str, Any]) -> str:
    """One work, the fastest system first."""
    lines = [
        f"\n### {work.name}\n",
        "| system | samples/s, median (lowest to highest) | beside Trainwright | peak MB |",
    ]
    lines.append("|---|---|---|---|")
    mine = found.get(_OURS, {}).get("rates")
    for name, told in sorted(found.items(), key=lambda item: -statistics.median(item[1].get("rates") or [0])):
        if "absent" in told:
            lines.append(f"| {name} | {told['absent']} | | |")
            continue
        rates = told["rates"]
        ratio = f"{statistics.median(a / b for a, b in zip(mine, rates, strict=False)):.2f}" if mine else ""
        spread = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        lines.append(f"| {name} | {spread} | {ratio} | {statistics.median(told['peaks']):,.0f} |")
    return "\n".join(lines)


def machine(asked: argparse.Namespace) -> str:
    """Where, with what, and how busy it was."""
    wanted = sorted({SYSTEMS[name][0] for name in asked.systems} - {"trainwright"})
    code = (
        "import importlib.metadata as m\n"
        f"d = m.packages_distributions()\nfor n in {wanted!r}:\n for p in d.get(n, [])[:1]: print(p, m.version(p))"
    )
    ended = subprocess.run([asked.python, "-c", code], capture_output=True, text=True, check=False)
    name = next((x.split(":")[1].strip() for x in _lines("/proc/cpuinfo") if x.startswith("model name")), "")
    versions = ", ".join(ended.stdout.split("\n")[:-1])
    return (
        f"{asked.threads} threads of {os.cpu_count()} cores, {name or platform.processor()}, Python "
        f"{platform.python_version()}; {versions}; {asked.rounds} rounds; load {os.getloadavg()[0]:.1f}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    main()
