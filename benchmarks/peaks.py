"""How much memory a training takes beside what a loop written by hand takes, for the same network and batches.

    script/bench peaks              three networks: as written, without copies of the state, and as planned
    script/bench peaks --only dense --rounds 5 --json OUT

Every training is a process of its own, which first loads all libraries by a training of a few steps, and the data. From
then on the system's mark of the highest memory is begun anew (``/proc/self/clear_refs``), and what is told is how much
higher it got, on one thread. Both run as they are written (``pace = "plain"``); as planned, the training finds its plan
first, which counts, and the loop by hand is carried out by the same plan. A process writes no checkpoint before its
last step; a checkpoint that is written while training goes on is a copy of the state.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainwright as tw
from benchmarks.images import machine
from benchmarks.planned import Work, data, dense, maps
from benchmarks.speed.works import gpt
from trainwright.core.config import Plan
from trainwright.core.events import Event, StepDone, Stop
from trainwright.engine.allocator import memory_kept
from trainwright.engine.layout import channels_last
from trainwright.engine.quick_dropout import quick_dropout
from trainwright.engine.reorder import pool_first

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
    "planned": {"pace": "auto", "budget": "5000 steps"},  # so long a training is planned; it is stopped before
    "by hand, the same plan": {},
}
BESIDE = {"planned": "by hand, the same plan"}  # all others beside the loop by hand as it is written


def by_hand(model: nn.Module, x: Tensor, y: Tensor, batch: int, plan: Plan | None = None) -> None:
    """The loop that everybody writes; of a plan, what a person would take over by hand."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=bool(plan and plan.fused))
    with ExitStack() as within:
        if plan:
            within.enter_context(memory_kept())
            for wanted, change in ((plan.pool_first, pool_first), (plan.quick_dropout, quick_dropout)):
                if wanted:
                    within.callback(change(model))
            if plan.channels_last:
                within.callback(channels_last(model, optimizer))
        for _, rows in zip(range(STEPS), _rows(len(x), batch), strict=False):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bool(plan and plan.bfloat16)):
                loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()


def _rows(n: int, batch: int) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(n).split(batch)


def ours(model: nn.Module, x: Tensor, y: Tensor, batch: int, **options: Any) -> Any:
    """The same of `tw.fit`, with one checkpoint at its end; returns what its config calls its pace."""

    def enough(event: Event) -> Stop | None:
        return Stop("enough") if isinstance(event, StepDone) and event.step >= STEPS else None

    usual = {"budget": f"{STEPS} steps", "pace": "plain"}
    with tempfile.TemporaryDirectory() as place:
        run = tw.fit(
            model, (x, y), loss="cross_entropy", valid=0.0, batch_size=batch, optimizer="adam", lr=1e-3,
            save_every="1000 epochs", out=Path(place) / "run", quiet=True, device="cpu", observers=[enough],
            **{**usual, **options},
        )  # fmt: skip
        return run.config["pace"]


def grown(train: Callable[[], None]) -> int:
    """Bytes by which the highest memory of the process rises above what it holds before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _told("VmRSS")
    train()
    return _told("VmHWM") - before


def _told(name: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name))
    return int(line.split()[1]) * 1024


def child(name: str, kind: str, plan: dict[str, Any] | None) -> None:
    """One training; prints the bytes and the plan."""
    torch.set_num_threads(1)
    ours(dense(20, 8, 10), torch.randn(64, 20), torch.randint(0, 10, (64,)), 8)  # whatever is loaded is loaded now
    work = next(w for w in WORKS if w.name == name)
    x, y = data(work)
    torch.manual_seed(0)
    model, paces = work.model(), list[Any]()
    if kind.startswith("by hand"):
        size = grown(lambda: by_hand(model, x, y, work.batch, Plan(**plan) if plan else None))
    else:
        size = grown(lambda: paces.append(ours(model, x, y, work.batch, **KINDS[kind])))
    print(json.dumps([size, *paces]))


def measured(work: Work, rounds: int) -> dict[str, list[int]]:
    """Kind -> bytes of each round."""
    found: dict[str, list[int]] = {kind: [] for kind in KINDS}
    plan: Any = None
    for turn in range(rounds):
        for kind in KINDS if turn % 2 == 0 else reversed(KINDS):  # the first plan that is found is that of the loop
            command = [sys.executable, "-m", "benchmarks.peaks", "--child", kind, "--only", work.name]
            if kind in BESIDE.values():
                command += ["--plan", json.dumps(plan)]
            told = subprocess.run(command, capture_output=True, text=True, check=True)
            size, *paces = json.loads(told.stdout.splitlines()[-1])
            found[kind].append(size)
            plan = plan or next((pace for pace in paces if isinstance(pace, dict)), None)
    return found


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="works whose name has this in it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every figure there as well")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--plan", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(asked.only, asked.child, asked.plan)
    if not Path("/proc/self/clear_refs").exists():
        return print("this system does not tell the highest memory of a process from a moment on: nothing is measured")
    rows = []
    print("| network | training | memory: median (lowest to highest) | beside the loop by hand |")
    print("|---|---|---|---|")
    for work in (w for w in WORKS if asked.only.lower() in w.name.lower()):
        found = measured(work, asked.rounds)
        rows.append({"work": work.name, "bytes": found})
        for kind, sizes in found.items():
            base = statistics.median(found[BESIDE.get(kind, kind if kind.startswith("by hand") else "by hand")])
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
