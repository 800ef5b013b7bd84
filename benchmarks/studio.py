"""What the studio costs whoever looks: the first paint, the size of its pages, a zoom, the inside of a network.

script/bench studio                     all of it; --only pages, zoom, inside or large
script/bench studio --json studio.json

Scripts are counted in processor time of the page's own thread where Chromium tells it, which others on the machine
change least; what a person waits for, in seconds of the clock and of the processor. Chromium is headless and draws in
software, so the rate of its frames says nothing; what a frame costs in script does. The large network has GPT-2's form
with 17 blocks over bytes: 121 million weights, one step of training. What viewers cost a training: studio_watched.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

import trainwright as tw
from benchmarks.images import machine
from tests.open_studio import Visitor, opened
from tests.run_folders import NOW, million, write
from trainwright.core.events import RunStarted
from trainwright.studio.inside import Insides
from trainwright.studio.pages import STATIC, built

TEXT = "".join(f"{n} and {n + 1} make {2 * n + 1}.\n" for n in range(400))
LARGE = {"name": "gpt", "size": "gpt2-124m", "depth": 17}
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]
DRAWN = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
PATIENCE = 600_000  # ms
FRAMES = 120
ZOOM = """async (frames) => {
  const over = document.querySelector('.panel .u-over'), box = over.getBoundingClientRect()
  const began = performance.now()
  for (let i = 0; i < frames; i++) {
    over.dispatchEvent(new WheelEvent('wheel', {ctrlKey: true, deltaY: i % 40 < 20 ? -1 : 1, bubbles: true,
      cancelable: true, clientX: box.left + box.width * 0.4, clientY: box.top + 20}))
    await new Promise(requestAnimationFrame)
  }
  return (performance.now() - began) / frames
}"""
FRAME = """(frames) => {
  const scene = document.querySelector('.stage canvas').scene, began = performance.now()
  for (let i = 0; i < frames; i++) scene.frame()
  return (performance.now() - began) / frames
}"""
Rows = list[tuple[str, str, str]]  # what, figure, limit


def spread(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """Median, lowest and highest."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f}, {len(values)} times)"


def recipe(folder: Path, model: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A language model of sums."""
    (folder / "text.txt").write_text(TEXT)
    return {
        "task": {"name": "generation", "context": 32},
        "data": {"source": "documents", "path": str(folder / "text.txt"), "valid": 0.1, "test": 0.1},
        "model": model, "budget": "30 steps", "doctor": {"mode": "off"}, "pace": "plain", **more,
    }  # fmt: skip


@contextmanager
def browser(flags: Sequence[str]) -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, *flags])
        yield found
        found.close()


def page_of(made: Browser, asks: Visitor) -> Page:
    """A fresh page, with nothing kept of others."""
    page = made.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce").new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(asks.studio.link)
    return page


def pages(folder: Path, rounds: int) -> Rows:
    """First paint and size."""
    write(folder / "runs" / "a")
    sizes = [len(gzip.compress(p.read_bytes(), 9)) for p in STATIC.iterdir() if p.suffix in (".js", ".css")]
    paints = []
    with opened(folder / "runs") as asks, browser(["--disable-gpu"]) as made:
        for _ in range(rounds):
            page = page_of(made, asks)
            page.locator("tbody tr").first.wait_for()
            told = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
            paints.append(float(page.evaluate(told)))
            page.context.close()
    return [
        ("scripts and styles, gzipped", f"{sum(sizes) / 1000:.0f} kB", "500 kB"),
        ("first paint of the list of runs, nothing kept", spread(paints, "s"), "1 s"),
    ]


def zoom(folder: Path, rounds: int) -> Rows:
    """A million steps, zoomed with the wheel."""
    write(folder / "runs" / "million", [RunStarted(1, 0, 1_000_000, 1000, NOW), *million()])
    scripts, tasks, frames = [], [], []
    with opened(folder / "runs") as asks, browser(["--disable-gpu"]) as made:
        page = page_of(made, asks)
        page.goto(f"http://{asks.host}/#/run/{asks.keys()['million']}")
        page.wait_for_function("() => document.querySelector('.panel')?.ariaLabel?.includes(': from')")
        line = page.context.new_cdp_session(page)
        line.send("Performance.enable", {"timeDomain": "threadTicks"})
        for _ in range(rounds + 1):
            before = _spent(line)
            frames.append(float(page.evaluate(ZOOM, FRAMES)))
            script, task = (1000 * (b - a) / FRAMES for a, b in zip(before, _spent(line), strict=True))
            scripts.append(script)
            tasks.append(task)
            if "steps" not in page.locator(".tools").inner_text():
                raise RuntimeError("the wheel did not zoom")
    return [
        ("a frame of a zoom over a million steps: script, processor time", spread(scripts[1:], "ms"), "20 ms"),
        ("the same, all that the page's thread does", spread(tasks[1:], "ms"), "20 ms"),
        ("the same, until the next frame, on the clock", spread(frames[1:], "ms", 0), ""),
    ]


def _spent(line: Any) -> tuple[float, float]:
    """Seconds of processor of the page's thread so far: of its scripts, and in all."""
    told = {m["name"]: float(m["value"]) for m in line.send("Performance.getMetrics")["metrics"]}
    return told["ScriptDuration"], told["TaskDuration"]


def inside(folder: Path, rounds: int) -> Rows:
    """The smallest GPT, cell by cell."""
    tw.train(recipe(folder, {"name": "gpt", "size": "nano"}), out=folder / "runs" / "nano", quiet=True)
    with opened(folder / "runs") as asks, browser(DRAWN) as made:
        page = page_of(made, asks)
        page.goto(f"http://{asks.host}/#/run/{asks.keys()['nano']}/inside")
        page.wait_for_function("() => document.querySelector('.stage canvas')?.scene?.plan")
        times = [float(page.evaluate(FRAME, FRAMES)) for _ in range(rounds + 1)][1:]
        scene = "document.querySelector('.stage canvas').scene"
        draws, boxes = page.evaluate(f"[{scene}.draws, {scene}.plan.boxes.length]")
    return [
        ("a frame of the inside of the nano GPT: script, on the clock", spread(times, "ms"), "4 ms"),
        ("its draw calls, for so many boxes", f"{draws}, {boxes}", "3"),
    ]


def large(folder: Path, rounds: int) -> Rows:
    """121 million weights, from the first question to all that is drawn."""
    small, run = folder / "runs" / "small", folder / "runs" / "large"
    if not small.exists():
        tw.train(recipe(folder, {"name": "gpt", "size": "nano"}, budget="1 step"), out=small, quiet=True)
    one = {"budget": "1 step", "batch_size": 1, "optimizer": {"name": "sgd"}, "eval_every": "1 step"}
    tw.train(recipe(folder, LARGE, **one), out=run, quiet=True)
    told: dict[str, list[tuple[float, float]]] = {"begun anew": [], "standing already": []}
    memory: tuple[float, float] = (0.0, 0.0)
    for _ in range(min(rounds, 5)):
        for kind, times in told.items():
            insides = Insides()
            try:
                if kind == "standing already":
                    insides.ask({"ask": "outline", "run": str(small)}, 0)
                times.append(_looked(insides, run))
                memory = max(memory, _memory(insides))
            finally:
                insides.close()
    rows = [
        (f"121 million weights, until all is there, the process {kind}: on the clock",
         f"{spread([a for a, _ in times], 's', 1)}; of its processor {spread([b for _, b in times], 's', 1)}", "3 s")
        for kind, times in told.items()
    ]  # fmt: skip
    return [*rows, ("its memory: of its own; of the file, mapped", f"{memory[0]:.0f} MB; {memory[1]:.0f} MB", "600 MB")]


def _looked(insides: Insides, run: Path) -> tuple[float, float]:
    """Seconds on the clock and of the processor for what the page asks when it opens."""
    began, used = time.perf_counter(), _used(insides)
    insides.ask({"ask": "outline", "run": str(run)}, 0)
    for question in ({"ask": "graph"}, *({"ask": "numbers", "what": w} for w in ("value", "gradient", "change"))):
        insides.ask({**question, "run": str(run), "sample": 0}, 0)
    return time.perf_counter() - began, _used(insides) - used


def _used(insides: Insides) -> float:
    process = insides._process
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(insides: Insides) -> tuple[float, float]:
    """MB of its own, and of mapped files."""
    assert insides._process is not None
    lines = Path(f"/proc/{insides._process.pid}/status").read_text().splitlines()
    found = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest}
    return found["RssAnon"] / 1024, found["RssFile"] / 1024


PARTS: dict[str, Callable[[Path, int], Rows]] = {"pages": pages, "zoom": zoom, "inside": inside, "large": large}


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PARTS), help="one part")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write every figure there as well")
    asked = parser.parse_args()
    if not built() or shutil.which("chromium") is None:
        parser.error("the pages must be built (script/studio) and Chromium installed (apt-get install chromium)")
    found: Rows = []
    print("| what | figure | limit |\n|---|---|---|")
    for name, part in PARTS.items():
        if asked.only in (None, name):
            with tempfile.TemporaryDirectory() as place:
                rows = part(Path(place), asked.rounds)
            print("\n".join(f"| {' | '.join(row)} |" for row in rows), flush=True)
            found += rows
    about = machine()
    print(", ".join(f"{k} {v}" for k, v in about.items()))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": about, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
