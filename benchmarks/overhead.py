"""What a training costs beside the steps themselves: `tw.fit` against a loop written by hand, on the same batches.

    script/bench overhead                           four networks, the doctor on and off, 10 rounds
    script/bench overhead --only tiny --rounds 30 --json OUT

In one process, one after the other in an order that turns with the round (A B C, C B A), so that a machine that grows
slower favours none. Both run as they are written (``pace = "plain"``), on one thread unless asked otherwise. Counted is
the time of the processor in all threads, which others on the machine change least, from the tenth step to the last;
the events of every ten steps are in it. What comes once, before the first step and after the last, is not. A round is
told by the median of its blocks of ten steps, "in all" by their mean, which the rest of the machine moves as well.
"Calm" is what a step took in the quickest tenth of all blocks: what it takes when nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainwright as tw
from benchmarks.images import machine
from benchmarks.speed.works import COLUMNS, cnn, mlp, tabular
from trainwright.core.events import Event, StepDone

BLOCK = 10  # steps, of one event to the next; the first are not counted
Clock = Callable[[], float]
Seconds = list[float]  # of the steps of each block


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
    Work("tiny 20-32-10, batch 32", (20,), tiny, 32, 1010),
    Work("MLP 784-256-256-10, batch 128", (784,), mlp, 128, 210),
    Work("CNN 28x28, batch 32", (1, 28, 28), cnn, 32, 110),
    Work("tabular ResNet, 14 columns, batch 256", (COLUMNS,), tabular, 256, 210),
)
OURS = {"doctor off": "off", "doctor advise": "advise"}


def data(work: Work) -> tuple[Tensor, Tensor]:
    """Drawn at random, 20 batches."""
    dice = torch.Generator().manual_seed(0)
    x = torch.randn(20 * work.batch, *work.shape, generator=dice)
    return x, torch.randint(0, 10, (len(x),), generator=dice)


def by_hand(work: Work, x: Tensor, y: Tensor, clock: Clock) -> Seconds:
    """The loop that everybody writes, with rows picked in the fastest way."""
    torch.manual_seed(0)
    model = work.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    marks: list[float] = []
    step = 0
    while True:
        for rows in torch.randperm(len(x)).split(work.batch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x.index_select(0, rows)), y.index_select(0, rows))
            loss.backward()
            optimizer.step()
            step += 1
            if step % BLOCK == 0:
                marks.append(clock())
            if step == work.steps:
                return blocks(marks)


def ours(work: Work, x: Tensor, y: Tensor, clock: Clock, doctor: str) -> Seconds:
    """The same of `tw.fit`."""
    torch.manual_seed(0)
    marks: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, StepDone) and event.step % BLOCK == 0:  # a step that the doctor probed is told of as well
            marks.append(clock())

    with tempfile.TemporaryDirectory() as place:
        tw.fit(
            work.model(), (x, y), loss="cross_entropy", valid=0.0, budget=f"{work.steps} steps", batch_size=work.batch,
            optimizer="adam", lr=1e-3, save_every="1000 epochs", observers=[observe], out=Path(place) / "run",
            quiet=True, pace="plain", doctor=doctor, device="cpu",
        )  # fmt: skip
    return blocks(marks)


def blocks(marks: Sequence[float]) -> Seconds:
    """Seconds of a step in each block."""
    return [(b - a) / BLOCK for a, b in pairwise(marks)]


def measured(work: Work, rounds: int, clock: Clock = time.process_time) -> dict[str, list[Seconds]]:
    """system -> seconds of a step in each block, round by round."""
    x, y = data(work)
    runs: dict[str, Callable[[], Seconds]] = {"by hand": lambda: by_hand(work, x, y, clock)}
    runs |= {name: lambda mode=mode: ours(work, x, y, clock, mode) for name, mode in OURS.items()}  # type: ignore[misc]
    found: dict[str, list[Seconds]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name in list(runs) if turn % 2 == 0 else reversed(runs):
            found[name].append(runs[name]())
    return found


def told(work: Work, found: dict[str, list[Seconds]]) -> list[str]:
    """A row for each system: seconds of a step, and how many more they are than by hand, on average and undisturbed."""
    lines, base = [], found["by hand"]
    for name, rounds in found.items():
        pairs, means = _pairs(statistics.median, rounds, base), _pairs(statistics.fmean, rounds, base)
        more, share = _spread([a - b for a, b in pairs], 1e6, 0), _spread([a / b - 1 for a, b in pairs], 100, 1)
        least, bare = _calm(rounds), _calm(base)
        beside = [
            f"{more} µs, {share} %",
            f"{1e6 * (least - bare):.0f} µs, {100 * (least / bare - 1):.1f} %",
            f"{_spread([a - b for a, b in means], 1e6, 0)} µs",
        ]
        row = [work.name, name, f"{_spread([a for a, _ in pairs], 1e6, 0)} µs", f"{1e6 * least:.0f} µs"]
        lines.append(f"| {' | '.join([*row, *(beside if name != 'by hand' else [''] * 3)])} |")
    return lines


def _pairs(
    told_by: Callable[[Seconds], float], rounds: list[Seconds], base: list[Seconds]
) -> list[tuple[float, float]]:
    """Each round of a system, and of the loop by hand."""
    return [(told_by(a), told_by(b)) for a, b in zip(rounds, base, strict=True)]


def _calm(rounds: list[Seconds]) -> float:
    """Seconds of a step when nothing else runs: the tenth of all blocks took less."""
    return sorted(seconds for each in rounds for seconds in each)[sum(map(len, rounds)) // 10]


def _spread(values: Sequence[float], unit: float, digits: int) -> str:
    """Median, and the middle half."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return f"{unit * statistics.median(values):.{digits}f} ({unit * low:.{digits}f} to {unit * high:.{digits}f})"


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="works whose name has this in it")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="count the clock's time, on a machine with nothing else")
    parser.add_argument("--json", type=Path, help="write every figure there as well")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    clock = time.perf_counter if asked.wall else time.process_time
    rows: list[dict[str, Any]] = []
    print("| work | system | a step: median of the rounds (middle half) | calm | more than by hand | calm | in all |")
    print("|---|---|---|---|---|---|---|")
    for work in (w for w in WORKS if asked.only.lower() in w.name.lower()):
        found = measured(work, asked.rounds, clock)
        rows.append({"work": work.name, "seconds": found})
        print("\n".join(told(work, found)), flush=True)
    about = {**machine(), "threads": asked.threads, "clock": clock.__name__, "rounds": asked.rounds}
    print(", ".join(f"{k} {v}" for k, v in about.items()))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
