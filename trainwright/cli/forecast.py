"""What a run that forecasts writes: tables and pictures of how series go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from trainwright.cli.told import print_json, stdout_for_json
from trainwright.core.errors import CannotCreateError, UserError


def forecast(folder: Path, files: Sequence[str], out: str | None, others: Mapping[str, Any], as_json: bool) -> None:
    """Go on with each file, or with the run's own data where there is none, into a folder.

    Args:
        folder: of the run.
        files: tables with the columns of the run's data.
        out: the folder to write into; ``forecasts`` in the run unless given.
        others: flags of `predict` that do not go together with series.
        as_json: one object with the numbers and the files.
    """
    if given := next((name for name, value in others.items() if value), None):
        raise UserError(given, "does not go together with a run that forecasts", "leave it out")
    if "-" in files:
        raise UserError("INPUT", "a series is read from a file, not from standard input", "name the file")
    target = _folder(folder, out)
    made: list[tuple[Any, list[Path]]] = []
    with stdout_for_json(as_json):
        from trainwright.runs.run import open_run

        run = open_run(folder)
        for path in files or [None]:  # type: ignore[list-item]
            found = run.forecast(path)
            made.append((found, found.save(target / ("forecast" if path is None else Path(path).stem))))
    if as_json:
        told = [
            {"times": f.times, "values": f.values, "low": f.low, "high": f.high, "intervals": f.intervals}
            | {"notes": list(f.notes), "files": [str(p) for p in paths]}
            for f, paths in made
        ]
        print_json({"run": str(folder), "forecasts": told})
        return
    for found, paths in made:
        click.echo(" ".join(map(str, paths)))
        click.echo(f"intervals: {found.intervals}", err=True)
        for note in found.notes:
            click.echo(f"note: {note}", err=True)


def _folder(folder: Path, out: str | None) -> Path:
    from trainwright.runs.directory import FORECASTS

    target = folder / FORECASTS if out is None else Path(out).expanduser()
    try:
        target.mkdir(parents=out is None, exist_ok=True)
    except OSError as error:
        raise CannotCreateError("--out", f"'{target}' cannot be made: {error.strerror}", "name a folder") from None
    return target
