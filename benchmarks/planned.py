"""What a plan is worth: the same training with the plan that was found for it and as it is written, on twenty networks.

    script/bench planned                        all of them, 3 rounds of four trainings each, and more in a minute
    script/bench planned --only conv --rounds 1 --seconds 0 --json OUT

In one process, in the order A B B A, so that a machine that grows slower favours none. Counted is the time from the
call to the last step, so what the plan cost to find is in it; "probing" is that share by itself. By the processor's
time in all threads, which others on the machine change least, unless asked otherwise. The interval is a bootstrap of
the median ratio over the pairs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import trainwright as tw
from benchmarks.images import machine
from benchmarks.speed.works import cnn, gpt, lstm, mlp, resnet
from trainwright.core.events import Event, RunStarted, StepDone

STEPS = 1000  # a shorter training is not planned
CLASSES = 10
Clock = Callable[[], float]
Pace = Literal["auto", "plain"]


class Last(nn.Module):
    """What a recurrent layer says of its last step, as classes."""

    def __init__(self, cells: nn.RNNBase) -> None:
        super().__init__()
        self.cells, self.top = cells, nn.Linear(cells.hidden_size, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, F) -> (N, classes)."""
        made: Tensor = self.top(self.cells(x)[0][:, -1])
        return made


class Mean(nn.Module):
    """The mean over the steps of a series, as classes."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body, self.top = body, nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, F) -> (N, classes)."""
        made: Tensor = self.top(self.body(x).mean(1))
        return made


def dense(*widths: int, layer: Callable[[], nn.Module] = nn.ReLU, norm: bool = False) -> nn.Sequential:
    """Layers of so many units, with an activation between them."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers += [nn.Linear(a, b)]
        if i < len(widths) - 2:
            layers += [*([nn.LayerNorm(b)] if norm else []), layer()]
    return nn.Sequential(*layers)


def maps(channels: int, *widths: int, norm: bool = False, pool: bool = True, groups: int = 1) -> nn.Sequential:
    """Convolutions of 3 by 3 with pools or strides, and the mean of the last maps as classes."""
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(
            nn.Conv2d(channels, width, 3, 1 if pool else 2, 1, groups=groups if channels % groups == 0 else 1)
        )
        layers += [*([nn.BatchNorm2d(width)] if norm else []), nn.ReLU(), *([nn.MaxPool2d(2)] if pool else [])]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


def over_time(*widths: int) -> nn.Sequential:
    """Convolutions over time."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv1d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(widths[-1], CLASSES))


def encoder(width: int, layers: int) -> Mean:
    """Torch's own Transformer over the steps of a series."""
    one = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, batch_first=True)
    return Mean(nn.TransformerEncoder(one, layers, enable_nested_tensor=False), width)


@dataclass(frozen=True, slots=True)
class Work:
    """A network, the shape of a sample, and the batch."""

    name: str
    model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int = 64
    optimizer: str = "adam"
    tokens: int = 0  # samples are that many kinds of tokens, and so are targets


WORKS = (
    Work("tiny dense", lambda: dense(20, 32, 10), (20,), 32),
    Work("dense", mlp, (784,), 128),
    Work("wide dense", lambda: dense(256, 1024, 1024, 10), (256,), 64, "adamw"),
    Work("deep dense, tanh", lambda: dense(64, *[64] * 10, 10, layer=nn.Tanh), (64,), 64),
    Work("dense, layer norm", lambda: dense(64, 256, 256, 256, 10, layer=nn.GELU, norm=True), (64,), 128, "adamw"),
    Work("dense, SGD", lambda: dense(128, 256, 256, 10), (128,), 64, "sgd"),
    Work("conv 28x28, grey", cnn, (1, 28, 28), 32),
    Work("conv 32x32, pools", lambda: maps(3, 16, 32, 64), (3, 32, 32), 32),
    Work("conv 32x32, batch norm", lambda: maps(3, 16, 32, norm=True), (3, 32, 32), 32, "momentum"),
    Work("conv 32x32, strides", lambda: maps(3, 16, 32, 64, pool=False), (3, 32, 32), 32),
    Work("conv 16x16, many maps", lambda: maps(3, 64, 64), (3, 16, 16), 32, "adamw"),
    Work("conv 24x24, in groups", lambda: maps(8, 32, 32, groups=8), (8, 24, 24), 32),
    Work("residual 32x32", resnet, (3, 32, 32), 16, "momentum"),
    Work("conv over time", lambda: over_time(8, 32, 64), (8, 128), 64),
    Work("LSTM", lstm, (28, 28), 32),
    Work("GRU, two layers", lambda: Last(nn.GRU(16, 64, 2, batch_first=True)), (24, 16), 32),
    Work("simple recurrent", lambda: Last(nn.RNN(8, 50, batch_first=True)), (32, 8), 32, "rmsprop"),
    Work("Transformer, encoder", lambda: encoder(64, 2), (24, 64), 16, "adamw"),
    Work("Transformer, causal", gpt, (64,), 4, "adamw", tokens=65),
    Work("means of series", lambda: Mean(dense(32, 128, 64), 64), (20, 32), 64),
)


def data(work: Work) -> tuple[Tensor, Tensor]:
    """Drawn at random, 20 batches."""
    dice = torch.Generator().manual_seed(0)
    n = 20 * work.batch
    if work.tokens:
        stream = torch.randint(0, work.tokens, (n, work.shape[0] + 1), generator=dice)
        return stream[:, :-1].contiguous(), stream[:, 1:].contiguous()
    return torch.randn(n, *work.shape, generator=dice), torch.randint(0, CLASSES, (n,), generator=dice)


def trained(work: Work, x: Tensor, y: Tensor, pace: Pace, clock: Clock) -> dict[str, Any]:
    """Seconds from the call to the first step and to the last, the plan, and why."""
    torch.manual_seed(0)
    marks: dict[str, float] = {}

    def observe(event: Event) -> None:
        if isinstance(event, RunStarted):
            marks["started"] = clock()
        if isinstance(event, StepDone):
            marks["ended"] = clock()

    with tempfile.TemporaryDirectory() as place:
        began = clock()
        run = tw.fit(
            work.model(), (x, y), loss="cross_entropy", valid=0.0, budget=f"{STEPS} steps", batch_size=work.batch,
            optimizer=work.optimizer, lr=1e-3, save_every="1000 epochs", eval_every="1000 epochs", observers=[observe],
            out=Path(place) / "run", quiet=True, pace=pace, doctor="off", device="cpu",
        )  # fmt: skip
        told = run.manifest["plan"]
    return {
        "before": marks["started"] - began, "steps": marks["ended"] - marks["started"], "why": told["why"],
        "whole": marks["ended"] - began,
    }  # fmt: skip


def measured(work: Work, rounds: int, seconds: float, clock: Clock) -> dict[Pace, list[dict[str, Any]]]:
    """Pace -> what its trainings came to, two of a round; the first of all warms up and is not counted."""
    x, y = data(work)
    trained(work, x, y, "plain", clock)
    found: dict[Pace, list[dict[str, Any]]] = {"plain": [], "auto": []}
    end = time.perf_counter() + seconds
    for turn in itertools.count():
        if turn >= rounds and time.perf_counter() > end:
            break
        first, second = list(found) if turn % 2 == 0 else list(found)[::-1]
        for pace in (first, second, second, first):
            found[pace].append(trained(work, x, y, pace, clock))
    return found


def summed(found: dict[Pace, list[dict[str, Any]]]) -> dict[str, Any]:
    """The ratio of the times, its interval, and the shares."""
    ratios = [a["whole"] / b["whole"] for a, b in zip(found["auto"], found["plain"], strict=True)]
    steps = [a["steps"] / b["steps"] for a, b in zip(found["auto"], found["plain"], strict=True)]
    before = {pace: statistics.median(t["before"] for t in tried) for pace, tried in found.items()}
    whole = statistics.median(t["whole"] for t in found["auto"])
    low, high = interval(ratios)
    taken = [line.partition(":")[0] for line in found["auto"][0]["why"] if ": taken" in line]
    return {
        "ratio": statistics.median(ratios), "low": low, "high": high, "steps": statistics.median(steps),
        "step": statistics.median(t["steps"] for t in found["plain"]) / STEPS,
        "probing": (before["auto"] - before["plain"]) / whole, "taken": taken,
    }  # fmt: skip


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % of the medians of resamples."""
    dice = random.Random(0)
    medians = sorted(statistics.median(dice.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[1949]


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="works whose name has this in it")
    parser.add_argument("--rounds", type=int, default=3, help="of each network, at least")
    parser.add_argument("--seconds", type=float, default=60, help="of each network, at least: short ones vary most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="count the clock's time, on a machine with nothing else")
    parser.add_argument("--json", type=Path, help="write every figure there as well")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    clock = time.perf_counter if asked.wall else time.process_time
    rows: list[dict[str, Any]] = []
    print("| network | a step as written | with the plan, times | 95 % | steps alone | probing | taken |")
    print("|---|---|---|---|---|---|---|")
    for work in (w for w in WORKS if asked.only.lower() in w.name.lower()):
        found = measured(work, asked.rounds, asked.seconds, clock)
        row = summed(found)
        rows.append({"work": work.name, **row, "trainings": found})
        print(
            f"| {work.name} | {1e3 * row['step']:.2f} ms | {row['ratio']:.3f} | {row['low']:.3f} to {row['high']:.3f} "
            f"| {row['steps']:.3f} | {100 * row['probing']:.1f} % | {', '.join(row['taken']) or 'nothing'} |",
            flush=True,
        )
    if rows:
        mean, high = (statistics.geometric_mean(r[name] for r in rows) for name in ("ratio", "high"))
        print(f"mean {mean:.3f}, mean of the upper ends {high:.3f}, highest {max(r['high'] for r in rows):.3f}")
    about = {**machine(), "threads": asked.threads, "clock": clock.__name__, "rounds": asked.rounds}
    print(", ".join(f"{k} {v}" for k, v in about.items()))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
