"""The first and the last words on a run, and on what the doctor found in it."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from trainwright.core.config import Budget
from trainwright.core.events import Repaired, RunEnded, Shown, StepSkipped, Tried
from trainwright.core.facts import Facts
from trainwright.core.finding import Advice, Edit, Finding, Patch
from trainwright.engine.guard import few
from trainwright.runs.causes import CAUSES
from trainwright.runs.checkup import MEANING, Checkup
from trainwright.runs.figures import number
from trainwright.runs.run import Run
from trainwright.runs.summary import outline
from trainwright.runs.surface import Surface
from trainwright.runs.verdict import score_lines, verdicts

_LABEL = 8  # columns


def field(out: Surface, label: str, text: str) -> None:
    """``label    text``, with what does not fit below the text."""
    room = max(20, out.width - _LABEL - 1)
    rows = textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False) or [""]
    for i, row in enumerate(rows):
        out.line(f"{'' if i else label:<{_LABEL}} {row}")


def opening(run: Run, steps: int, every: int, monitor: str, better: str) -> list[tuple[str, str]]:
    """What is about to be trained, label by label.

    Args:
        run: its config.toml and manifest.json are there.
        steps: of the whole budget.
        every: steps between two evaluations; 0 where there is none.
        monitor: the metric that decides.
        better: "higher" or "lower".
    """
    config, manifest = run.config, run.manifest
    plan, data, machine = manifest["plan"], manifest["data"], manifest["machine"]
    own, model = manifest["model"]["class"], config.get("model", {}).get("name")
    ranks = f", {plan['ranks']} ranks ({plan['parallel']})" if plan["ranks"] > 1 else ""
    name = f" ({machine['device_name']})" if machine["device_name"] else ""
    samples = ", ".join(f"{n:,} {part}" for part, n in data.get("samples", {}).items())
    per_epoch, size = plan["steps_per_epoch"], config.get("batch_size")
    epochs = "1 epoch" if steps == per_epoch else f"{steps / per_epoch:.4g} epochs of {per_epoch:,}"
    batches = "" if size is None else f", batches of {'all samples' if size == 'all' else size}"
    facts = [
        ("run", str(run.path)),
        ("task", config.get("task", {}).get("name", "")),
        ("model", f"{own if model in (None, 'own') else model}, {_parameters(manifest['model'])}"),
        *(("layers" if not i else "", line) for i, line in enumerate(outline(manifest["model"].get("layers", ())))),
        ("device", f"{machine['device']}{name}, {plan['precision']}{ranks}"),
        *(("pace" if not i else "", line) for i, line in enumerate(_pace(plan))),
        ("samples", samples),
        ("split", said(data.get("split", ""))),
        ("steps", f"{steps:,} in {epochs}{batches}"),
        ("monitor", f"valid {monitor}, {better} is better; evaluated every {every:,} steps" if monitor else ""),
    ]
    facts += [("note", note) for note in data.get("notes", ())]
    return [(label, text) for label, text in facts if text]


def _pace(plan: Mapping[str, Any]) -> list[str]:
    """How the run is carried out, and why; runs of before did not say."""
    why = list(plan.get("why", []))
    return [*why, *(["freed memory is kept for the next step"] if plan.get("memory") == "kept" else [])]


def _parameters(model: Mapping[str, Any]) -> str:
    """How many parameters, and how many of them do not learn from the start; runs of before did not say."""
    frozen = f", {model['frozen']:,} of them frozen" if model.get("frozen") else ""
    return f"{model['parameters']:,} parameters{frozen}"


def said(facts: Any) -> str:
    """Text as it is; a table of facts as ``key value, key value``."""
    if isinstance(facts, Mapping):
        return ", ".join(f"{k} {said(v)}" for k, v in facts.items() if v not in (None, "", False))
    return str(facts)


def tell_finding(finding: Finding, out: Surface) -> None:
    """A finding in words: what, where, the numbers, why, and what to do."""
    where = f" ({finding.where})" if finding.where else ""
    out.line(f"{finding.severity}: {finding.what}{where} [{finding.rule}]", finding.severity)
    if finding.severity == "note":  # its numbers are in events.jsonl, for who wants them
        return
    if finding.evidence:
        field(out, "", "evidence: " + ", ".join(f"{k} {_counted(v)}" for k, v in finding.evidence.items()))
    if finding.why:
        field(out, "", "why: " + finding.why)
    for follows in finding.consequences:
        field(out, "", "so: " + follows)
    if finding.tried:
        field(out, "", "tried: " + finding.tried)
    for fix in finding.fixes:
        match fix:
            case Patch():
                field(out, "", "try: " + ", ".join(f"{k} = {v!r}" for k, v in fix.changes.items()))
            case Edit():
                field(out, "", "try: " + fix.what)
            case Advice():
                field(out, "", "try: " + fix.text)


def tell_trial(event: Tried, out: Surface) -> None:
    """What was tried, one branch a line, the one that won marked."""
    place = "the start" if event.start == 0 else f"step {event.start:,}"
    out.line(f"tried for {event.rule}: {event.steps:,} steps from {place}, by {event.judge}", "head")
    lowest = min((b.loss for b in event.branches[2:] if not b.trouble), default=0.0)
    for branch in event.branches:
        told = "best" if branch.loss <= lowest else "chosen; what is lower may be so by chance"
        mark = f"  << {told}" if event.won and branch.what == event.won else ""
        field(out, "", f"{'-' if branch.trouble else number(branch.loss):>10}  {branch.what}{mark}")
        if branch.trouble:
            field(out, "", f"{'':>10}  could not be tried: {branch.trouble}")
    if not event.won:
        field(out, "", "nothing was better than no change and another seed for sure")
    elif event.cause:
        field(out, "", f"the cause is {CAUSES.get(event.cause, event.cause)} [{event.cause}], by this trial")


def tell_repair(event: Repaired, out: Surface) -> None:
    """What was changed, offered or taken back."""
    style = {"taken": "good", "offered": "warning", "taken back": "warning"}[event.state]
    words = {"taken": "repaired", "offered": "offered", "taken back": "taken back"}[event.state]
    out.line(f"{words}: {event.what} [{event.rule}]", style)
    if event.state == "taken":
        field(out, "", "because " + event.trouble)
    elif event.why:
        field(out, "", event.why)


def tell_checkup(found: Checkup, out: Surface) -> None:
    """What was found, step by step, and the verdict."""
    for note in found.notes:
        field(out, "note", note)
    before = -1
    for step, finding in found.found:
        if step != before and step:
            out.line(f"step {step:,}", "head")
        before = step
        tell_finding(finding, out)
    for repair in found.repairs:
        tell_repair(repair, out)
    for label, text in trials(found.facts):
        field(out, label, text)
    tell_verdict(found.verdict, found.findings, out)


def trials(facts: Facts) -> list[tuple[str, str]]:
    """What was tried on copies before the first step, and what the training will take, label by label."""
    heart, test, same, cost = facts.heart, facts.device, facts.invariance, facts.cost
    told = []
    if heart.steps:
        learned = f"{heart.samples} samples by heart: from a loss of {number(heart.start)} to {number(heart.reached)}"
        told.append(("tried", f"{learned} in {heart.steps} steps of Adam on a copy"))
    if test.worst:
        within = f"its furthest operation ({test.worst}) is off by {test.error:.1e}, {test.allowed:.1e} may be"
        told.append(("device", f"{test.device} in {test.precision} beside float64 on the CPU: {within}"))
    if same.cut == same.cut and same.pieces > 1:
        told.append(
            ("same", f"the gradient of a batch in {same.pieces} pieces is that of the whole within {same.cut:.1e}")
        )
    if same.precision == same.precision:
        told.append(("same", f"the gradient in {facts.precision} is that in float32 within {same.precision:.1e}"))
    if cost.step == cost.step:
        peak = f", {cost.peak / 2**20:,.0f} MiB on the device while a step is computed" if cost.peak else ""
        kept = f"{cost.weights / 2**20:,.1f} MiB for weights, slopes and what the optimizer keeps{peak}"
        told.append(("cost", f"{facts.steps:,} steps of {1000 * cost.step:.3g} ms, about {cost.whole:,.0f} s; {kept}"))
    return told


def tell_verdict(verdict: str, findings: Sequence[Finding], out: Surface) -> None:
    """The last word of the doctor."""
    style = {"HEALTHY": "good", "REPAIRED": "good", "SUSPECT": "warning", "FAILED": "error"}[verdict]
    count = sum(f.severity != "note" for f in findings)
    said = f" ({count} finding{'s' * (count > 1)})" if count else ""
    out.line(f"{'verdict':<{_LABEL}} {verdict}: {MEANING[verdict]}{said}", style)


def tell_exhibits(event: Shown, out: Surface) -> None:
    """Texts and music that a model wrote, behind the end of what they continue; the rest is in events.jsonl."""
    for exhibit in event.exhibits:
        if exhibit.kind not in ("text", "music"):
            continue
        before, text = str(exhibit.data.get("prompt", "")), str(exhibit.data.get("text", ""))
        lines = _printable(f"{before}\N{BLACK RIGHT-POINTING SMALL TRIANGLE}{text}").split("\n")
        if true := exhibit.data.get("true"):
            lines.append(_printable(f"true\N{BLACK RIGHT-POINTING SMALL TRIANGLE}{true}"))
        if words := exhibit.data.get("words"):
            when = " ".join(f"{word['start']:.2f} {word['word']}" for word in words)
            lines.append(_printable(f"at s\N{BLACK RIGHT-POINTING SMALL TRIANGLE}{when}"))
        for i, line in enumerate(lines):
            for j, row in enumerate(textwrap.wrap(line, max(20, out.width - _LABEL - 3)) or [""]):
                out.line(f"{exhibit.title if not (i or j) else '':<{_LABEL}} | {row}".rstrip(), "quiet")


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor or change its colours."""
    return "".join(
        c if c == "\n" or c.isprintable() else " " if c in "\t\r" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def skipped_line(event: StepSkipped) -> str:
    """``step 31 was skipped: the loss was NaN; its records 3, 17 (t.csv, line 4); see incidents/0001``."""
    places = f" ({'; '.join(event.places)})" if event.places else ""
    records = f"records {few(event.suspects or event.records, 5)}{places}"
    which = f"not finite in themselves: {records}" if event.suspects else f"its {records}"
    see = f"; see {event.incident}" if event.incident else ""
    return f"step {event.step:,} was skipped: {event.what}; {which}{see}"


def _counted(x: float) -> str:
    """Evidence is often a count."""
    return f"{x:,.0f}" if float(x).is_integer() and abs(x) < 1e12 else number(x)


def closing(run: Run, out: Surface) -> None:
    """The scores beside the baselines, where the run is, and what can be typed next."""
    view, monitor = run.view, run.manifest["monitor"]
    ended = view.ended
    if ended and ended.scores:
        best = next((e for e in reversed(view.evals) if e.best), None)
        which = f"checkpoint of step {best.step:,}, best by {best.part} {monitor['name']}" if best else "last weights"
        out.line(f"\nscores of the {which}", "head")
        if ended.intervals:
            chose = "; the test part chose nothing" if any(k.startswith("test/") for k in ended.scores) else ""
            field(out, "", f"[low, high]: 95 % intervals, by bootstrap over the records{chose}")
        for line in score_lines(ended.scores, ended.baselines, monitor["name"], out.width, ended.intervals):
            out.line(line)
        for text, style in standing(ended, monitor["name"], monitor["better"]):
            out.line(text, style)
    elif ended and ended.outcome != "interrupted":
        held = 'nothing was scored, as score = "none" says' if run.config.get("score") == "none" else ""
        kept = run.manifest["weights"]["served"] if view.evals else "the last weights"
        out.line(f"\n{held or 'nothing was held out, so nothing was scored'}; what is kept: {kept}", "warning")
    if ended and ended.verdict:
        tell_verdict(ended.verdict, run.findings, out)
    out.line("")
    made = [n for n in ("curves.png", "metrics.csv", "confusion.csv", "config.toml") if (run.path / n).is_file()]
    field(out, "run", f"{run.path}" + (f"  ({', '.join(made)})" if made else ""))
    for i, command in enumerate(next_commands(run)):
        out.line(f"{'' if i else 'next':<{_LABEL}} {command}", "command")


def standing(ended: RunEnded, monitor: str, better: str) -> list[tuple[str, str]]:
    """How the run stands beside its baselines, and which of them there was no time for; each with its style."""
    found = verdicts(ended.scores, ended.baselines, ended.differences, monitor, better)
    return found + [(f"the {name} baseline was left out: {why}", "quiet") for name, why in ended.skipped.items()]


def resume_command(run: Run) -> str:
    """Goes on where the run's newest checkpoint is."""
    return f"trainwright resume {shlex.quote(str(run.path))}"


def next_commands(run: Run) -> list[str]:
    """What can be typed now."""
    folder = shlex.quote(str(run.path))
    if run.manifest["kind"] == "own":
        return [f"in Python: tw.open({str(run.path)!r}, model=net).predict(x)"]
    if run.state in ("interrupted", "failed"):
        return [resume_command(run)]
    budget = Budget.read(run.config["budget"])
    twice = f"{budget.amount * 2:g}"
    more = f"--epochs {twice}" if budget.unit == "epochs" else f"--set budget='{twice} {budget.unit}'"
    elsewhere = " --data FILE" if "path" in run.config["data"] else ""
    asked = {"generation": ' --prompt "…"', "forecasting": ""}.get(run.config["task"]["name"], " FILE")
    return [
        f"trainwright predict {folder}{asked}",
        f"trainwright evaluate {folder}{elsewhere}",
        f"{resume_command(run)} {more}",
    ]
