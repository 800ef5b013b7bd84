"""What a training costs beside the steps themselves: `tw.fit` against a loop written by hand, on the same batches.

    script/bench overhead                           four networks, the doctor on and off, 5 trainings each
    script/bench overhead --only tiny --rounds 10 --json OUT

Both go in turn, ten steps of the one and ten of the other, in one process: whatever slows the machine for longer than
that slows both. Each ten steps of `tw.fit` are held against the mean of the ten before and the ten behind them. Both
run as they are written (``pace = "plain"``), on one thread unless asked otherwise, and the process keeps the memory
that is freed, as it does in every training that is not plain: else some thousand page faults of a step, more of the
one or of the other by chance, decide (``--system`` leaves it so). Counted is the time of the processor in all threads,
which others on the machine change least; the events of every ten steps are in it. What comes once, before the first
step and after the last, is not. Told is the median over all blocks, with the interval that holds it 95 times of 100
(by ranks; blocks are taken as independent), and the mean, which the doctor's rare looks move as well. The doctor, who
may take a share of the time, does not see that of the loop by hand.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainwright as tw
from benchmarks.images import machine
from benchmarks.speed.works import COLUMNS, cnn, mlp, tabular
from trainwright.core.events import Event, StepDone
from trainwright.engine.allocator import memory_kept
from trainwright.engine.probe import Pace

BLOCK, WARM = 10, 3  # steps, of one event to the next; blocks of each that are not counted
Clock = Callable[[], float]
Pairs = list[tuple[float, float]]  # seconds of a step: of ours, and of the loop by hand around it


@dataclass(frozen=True, slots=True)
class Work:
    """A network and how much of it is trained."""

    name: str
    shape: tuple[int, ...]
    model: Callable[[], nn.Module]
    batch: int
    steps: int


def tiny() -> nn.Module:
    """The smallest network that is one."""
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))


WORKS = (
    Work("tiny 20-32-10, batch 32", (20,), tiny, 32, 2000),
    Work("MLP 784-256-256-10, batch 128", (784,), mlp, 128, 500),
    Work("CNN 28x28, batch 32", (1, 28, 28), cnn, 32, 400),
    Work("tabular ResNet, 14 columns, batch 256", (COLUMNS,), tabular, 256, 300),
)
OURS = {"doctor off": "off", "doctor advise": "advise"}


def data(work: Work) -> tuple[Tensor, Tensor]:
    """Drawn at random, 20 batches."""
    dice = torch.Generator().manual_seed(0)
    x = torch.randn(20 * work.batch, *work.shape, generator=dice)
    return x, torch.randint(0, 10, (len(x),), generator=dice)


def by_hand(work: Work, x: Tensor, y: Tensor) -> Iterator[None]:
    """The loop that everybody writes, with rows picked in the fastest way; a step each time it is asked."""
    torch.manual_seed(0)
    model = work.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    while True:
        for rows in torch.randperm(len(x)).split(work.batch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x.index_select(0, rows)), y.index_select(0, rows))
            loss.backward()
            optimizer.step()
            yield


def in_turn(work: Work, x: Tensor, y: Tensor, clock: Clock, doctor: str, keep: bool = True) -> Pairs:
    """`tw.fit`, and between each ten of its steps ten by hand."""
    hand = by_hand(work, x, y)
    marks: list[float] = []  # the end of ours, the end of theirs, and so on
    elsewhere = 0.0  # seconds by hand

    def observe(event: Event) -> None:
        nonlocal elsewhere
        if isinstance(event, StepDone) and event.step % BLOCK == 0:  # a step that the doctor probed is told of as well
            began = time.perf_counter()
            marks.append(clock())
            for _ in range(BLOCK):
                next(hand)
            marks.append(clock())
            elsewhere += time.perf_counter() - began

    torch.manual_seed(0)
    own = mock.patch("trainwright.runs.doctoring.Pace", partial(Pace, clock=lambda: time.perf_counter() - elsewhere))
    with tempfile.TemporaryDirectory() as place, own, memory_kept(keep):
        tw.fit(
            work.model(), (x, y), loss="cross_entropy", valid=0.0, budget=f"{work.steps} steps", batch_size=work.batch,
            optimizer="adam", lr=1e-3, save_every="1000 epochs", observers=[observe], out=Path(place) / "run",
            quiet=True, pace="plain", doctor=doctor, device="cpu",
        )  # fmt: skip
    return paired(marks)


def paired(marks: Sequence[float]) -> Pairs:
    """Each block of ours but the first ones, and the mean of the two by hand around it."""
    took = [(b - a) / BLOCK for a, b in pairwise(marks)]  # theirs, ours, theirs, …
    return [(took[i], (took[i - 1] + took[i + 1]) / 2) for i in range(2 * WARM + 1, len(took) - 1, 2)]


def told(work: Work, name: str, pairs: Pairs) -> str:
    """A row: seconds of a step by hand, and how many more ours takes."""
    more = sorted(a - b for a, b in pairs)
    share = sorted(a / b - 1 for a, b in pairs)
    cells = [
        work.name,
        name,
        f"{1e6 * statistics.median(b for _, b in pairs):.0f} µs",
        f"{_with_interval(more, 1e6, 0)} µs",
        f"{_with_interval(share, 100, 1)} %",
        f"{1e6 * statistics.fmean(more):.0f} µs",
    ]
    return f"| {' | '.join(cells)} |"


def _with_interval(ordered: Sequence[float], unit: float, digits: int) -> str:
    """The median, and the ranks between which that of the whole lies 95 times of 100."""
    n = len(ordered)
    low = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)) - 1)
    high = min(n - 1, math.ceil(n / 2 + 0.98 * math.sqrt(n)))
    told = [f"{unit * x:.{digits}f}" for x in (statistics.median(ordered), ordered[low], ordered[high])]
    return f"{told[0]} ({told[1]} to {told[2]})"


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="works whose name has this in it")
    parser.add_argument("--rounds", type=int, default=5, help="trainings of each kind")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="count the clock's time, on a machine with nothing else")
    parser.add_argument("--system", action="store_true", help="leave memory to the system")
    parser.add_argument("--json", type=Path, help="write every figure there as well")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    clock = time.perf_counter if asked.wall else time.process_time
    rows: list[dict[str, Any]] = []
    print("| work | doctor | a step by hand | more: median (95 %) | share: median (95 %) | mean |")
    print("|---|---|---|---|---|---|")
    for work in (w for w in WORKS if asked.only.lower() in w.name.lower()):
        x, y = data(work)
        found: dict[str, Pairs] = {name: [] for name in OURS}
        for turn in range(asked.rounds):
            for name in list(OURS) if turn % 2 == 0 else reversed(OURS):
                found[name] += in_turn(work, x, y, clock, OURS[name], not asked.system)
        rows.append({"work": work.name, "seconds": found})
        for name, pairs in found.items():
            print(told(work, name.removeprefix("doctor "), pairs), flush=True)
    about = {**machine(), "threads": asked.threads, "clock": clock.__name__, "rounds": asked.rounds}
    about["memory"] = "left to the system" if asked.system else "kept"
    print(", ".join(f"{k} {v}" for k, v in about.items()))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
