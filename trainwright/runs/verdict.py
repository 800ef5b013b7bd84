"""How a run's scores read: with their intervals, beside simple models, and what may be believed of the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from trainwright.core.events import Difference, Interval
from trainwright.runs.figures import aligned, number

T = TypeVar("T")


def score_lines(
    scores: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    monitor: str,
    width: int = 100,
    intervals: Mapping[str, Interval] | None = None,
) -> list[str]:
    """Scores by part beside what simple models reach, the monitor first; one metric a line where it is narrow.

    Args:
        scores: ``{"test/accuracy": 0.98}``.
        baselines: ``{"constant": {"accuracy": 0.11}}``, on the last of the parts.
        monitor: the metric that decides.
        width: columns there are.
        intervals: of the scores, by their names.
    """
    told = {name: _sure(value, (intervals or {}).get(name)) for name, value in scores.items()}
    simple = {name: {m: number(v) for m, v in reached.items()} for name, reached in baselines.items()}
    return table(told, simple, monitor, str, width)


def table(
    scores: Mapping[str, T],
    baselines: Mapping[str, Mapping[str, T]],
    monitor: str,
    written: Callable[[T], str],
    width: int = 100,
) -> list[str]:
    """A line for each metric, the monitor first: what is reached on each part, and by each baseline.

    Args:
        scores: by part and metric.
        baselines: by baseline and metric.
        monitor: the metric that decides.
        written: how a value reads.
        width: columns there are; where they do not suffice, values are named one by one.
    """
    parts = list(dict.fromkeys(key.partition("/")[0] for key in scores))[::-1]
    names = dict.fromkeys(key.partition("/")[2] for key in scores)
    names |= dict.fromkeys(n for reached in baselines.values() for n in reached)
    rows = [["", *parts, *baselines]]
    for name in sorted(names, key=lambda n: n != monitor):
        keys = [f"{part}/{name}" for part in parts]
        own = [written(scores[key]) if key in scores else "" for key in keys]
        rows.append([name, *own, *(written(r[name]) if name in r else "" for r in baselines.values())])
    lines = aligned(rows, right=True)
    if max(map(len, lines)) <= width:
        return lines
    return [f"{r[0]}: " + ", ".join(f"{t} {v}" for t, v in zip(rows[0][1:], r[1:], strict=True) if v) for r in rows[1:]]


def verdicts(
    scores: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    differences: Mapping[str, Mapping[str, Difference]],
    monitor: str,
    better: str,
) -> list[tuple[str, str]]:
    """Sentences with their style ("" or "warning"): what is beaten, what is not, and what only chance may have made.

    A baseline counts as beaten where the 95 % interval of the difference on the same records lies above 0.
    """
    own = next((v for k, v in reversed(list(scores.items())) if k.partition("/")[2] == monitor), None)
    if own is None:
        return []
    sign = 1 if better == "higher" else -1
    beaten: list[str] = []
    told: list[tuple[str, str]] = []
    for name, reached in baselines.items():
        if monitor not in reached:
            continue
        apart = differences.get(name, {}).get(monitor)
        if apart is None:  # no interval is known; NaN is no success
            if not sign * own > sign * reached[monitor]:
                told.append((f"{monitor} is no better than that of the {name} baseline", "warning"))
            continue
        gain, low, high = sign * apart.value, *sorted((sign * apart.low, sign * apart.high))
        span = f"[{number(low)}, {number(high)}]"
        if low > 0:
            beaten.append(f"{name} by {number(gain)} {span}")
        elif high < 0:
            told.append((f"{monitor} is worse than that of the {name} baseline, by {number(-gain)} {span}", "warning"))
        else:
            signed = ("" if gain < 0 else "+") + number(gain)
            told.append((f"{monitor} is within noise of the {name} baseline: {signed} {span}", "warning"))
    return ([(f"{monitor} beats {', '.join(beaten)}", "")] if beaten else []) + told


def _sure(value: float, span: Interval | None) -> str:
    """``0.9833 [0.9680, 0.9940]``."""
    return number(value) + (f" [{number(span[0])}, {number(span[1])}]" if span else "")
