"""docs/quality.md: one section for each task, written again by whoever measures it; the others stay as they are."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.quality.shows import Show
from benchmarks.quality.trial import ROOT, Trial

PAGE = ROOT / "docs" / "quality.md"
HEAD = """# Quality

What recipes reach on public data, written by `script/bench quality --task NAME`. Every training runs in a process of
its own, from its start to its end; times are wall time, and processor time of all cores, as others may have worked on
the same ones. The test part chose nothing: the checkpoint is the best by the validation part.
"""
_SECTION = "<!-- {} -->"


def section(task: str, measured: Sequence[tuple[Show, Sequence[Trial]]], machine: str) -> str:
    """The section of a task."""
    day = datetime.now(UTC).date().isoformat()
    head = "| what | metric | wanted | reached, mean (lowest to highest) | linear | wall | processor | load |"
    rows = [head, "|---|---|---|---|---|---|---|---|"]
    rows += [_row(show, trials) for show, trials in measured]
    notes = [f"- {show.name} (`{show.recipe}`): {show.note}." for show, _ in measured if show.note]
    seeds = ", ".join(str(t.seed) for t in measured[0][1])
    said = f"Measured {day} on {machine}, seeds {seeds}."
    parts = [_SECTION.format(task), f"## {task}", said, "\n".join(rows), "\n".join(notes)]
    return "\n\n".join(part for part in parts if part)


def beside(text: str, task: str, page: Path = PAGE) -> str:
    """A section of some shows beside the rows and notes of others that stand in the page, which come first."""
    found = re.search(rf"(?ms)^<!-- {task} -->$.*?(?=^<!-- |\Z)", page.read_text(encoding="utf-8"))
    if found is None:
        return text
    new, old = text.splitlines(), found[0].splitlines()
    names = [line.split(" | ")[0] for line in new if line.startswith("| ")]
    rows = [line for line in old if line.startswith("| ") and line.split(" | ")[0] not in names]
    told = [line.split(" (`")[0] for line in new if line.startswith("- ")]
    notes = [line for line in old if line.startswith("- ") and line.split(" (`")[0] not in told]
    out: list[str] = []
    for line in new:
        out += notes if line.startswith("- ") and notes else []
        notes = [] if line.startswith("- ") else notes
        out.append(line)
        out += rows if line.startswith("|---") else []
    return "\n".join([*out, *notes])


def put(task: str, text: str, page: Path = PAGE) -> None:
    """Write or replace the section of a task; sections are in the order of the alphabet."""
    whole = page.read_text(encoding="utf-8") if page.exists() else HEAD
    head, *sections = re.split(r"(?m)^(?=<!-- \w+ -->$)", whole)
    kept = {re.match(r"<!-- (\w+) -->", s).group(1): s.strip() for s in sections}  # type: ignore[union-attr]
    kept[task] = text.strip()
    page.write_text("\n\n".join([head.strip(), *(kept[name] for name in sorted(kept))]) + "\n", encoding="utf-8")


def _row(show: Show, trials: Sequence[Trial]) -> str:
    values = [t.value for t in trials]
    mean, low, high = statistics.mean(values), min(values), max(values)
    told = f"{mean:.4f} ({low:.4f} to {high:.4f})" if len(values) > 1 else f"{mean:.4f}"
    sign = "at least" if show.better == "higher" else "at most"
    simple = [t.linear for t in trials if t.linear is not None]
    linear = f"{statistics.mean(simple):.4f}" if simple else ""
    named = isinstance(show.wanted, str)
    linear += f" ({show.wanted})" if linear and named and show.wanted != "linear" else ""
    reached = "" if show.reached(mean, statistics.mean(simple) if simple else None) else " **missed**"
    wanted = f"that of {show.wanted}" if named else f"{show.wanted:g}"
    wall, processor = (statistics.mean(getattr(t, name) for t in trials) for name in ("wall", "processor"))
    load = statistics.mean(t.load for t in trials)
    cells = [show.name, show.metric, f"{sign} {wanted} in {show.minutes:g} min", told + reached, linear]
    return f"| {' | '.join([*cells, f'{wall:.0f} s', f'{processor:.0f} s', f'{load:.1f}'])} |"
