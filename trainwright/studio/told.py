"""What the pages are told of a run: a row of the list, and all about one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from trainwright.core.events import EvalDone, Found, Repaired, RunEnded, Tried, View
from trainwright.core.finding import Advice, Edit, Patch
from trainwright.runs.changed import leaves
from trainwright.runs.directory import spelled
from trainwright.studio import notes
from trainwright.studio.files import Place, UnreadableError
from trainwright.studio.followed import LOSS, Followed

_SPARK = 48  # points of a small curve
_ROWS = 500  # evaluations, checkpoints and findings that are told
_OTHERS = 40  # lines of the machine, data and model that are told


def row(run: Followed) -> dict[str, Any]:
    """A line of the list of runs."""
    return run.answer("row", (state(run), notes.age(run.place)), lambda: _plain(_row(run)))


def about(run: Followed) -> dict[str, Any]:
    """All that a page of one run shows beside the curves."""
    return run.answer("about", (state(run), notes.age(run.place)), lambda: _plain(_about(run)))


def _plain(value: Any) -> dict[str, Any]:
    """JSON has no NaN."""
    told: dict[str, Any] = spelled(value)
    return told


def _row(run: Followed) -> dict[str, Any]:
    facts = _facts(run.place)
    return {
        "key": run.place.key,
        "name": run.place.name,
        "version": run.version,
        "state": state(run),
        "why": facts["why"] or run.why,
        "reading": run.behind and not run.why,
        "task": facts["task"],
        "model": facts["model"],
        "written": facts["written"],
        "monitor": facts["monitor"],
        "better": facts["better"],
        "step": run.step,
        "steps": run.view.attempts[-1].steps if run.view.attempts else 0,
        "seconds": run.seconds,
        "findings": _tally(run.view.findings),
        **notes.read(run.place),
        **_standing(run.view, facts["monitor"], facts["better"]),
        "spark": _spark(run),
    }


def _about(run: Followed) -> dict[str, Any]:
    view, ended = run.view, run.view.ended
    attempt = view.attempts[-1] if view.attempts else None
    return {
        **_row(run),
        "steps_per_epoch": attempt.steps_per_epoch if attempt else 0,
        "columns": {name: len(column) for name, column in run.columns.items()},
        "layers": {name: len(of) for name, of in run.layers.items()},
        "shown": len(run.shown),
        "evals": [_evaluation(e) for e in view.evals[-_ROWS:]],
        "attempts": [
            {"attempt": a.attempt, "from_step": a.from_step, "time": a.time, "note": a.note} for a in view.attempts
        ],
        "checkpoints": [{"step": c.step, "path": c.path, "seconds": c.seconds} for c in view.checkpoints[-_ROWS:]],
        "found": [finding(f) for f in view.findings[-_ROWS:]],
        "tried": [_tried(t) for t in view.tried[-_ROWS:]],
        "repairs": [_repair(r) for r in view.repairs[-_ROWS:]],
        "skipped": [
            {"step": s.step, "what": s.what, "places": list(s.places[:5]), "incident": s.incident}
            for s in view.skipped[-_ROWS:]
        ],
        "unreadable": view.unreadable,
        "confusion": _has_confusion(run.place),
        "ended": _end(ended) if ended else None,
        "facts": _machine(run.place),
    }


def _tried(t: Tried) -> dict[str, Any]:
    """A trial: how each way to go on did, from the same state on the same batches."""
    branches = [{"what": b.what, "loss": b.loss, "error": b.error, "trouble": b.trouble} for b in t.branches]
    return {
        "step": t.step, "rule": t.rule, "start": t.start, "steps": t.steps, "judge": t.judge, "branches": branches,
        "won": t.won, "text": t.text,
    }  # fmt: skip


def _repair(r: Repaired) -> dict[str, Any]:
    return {
        "step": r.step, "rule": r.rule, "trouble": r.trouble, "what": r.what, "keys": dict(r.keys), "state": r.state,
        "why": r.why,
    }  # fmt: skip


def _end(ended: RunEnded) -> dict[str, Any]:
    return {
        "outcome": ended.outcome,
        "reason": ended.reason,
        "seconds": ended.seconds,
        "scores": dict(ended.scores),
        "baselines": {k: dict(v) for k, v in ended.baselines.items()},
        "intervals": {k: list(v) for k, v in ended.intervals.items()},
        "differences": {
            name: {m: [d.value, d.low, d.high] for m, d in of.items()} for name, of in ended.differences.items()
        },
        "skipped": dict(ended.skipped),
    }


def state(run: Followed) -> str:
    """``running``, ``finished``, ``stopped``, ``interrupted`` or ``failed``; ``reading`` until its log was read."""
    if run.place.training():
        return "running"
    if run.behind and not run.why:
        return "reading"  # how it ended is still to come
    ended = run.view.ended
    return ended.outcome if ended and ended.outcome != "healing" else "interrupted"


def finding(found: Found) -> dict[str, Any]:
    """A trouble with its proof, and what may be done, as plain data."""
    f = found.finding
    return {
        "step": found.step,
        "rule": f.rule,
        "severity": f.severity,
        "what": f.what,
        "where": f.where,
        "why": f.why,
        "evidence": dict(f.evidence),
        "fixes": [_fix(fix) for fix in f.fixes],
    }


def _facts(place: Place) -> dict[str, Any]:
    """What the list tells of how a run was made; what cannot be read is empty, and why is said."""
    told = {"why": "", "task": "", "model": "", "written": "", "monitor": "loss", "better": "lower"}
    try:
        manifest, config = place.manifest(), place.config()
        told["written"] = str(manifest.get("written", ""))
        told["monitor"] = str(_of(manifest, "monitor").get("name", "loss"))
        told["better"] = str(_of(manifest, "monitor").get("better", "lower"))
        told["task"] = str(_of(config, "task").get("name", ""))
        told["model"] = str(_of(config, "model").get("name") or _of(manifest, "model").get("class", ""))
    except UnreadableError as error:
        told["why"] = str(error)
    return told


def _machine(place: Place) -> dict[str, Any]:
    """Versions, machine, data and model, short."""
    try:
        manifest = place.manifest()
    except UnreadableError as error:
        return {"unreadable": str(error)}
    data, model = _of(manifest, "data"), _of(manifest, "model")
    small = {
        "versions": _of(manifest, "versions"),
        "machine": _of(manifest, "machine"),
        "plan": _of(manifest, "plan"),
        "data": {k: v for k, v in data.items() if k in ("records", "split", "samples", "resume", "fingerprint")},
        "model": {k: v for k, v in model.items() if k in ("class", "parameters")},
        "seed": manifest.get("seed"),
        "commit": manifest.get("commit"),
    }
    return dict(islice(leaves(small), _OTHERS))


def _of(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = content.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _standing(view: View, monitor: str, better: str) -> dict[str, Any]:
    """The score that decides, and the best that simple models reach."""
    best = next((e for e in reversed(view.evals) if e.best), None)
    told: dict[str, Any] = {"score": None, "part": "", "best_step": best.step if best else None, "baseline": None}
    if best is not None and monitor in best.metrics:
        told |= {"score": best.metrics[monitor], "part": best.part}
    ended = view.ended
    if ended is None:
        return told
    for part in ("test", "valid"):
        if f"{part}/{monitor}" in ended.scores:
            told |= {"score": ended.scores[f"{part}/{monitor}"], "part": part}
            break
    reached = {k: v[monitor] for k, v in ended.baselines.items() if math.isfinite(v.get(monitor, math.nan))}
    if reached:
        name = (max if better == "higher" else min)(reached, key=lambda k: reached[k])
        apart = ended.differences.get(name, {}).get(monitor)
        told["baseline"] = {
            "name": name,
            "value": reached[name],
            "apart": [apart.value, *sorted((apart.low, apart.high))] if apart else None,
        }
    return told


def _spark(run: Followed) -> list[float | None]:
    column = run.columns.get(LOSS)
    if column is None or not len(column):
        return []
    means = column.drawn(0, math.inf, _SPARK).mean
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in means]


def _tally(findings: Sequence[Found]) -> dict[str, int]:
    out: dict[str, int] = {}
    for f in findings:
        out[f.finding.severity] = out.get(f.finding.severity, 0) + 1
    return out


def _evaluation(e: EvalDone) -> dict[str, Any]:
    return {"step": e.step, "epoch": e.epoch, "part": e.part, "metrics": dict(e.metrics), "best": e.best}


def _has_confusion(place: Place) -> bool:
    try:
        place.confusion()
    except UnreadableError:
        return False
    return True


def _fix(fix: Patch | Edit | Advice) -> dict[str, Any]:
    match fix:
        case Patch():
            return {"kind": "patch", "changes": dict(fix.changes)}
        case Edit():
            return {"kind": "edit", "text": fix.what}
        case Advice():
            return {"kind": "advice", "text": fix.text}
