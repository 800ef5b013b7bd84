"""What checkpoints cost: the time they add to a training, and how long a step stands still for one.

script/bench saving_cost                       100 MB of state, 20 pairs
script/bench saving_cost --megabytes 400 --pairs 10 --json cost.json

One process trains; blocks of steps in which a checkpoint is written alternate with blocks in which none is. What the
first take longer, over a minute, is the share of the time that one checkpoint a minute costs. The stall is the time for
which the loop is held while the state is copied; the steps after it, beside which the copy is written, are told too.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.images import machine
from trainwright.core.events import Event, Stop
from trainwright.core.task import Progress
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import Pieces, assemble
from trainwright.runs.directory import new_folder
from trainwright.runs.recipe import read
from trainwright.runs.saving import Saving

MINUTE, SHARE, STALL = 60.0, 0.01, 0.05  # seconds, of the time, seconds


@dataclass(slots=True)
class Cost:
    """What was measured, in seconds."""

    megabytes: float
    stalls: list[float] = field(default_factory=list)  # the loop is held
    processor: list[float] = field(default_factory=list)  # of these, what the loop's own thread computed
    written: list[float] = field(default_factory=list)  # until the checkpoint was durable
    plain: list[float] = field(default_factory=list)  # steps without a save
    beside: list[float] = field(default_factory=list)  # steps while one is being written
    added: list[float] = field(default_factory=list)  # by one checkpoint, pair by pair
    computed: list[float] = field(default_factory=list)  # the same in processor time, of all threads

    def lines(self) -> list[str]:
        """In words, with the spread."""
        share = [seconds / MINUTE for seconds in self.added]
        low, high = interval(share)
        busy = [seconds / MINUTE for seconds in self.computed]
        least, most = interval(busy)
        mean, late = statistics.fmean(share), quantile(self.stalls, 0.95)
        alone, beside = (1e3 * statistics.median(steps) for steps in (self.plain, self.beside or self.plain))
        return [
            f"state       {self.megabytes:.0f} MB, {len(self.added)} pairs of blocks",
            f"cost        {mean:.3%} of the time [{low:.3%}, {high:.3%}] for one checkpoint a minute; at most "
            f"{SHARE:.0%}: {'yes' if mean <= SHARE else 'no'}",
            f"            {statistics.fmean(busy):.3%} [{least:.3%}, {most:.3%}] in processor time, of all threads",
            f"stall       {_spread(self.stalls)}; at most {1e3 * STALL:.0f} ms: {'yes' if late <= STALL else 'no'}",
            f"            {_spread(self.processor)} of it computing, the rest waiting for a core",
            f"durable     after {statistics.median(self.written):.2f} s (median)",
            f"a step      {alone:.1f} ms alone, {beside:.1f} ms beside a checkpoint (medians)",
        ]


def main() -> int:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100, help="of state: weights and two moments of each")
    parser.add_argument("--pairs", type=int, default=20, help="blocks with a save, and as many without")
    parser.add_argument("--steps", type=int, default=60, help="of a block")
    parser.add_argument("--folder", type=Path, help="the disk to write on; that of temporary files unless given")
    parser.add_argument("--json", type=Path, help="write all times there as well")
    asked = parser.parse_args()
    print(", ".join(f"{k} {v}" for k, v in machine().items()))
    cost = measured(asked.megabytes, asked.pairs, asked.steps, asked.folder)
    print("\n".join(cost.lines()))
    if asked.json:
        whole = {"machine": machine(), **asdict(cost)}
        asked.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    held = statistics.fmean(cost.added) / MINUTE <= SHARE and quantile(cost.stalls, 0.95) <= STALL
    return 0 if held else 1


def measured(megabytes: float, pairs: int, steps: int, folder: Path | None = None) -> Cost:
    """Blocks with a save and without, which one first by lot; a first pair warms up and does not count."""
    width = round(math.sqrt(megabytes * 1e6 / 12))  # one square of weights, and two moments of each
    with tempfile.TemporaryDirectory(dir=folder) as place:
        pieces = _pieces(width)
        saving = Saving(pieces, new_folder(Path(place) / "run", "cost"))
        (saving.folder / "events.jsonl").touch()
        cost = Cost(_size(pieces))
        dice = random.Random(0)
        for pair in range(pairs + 1):
            found = Cost(cost.megabytes) if pair == 0 else cost
            order = [True, False] if dice.random() < 0.5 else [False, True]
            took = {saves: _block(pieces, saving if saves else None, steps, found) for saves in order}
            found.added.append(took[True][0] - took[False][0])
            found.computed.append(took[True][1] - took[False][1])
        pieces.close()
    return cost


def _block(pieces: Pieces, saving: Saving | None, steps: int, cost: Cost) -> tuple[float, float]:
    """Seconds of some steps, and of the save before them, until it is durable; and processor time."""
    began, busy = time.perf_counter(), time.process_time()
    if saving is not None:
        own, start = time.thread_time(), time.perf_counter()
        saving()
        cost.stalls.append(time.perf_counter() - start)
        cost.processor.append(time.thread_time() - own)
    for _ in range(steps):
        start = time.perf_counter()
        _step(pieces)
        writing = saving is not None and not saving.saver.idle
        (cost.beside if writing else cost.plain).append(time.perf_counter() - start)
    if saving is not None:
        saving.saver.wait()
        saving.tell(lambda event: _note(event, cost))
    return time.perf_counter() - began, time.process_time() - busy


def _step(pieces: Pieces) -> None:
    counters = pieces.state.counters
    progress = Progress(counters.step, 1_000_000, pieces.groups.epoch)
    group = next(pieces.groups)
    pieces.step(pieces.state, pieces.task, group, pieces.runtime, clip=None, multiplier=1.0, progress=progress)


def _note(event: Event, cost: Cost) -> Stop | None:
    cost.written.append(float(getattr(event, "seconds")))  # noqa: B009 - a finding has none, and is a fault here
    return None


def _pieces(width: int) -> Pieces:
    recipe: dict[str, Any] = {
        "task": {"name": "tabular_classification"},
        "data": {"source": "embedded", "set": "wine", "valid": 0.2, "test": 0.2},
        "model": {"name": "mlp", "width": width},
        "optimizer": {"name": "adamw", "lr": 1e-4},
        "batch_size": 16,
        "device": "cpu",
    }
    return assemble(read(recipe), Runtime(), lambda what, done, total: None)


def _size(pieces: Pieces) -> float:
    """Megabytes of weights and moments, once there are moments."""
    _step(pieces)
    weights = list(pieces.state.model.parameters())
    moments = [x for entry in pieces.state.optimizer.state.values() for x in entry.values()]
    return sum(x.nbytes for x in [*weights, *moments]) / 1e6


def _spread(seconds: Sequence[float]) -> str:
    middle, late, worst = (1e3 * quantile(seconds, share) for share in (0.5, 0.95, 1))
    return f"{middle:.1f} ms (median), {late:.1f} ms (95th percentile), {worst:.1f} ms (worst)"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many are not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % of the mean, by bootstrap."""
    dice = random.Random(0)
    means = sorted(statistics.fmean(dice.choices(values, k=len(values))) for _ in range(2000))
    return means[50], means[1949]


if __name__ == "__main__":
    sys.exit(main())
