"""What watching costs a training: the processor time of its steps while viewers look on, and while nobody does.

script/bench studio_watched                            20 viewers, 60 turns of 4 blocks of 3 seconds
script/bench studio_watched --viewers 20 --turns 100 --json watched.json

One training, one studio, and one process of viewers, each of whom hears the news and asks at most once a second for
the list of runs, the run and four of its curves, as a page does. The viewers come and go in blocks (without, with,
with, without; the other way round in every other turn) while the same training goes on, so that a machine that grows
slower favours none. Counted is what the training's own process computed, in all threads, between two of its events;
what server and viewers compute is told apart, and so is how often the training had to let another process in, which is
the way in which viewers who share its processor can slow it. Steps during which viewers came or went do not count. Each
turn gives one ratio, that of its median steps; the interval is that of the median turn, by 10,000 resamples.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.images import machine
from tests.open_studio import Visitor, opened

RECIPE = {"budget": "100000 epochs", "eval_every": "50 epochs", "pace": "plain"}  # of the embedded digits
SETTLE = 0.4  # seconds after viewers came or went that count for neither
PAUSE = 1.0  # seconds between two questions of a page (ui/src/loaded.ts)
LIMIT = 0.02
CURVES = "series?name=train/loss&name=train/norm&name=valid/loss&name=valid/accuracy&room=900"


class Mark(NamedTuple):
    """An event of the training."""

    at: float  # seconds of the machine's clock
    step: int
    used: float  # seconds of processor of the process so far
    switches: int = 0  # how often another process was let in before it, so far


class Block(NamedTuple):
    """A stretch with the same viewers."""

    begin: float
    end: float
    watched: bool
    turn: int


def turns(count: int) -> list[tuple[int, bool]]:
    """(turn, watched) of the blocks, in order: ABBA BAAB ABBA …"""
    order = ((False, True, True, False), (True, False, False, True))
    return [(turn, watched) for turn in range(count) for watched in order[turn % 2]]


def costs_of(block: Block, marks: Sequence[Mark]) -> list[float]:
    """Processor seconds of a step, between each two events within a block."""
    within = [m for m in marks if block.begin + SETTLE <= m.at <= block.end]
    return [(b.used - a.used) / (b.step - a.step) for a, b in pairwise(within)]


def switches_of(blocks: Sequence[Block], marks: Sequence[Mark], watched: bool) -> float:
    """How often another process was let in, for each second that the training computed."""
    within = [[m for m in marks if b.begin + SETTLE <= m.at <= b.end] for b in blocks if b.watched == watched]
    seconds = sum(part[-1].used - part[0].used for part in within if part)
    return sum(part[-1].switches - part[0].switches for part in within if part) / seconds if seconds else 0.0


def ratios(blocks: Sequence[Block], marks: Sequence[Mark]) -> list[float]:
    """Of each whole turn: seconds of the median step that is watched, over that of one that is not, less 1."""
    found = []
    for turn in sorted({b.turn for b in blocks}):
        cost = {}
        for watched in (False, True):
            parts = [costs_of(b, marks) for b in blocks if b.turn == turn and b.watched == watched]
            if len(parts) == 2 and all(parts):
                cost[watched] = statistics.median([*parts[0], *parts[1]])
        if len(cost) == 2:
            found.append(cost[True] / cost[False] - 1)
    return found


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % of the medians of 10,000 resamples."""
    dice = np.random.default_rng(seed)
    picked = np.asarray(values)[dice.integers(len(values), size=(10_000, len(values)))]
    low, high = np.quantile(np.median(picked, 1), (0.025, 0.975))
    return float(low), float(high)


def marks_of(file: Path) -> list[Mark]:
    """What the training wrote; a line that is not whole is left out."""
    lines = [line.split() for line in file.read_text().split("\n")[:-1]]
    return [Mark(float(a), int(b), float(c), int(d)) for a, b, c, d in lines]


def train(folder: Path, out: Path) -> None:
    """The training, until it is ended; its observer costs the same in every block."""
    import trainwright as tw
    from trainwright.core.events import Event, StepDone

    with out.open("w", buffering=1) as file:

        def observe(event: Event) -> None:
            if isinstance(event, StepDone):
                told = resource.getrusage(resource.RUSAGE_SELF)
                file.write(f"{time.perf_counter()} {event.step} {told.ru_utime + told.ru_stime} {told.ru_nivcsw}\n")

        tw.train("digits", RECIPE, out=folder, quiet=True, observers=[observe])


def watch(port: int, cookie: str, key: str, count: int) -> None:
    """Viewers, until they are ended: they come at SIGUSR1 and hang up at SIGUSR2."""
    asyncio.run(_watching(port, cookie, key, count))


async def _watching(port: int, cookie: str, key: str, count: int) -> None:
    here: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    def come() -> None:
        here.extend(loop.create_task(_viewer(port, cookie, key)) for _ in range(count))

    def go() -> None:
        while here:
            here.pop().cancel()

    loop.add_signal_handler(signal.SIGUSR1, come)
    loop.add_signal_handler(signal.SIGUSR2, go)
    print("ready", flush=True)
    while True:
        await asyncio.sleep(1)
        for viewer in here:
            if viewer.done():
                viewer.result()  # one that failed ends them all, and the measurement


async def _viewer(port: int, cookie: str, key: str) -> None:
    """Hears the news, and asks once a second at most, as a page does."""
    paths = ("/api/runs?since=0", f"/api/runs/{key}", f"/api/runs/{key}/{CURVES}")
    news, told = await _get(port, cookie, "/api/stream")
    asks, answers = await asyncio.open_connection("127.0.0.1", port)
    fresh = asyncio.Event()
    hearing = asyncio.create_task(_heard(news, fresh))
    try:
        while not hearing.done():
            await fresh.wait()
            fresh.clear()
            for path in paths:
                answers.write(_question(port, cookie, path))
                head = (await asks.readuntil(b"\r\n\r\n")).decode().lower()
                if not head.startswith("http/1.1 200"):
                    raise RuntimeError(f"{path}: {head.splitlines()[0]}")
                await asks.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            await asyncio.sleep(PAUSE)
    finally:
        hearing.cancel()
        told.close()
        answers.close()


async def _heard(news: asyncio.StreamReader, fresh: asyncio.Event) -> None:
    while line := await news.readline():
        if line.startswith(b"event: changed"):
            fresh.set()


async def _get(port: int, cookie: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_question(port, cookie, path))
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def _question(port: int, cookie: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode()


def measured(viewers: int, count: int, seconds: float) -> dict[str, Any]:
    """Train, and let viewers come and go."""
    with tempfile.TemporaryDirectory() as place:
        runs, out = Path(place) / "runs", Path(place) / "marks"
        runs.mkdir()
        training = _program("train", str(runs / "watched"), str(out))
        try:
            with opened(runs) as asks:
                key = _awaited(asks, out, training)
                began = time.process_time()
                blocks = _blocks(asks, key, viewers, count, seconds)
                server = time.process_time() - began
        finally:
            training.kill()
            training.wait()
        marks = marks_of(out)
    found = ratios(blocks, marks)
    alone, with_them = (
        [cost for b in blocks if b.watched == watched for cost in costs_of(b, marks)] for watched in (False, True)
    )
    low, high = interval(found)
    looked = sum(b.end - b.begin for b in blocks if b.watched)
    return {
        "viewers": viewers, "turns": len(found), "seconds": seconds, "steps": marks[-1].step,
        "alone": statistics.median(alone), "watched": statistics.median(with_them),
        "more": statistics.median(found), "low": low, "high": high,
        "mean": statistics.fmean(with_them) / statistics.fmean(alone) - 1,
        "switches": [switches_of(blocks, marks, watched) for watched in (False, True)],
        "server": server / looked, "ratios": found,
    }  # fmt: skip


def _blocks(asks: Visitor, key: str, viewers: int, count: int, seconds: float) -> list[Block]:
    """Blocks as they went; the viewers' process stands all the time, and has no connection where nobody watches."""
    found: list[Block] = []
    told = [str(asks.studio.port), asks.cookie, key, str(viewers)]
    watching = _program("watch", *told)
    try:
        assert watching.stdout is not None
        watching.stdout.readline()
        for turn, watched in turns(count):
            if watched != bool(found and found[-1].watched):
                watching.send_signal(signal.SIGUSR1 if watched else signal.SIGUSR2)
            begin = time.perf_counter()
            time.sleep(seconds)
            found.append(Block(begin, time.perf_counter(), watched, turn))
            if watching.poll() is not None:
                raise RuntimeError("the viewers ended")
    finally:
        watching.kill()
        watching.wait()
    return found


def _awaited(asks: Visitor, out: Path, training: subprocess.Popen[bytes]) -> str:
    """The run's key, once it is well on its way."""
    while not out.is_file() or len(out.read_bytes().splitlines()) < 30:
        if training.poll() is not None:
            raise RuntimeError("the training ended")
        time.sleep(0.5)
    return asks.keys()["watched"]


def _program(*told: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.studio_watched", "--as", *told]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def lines(found: dict[str, Any]) -> list[str]:
    """In words, with the spread."""
    low, _, high = (100 * q for q in statistics.quantiles(found["ratios"], n=4))
    holds = "holds" if found["high"] <= LIMIT else "does not hold" if found["low"] > LIMIT else "is not decided"
    more, mean, least, most = (100 * found[name] for name in ("more", "mean", "low", "high"))
    return [
        f"a step      {1e3 * found['alone']:.2f} ms of processor alone, {1e3 * found['watched']:.2f} with viewers",
        f"viewers     {found['viewers']}, in {found['turns']} turns of 4 blocks of {found['seconds']:g} s",
        f"more        {more:.2f} % (95 % interval {least:.2f} to {most:.2f})",
        f"            middle half of the turns {low:.1f} to {high:.1f} %; mean of all steps {mean:.2f} % more",
        "let in      another process {:.0f} times a second of it alone, {:.0f} with viewers".format(*found["switches"]),
        f"server      {found['server']:.3f} s of processor for each second that is watched",
        f"limit       {100 * LIMIT:.0f} % {holds}",
    ]


def main() -> None:
    """Measure, and print it; or be one of the programs that are measured."""
    if sys.argv[1:2] == ["--as"]:
        kind, *told = sys.argv[2:]
        if kind == "train":
            train(Path(told[0]), Path(told[1]))
        else:
            watch(int(told[0]), told[1], told[2], int(told[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a block")
    parser.add_argument("--json", type=Path, help="write every figure there as well")
    asked = parser.parse_args()
    found = measured(asked.viewers, asked.turns, asked.seconds)
    print("\n".join(lines(found)))
    about = machine()
    print(", ".join(f"{k} {v}" for k, v in about.items()))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": about, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
