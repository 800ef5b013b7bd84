"""Measures training over several processes and machines.

    python -m benchmarks.scale equal               1, 2 and 4 processes give the same losses, and read each other's
                                                   checkpoints: three tasks, DDP and FSDP2, float64 and float32
    python -m benchmarks.scale hosts --times 20    two hosts, as network namespaces: links are cut and ranks killed
                                                   while they train; needs root and ip (iproute2)
    python -m benchmarks.scale speed               seconds of processor of a step with one and two processes, beside
                                                   what the model of costs predicts

Each writes a table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.scale_worker import CASES, HALF, ONLY, WAYS
from trainwright.engine.ranks import run_ranks
from trainwright.runs.figures import aligned

WORKER = [sys.executable, "-m", "benchmarks.scale_worker"]
LEDGER = '''
import json, time
from trainwright.core.kinds import steps
from trainwright.engine.step import train_step

@steps.add("ledger")
def ledger(*, path: str):
    """The usual step, which writes down what it saw.

    Args:
        path: folder of the ledger.
    """
    def step(state, task, group, runtime, /, **more):
        done = train_step(state, task, group, runtime, **more)
        seen = [i for batch in group if batch.size for i in batch.ids.tolist()]
        with open(f"{path}/{runtime.ranks.rank}.jsonl", "a") as file:
            file.write(json.dumps([state.counters.step, seen]) + "\\n")
        time.sleep(0.02)
        return done
    return step
'''


def worked(world: int, folder: Path, *origins: Path) -> None:
    """Run the worker as so many ranks."""
    folder.mkdir(parents=True, exist_ok=True)
    ended = run_ranks(world, [*WORKER, str(folder), *map(str, origins)])
    if ended.code:
        raise SystemExit(f"{world} ranks: {ended.message}")


def equal() -> None:
    """Show that the number of processes changes nothing."""
    with tempfile.TemporaryDirectory() as place:
        one, two, four, back = (Path(place) / name for name in ("one", "two", "four", "back"))
        worked(4, four)
        worked(1, one, four)
        worked(2, two, four)
        worked(4, back, one, two)
        rows = [["", "2", "4", "4 on 1", "4 on 2", "1 on 4", "2 on 4", "valid"]]
        for case in CASES:
            for mode, precision in WAYS:
                name = f"{case}-{mode}-{precision}"
                if not name.startswith(os.environ.get(ONLY, "")):
                    continue
                plain = json.loads((one / f"{name}.json").read_text())
                found = {f.name: json.loads((f / f"{name}.json").read_text()) for f in (one, two, four, back)}
                half = plain["whole"][HALF:]
                compared = [
                    (found["two"]["whole"], plain["whole"]),
                    (found["four"]["whole"], plain["whole"]),
                    (found["one"]["four"], half),
                    (found["two"]["four"], half),
                    (found["back"]["one"], half),
                    (found["back"]["two"], half),
                    (found["four"]["valid"], plain["valid"]),
                ]
                rows.append([name, *(f"{furthest(a, b):.1e}" for a, b in compared)])
        print("largest relative difference of a step's loss to one process, 50 steps")
        for line in aligned(rows):
            print(line)


def speed() -> None:
    """What two processes cost, measured and predicted: by processor time, as others use this machine too."""
    from benchmarks.scale_speed import CASES as TIMED
    from benchmarks.scale_speed import MODES, recipe
    from trainwright.tools.scale import Cluster, forecast, measured

    with tempfile.TemporaryDirectory() as folder:
        for world in (1, 2):
            ended = run_ranks(world, [sys.executable, "-m", "benchmarks.scale_speed", folder])
            if ended.code:
                raise SystemExit(ended.message)
        one, *two = (json.loads((Path(folder) / f"{n}.json").read_text()) for n in ("1-0", "2-0", "2-1"))
    kinds, sent = {}, {"sum": 1.0, "gather": 0.5, "scatter": 0.5}  # of each byte, by one of two in a ring
    for kind, part in sent.items():
        fixed, byte = (sum(rank["exchanges"][kind][i] for rank in two) / 2 for i in (0, 1))
        print(f"{kind} of two processes: {fixed * 1e6:.0f} µs and {byte * 1e9:.3f} ns a byte")
        kinds[kind] = (part / byte, fixed / 2)  # of two hops
    torch.set_num_threads(1)
    cluster = Cluster(devices=2, link=kinds["sum"][0], latency=kinds["sum"][1], hides=False, kinds=kinds)
    rows = [["ms of processor", "one", "predicted", "each of two", "predicted", "error", "efficiency", "predicted"]]
    for case in TIMED:
        for mode in MODES:
            costs = measured(recipe(case, "ddp"))
            alone, found = one[f"{case}-ddp"], sum(rank[f"{case}-{mode}"] for rank in two) / 2
            single = forecast(costs, Cluster(devices=1, link=1.0), "ddp").step
            expected = forecast(costs, cluster, mode)
            numbers = [f"{1e3 * x:.2f}" for x in (alone, single, found, expected.step)]
            shares = [f"{100 * x:.0f} %" for x in (alone / (2 * found), expected.efficiency)]
            rows.append([f"{case} {mode}", *numbers, f"{100 * (expected.step / found - 1):+.0f} %", *shares])
    for line in aligned(rows):
        print(line)


def furthest(found: list[float], expected: list[float]) -> float:
    """The largest relative difference."""
    assert len(found) == len(expected)
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them: 10.77.0.1 and 10.77.0.2."""
    names = tuple(f"tw-{os.getpid()}-{side}" for side in "ab")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "v0", "netns", names[0], "type", "veth", "peer", "name", "v0", "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "v0")
            ip("-n", name, "link", "set", "v0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names[0], names[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def ip(*arguments: str) -> None:
    """Run ip; what it says where it fails."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def hosts(times: int, seed: int) -> None:
    """Cut the link or kill a rank, again and again, and see how long it takes until there is a new step."""
    if os.geteuid() or not shutil.which("ip"):
        raise SystemExit("two hosts need root, and ip (iproute2)")
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, two_hosts() as names:
        place = Path(folder)
        (place / "seen").mkdir()
        (place / "ledger.py").write_text(LEDGER)
        recipe = {
            "task": "tabular_classification",
            "data": {"source": "embedded", "set": "iris", "valid": 0.1, "test": 0.2},
            "model": {"name": "mlp", "width": 8, "depth": 1},
            "plugins": [str(place / "ledger.py")],
            "step": {"name": "ledger", "path": str(place / "seen")},
            "batch_size": 13,
            "budget": "1000000 steps",
            "save_every": "20 steps",
            "eval_every": "1000 epochs",
            "doctor": "off",
            "pace": "plain",
            "score": "none",
        }
        (place / "recipe.json").write_text(json.dumps(recipe))
        command = [sys.executable, "-m", "trainwright", "train", str(place / "recipe.json"), "--quiet", "--nodes", "2"]
        command += ["--processes", "1", "--rendezvous", "10.77.0.1:29400", "--out", str(place / "run")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        logs = [(place / f"{n}.log").open("w") for n in names]
        both = [
            subprocess.Popen(["ip", "netns", "exec", n, *command], stdout=log, stderr=log, env=environment)
            for n, log in zip(names, logs, strict=True)
        ]
        rows = [["", "what", "seconds until a new step", "from step"]]
        try:
            waited(place, both, 0, 600)
            for number in range(1, times + 1):
                time.sleep(draw.uniform(2, 6))
                what, began, reached = disaster(draw, number, names, both)
                step = max(ledger(place), default=0) if reached is None else reached
                taken = waited(place, both, step, 600) - began
                rows.append([str(number), what, f"{taken:.1f}", str(step)])
                print(rows[-1], flush=True)
            both[0].send_signal(signal.SIGTERM)
            codes = [p.wait(timeout=300) for p in both]
        finally:
            for p in both:
                p.kill()
            for log in logs:
                log.close()
        for line in aligned(rows):
            print(line)
        print("exit codes", codes)
        print(judged(place))


def disaster(
    draw: random.Random, number: int, names: tuple[str, str], both: list[subprocess.Popen[bytes]]
) -> tuple[str, float, int | None]:
    """Every other time a link is cut for some seconds, else a rank is killed; when that was over."""
    if number % 2:
        away = draw.uniform(1, 25)
        ip("-n", names[1], "link", "set", "v0", "down")
        time.sleep(away)
        ip("-n", names[1], "link", "set", "v0", "up")
        return f"link cut for {away:.0f} s", time.monotonic(), None
    side = draw.randrange(2)
    os.kill(rank_of(both[side].pid), signal.SIGKILL)
    return f"rank on host {side + 1} killed", time.monotonic(), None


def rank_of(launcher: int) -> int:
    """The rank that a launcher started."""
    while True:  # it may just be started again
        for task in Path(f"/proc/{launcher}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    if "RANK=" in Path(f"/proc/{child}/environ").read_text():
                        return int(child)
        time.sleep(0.1)


def ledger(place: Path) -> dict[int, list[int]]:
    """Step -> the samples of both ranks, as the last attempt at that step saw them."""
    found: dict[int, list[int]] = {}
    for file in (place / "seen").glob("*.jsonl"):
        lines = [line for line in file.read_text().splitlines() if line.endswith("]]")]
        for step, ids in dict(json.loads(line) for line in lines).items():
            found[step] = [*found.get(step, []), *ids]
    return found


def waited(place: Path, both: list[subprocess.Popen[bytes]], step: int, patience: float) -> float:
    """When there was a step after this one."""
    until = time.monotonic() + patience
    while max(ledger(place), default=0) <= step:
        if time.monotonic() > until or any(p.poll() is not None for p in both):
            told = "\n".join(f.read_text()[-3000:] for f in place.glob("*.log"))
            raise SystemExit(f"no step after {step}\n{told}")
        time.sleep(0.1)
    return time.monotonic()


def judged(place: Path) -> str:
    """Whether every epoch saw every sample once."""
    seen = ledger(place)
    steps = sorted(seen)
    assert steps == list(range(1, len(steps) + 1)), "a step is missing"
    per_epoch = -(-105 // 13)
    whole = len(steps) // per_epoch
    for epoch in range(whole):
        ids = sorted(i for s in range(per_epoch) for i in seen[epoch * per_epoch + s + 1])
        assert len(ids) == len(set(ids)) == 105, f"epoch {epoch + 1} lost or doubled samples"
    return f"{len(steps)} steps, {whole} whole epochs of 105 samples: each sample once in each of them"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["equal", "hosts", "speed"])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "hosts":
        hosts(given.times, given.seed)
    else:
        {"equal": equal, "speed": speed}[given.what]()
