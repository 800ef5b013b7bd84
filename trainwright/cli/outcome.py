"""The last word of a training: one JSON object where asked, and the exit code; of one run, and of several seeds."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainwright.cli.told import print_json, stdout_for_json
from trainwright.core.errors import NumericsError, UserError

if TYPE_CHECKING:
    from trainwright.core.events import RunEnded
    from trainwright.runs.run import Run
    from trainwright.tools.seeds import Repeats


SUSPECT = 10


def judged(verdict: str, strict: bool) -> int:
    """The exit code of a verdict of the doctor."""
    if verdict == "FAILED":
        return NumericsError.exit_code
    return SUSPECT if strict and verdict == "SUSPECT" else 0


def trained(run: Run, as_json: bool, strict: bool = False) -> int:
    """The last word of ``train`` and ``resume``; one of several processes leaves it to who started them."""
    from trainwright.engine.ranks import one_of_ours

    if one_of_ours():
        return 0
    ended = run.view.ended
    if as_json and os.environ.get("RANK", "0") in ("", "0"):
        print_json({"run": str(run.path), "state": run.state, **_ended(ended), "repairs": _repairs(run)})
    if ended is not None and ended.outcome == "interrupted":
        return _interrupted(ended)
    return 0 if ended is None else judged(ended.verdict, strict)


def unattended(recipe: str, changes: Mapping[str, Any], out: str | None, quiet: bool, as_json: bool) -> int:
    """Begin, go on, or find that there is nothing to do."""
    if out is None:
        raise UserError("--resume auto", "needs the folder of the run", "name it with --out")
    with stdout_for_json(as_json):
        from trainwright.engine.ranks import one_of_ours
        from trainwright.runs.unattended import train_or_resume

        say = _silence if quiet or one_of_ours() else click.echo
        made = train_or_resume(recipe, changes, out=out, quiet=quiet, to_stderr=as_json, say=say)
    return trained(made, as_json)


def repeated(recipe: str, changes: Mapping[str, Any], seeds: int, out: str | None, quiet: bool, as_json: bool) -> int:
    """Train with several seeds."""
    with stdout_for_json(as_json):
        from trainwright.tools.seeds import repeat

        say = _silence if quiet else _heading
        found = repeat(recipe, changes, seeds=seeds, out=out, quiet=quiet, to_stderr=as_json, say=say)
    return _told(found, quiet, as_json)


def go_on(folder: str, quiet: bool, as_json: bool) -> int:
    """Take several seeds up again."""
    with stdout_for_json(as_json):
        from trainwright.tools.seeds import go_on

        found = go_on(folder, quiet=quiet, to_stderr=as_json, say=_silence if quiet else _heading)
    return _told(found, quiet, as_json)


def of_several_seeds(folder: str) -> bool:
    """Whether it holds runs of several seeds."""
    return (Path(folder).expanduser() / "seeds.json").is_file()  # as runs.directory has it, which loads torch


def _told(found: Repeats, quiet: bool, as_json: bool) -> int:
    if as_json:
        print_json({"folder": str(found.path), **found.as_json()})
    elif not quiet:
        click.echo("")
        for line in [*found.lines(), f"runs     {found.path}"]:
            click.echo(line)
    for seed, why in found.failed.items():
        click.echo(f"error: seed {seed}: {why}", err=True)
    ends = [run.view.ended for run in found.runs.values()]
    stopped = [e for e in ends if e is not None and e.outcome == "interrupted"]
    if stopped:
        click.echo(f"go on with the other seeds: trainwright resume {found.path}", err=True)
        return _interrupted(stopped[-1])
    return NumericsError.exit_code if found.failed else 0


def _heading(text: str) -> None:
    click.echo(f"\n{text}")


def _silence(text: str) -> None:
    """Nobody is told."""


def _ended(ended: RunEnded | None) -> dict[str, Any]:
    """What a run reached, for a machine."""
    if ended is None:
        return {"scores": {}, "baselines": {}, "seconds": 0.0}
    return {key: value for key, value in asdict(ended).items() if key not in ("step", "outcome", "reason")}


def _repairs(run: Run) -> list[dict[str, Any]]:
    """What the doctor took, offered and took back."""
    return [asdict(repair) for repair in run.view.repairs]


def _interrupted(ended: RunEnded) -> int:
    """128 + the number of the signal."""
    names = signal.Signals.__members__
    return 128 + (int(names[ended.reason]) if ended.reason in names else 2)
