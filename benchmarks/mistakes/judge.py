"""What counts: what a system said beyond what it says of a healthy training, and what came of the network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.mistakes.plan import Array, Plan

# Of the way from a constant answer to the healthy twin, of which 256 rows leave a twentieth to chance:
AS_GOOD, HARMED = 0.9, 0.8
_HARM = 100.0  # times the largest of the first weights
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\bnan\b|\binf\b|\bNaN\b)")
_BAR = re.compile(r"[█━╸╺-]{2,}|\b\d+(\.\d+)?% \[.*\]")
_TRACE = re.compile(r'^ *File "[^"]*", line \d+.*\n(?: +.*\n)*', re.MULTILINE)  # words of code, not of a system
_WORDLESS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What is said of the installation, of speed or of the future, and not of a training.
REMARKS = re.compile(
    r"DeprecationWarning|FutureWarning|GPU available|TPU available|many workers|num_workers|litlogger|💡|HF_TOKEN|"
    r"pin_memory|log_every_n_steps|logging interval|hub|Restoring|loss_type|`Trainer.fit` stopped|lightning\.ai|"
    r"`build\(\)` was called|^\s*(warnings?\.warn|rank_zero|return |super\(\)|[a-z_]+ = )|PossibleUserWarning",
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One mistake in one system at one level."""

    possible: bool  # the system's interface lets a person make it
    said: tuple[str, ...] = ()  # what it says that it does not say of its healthy twins
    named: bool = False
    shown: bool = False  # NaN in a line of numbers, and nothing else
    stopped: bool = False  # before its end, with weights that are finite and not blown up
    repaired: bool = False
    harms: bool = False  # the plain loop's network is worse for it

    @property
    def detected(self) -> bool:
        """It said anything."""
        return bool(self.said)

    @property
    def sign(self) -> str:
        """For a table: named, said, NaN in a line of numbers, or silent; ¹ stopped, ² repaired."""
        if not self.possible:
            return "—"
        word = "named" if self.named else "said" if self.said else "NaN" if self.shown else "·"
        return word + (" ■" if self.stopped else "") + (" ✓" if self.repaired else "")


def lines(record: Mapping[str, Any]) -> list[str]:
    """What was said: a system's own list of messages where it has one, else every line that it printed."""
    if record.get("messages") is not None:
        return list(dict.fromkeys([*record["messages"], *([record["error"]] if record.get("error") else [])]))
    text = _TRACE.sub("", _WORDLESS.sub("", record.get("said", "")))
    told = [line.strip() for line in re.split(r"[\r\n]+", text)]
    return [line for line in told if line] + ([record["error"]] if record.get("error") else [])


def form(line: str) -> str:
    """A line without its numbers and bars, so that two of a table are the same, however far a bar has come."""
    plain = _NUMBER.sub("#", _BAR.sub("", line))
    return re.sub(r"#m?s\b", "#s", re.sub(r"[\s|]+", " ", plain)).strip()


def alarms(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What a healthy training is warned of: warnings, errors, and an end before its end that says so."""
    if record.get("messages") is not None:
        return tuple(line for line in lines(record) if not line.startswith("note: "))
    warned = re.compile(r"\b\w*Warning\b|WARNING|ERROR|Error\b")
    return tuple(x for x in lines(record) if warned.search(x) and not REMARKS.search(x))


def judged(
    record: Mapping[str, Any],
    healthy: Iterable[Mapping[str, Any]],
    twin: Mapping[str, Any],
    plain: tuple[float, float],
    constant: float,
    names: str,
) -> Judged:
    """Judge one run.

    Args:
        record: of the run.
        healthy: of all healthy twins in the same system at the same level.
        twin: the one of these that the mistake was planted in.
        plain: metric of the plain loop with the mistake, and without.
        constant: what a constant answer reaches.
        names: the pattern of what names the culprit.
    """
    if record.get("cannot"):
        return Judged(False)
    usual = {form(line) for other in healthy for line in lines(other)}
    every = lines(record)
    said = tuple(x for x in dict.fromkeys(every) if form(x) not in usual and not REMARKS.search(x) and _worded(x))
    shown = any(re.search(r"\b(nan|inf)\b", x, re.IGNORECASE) for x in every)
    harms = way(plain[0], constant, plain[1]) < HARMED
    unharmed = record.get("finite", False) and record["largest"] <= _HARM * max(record["largest at first"], 1.0)
    early = record.get("steps", 0) < 0.9 * record.get("planned", 0) or bool(record.get("error"))
    return Judged(
        True,
        said,
        bool(re.search(names, "\n".join(said).lower())),
        shown and not said,
        bool(said) and early and unharmed,
        harms and way(record.get("metric", math.nan), constant, twin.get("metric", math.nan)) >= AS_GOOD,
        harms,
    )


def _worded(line: str) -> bool:
    """Whether there is a word in it."""
    return bool(re.search(r"[A-Za-z]{3}", _NUMBER.sub("", line)))


def way(reached: float, constant: float, healthy: float) -> float:
    """The share of the way from a constant answer to the healthy network."""
    if not math.isfinite(reached) or healthy <= constant:
        return -math.inf
    return (reached - constant) / (healthy - constant)


def constant(plan: Plan) -> float:
    """What the best constant answer reaches on the test rows."""
    y = plan.test[1]
    if plan.kind == "classes":
        return float(np.bincount(y).max() / len(y))
    return 0.0 if plan.kind == "number" else float(np.maximum(y.mean(0), 1 - y.mean(0)).mean())


def metric(plan: Plan, predict: Callable[[Array], Array]) -> float:
    """Accuracy, or R², on the test rows; NaN where the network gives none."""
    x, y = plan.test
    try:
        output = np.asarray(predict(x), dtype=np.float64)
    except Exception:
        return math.nan
    if not np.isfinite(output).all():
        return math.nan
    if plan.kind == "classes":
        return float((output.argmax(1) == y).mean())
    if plan.kind == "number":
        return float(1 - np.square(output.reshape(y.shape) - y).mean() / y.var())
    edge = 0.0 if plan.loss == "bce_logits" or ("sigmoid" not in plan.layers[-1:] and plan.kind == "yes") else 0.5
    return float(((output > edge) == (y > 0.5)).mean())
