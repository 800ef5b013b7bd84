"""What the doctor says of a whole run, and how that reads: of a run folder, a recipe, or a table of losses."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trainwright.core.errors import UserError
from trainwright.core.events import EvalDone, Event, Examined, Repaired, RunEnded, RunStarted, StepDone, Tried, lasting
from trainwright.core.facts import Facts
from trainwright.core.finding import Finding
from trainwright.rules.diagnosis import Diagnosis

_STEP = ("step", "global_step", "iteration", "iter", "batch", "epoch")
_LOSS = ("train/loss", "train_loss", "training_loss", "loss", "loss/train", "train loss", "training loss")
_VALID = ("valid/loss", "val/loss", "val_loss", "valid_loss", "validation_loss", "eval_loss", "eval/loss", "loss/val")
_NORM = ("grad_norm", "norm", "gradient_norm")
_RATE = ("lr", "learning_rate")
MEANING = {
    "HEALTHY": "nothing was found that spoils the result",
    "REPAIRED": "something was wrong, and what was done about it held",
    "SUSPECT": "something may be wrong",
    "FAILED": "something is wrong that spoils the result",
}


@dataclass(frozen=True, slots=True)
class Checkup:
    """Findings, each with the step at which it was made, and the verdict."""

    of: str
    found: tuple[tuple[int, Finding], ...]
    facts: Facts = field(default_factory=Facts)
    verdict: str = "HEALTHY"
    notes: tuple[str, ...] = ()
    repairs: tuple[Repaired, ...] = ()  # that were taken, offered and taken back, in their order
    tried: tuple[Tried, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """Without their steps."""
        return [finding for _, finding in self.found]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "of": self.of,
            "verdict": self.verdict,
            "findings": [{"step": step, **asdict(finding)} for step, finding in self.found],
            "facts": asdict(self.facts),
            "notes": list(self.notes),
            "repairs": [asdict(repair) for repair in self.repairs],
            "tried": [asdict(tried) for tried in self.tried],
        }

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {MEANING[self.verdict]}"]
        for step, finding in self.found:
            where = f" ({finding.where})" if finding.where else ""
            lines.append(f"step {step:,}: {finding.severity}: {finding.what}{where} [{finding.rule}]")
        return "\n".join(lines)


def checked_events(events: Iterable[Event], of: str) -> Checkup:
    """A log, event by event: what is found now, beside what was found by others while it was written.

    A run that ended without a word, or is not ended, is judged by what there is.
    """
    diagnosis = Diagnosis()
    found: list[tuple[int, Finding]] = []
    ended: RunEnded | None = None
    passed = 0
    for event in events:
        if isinstance(event, RunStarted):
            diagnosis.take(event)
            found, passed = lasting(diagnosis.view, event, found, passed, lambda pair: pair[0])
            ended = None
            continue
        if isinstance(event, Tried):
            found = [(step, replace(f, tried=event.text) if f.rule == event.rule else f) for step, f in found]
        ended = event if isinstance(event, RunEnded) else ended
        if not isinstance(event, RunEnded) or event.outcome == "healing":
            found += [(_step(event), f) for f in diagnosis.take(event)]
    step = diagnosis.view.step
    found += [(step, f) for f in (diagnosis.take(ended) if ended else diagnosis.ending())]
    others = [(e.step, e.finding) for e in diagnosis.others]
    findings = sorted([*others, *found], key=lambda pair: pair[0])
    facts = diagnosis.view.examined.facts if diagnosis.view.examined else Facts()
    view = diagnosis.view
    return Checkup(of, tuple(findings), facts, diagnosis.verdict, (), tuple(view.repairs), tuple(view.tried))


def checked_table(path: Path) -> Checkup:
    """A table of losses (CSV with a header) that anybody wrote, one row per step or epoch.

    Its columns may be called as Trainwright, Lightning, Keras or the Trainer of Hugging Face call them. A column that
    is not there is not judged.
    """
    events = list(_of_rows(path))
    return checked_events(events, str(path))


def _of_rows(path: Path) -> Iterable[Event]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [n.strip() for n in reader.fieldnames or ()]
            rows = [{(k or "").strip(): v for k, v in row.items()} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(str(path), f"cannot be read as a table: {error}", "write CSV with a header, in UTF-8") from None
    loss, valid = _named(names, _LOSS), _named(names, _VALID)
    if loss is None and valid is None:
        raise UserError(
            str(path),
            f"has no column of losses; it has {', '.join(names[:12])}",
            "call one loss, train_loss or val_loss",
        )
    step_name, norm, rate = _named(names, _STEP), _named(names, _NORM), _named(names, _RATE)
    yield RunStarted(1, 0, len(rows), 1, "")
    yield Examined(0, Facts(steps=len(rows), per_epoch=1))
    for count, row in enumerate(rows, 1):
        step = _whole(row, step_name, count)
        value = _value(row, loss, path, count)
        if value is not None:
            lr, size = _value(row, rate, path, count), _value(row, norm, path, count)
            norms = (size,) if size is not None else ()
            yield StepDone(step, count, count, (value,), norms, math.nan if lr is None else lr, 0.0, 0.0)
        judged = _value(row, valid, path, count)
        if judged is not None:
            yield EvalDone(step, count, "valid", {"loss": judged}, 0.0)


def _whole(row: Mapping[str, Any], name: str | None, count: int) -> int:
    """The row's own number, where it is one; else its place."""
    text = (row.get(name) or "").strip() if name else ""
    return int(text) if text.isdigit() else count


def _named(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {n.lower(): n for n in names}
    return next((lower[k] for k in known if k in lower), None)


def _value(row: Mapping[str, Any], name: str | None, path: Path, count: int) -> float | None:
    text = (row.get(name) or "").strip() if name else ""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path}, line {count + 1}", f"{name} is {text!r}, no number", "write a number there") from None


def _step(event: Event) -> int:
    return int(getattr(event, "step", getattr(event, "from_step", 0)))
