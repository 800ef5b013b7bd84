"""The doctor on request: a recipe before anything is spent on it, a run that is over, or somebody else's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainwright.core.config import Budget
from trainwright.core.errors import UserError
from trainwright.core.events import Found
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import assemble, in_steps, try_first
from trainwright.runs.checkup import Checkup, checked_events, checked_table
from trainwright.runs.deeper import deepened
from trainwright.runs.directory import EVENTS, MANIFEST, whole_events
from trainwright.runs.doctoring import Doctor
from trainwright.runs.gathered import Report
from trainwright.runs.initial import begin, rule_of, take
from trainwright.runs.recipe import read
from trainwright.runs.recorded import silent

_TABLES = (".csv",)


def checkup(target: str | Path, changes: Mapping[str, Any] | None = None, report: Report = silent) -> Checkup:
    """What the doctor says of a run folder, of a table of losses (.csv), or of a recipe that is not trained yet.

    Args:
        target: the folder, the file, or the name of a built-in example.
        changes: dotted keys of the recipe to set; none for what is over.
        report: is told how far reading and encoding are.
    """
    place = Path(target).expanduser()
    over = (place / MANIFEST).is_file() or (place / EVENTS).is_file() or place.suffix.lower() in _TABLES
    if over and changes:
        raise UserError(next(iter(changes)), "cannot change in what is over", "leave it out, or name a recipe")
    if (place / MANIFEST).is_file() or (place / EVENTS).is_file():
        return checked_run(place)
    if place.suffix.lower() in _TABLES:
        return checked_table(place)
    return checked_recipe(target, changes, report)


def checked_run(folder: Path) -> Checkup:
    """A run, by its log alone."""
    events = [event for event in whole_events(folder / EVENTS) if event is not None]
    if not events:
        raise UserError(str(folder), "has an empty log, so there is nothing to judge", "train it first")
    return checked_events(events, str(folder))


def checked_recipe(recipe: str | Path, changes: Mapping[str, Any] | None, report: Report = silent) -> Checkup:
    """A recipe before its first step: nothing is written, and nothing trained but copies, for seconds."""
    checked = read(recipe, changes)
    config = checked.config
    runtime = Runtime.of(config)
    pieces = assemble(checked, runtime, report)
    try:
        try_first(pieces)
        begin(pieces, *rule_of(config.init))
        take(pieces)
        timed = Budget.read(config.budget).unit == "seconds"  # how many steps that is, only a training measures
        steps = pieces.per_epoch if timed else in_steps(config.budget, pieces.per_epoch, None)
        doctor = Doctor(pieces, steps)
        examined = doctor.examined()
        facts, failed = deepened(pieces, examined.facts)
        examined = replace(examined, facts=facts)
        assert doctor.diagnosis is not None
        for finding in pieces.findings:
            doctor.diagnosis.take(Found(0, finding))
        found = [*pieces.findings, *doctor.diagnosis.take(examined), *failed]
        notes = tuple(str(note) for note in pieces.facts.get("notes", ()))
        return Checkup(str(recipe), tuple((0, f) for f in found), examined.facts, doctor.diagnosis.verdict, notes)
    finally:
        pieces.close()
        runtime.ranks.close()
