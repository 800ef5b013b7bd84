"""What a run that composes writes: files to play, to hear and to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from trainwright.cli.told import print_json, stdout_for_json
from trainwright.core.errors import CannotCreateError, UserError


def compose(
    folder: Path,
    files: Sequence[str],
    out: str | None,
    beats: float | None,
    samples: int,
    asked: Mapping[str, Any],
    others: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Compose behind each primer, or by itself where there is none, into a folder.

    Args:
        folder: of the run.
        files: MIDI files, folders or .zip files of them, or JSON files of piano rolls.
        out: the folder to write into; ``composed`` in the run unless given.
        beats: of each primer, that are read; None for all.
        samples: of each.
        asked: what `runs.generate.Asked` holds; None for what the run's task says.
        others: flags of `predict` that do not go together with music.
        as_json: one object that names the files.
    """
    if given := next((name for name, value in others.items() if value), None):
        raise UserError(given, "does not go together with a run that composes", "leave it out")
    target = _folder(folder, out)
    with stdout_for_json(as_json):
        from trainwright.runs.compose import NOTHING, compose, primers_in
        from trainwright.runs.generate import Asked
        from trainwright.runs.run import open_run

        primers = [p for path in files for p in primers_in(path, beats)] or [NOTHING]
        found = compose(open_run(folder).predictor, primers, samples, Asked(**asked))
        made: list[tuple[str, float, list[Path]]] = [
            (primer.name, piece.score.beats, piece.save(target / name))
            for primer, pieces in zip(primers, found, strict=True)
            for number, piece in enumerate(pieces, 1)
            for name in [primer.name + (f"-{number}" if samples > 1 else "")]
        ]
    if as_json:
        told = [{"primer": p if files else None, "beats": b, "files": [str(f) for f in paths]} for p, b, paths in made]
        print_json({"run": str(folder), "composed": told})
        return
    for _, _, paths in made:
        click.echo(" ".join(map(str, paths)))


def _folder(folder: Path, out: str | None) -> Path:
    from trainwright.runs.directory import COMPOSED

    target = folder / COMPOSED if out is None else Path(out).expanduser()
    try:
        target.mkdir(parents=out is None, exist_ok=True)
    except OSError as error:
        raise CannotCreateError("--out", f"'{target}' cannot be made: {error.strerror}", "name a folder") from None
    return target
