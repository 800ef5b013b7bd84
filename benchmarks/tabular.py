"""The usual recipe on tables, over seeds: two against published figures and boosting, all against constant and linear.

script/bench tabular                                     California housing and Adult, five seeds
script/bench tabular all                                 those, and `trainwright new` and then `train` on every table
script/bench tabular titanic wine_red --seeds 3 --set budget='20 epochs' --json tables.json

Every model of a seed sees the same training rows. Boosting is scikit-learn's HistGradientBoosting at its defaults on
the same encoded columns; the part for validation is the network's alone, which uses it to stop.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import trainwright as tw
from benchmarks.images import interval, machine
from benchmarks.simple import Simple, simple
from trainwright.data.paths import find
from trainwright.runs.usual import USUAL
from trainwright.tools.new import new

LOWER = ("rmse", "mae", "loss", "log_loss")  # metrics of which less is better


@dataclass(frozen=True)
class Table:
    """One set: how its recipe is made for a seed in a folder, and what is to be reached and was published."""

    recipe: Callable[[int, Path], Path | dict[str, Any]]
    goal: tuple[float, float] | None = None


def main() -> None:
    """Run what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "sets", nargs="*", help=f"of {', '.join(SETS)}; 'all'; california and adult where none is named"
    )
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change of the recipe")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    asked = parser.parse_args()
    names = [*SETS] if asked.sets == ["all"] else asked.sets or ["california", "adult"]
    changes = dict(_change(text) for text in asked.set)
    print(", ".join(f"{k} {v}" for k, v in machine().items()))
    results: list[dict[str, Any]] = []
    for name in names:
        rows = [trained(name, seed, changes) for seed in range(asked.first, asked.first + asked.seeds)]
        results.append({"set": name, "seeds": rows, **summed(rows, SETS[name])})
        print(told(results[-1]), flush=True)
        if asked.json:
            whole = {"machine": machine(), "recipe": USUAL, "changes": changes, "results": results}
            asked.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def trained(name: str, seed: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """One training by the usual recipe, and simple models on the same rows: scores on the test part, and times."""
    table = SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        recipe = table.recipe(seed, Path(folder))
        wall, cpu = time.perf_counter(), time.process_time()
        run = tw.train(recipe, {"seed": seed, **changes}, out=Path(folder) / "run", quiet=True)
        times = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        others: Simple = simple(run)
        metric = others.metric
        row = {"seed": seed, "network": run.metrics[f"test/{metric}"], **others.scores}
        print(f"  {name} seed {seed}: " + ", ".join(f"{k} {v:.4f}" for k, v in row.items() if k != "seed"), end="")
        print(f", {run.view.step} steps, {times['wall']:.0f} s, {times['cpu']:.0f} s of processor time", flush=True)
        return {**row, **times, "metric": metric, "steps": run.view.step, "seconds_of_simple": others.seconds}


def summed(rows: Sequence[Mapping[str, Any]], table: Table) -> dict[str, Any]:
    """Means, deviations, and by how much the network is better than the others, seed by seed."""
    sign = -1 if rows[0]["metric"] in LOWER else 1
    models = [k for k in ("network", "constant", "linear", "boosting") if k in rows[0]]
    mean = {m: statistics.mean(r[m] for r in rows) for m in models}
    ahead = {m: [sign * (r["network"] - r[m]) for r in rows] for m in models[1:]}
    return {
        "metric": rows[0]["metric"],
        "mean": mean,
        "deviation": {m: statistics.stdev(r[m] for r in rows) if len(rows) > 1 else None for m in models},
        "better_by": {m: statistics.mean(v) for m, v in ahead.items()},
        "interval": {m: interval(v) for m, v in ahead.items()},
        "above_constant_in_all": min(ahead["constant"]) > 0,
        "goal": table.goal,
        "reached": None if table.goal is None else sign * (mean["network"] - table.goal[0]) >= 0,
        "wall": statistics.mean(r["wall"] for r in rows),
        "longest": max(r["wall"] for r in rows),
        "cpu": statistics.mean(r["cpu"] for r in rows),
    }


def told(result: Mapping[str, Any]) -> str:
    """A few lines."""
    lines = [f"{result['set']}, {result['metric']} over {len(result['seeds'])} seeds:"]
    for model, mean in result["mean"].items():
        spread = result["deviation"][model]
        line = f"  {model:9} {mean:.4f}" + ("" if spread is None else f" ± {spread:.4f}")
        if model in result["better_by"]:
            line += f", the network is better by {result['better_by'][model]:+.4f}"
            between = result["interval"][model]
            line += "" if between is None else " [{:+.4f}, {:+.4f}]".format(*between)
        lines.append(line)
    if result["goal"] is not None:
        needed, published = result["goal"]
        lines.append(f"  needed {needed}: {'reached' if result['reached'] else 'missed'}; published {published}")
    lines.append(f"  {result['wall']:.0f} s a seed, {result['cpu']:.0f} s of processor time")
    return "\n".join(lines)


def _california(seed: int, folder: Path) -> dict[str, Any]:
    """The eight numbers that RTDL has, from the published file; 64, 16 and 20 % of the districts, by the seed."""
    with find("california_housing/housing.csv", "data.path").open(encoding="utf-8", newline="") as file:
        rows = [_district(row) for row in csv.DictReader(file)]
    order = np.random.default_rng(seed).permutation(len(rows))
    for place, i in enumerate(order):
        share = place / len(rows)
        rows[i]["part"] = "train" if share < 0.64 else "valid" if share < 0.80 else "test"
    data = {"source": "table", "path": str(_written(rows, folder / "california.csv")), "part": "part"}
    return _usual("tabular_regression", "MedHouseVal", data)


def _district(row: Mapping[str, str]) -> dict[str, Any]:
    homes = float(row["households"])
    bedrooms = row["total_bedrooms"]
    return {
        "MedInc": row["median_income"],
        "HouseAge": row["housing_median_age"],
        "AveRooms": float(row["total_rooms"]) / homes,
        "AveBedrms": float(bedrooms) / homes if bedrooms else "",  # missing in 207 districts of this file
        "Population": row["population"],
        "AveOccup": float(row["population"]) / homes,
        "Latitude": row["latitude"],
        "Longitude": row["longitude"],
        "MedHouseVal": float(row["median_house_value"]) / 1e5,
    }


def _adult(seed: int, folder: Path) -> dict[str, Any]:
    """The published parts; a fifth of the training part is for validation, as RTDL has it."""
    data = {"source": "table", "path": "adult/adult_train.csv", "test": "adult/adult_test.csv", "valid": 0.2}
    return _usual("tabular_classification", "income", data)


def _usual(task: str, target: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"task": {"name": task, "target": target}, "data": data, **USUAL[task]}


def _new(path: str) -> Callable[[int, Path], Path]:
    """What `trainwright new` makes of a file or a folder, with no edit."""
    return lambda seed, folder: new(find(path, "path"), out=folder / "recipe.toml").recipe


def _anomalies(name: str) -> Callable[[int, Path], Path]:
    """Likewise, of a set of ADBench written as a table whose label is text."""

    def made(seed: int, folder: Path) -> Path:
        with np.load(find(f"adbench_anomaly/{name}.npz", "path"), allow_pickle=False) as arrays:
            x, y = arrays["X"], arrays["y"]
        labels = ["odd" if v else "usual" for v in y]
        rows = [
            {**{f"x{i}": v for i, v in enumerate(row)}, "label": label} for row, label in zip(x, labels, strict=True)
        ]
        return new(_written(rows, folder / f"{name}.csv"), out=folder / "recipe.toml").recipe

    return made


def _written(rows: Iterable[Mapping[str, Any]], path: Path) -> Path:
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def _change(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


SETS: Mapping[str, Table] = {
    "california": Table(_california, goal=(0.455, 0.4275)),
    "adult": Table(_adult, goal=(0.864, 0.8700)),
    "new_california": Table(_new("california_housing/housing.csv")),
    "new_adult": Table(_new("adult")),
    "titanic": Table(_new("titanic")),
    "wine_red": Table(_new("wine_quality/winequality-red.csv")),
    "wine_white": Table(_new("wine_quality/winequality-white.csv")),
    "telco": Table(_new("telco_churn/telco-customer-churn-by-IBM.csv")),
    "mammography": Table(_anomalies("23_mammography")),
    "thyroid": Table(_anomalies("38_thyroid")),
    "shuttle": Table(_anomalies("32_shuttle")),
    "smtp": Table(_anomalies("34_smtp")),
}

if __name__ == "__main__":
    main()
