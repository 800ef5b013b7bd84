"""Training from a recipe: a new run, or an interrupted one taken up again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from trainwright.core.config import Budget
from trainwright.core.errors import UserError
from trainwright.core.events import Observer
from trainwright.engine.ranks import launched
from trainwright.engine.runtime import Runtime
from trainwright.engine.unwrapped import no_compiler
from trainwright.runs.assemble import Pieces, assemble, closed_where_it_fails, try_first
from trainwright.runs.attempt import Attempt, attempt
from trainwright.runs.changed import Changes, changed
from trainwright.runs.decided import Record, decided, over
from trainwright.runs.directory import (
    CONFIG,
    PROCESSOR,
    moved_aside,
    must_be_whole,
    new_folder,
)
from trainwright.runs.edited import edits, must_be_as_written
from trainwright.runs.gathered import same_data
from trainwright.runs.healed import healing, must_heal
from trainwright.runs.initial import begin, remember, rule_of, take
from trainwright.runs.launching import launch, meeting_of, only_here, relaunch, tell
from trainwright.runs.learned import read_learned
from trainwright.runs.lock import Lock
from trainwright.runs.mended import learn
from trainwright.runs.mine import also
from trainwright.runs.notes import lost_of
from trainwright.runs.observing import named
from trainwright.runs.planning import follow, plan
from trainwright.runs.private import hidden_keys, hiding, must_be_given, safe
from trainwright.runs.quiet import speaker
from trainwright.runs.recipe import Recipe, read, write
from trainwright.runs.recorded import recorded, rewrite, silent
from trainwright.runs.run import Run, open_run
from trainwright.runs.stored import stored_config
from trainwright.runs.together import agreed, must_be_seen, together
from trainwright.runs.understood import in_our_words
from trainwright.runs.workshop import OfRecipe, Workshop

_FOR_GOOD = (
    ("format", "seed", "plugins", "task", "data", "model", "repairs", "init", "batch_size", "shuffle", "precision")
    + ("pace", "step", "ema", "monitor", "rates", "freeze", "unfreeze", "init_from", "on_bad_sample", "bad_samples")
)  # fmt: skip


@no_compiler()
def train(
    recipe: str | Path | Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    exist_ok: bool = False,
    observers: Sequence[Observer] = (),
    quiet: bool = False,
    to_stderr: bool = False,
    nodes: int = 1,
    rendezvous: str = "",
) -> Run:
    """Train what a recipe says, and return the run.

    Args:
        recipe: a file (.toml, .yaml, .json), the name of a built-in example, or a dict. Keys that other systems call
            otherwise (``learning_rate``) are translated, and a line is said for each.
        changes: dotted keys to set: ``{"optimizer.lr": 3e-4}``.
        out: the run folder, empty or not there yet; ``runs/DATE-NAME-xxxx`` unless given.
        exist_ok: a run that is in ``out`` already is moved aside, whole, to ``OUT.1`` (or the next free number) once
            the new one is ready for its first step; without it that is an error. Nothing is ever deleted.
        observers: are told every event; may ask to stop by returning a `Stop`.
        quiet: say nothing but warnings and errors.
        to_stderr: speak on standard error.
        nodes: machines that train together; each runs the same, and ``out`` is a folder that all of them see.
        rendezvous: ``HOST:PORT`` where they meet, at one of them.
    """
    checked = read(recipe, changes)
    config = checked.config
    must_be_given(config.model_dump(), "the recipe")
    meeting = meeting_of(nodes, rendezvous)
    if launched() is None and (config.ranks > 1 or not meeting.alone):
        return launch(checked, out, observers, quiet, exist_ok, meeting)
    runtime = Runtime.of(config)
    hide = hiding(config.model_dump())
    console = speaker(quiet, stderr=to_stderr, hide=hide) if runtime.first else None
    try:
        with together(runtime.ranks):
            pieces = assemble(checked, runtime, console.progress if console else silent)
            pieces.facts["notes"][:0] = checked.said
            try_first(pieces)
            begin(pieces, *rule_of(checked.config.init))
            take(pieces)
            learn(pieces)
            plan(pieces)
            with closed_where_it_fails(pieces):
                folder, moved = agreed_folder(out, config.name or config.task["name"], runtime, exist_ok=exist_ok)
        pieces.facts["notes"] += [moved] if moved else []
        a = Attempt(
            pieces=pieces,
            folder=folder,
            config=lambda steps: write(recorded(checked, pieces, steps), folder / CONFIG),
            facts={"kind": "recipe", "attempts": [{}]},
            observers=[*named(checked.observers), *observers],
            console=console,
        )
        return finished(_trained(a, OfRecipe(checked, pieces)))
    finally:
        if console:
            console.close()
        runtime.ranks.close()


@no_compiler()
def resume(
    folder: str | Path,
    changes: Mapping[str, Any] | None = None,
    *,
    observers: Sequence[Observer] = (),
    quiet: bool = False,
    to_stderr: bool = False,
    nodes: int = 1,
    rendezvous: str = "",
) -> Run:
    """Take a run up again where its newest sound checkpoint left it.

    Args:
        folder: the run.
        changes: dotted keys to set, such as a larger budget; they are written into the run's config.toml.
        observers: are told every event.
        quiet: say nothing but warnings and errors.
        to_stderr: speak on standard error.
        nodes: machines that train together; each runs the same, and all see the folder.
        rendezvous: ``HOST:PORT`` where they meet, at one of them.
    """
    run = open_run(folder)
    facts = run.manifest
    if facts["kind"] == "own":
        raise UserError(
            str(folder),
            f"this run trained a module of your own ({facts['model']['class']}), which its files cannot name",
            f'in Python, call tw.fit(net, data, …, resume="{folder}") with what it was called with{also(facts)}',
        )
    changes, said = in_our_words(changes or {}, run.config)
    may_change(changes, run.path)
    healed = Record.read(run.path)
    checked = read(run.path, {**over(healed.undo, healed.keys), **changes})
    unhealed = read(run.path, {**healed.undo, **changes}) if healed.undo else checked
    must_be_as_written(facts, run.path, (*_FOR_GOOD, "optimizer.name"), healed.moving)
    config = checked.config
    must_be_given(config.model_dump(), "the run")
    meeting = meeting_of(nodes, rendezvous)
    if launched() is None and (config.ranks > 1 or not meeting.alone):
        only_here(observers)
        tell(said, quiet)
        return relaunch(run, checked, changes, quiet, meeting)
    learned = read_learned(run.path / PROCESSOR)
    must_be_whole(run.path)
    Lock(run.path).release()
    runtime = Runtime.of(config)
    hide = hiding(config.model_dump())
    console = speaker(quiet, stderr=to_stderr, hide=hide) if runtime.first else None
    try:
        with together(runtime.ranks):
            pieces = assemble(checked, runtime, console.progress if console else silent, learned, passed_over(facts))
            pieces.facts["notes"][:0] = said
            same_data(facts["data"], pieces.facts, run.path)
            pieces.facts["notes"] += lost_of(run.path, run.view)
            begins = decided(run.path)
            if begins is None:
                spent(run, pieces)
            try_first(pieces)
            begin(pieces, *rule_of(checked.config.init))  # for its notes: the weights come from the checkpoint
            anew = begins is not None and begins.anew
            if anew:
                learn(pieces)
            remember(pieces, facts)
            follow(pieces, pieces.config.pace)
        a = Attempt(
            pieces=pieces,
            folder=run.path,
            config=lambda steps: rewrite(run.path, recorded(checked, pieces, steps), len(facts["attempts"])),
            facts={"kind": "recipe", "attempts": [*facts["attempts"], {}]},
            observers=[*named(checked.observers), *observers],
            console=console,
            resumed=not anew,
            anew=anew,
            back=begins.back if begins else 0,
            opening=begins.opening if begins else (),
            begun=healed.begun(run.path),
            changed=_changes(run, checked),
        )
        return finished(_trained(a, OfRecipe(unhealed, pieces, healed.keys, checked)))
    finally:
        if console:
            console.close()
        runtime.ranks.close()


def _trained(a: Attempt, workshop: Workshop) -> Attempt:
    """The attempt, and those that follow where the doctor heals; the last one."""
    if must_heal(a.pieces.config, a.pieces.runtime.ranks.world):
        return healing(a, workshop)
    attempt(a)
    return a


def _changes(run: Run, now: Recipe) -> Changes:
    """What a resume changes, by what it is told and by what somebody wrote into config.toml."""
    by_hand = edits(run.manifest, run.path)
    return {**by_hand, **changed(safe(read(run.path).written()), safe(now.written()))}


def finished(a: Attempt, own: nn.Module | None = None) -> Run:
    """The run after its attempt: its curves drawn, and told what comes next."""
    run = Run(a.folder, own)
    if a.pieces.runtime.first:
        if run.view.losses and a.pieces.config.score == "all":  # of the many trials of a search, nobody looks at each
            _drawn(run, a)
        if a.console:
            a.console.end(run)
    with together(a.pieces.runtime.ranks):
        a.pieces.runtime.ranks.barrier()  # who ends before the first rank would have it ended by an agent
    return run


def _drawn(run: Run, a: Attempt) -> None:
    """The curves; a picture that cannot be drawn must not spoil a training that ended well."""
    try:
        run.plot()
    except Exception as error:
        if a.console:
            a.console.say(f"curves.png could not be drawn: {type(error).__name__}: {error}", "warning")


def may_change(changes: Mapping[str, Any], folder: Path) -> None:
    """A run goes on with the task, data, model and seed it began with; UserError for a change of these.

    The data may lie elsewhere now: their fingerprint tells whether they are the same.
    """
    again = hidden_keys(stored_config(folder / CONFIG))
    for key in changes:
        top = key.partition(".")[0]
        if key not in again and key != "data.path" and (top in _FOR_GOOD or key in ("optimizer", "optimizer.name")):
            raise UserError(
                key,
                "cannot change in a run that goes on",
                f"start a new run with it: trainwright train {folder / CONFIG} {key}=…",
            )


def passed_over(facts: Mapping[str, Any]) -> list[int]:
    """The records that a run skips, by its manifest."""
    records: list[int] = facts["data"].get("bad_samples", {}).get("records", [])
    return records


def spent(run: Run, pieces: Pieces) -> None:
    """A finished run has nothing to resume unless its budget grew."""
    ended = run.view.ended
    amount = Budget.read(pieces.config.budget)
    if (
        ended
        and ended.outcome == "finished"
        and amount.unit != "seconds"
        and amount.steps(pieces.per_epoch) <= ended.step
    ):
        raise UserError(
            str(run.path),
            f"is finished: its budget of {pieces.config.budget} is spent",
            f"give it more: trainwright resume {run.path} --set budget='{int(amount.amount) * 2} {amount.unit}'",
        )


def agreed_folder(out: str | Path | None, label: str, runtime: Runtime, *, exist_ok: bool = False) -> tuple[Path, str]:
    """The first rank makes the folder; all learn its name, or that it could not be made; and what was moved aside."""
    moved = ""

    def made() -> str:
        nonlocal moved
        moved = moved_aside(out) if exist_ok and out is not None else ""
        return str(new_folder(out, label))

    folder = Path(agreed(runtime.ranks, made))
    must_be_seen(folder, runtime.ranks)
    return folder, moved
