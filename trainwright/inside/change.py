"""How the optimizer moved one weight, number by number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from trainwright.inside.cell import Worked
from trainwright.runs.inspect.graph import Graph
from trainwright.runs.inspect.taken import Moved, Taken

Step = tuple[str, float]


def worked_change(taken: Taken, number: int, flat: int) -> Worked:
    """What was added to a weight, by the optimizer's own formula, from what it remembered."""
    graph: Graph = taken.graph
    node, moved = graph.nodes[number], taken.moved.get(number)
    if node.change is None or moved is None:
        why = "this weight rests" if node.kind == "weight" else "only weights are moved"
        return Worked(why, math.nan, math.nan)
    value, weight = float(node.change.reshape(-1)[flat]), float(node.value.reshape(-1)[flat])
    gradient = float(moved.clipped.reshape(-1)[flat])
    rule = _RULES.get(taken.optimizer)
    raw = float(node.gradient.reshape(-1)[flat]) if node.gradient is not None else gradient
    steps = [("the weight before", weight), ("its gradient", raw)]
    if gradient != raw:
        steps.append(("the gradient, clipped or with a penalty", gradient))
    if rule is None or moved.options.get("maximize") or moved.options.get("amsgrad"):
        return Worked(f"moved by {taken.optimizer}, whose arithmetic is not told", value, math.nan, [], steps)
    formula, again, more = rule(weight, gradient, _remembered(moved, flat), moved.options)
    return Worked(formula, value, again, [], [*steps, *more, ("the weight after", weight + value)])


def _remembered(moved: Moved, flat: int) -> dict[str, float]:
    """The weight's own numbers; those of the whole tensor, such as the steps, as they are."""

    def own(x: Tensor) -> float:
        return float(x) if x.ndim == 0 else float(x.reshape(-1)[flat])

    return {name: own(x) for name, x in moved.before.items() if x.ndim == 0 or x.numel() > flat}


def _sgd(w: float, g: float, old: Mapping[str, float], o: Mapping[str, Any]) -> tuple[str, float, list[Step]]:
    steps: list[Step] = [("rate", o["lr"])]
    formula = "- rate · gradient"
    if o["weight_decay"]:
        g += o["weight_decay"] * w
        formula = "- rate · (gradient + decay · weight)"
        steps.append(("gradient + decay · weight", g))
    if o["momentum"]:
        first = "momentum_buffer" not in old
        kept = g if first else o["momentum"] * old["momentum_buffer"] + (1 - o["dampening"]) * g
        steps.append(("momentum", kept))
        g = g + o["momentum"] * kept if o["nesterov"] else kept
        formula = formula.replace("gradient", "momentum", 1)
    return formula, -o["lr"] * g, steps


def _adam(decoupled: bool) -> Callable[..., tuple[str, float, list[Step]]]:
    def rule(w: float, g: float, old: Mapping[str, float], o: Mapping[str, Any]) -> tuple[str, float, list[Step]]:
        (b1, b2), lr, decay = o["betas"], float(o["lr"]), o["weight_decay"]
        shrunk = lr * decay * w if decoupled else 0.0
        g = g if decoupled else g + decay * w
        step = old.get("step", 0.0) + 1
        mean = b1 * old.get("exp_avg", 0.0) + (1 - b1) * g
        square = b2 * old.get("exp_avg_sq", 0.0) + (1 - b2) * g * g
        fair, wide = mean / (1 - b1**step), square / (1 - b2**step)
        change = -shrunk - lr * fair / (math.sqrt(wide) + o["eps"])
        steps: list[Step] = [
            ("rate", lr),
            ("running mean of the gradient", mean),
            ("running mean of its square", square),
            (f"mean / (1 - {b1:g}^{step:g})", fair),
            (f"square / (1 - {b2:g}^{step:g})", wide),
        ]
        if shrunk:
            steps.append((f"decay: - rate · {decay:g} · weight", -shrunk))
        formula = "- rate · mean / (√square + ε)" + (" - rate · decay · weight" if shrunk else "")
        return formula, change, steps

    return rule


_RULES: Mapping[str, Callable[..., tuple[str, float, list[Step]]]] = {
    "SGD": _sgd,
    "Adam": _adam(decoupled=False),
    "AdamW": _adam(decoupled=True),
}
