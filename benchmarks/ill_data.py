"""Data that are ill, each trained on for a moment, and what a finding about them looks like."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from sklearn.datasets import load_wine
from torch import nn

import trainwright as tw
from benchmarks.ill_chart import BLUE, GREEN, HEIGHT, ORANGE, RED, WIDTH, Chart, cells, picture, shade, words
from trainwright.core.errors import TrainwrightError
from trainwright.core.events import Found
from trainwright.core.finding import Finding
from trainwright.runs import gathered

CLASSES = (BLUE, ORANGE, GREEN)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """How a finding is made and drawn.

    Args:
        caption: what the picture shows, in a sentence.
        draw: trains in a folder that is not there yet, and gives the SVG; raises `NotFound` where nothing was found.
    """

    caption: str
    draw: Callable[[Path], str]


class NotFound(Exception):
    """The run has another finding, or none."""


def said(found: Sequence[Found], rule: str) -> Found:
    """The finding of a rule in a log."""
    for one in found:
        if one.finding.rule == rule:
            return one
    raise NotFound(f"not found; said were {sorted({f.finding.rule for f in found})}")


def evidence(run: tw.Run, rule: str) -> tuple[int, Finding]:
    """(step, finding) in the log of a run."""
    found = said(run.view.findings, rule)
    return found.step, found.finding


def fitted(place: Path, model: nn.Module, data: Any, **given: Any) -> tw.Run:
    """A run on arrays or a loader, opened again where it ended with an error."""
    options = {"loss": "cross_entropy", "lr": 1e-2, "epochs": 10, "quiet": True, "seed": 0, **given}
    try:
        return tw.fit(model, data, out=place / "run", **options)
    except TrainwrightError:
        return tw.open(place / "run")


def of_table(place: Path, rows: Sequence[Row], task: Mapping[str, Any], **recipe: Any) -> tw.Run:
    """A run on rows that were written as a table."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    whole = {
        "task": task,
        "data": {"source": "table", "path": str(place / "table.csv"), "valid": 0.2, "test": 0.2},
        "model": {"name": "mlp", "width": 16, "depth": 1},
        "optimizer": {"name": "adam", "lr": 1e-2},
        "budget": "3 epochs",
        **recipe,
    }
    return tw.train(whole, out=place / "run", quiet=True)


@contextmanager
def watched(module: Any, name: str) -> Iterator[list[Any]]:
    """What a function of a module gives while the context is open."""
    given: list[Any] = []
    original = getattr(module, name)

    def kept(*args: Any, **kwargs: Any) -> Any:
        given.append(original(*args, **kwargs))
        return given[-1]

    with patch.object(module, name, kept):
        yield given


def _net(inputs: int) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 2))


def _binned(values: Any, low: float, high: float, bins: int) -> list[tuple[float, float, float]]:
    counts, edges = np.histogram(values, bins, (low, high))
    return [(float(a), float(b), float(c)) for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True) if c]


def absurd_values(place: Path) -> str:
    """One cell of a column in another unit."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    x[7, 1] = 1e6
    _, found = evidence(fitted(place, _net(6), (x, y), optimizer="sgd", lr=0.01, epochs=40), "absurd_values")
    reach = np.arcsinh(x[:, 1])
    chart = Chart((float(reach.min()) - 0.5, 15.5), (0.7, 150), log="y")
    ticks = [(float(np.arcsinh(v)), f"{v:,}") for v in (-3, 0, 3, 100, 10_000, 1_000_000)]
    chart.ticks(ticks, [(1, "1"), (10, "10"), (100, "100")])
    chart.bars(_binned(reach, -3, 3, 24)).bars([(float(reach.max()) - 0.12, float(reach.max()) + 0.12, 1)], RED)
    chart.say("one cell,", 15.3, 1, "end", RED, 26)
    chart.say(f"{found.evidence['deviations']:,.0f} deviations from the median", 15.3, 1, "end", RED, 13)
    return picture("numbers of the column (how many, logarithmic)", "value", chart)


def not_finite_data(place: Path) -> str:
    """Some cells of a batch are NaN: `tw.doctor` is asked, as `tw.fit` refuses them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    x[17, 5] = x[21, 2] = x[22, 2] = np.nan
    net = _net(8)
    loss, sgd = nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), 0.1)
    checked = tw.doctor(net, loss, sgd, (torch.from_numpy(x), torch.from_numpy(y)))
    found = said([Found(0, f) for f in checked.findings], "not_finite_data").finding
    first, last = 12, 26
    box = (90, 20, WIDTH - 110, HEIGHT - 22)
    high = (box[3] - box[1]) / (last - first)
    colours = [[RED if np.isnan(v) else shade((v + 2.5) / 5) for v in row] for row in x[first:last]]
    labels = [words(f"sample {i}", 84, round(box[1] + (i - first + 0.8) * high, 1), "end") for i in (12, 17, 21, 25)]
    note = words("NaN", WIDTH - 100, round(box[1] + (17 - first + 0.8) * high, 1), colour=RED)
    title = f"the inputs, sample by sample: {found.evidence['numbers']:.0f} of {x.size:,} numbers are NaN (red)"
    return picture(title, "columns 0 to 7", cells(colours, box), *labels, note)


def code_for_missing(place: Path) -> str:
    """An age of 999."""
    rng = np.random.default_rng(0)
    age = np.clip(rng.normal(45, 16, 600), 2, 93).round()
    age[rng.choice(600, 25, replace=False)] = 999
    rows = [{"age": int(a), "weight": round(float(w), 1), "target": float(w) + 0.2 * min(a, 60)}
            for a, w in zip(age, rng.normal(70, 12, 600), strict=True)]  # fmt: skip
    _, found = evidence(of_table(place, rows, {"name": "tabular_regression"}), "code_for_missing")
    told = found.evidence
    bins = _binned(age[age < 900], 0, 100, 10)
    most = max(count for *_, count in bins)
    chart = Chart((0, 1040), (0, most))
    chart.ticks([(v, str(v)) for v in (0, 93, 250, 500, 750, 999)], [(0, "0"), (most, f"{most:.0f}")])
    chart.bars(bins).bars([(992, 1006, told["records"])], RED)
    chart.say(f"{told['value']:.0f}, {told['records']:.0f} times", 1036, told["records"], "end", RED, 5)
    low, high = told["lowest of the others"], told["highest of the others"]
    chart.say(f"all others: {low:.0f} to {high:.0f}", 120, 0.6 * most)
    return picture("records by age", "the column as it is read", chart)


def answer_among_inputs(place: Path) -> str:
    """Claims, and the day on which they were paid: only those that were granted have one."""
    rng = np.random.default_rng(0)
    amount, years = rng.gamma(3, 400, 600), rng.integers(0, 30, 600)
    granted = amount - 40 * years + rng.normal(0, 700, 600) < 800
    paid = np.where(granted, rng.integers(10, 90, 600), 0)
    rows = [{"amount": round(float(a)), "years": int(y), "calls": int(c), "days_to_payment": int(p),
             "granted": "yes" if g else "no"}
            for a, y, c, p, g in zip(amount, years, rng.integers(0, 9, 600), paid, granted, strict=True)]  # fmt: skip
    task = {"name": "tabular_classification", "target": "granted"}
    _, found = evidence(of_table(place, rows, task), "answer_among_inputs")
    told = found.evidence
    left = Chart((-4, 94), (-0.6, 1.6), box=(46, 34, 225, HEIGHT - 26))
    left.ticks([(0, "0"), (45, "45"), (90, "90")], [(0, "no"), (1, "yes")])
    drift = rng.uniform(-0.25, 0.25, 600)
    left.dots([(float(p), float(g) + d) for p, g, d in zip(paid, granted, drift, strict=True)][:300], size=1.2)
    right = Chart((0, 3), (0, 1.12), box=(275, 34, WIDTH - 18, HEIGHT - 26))
    right.ticks([(0.8, "it alone"), (2.2, "all others")], [(0, "0 %"), (0.5, "50 %"), (1, "100 %")])
    alone, rest = told["share of the way, by it alone"], max(0.0, told["by all others"])
    right.bars([(0.4, 1.2, alone)], RED).bars([(1.8, 2.6, rest)])
    right.say(f"{100 * rest:.0f} %", 2.2, rest, "middle", up=3)
    right.say(f"{100 * alone:.0f} %", 0.8, alone, "middle", up=3)
    title = (
        f"left: the answers of 300 records, beside their '{found.where}'\nright: share of answers told, beyond guessing"
    )
    return picture(title, "", words("days_to_payment", 225, HEIGHT - 4, "end"), left, right)


def repeated_columns(place: Path) -> str:
    """The wines of scikit-learn, one column in them twice."""
    wine = load_wine()
    names = [n.split("/")[0] for n in wine.feature_names[:7]]
    names.insert(5, "alcohol_copy")
    x = np.insert(wine.data[:, :7], 5, wine.data[:, 0], axis=1)
    rows = [{**dict(zip(names, row, strict=True)), "target": f"c{t}"}
            for row, t in zip(x.tolist(), wine.target.tolist(), strict=True)]  # fmt: skip
    _, found = evidence(of_table(place, rows, {"name": "tabular_classification"}), "repeated_columns")
    alike = np.abs(np.corrcoef(x.T))
    again = names.index(found.where)
    box = (150, 20, 390, HEIGHT - 22)
    wide, high = (box[2] - box[0]) / len(names), (box[3] - box[1]) / len(names)
    table = [[RED if {i, j} == {0, again} else shade(v) for j, v in enumerate(row)] for i, row in enumerate(alike)]
    marks = [words(n, 144, round(box[1] + (i + 0.75) * high, 1), "end", RED if i in (0, again) else "#333")
             for i, n in enumerate(names)]  # fmt: skip
    marks += [words("1.00", round(box[0] + (j + 0.5) * wide, 1), round(box[1] + (i + 0.75) * high, 1), "middle", "#fff")
              for i, j in ((0, again), (again, 0))]  # fmt: skip
    title = "how far columns say the same: white not at all (correlation 0), blue 1, red copies"
    return picture(title, "the same columns, from left to right", cells(table, box), *marks)


def sorted_targets(place: Path) -> str:
    """The wines of scikit-learn, which come sorted by their kind, and no shuffling."""
    recipe = {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "wine", "valid": 0.1, "test": 0.1},
        "model": {"name": "mlp", "width": 16, "depth": 1},
        "optimizer": {"name": "sgd", "lr": 0.3},
        "batch_size": 12,
        "shuffle": False,
        "budget": "10 epochs",
    }
    with watched(gathered, "divided") as splits:
        run = tw.train(recipe, out=place / "run", quiet=True)
    _, found = evidence(run, "sorted_targets")
    kinds = load_wine().target[splits[0].parts["train"].numpy()]
    epoch, losses = -(-len(kinds) // 12), run.view.losses
    steps = 4 * epoch
    strip = [
        [
            CLASSES[kinds[12 * (s % epoch) + i]]
            for s in range(steps)
            for i in (0, 5, 11)
            if 12 * (s % epoch) + i < len(kinds)
        ]
    ]
    high = max(losses[s] for s in range(1, steps + 1))
    chart = Chart((0.5, steps + 0.5), (0, high), box=(46, 54, WIDTH - 18, HEIGHT - 26))
    chart.ticks([(1 + k * epoch, str(1 + k * epoch)) for k in range(4)], [(0, "0"), (high, f"{high:.2g}")])
    chart.line(list(losses.items())[:steps])
    alone = f"{100 * found.evidence['batches of one class']:.0f} % of the batches hold one class alone"
    title = f"above: classes of three samples of each batch, as they come\n{alone}; below: the loss of each step"
    return picture(title, "step of the first four epochs", cells(strip, (46, 32, WIDTH - 18, 46)), chart)


def groups_across_parts(place: Path) -> str:
    """Several visits of each patient, divided at random."""
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(40):
        ill, level = bool(rng.random() < 0.5), rng.normal(size=3)
        rows += [
            {"patient_id": f"p{patient:02}",
             **{f"m{i}": round(float(level[i] + 0.1 * rng.normal()), 3) for i in range(3)},
             "target": "ill" if ill else "well"}
            for _ in range(10)
        ]  # fmt: skip
    with watched(gathered, "divided") as splits:
        _, found = evidence(of_table(place, rows, {"name": "tabular_classification"}), "groups_across_parts")
    parts = {int(i): part for part, ids in splits[0].parts.items() for i in ids}
    told, chart = found.evidence, Chart((-1, 20), (10.5, -0.5), box=(46, 34, WIDTH - 18, HEIGHT - 26))
    for part, hollow in (("train", False), ("valid", True), ("test", True)):
        for ill, colour in (("ill", RED), ("well", BLUE)):
            seen = [(i // 10, i % 10) for i in range(200) if parts[i] == part and rows[i]["target"] == ill]
            chart.dots([(float(a), float(b)) for a, b in seen], colour, 2.6, hollow)
    title = (
        "20 patients, a column each, with their ten visits: red ill, blue well, hollow held out\n"
        f"visits of one patient agree in {100 * told['alike']:.0f} %, any two in {100 * told['by chance']:.0f} %"
    )
    return picture(
        title, f"{100 * told['shared']:.0f} % of the held-out visits are of a patient that is trained on", chart
    )


def times_across_parts(place: Path) -> str:
    """A temperature of every day, divided at random."""
    rng = np.random.default_rng(0)
    days = np.arange(420)
    heat = 10 * np.sin(days / 58) + np.cumsum(rng.normal(0, 0.5, 420)) + 12
    rows = [{"date": str(np.datetime64("2024-01-01") + int(d)), "wind": round(float(rng.normal()), 2),
             "rain": round(float(rng.normal()), 2), "target": round(float(h), 2)}
            for d, h in zip(days, heat, strict=True)]  # fmt: skip
    with watched(gathered, "divided") as splits:
        _, found = evidence(of_table(place, rows, {"name": "tabular_regression"}), "times_across_parts")
    told, held = found.evidence, sorted(int(i) for p in ("valid", "test") for i in splits[0].parts[p])
    some = range(120)
    low, high = float(heat[:120].min()) - 1, float(heat[:120].max()) + 1
    chart = Chart((0, 120), (low, high), box=(46, 34, WIDTH - 18, HEIGHT - 26))
    chart.ticks(
        [(8, rows[8]["date"]), (60, rows[60]["date"]), (112, rows[112]["date"])],
        [(low, f"{low:.0f}"), (high, f"{high:.0f}")],
    )
    chart.dots([(float(i), float(heat[i])) for i in some if i not in held], BLUE, 2)
    chart.dots([(float(i), float(heat[i])) for i in held if i < 120], RED, 2.6, True)
    title = (
        f"the target over time: {100 * told['between']:.0f} % of what is held out (red) lies between days\n"
        f"that are trained on; one day correlates with the next by {told['alike']:.4f}"
    )
    return picture(title, "date", chart)


DATA: dict[str, Shown] = {
    "absurd_values": Shown(
        "The numbers of one column in a real run, by size: one of them decides the training.", absurd_values
    ),
    "not_finite_data": Shown("A piece of the batch that `tw.doctor` was asked about; red is NaN.", not_finite_data),
    "code_for_missing": Shown(
        "A column of a real run as it is read: what stands apart is a code, not an age.", code_for_missing
    ),
    "answer_among_inputs": Shown(
        "A real run: on the left, the answer beside the column; on the right, how much it tells, and all others.",
        answer_among_inputs,
    ),
    "repeated_columns": Shown(
        "How the columns of a real run go together; the red ones are the same numbers.", repeated_columns
    ),
    "sorted_targets": Shown(
        "A real run: the classes in the order in which they are trained on, and the loss, which jumps when the next "
        "one begins.",
        sorted_targets,
    ),
    "groups_across_parts": Shown(
        "A real run: the visits of twenty patients, and which are held out. Each patient is known from training.",
        groups_across_parts,
    ),
    "times_across_parts": Shown(
        "A real run: what is held out (hollow) lies between days that are trained on.", times_across_parts
    ),
}
