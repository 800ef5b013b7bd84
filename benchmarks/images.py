"""`trainwright new` and `train` on sets of images, with no edit, over seeds, beside the constant and linear baselines.

script/bench images                                     all sets, one seed
script/bench images mnist clothing_subset --seeds 5     two of them, five seeds
script/bench images --set budget='500 steps' --json images.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import trainwright as tw
from trainwright.tools.new import new

SETS = {  # under TRAINWRIGHT_DATA
    "mnist": "mnist",
    "fashion_mnist": "fashion_mnist",
    "cifar10_subset": "cifar10_subset/cifar10_10k_2k.npz",
    "clothing_subset": "clothing_subset/clothing_subset.zip",
}


def main() -> None:
    """Run what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all of them where none is named")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change of the recipe")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    asked = parser.parse_args()
    changes = dict(_change(text) for text in asked.set)
    print(", ".join(f"{k} {v}" for k, v in machine().items()))
    results = []
    for name in asked.sets or SETS:
        rows = [trained(name, seed, changes) for seed in range(asked.first, asked.first + asked.seeds)]
        results.append({"set": name, "seeds": rows, **summed(rows)})
        print(told(results[-1]), flush=True)
    if asked.json:
        whole = {"machine": machine(), "changes": changes, "results": results}
        asked.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the times depend on."""
    load = os.getloadavg()[0]
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": round(load, 1),
    }


def trained(name: str, seed: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """One training: scores on the test part, and its time."""
    data = Path(os.environ["TRAINWRIGHT_DATA"]) / SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        recipe = new(data, out=Path(folder) / "recipe.toml").recipe
        run = tw.train(recipe, {"seed": seed, **changes}, out=Path(folder) / "run", quiet=True)
        times = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        simple = {k: v["accuracy"] for k, v in run.baselines.items() if "accuracy" in v}
        row = {"seed": seed, "accuracy": run.metrics["test/accuracy"], **simple}
        print(f"  {name} seed {seed}: " + ", ".join(f"{k} {v:.4f}" for k, v in row.items() if k != "seed"), end="")
        print(f", {times['wall']:.0f} s, {times['cpu']:.0f} s of processor time", flush=True)
        return {**row, **times}


def summed(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean, deviation, and the interval of what the network is above the linear model, seed by seed."""
    accuracy = [r["accuracy"] for r in rows]
    ahead = [r["accuracy"] - r["linear"] for r in rows]
    spread = statistics.stdev(accuracy) if len(rows) > 1 else None
    return {
        "mean": statistics.mean(accuracy),
        "deviation": spread,
        "above_constant": min(r["accuracy"] - r["constant"] for r in rows),
        "above_linear": statistics.mean(ahead),
        "interval": interval(ahead),
        "wall": statistics.mean(r["wall"] for r in rows),
        "cpu": statistics.mean(r["cpu"] for r in rows),
    }


def interval(differences: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the mean of paired differences, by Student's t; None for a single one."""
    from scipy.stats import t

    n = len(differences)
    if n < 2:
        return None
    half = float(t.ppf(0.975, n - 1)) * statistics.stdev(differences) / n**0.5
    mean = statistics.mean(differences)
    return [mean - half, mean + half]


def told(result: Mapping[str, Any]) -> str:
    """One line."""
    spread = "" if result["deviation"] is None else f" ± {result['deviation']:.4f}"
    between = "" if result["interval"] is None else " [{:+.4f}, {:+.4f}]".format(*result["interval"])
    return (
        f"{result['set']}: accuracy {result['mean']:.4f}{spread} over {len(result['seeds'])} seeds, above linear by "
        f"{result['above_linear']:+.4f}{between}, {result['wall']:.0f} s ({result['cpu']:.0f} s of processor time)"
    )


def _change(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


if __name__ == "__main__":
    main()
