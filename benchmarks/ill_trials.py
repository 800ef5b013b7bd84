"""What the doctor finds before the first step by trials on copies, each on a small broken network, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import trainwright as tw
import trainwright.engine.invariance as ways
from benchmarks.ill_chart import BLUE, GREY, HEIGHT, RED, Chart, picture
from benchmarks.ill_data import Shown, said, watched
from trainwright.core.events import Found
from trainwright.core.finding import Finding
from trainwright.engine.by_heart import by_heart
from trainwright.runs import deeper

_PARTS = Path(__file__).with_name("ill_parts.py")


def asked(place: Path, rule: str, recipe: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Finding:
    """What ``trainwright doctor recipe.toml`` finds in a recipe with broken parts."""
    found = checked(place, recipe, changes)
    return said([Found(0, f) for f in found.findings], rule).finding


def checked(place: Path, recipe: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Any:
    """The whole checkup."""
    place.mkdir(parents=True, exist_ok=True)
    whole = {
        "plugins": [str(_PARTS)],
        "data": {"source": "embedded", "set": "diabetes", "valid": 0.1, "test": 0.1},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "budget": "10 epochs",
        **recipe,
    }
    (place / "recipe.json").write_text(json.dumps(whole), encoding="utf-8")
    return tw.checkup(place / "recipe.json", changes)


def batch_not_learned(place: Path) -> str:
    """Answers that cannot leave a narrow band, and the same network without it."""
    recipe = {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "wine", "valid": 0.1, "test": 0.1},
        "model": {"name": "timid"},
    }
    learned, told = [], None
    for reach in (20.0, 0.02):
        losses: list[float] = []

        def recorded(model: Any, lose: Callable[..., Tensor], samples: int, losses: list[float] = losses) -> Any:
            def kept(pupil: Any) -> Tensor:
                loss = lose(pupil)
                losses.append(float(loss.detach()))
                return loss

            return by_heart(model, kept, samples)

        with patch.object(deeper, "by_heart", recorded):
            if reach == 20.0:
                checked(place, recipe, {"model.reach": reach})
            else:
                told = asked(place, "batch_not_learned", recipe)
        learned.append(losses)
    assert told is not None
    free, bound = learned
    high = max(*free, *bound)
    chart = Chart((0, len(bound)), (0, high))
    chart.ticks([(v, str(v)) for v in (0, 300, 600)], [(0, "0"), (high, f"{high:.2g}")])
    chart.level(told.evidence["loss of guessing"], "#555").line(enumerate(free), GREY, wide=1.8).line(
        enumerate(bound), wide=1.8
    )
    chart.say("answers in a narrow band", len(bound), bound[-1], "end", BLUE, -14)
    chart.say("the same network without it", len(free) + 12, free[-1], "start", "#555", 6)
    title = f"loss of {told.evidence['samples']:.0f} samples that a copy shall learn by heart; dashed, guessing"
    return picture(title, "step of Adam, 300 at each of two rates", chart)


def _beside(place: Path, rule: str, recipe: Mapping[str, Any], other: int, title: str, names: tuple[str, str]) -> str:
    """Every weight's gradient computed in two ways, one beside the other."""
    with watched(ways, "_gradient") as found:
        told = asked(place, rule, recipe)
    one, two = (found[i][0].double() for i in (0, other))
    edge = 1.05 * max(float(one.abs().max()), float(two.abs().quantile(0.995)))
    some = torch.linspace(0, len(one) - 1, min(350, len(one))).long().tolist()
    chart = Chart((-edge, edge), (-edge, edge), (150, 24, 290, HEIGHT - 26))
    chart.ticks([(0, "0"), (edge, f"{edge:.1g}")], [(0, "0"), (edge, f"{edge:.1g}")])
    chart.line([(-edge, -edge), (edge, edge)], GREY, True)
    chart.dots([(float(one[i]), float(two[i])) for i in some], size=1.6)
    chart.say(names[1], -edge, edge, "end", "#333", -20).say("equal", edge, edge, "start", "#555", -4)
    chart.say(f"off by {100 * told.evidence['gradient apart']:.0f} %", edge, 0, "start", RED)
    return picture(title, names[0], chart)


def pieces_differ(place: Path) -> str:
    """A 32 that stands where the size of the batch should."""
    recipe = {"task": "tabular_regression", "model": {"name": "of_thirty_two"}}
    title = "gradient of every weight (a dot each), of one batch of 32"
    return _beside(place, "pieces_differ", recipe, 1, title, ("at once", "in four pieces"))


def precision_too_coarse(place: Path) -> str:
    """A shift by 500 that bfloat16 cannot take back."""
    recipe = {"task": "tabular_regression", "model": {"name": "far_away"}, "precision": "bfloat16"}
    title = "gradient of every weight (a dot each), of one batch of 32"
    return _beside(place, "precision_too_coarse", recipe, 2, title, ("in float32", "in bfloat16"))


TRIALS: dict[str, Shown] = {
    "batch_not_learned": Shown("A real trial, and the same with what was wrong taken away.", batch_not_learned),
    "pieces_differ": Shown(
        "A real trial with a network that takes each batch for one of 32: its gradient at once, and in pieces.",
        pieces_differ,
    ),
    "precision_too_coarse": Shown(
        "A real trial with a network that adds 500 to its inputs: in bfloat16 little is left of them.",
        precision_too_coarse,
    ),
}
