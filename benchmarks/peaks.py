"""How much memory a training takes beside what a loop written by hand takes, for the same network and batches.

    script/bench peaks                      three networks, as it is by default and without copies of the state
    script/bench peaks --only dense --rounds 5 --json OUT

Every training is a process of its own, which first loads all libraries by a training of a few steps, and the data. From
then on the system's mark of the highest memory is begun anew (``/proc/self/clear_refs``), and what is told is how much
higher it got. Both run as they are written (``pace = "plain"``), on one thread. A process writes no checkpoint before
its last step; a checkpoint that is written while training goes on is a copy of the state.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainwright as tw
from benchmarks.images import machine
from benchmarks.planned import Work, data, dense, maps
from benchmarks.speed.works import gpt

STEPS = 30
WORKS = (
    Work("dense, 21 million weights", lambda: dense(512, 3072, 3072, 3072, 10), (512,), 64),
    Work("conv 64x64", lambda: maps(3, 64, 128, 256), (3, 64, 64), 64),
    Work("Transformer, causal", gpt, (64,), 64, tokens=65),
)
KINDS: dict[str, dict[str, Any]] = {
    "by hand": {},
    "as it is": {},
    "nothing is remembered": {"on_nan": "skip", "doctor": "off"},
}


def by_hand(model: nn.Module, x: Tensor, y: Tensor, batch: int) -> None:
    """The loop that everybody writes."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _, rows in zip(range(STEPS), _rows(len(x), batch), strict=False):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()


def _rows(n: int, batch: int) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(n).split(batch)


def ours(model: nn.Module, x: Tensor, y: Tensor, batch: int, **options: Any) -> None:
    """The same of `tw.fit`, with one checkpoint at its end."""
    with tempfile.TemporaryDirectory() as place:
        tw.fit(
            model, (x, y), loss="cross_entropy", valid=0.0, budget=f"{STEPS} steps", batch_size=batch, optimizer="adam",
            lr=1e-3, save_every="1000 epochs", out=Path(place) / "run", quiet=True, pace="plain", device="cpu",
            **options,
        )  # fmt: skip


def grown(train: Callable[[], None]) -> int:
    """Bytes by which the highest memory of the process rises above what it holds before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _told("VmRSS")
    train()
    return _told("VmHWM") - before


def _told(name: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name))
    return int(line.split()[1]) * 1024


def child(name: str, kind: str) -> None:
    """One training; prints the bytes."""
    torch.set_num_threads(1)
    ours(dense(20, 8, 10), torch.randn(64, 20), torch.randint(0, 10, (64,)), 8)  # whatever is loaded is loaded now
    work = next(w for w in WORKS if w.name == name)
    x, y = data(work)
    torch.manual_seed(0)
    model = work.model()
    if kind == "by hand":
        print(grown(lambda: by_hand(model, x, y, work.batch)))
    else:
        print(grown(lambda: ours(model, x, y, work.batch, **KINDS[kind])))


def measured(work: Work, rounds: int) -> dict[str, list[int]]:
    """Kind -> bytes of each round."""
    found: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for turn in range(rounds):
        for kind in KINDS if turn % 2 == 0 else reversed(KINDS):
            command = [sys.executable, "-m", "benchmarks.peaks", "--child", kind, "--only", work.name]
            told = subprocess.run(command, capture_output=True, text=True, check=True)
            found[kind].append(int(told.stdout.split()[-1]))
    return found


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="works whose name has this in it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every figure there as well")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(asked.only, asked.child)
    if not Path("/proc/self/clear_refs").exists():
        return print("this system does not tell the highest memory of a process from a moment on: nothing is measured")
    rows = []
    print("| network | training | memory: median (lowest to highest) | beside the loop by hand |")
    print("|---|---|---|---|")
    for work in (w for w in WORKS if asked.only.lower() in w.name.lower()):
        found = measured(work, asked.rounds)
        rows.append({"work": work.name, "bytes": found})
        base = statistics.median(found["by hand"])
        for kind, sizes in found.items():
            middle = statistics.median(sizes)
            spread = f"{middle / 1e6:.1f} MB ({min(sizes) / 1e6:.1f} to {max(sizes) / 1e6:.1f})"
            print(f"| {work.name} | {kind} | {spread} | {100 * (middle / base - 1):+.1f} % |", flush=True)
    about = {**machine(), "rounds": asked.rounds}
    print(", ".join(f"{k} {v}" for k, v in about.items()))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
