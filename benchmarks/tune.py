"""Measures the search: samplers on functions and on a small network, pruning, kills, and several workers.

    python -m benchmarks.tune functions            known optima, 40 trials, ten seeds; two minutes
    python -m benchmarks.tune search               California housing, 40 trials, five seeds; 20 minutes
    python -m benchmarks.tune prune                the same with pruners; 15 minutes
    python -m benchmarks.tune kill                 a search that is killed ten times
    python -m benchmarks.tune workers              two processes on one search

Each writes a table; ``search`` and ``prune`` keep their searches in the folder that --keep names.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
import polars

import trainwright as tw
from trainwright.runs.directory import read_view
from trainwright.runs.figures import aligned
from trainwright.tools.searched import Search
from trainwright.tools.space import Range
from trainwright.tools.study import Plan, proposed, read_plan
from trainwright.tools.trial import Told

TRIALS, SEEDS = 40, 5
MORE = 60  # trials of a pruned search, of which many end early
ROWS = 2000  # of California housing, drawn once
SPACE = {
    "optimizer.lr": "1e-4..1e-1:log",
    "optimizer.weight_decay": "1e-6..1:log",
    "model.width": "8..128:log",
    "model.depth": "1..4",
    "model.dropout": "0..0.5",
}


def branin(x: Sequence[float]) -> float:
    """Least 0.397887. Source: Dixon & Szegö 1978, "The global optimization problem: an introduction"."""
    a, b = 15 * x[0] - 5, 15 * x[1]
    return (
        (b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a)
        + 10
    )


def hartmann(x: Sequence[float]) -> float:
    """Least -3.32237, in six dimensions. Source: the same."""
    weights = np.array([1.0, 1.2, 3.0, 3.2])
    scales = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    middles = 1e-4 * np.array(
        [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
         [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
    )  # fmt: skip
    return float(-weights @ np.exp(-(scales * (np.array(x) - middles) ** 2).sum(1)))


FUNCTIONS: dict[str, tuple[Callable[[Sequence[float]], float], int, float]] = {
    "branin": (branin, 2, 0.397887),
    "hartmann": (hartmann, 6, -3.32237),
}


def least(name: str, sampler: str, seed: int) -> float:
    """How far the best of some trials is from the optimum."""
    function, dimensions, optimum = FUNCTIONS[name]
    space = {f"x{i}": Range(f"x{i}", 0.0, 1.0) for i in range(dimensions)}
    plan = Plan(space=space, sampler=sampler, trials=TRIALS, directions=("lower",), seed=seed)
    study, reached = optuna.create_study(), []
    for number in range(TRIALS):
        at, values = proposed(study, plan, number)
        reached.append(function([values[k] for k in space]))
        study.tell(at, reached[-1])
    return min(reached) - optimum


def functions() -> None:
    rows = [["distance to the optimum after 40 trials, median of 10 seeds", *FUNCTIONS]]
    for sampler in ("random", "tpe", "gp", "cmaes", "nsga2"):
        rows.append([sampler, *(f"{median(least(n, sampler, s) for s in range(10)):.4f}" for n in FUNCTIONS)])
        print(rows[-1], flush=True)
    print("\n".join(aligned(rows)))


def houses(folder: Path) -> dict[str, Any]:
    """The recipe of every trial, on a table of so many districts that are always the same."""
    table = polars.read_csv(next((Path(os.environ["TRAINWRIGHT_DATA"]) / "california_housing").rglob("*.csv")))
    target = "median_house_value" if "median_house_value" in table.columns else "MedHouseVal"
    table.sample(ROWS, seed=0, shuffle=True).write_csv(folder / "houses.csv")
    return {
        "task": {"name": "tabular_regression", "target": target},
        "data": {"source": "table", "path": str(folder / "houses.csv"), "valid": 0.25, "test": 0.25},
        "model": {"name": "mlp", "width": 64, "depth": 2},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "schedule": "cosine",
        "batch_size": 128,
        "budget": "10 epochs",
        "doctor": "off",
        "save_every": "10 epochs",
    }


def searched(
    folder: Path, recipe: dict[str, Any], sampler: str, pruner: str, seed: int, trials: int = TRIALS
) -> Search:
    out = folder / f"{sampler}-{pruner}-{seed}"
    found = tw.tune(
        recipe, space=SPACE, trials=trials, sampler=sampler, pruner=pruner, seed=seed, out=out, quiet=True
    )  # fmt: skip
    if found.interrupted:
        raise KeyboardInterrupt
    return found


def compare(folder: Path, kinds: Sequence[tuple[str, str]]) -> None:
    """Best scores, steps and seconds of several searches, over seeds."""
    recipe = houses(folder)
    rows = [["sampler, pruner", "best valid, median", "of each seed", "test, median", "steps", "seconds of a trial"]]
    for sampler, pruner in kinds:
        found = [searched(folder, recipe, sampler, pruner, seed) for seed in range(SEEDS)]
        best = [s.best.objectives[0] for s in found if s.best]
        tests = [s.run.metrics["test/" + s.plan.names[0].partition(" ")[2]] for s in found if s.run]
        steps = [sum(t.steps for t in s.trials) for s in found]
        longest = max(t.seconds for s in found for t in s.trials)
        mean = np.mean([t.seconds for s in found for t in s.trials])
        each = " ".join(f"{b:.4g}" for b in best)
        rows.append(
            [f"{sampler}, {pruner}", f"{median(best):.5g}", each, f"{median(tests):.5g}", f"{median(steps):,.0f}",
             f"{mean:.2f} ({longest:.1f} at most)"]
        )  # fmt: skip
        print(rows[-1], flush=True)
    print("\n".join(aligned(rows)))


def so_far(search: Search, limit: float) -> float:
    """The best score of the trials that had ended after so many steps of the whole search."""
    sign, best, steps = (1 if search.plan.directions[0] == "higher" else -1), -math.inf, 0
    for trial in search.trials:
        steps += trial.steps
        if steps <= limit and trial.objectives:
            best = max(best, sign * trial.objectives[0])
    return sign * best


def curve(found: Sequence[Search]) -> list[tuple[int, float]]:
    """Steps of a search -> the median over seeds of what was best by then, where it changes."""
    ends = sorted({sum(t.steps for t in s.trials[:n]) for s in found for n in range(1, len(s.trials) + 1)})
    values = [(end, median(so_far(s, end) for s in found)) for end in ends]
    return [v for before, v in zip([(0, math.inf), *values], values, strict=False) if v[1] != before[1]]


def prune(folder: Path) -> None:
    """Two questions, each over seeds.

    Random search proposes the same trials with and without pruning, so that what pruning costs is seen trial by trial:
    is the best one still found, and in how many of the steps?
    TPE takes another path from its first pruned trial on, and its best trial differs by the luck of the search as well.
    There steps are what is spent: a pruned search may take more trials, and its best after 60 % of the steps of the
    search without pruning is set beside the best of that search at its end, by the median over seeds.
    """
    recipe = houses(folder)
    rows = [["random search with", "the same best, of seeds", "of the steps", "worse by, each seed"]]
    whole = [searched(folder, recipe, "random", "none", seed) for seed in range(SEEDS)]
    for pruner in ("median", "asha", "hyperband"):
        found = [searched(folder, recipe, "random", pruner, seed) for seed in range(SEEDS)]
        lost = [so_far(p, math.inf) - so_far(w, math.inf) for p, w in zip(found, whole, strict=True)]
        share = [spent(p) / spent(w) for p, w in zip(found, whole, strict=True)]
        same, low, high = sum(x == 0 for x in lost), 100 * min(share), 100 * max(share)
        worse = " ".join(f"{x:.5g}" for x in lost)
        rows.append([pruner, f"{same} of {SEEDS}", f"{low:.0f} to {high:.0f} %", worse])
        print(rows[-1], flush=True)
    print("\n".join(aligned(rows)))

    whole = [searched(folder, recipe, "tpe", "none", seed) for seed in range(SEEDS)]
    budget, goal = median(spent(s) for s in whole), curve(whole)[-1][1]
    rows = [
        ["TPE with", "best after 60 % of the steps, median", "of each seed", "at the end", f"steps until {goal:.5g}"]
    ]
    for pruner in ("none", "median", "asha", "hyperband"):
        trials = TRIALS if pruner == "none" else MORE
        found = [searched(folder, recipe, "tpe", pruner, seed, trials) for seed in range(SEEDS)]
        early = [so_far(s, 0.6 * budget) for s in found]
        there = next((at for at, value in curve(found) if value <= goal), math.inf)
        rows.append([pruner, f"{median(early):.5g}", " ".join(f"{b:.5g}" for b in early),
                     f"{median(so_far(s, math.inf) for s in found):.5g}", f"{100 * there / budget:.0f} %"])  # fmt: skip
        print(rows[-1], flush=True)
    print("\n".join(aligned(rows)))


def spent(search: Search) -> int:
    return sum(t.steps for t in search.trials)


def begun(out: Path) -> int:
    return len(list((out / "trials").glob("*/events.jsonl")))


def kill(folder: Path) -> None:
    """The same command, killed ten times at times that are drawn, then to its end."""
    recipe = houses(folder)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    space = [word for k, v in SPACE.items() for word in ("--space", f"{k}={v}")]
    out = folder / "killed"
    command = [sys.executable, "-m", "trainwright", "tune", str(folder / "recipe.json"), *space, "--trials", "20"]
    command += ["--out", str(out), "--quiet"]
    draw, done, lost = random.Random(0), {}, 0
    for number in range(10):
        child = subprocess.Popen(command)
        before = begun(out)
        while begun(out) == before and child.poll() is None:  # so that each kill meets a trial, however slow the start
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        now = {t.number: t for t in Search(out, read_plan(out)).trials} if (out / "study.json").is_file() else {}
        lost += sum(1 for n, t in done.items() if n not in now or now[n] != t)
        done = {n: t for n, t in now.items() if t.state != "running"}
        print(f"kill {number + 1}: {len(done)} finished, {len(now) - len(done)} cut off, {lost} lost", flush=True)
    subprocess.run(command, check=True)
    told = Search(out, read_plan(out)).trials
    lost += sum(1 for n, t in done.items() if told[n] != t)
    resumed = sum(len(read_view(t.run).attempts) > 1 for t in told)
    states = sorted({t.state for t in told})
    print(f"{len(told)} trials, {different(told)} different; {lost} finished lost; {resumed} resumed; {states}")


def different(told: Sequence[Told]) -> int:
    return len({json.dumps(dict(t.values)) for t in told})


def workers(folder: Path) -> None:
    """Two processes: every trial has run once, in one attempt."""
    began = time.perf_counter()
    search = tw.tune(houses(folder), space=SPACE, trials=TRIALS, workers=2, out=folder / "two", quiet=True)
    seconds = time.perf_counter() - began
    told = search.trials
    attempts = [len(read_view(t.run).attempts) for t in told]
    owners = {t.user_attrs["worker"] for t in search.study.get_trials()}
    print(f"{len(told)} trials by {len(owners)} workers in {seconds:.0f} s, {different(told)} different, "
          f"attempts of each {sorted(set(attempts))}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("functions", "search", "prune", "kill", "workers"))
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        if given.what == "functions":
            functions()
        elif given.what == "search":
            compare(folder, [("random", "none"), ("tpe", "none"), ("gp", "none")])
        else:
            {"prune": prune, "kill": kill, "workers": workers}[given.what](folder)


if __name__ == "__main__":
    main()
