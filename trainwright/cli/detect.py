"""What a run that finds things in pictures writes: the boxes, and pictures and films with them drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainwright.cli.told import plain, print_json, stdout_for_json
from trainwright.core.errors import CannotCreateError, DataError, UserError

if TYPE_CHECKING:
    from trainwright.runs.inputs import Item


def detect(
    folder: Path,
    files: Sequence[str],
    part: str | None,
    out: str | None,
    skip: bool,
    others: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Look for things in each file, or in a part of the run's data, and write what is found into a folder.

    Args:
        folder: of the run.
        files: images, folders of them, films.
        part: instead of files.
        out: the folder to write into; ``detections`` in the run unless given.
        skip: go on where an input cannot be read.
        others: flags of `predict` that do not go together with pictures.
        as_json: one object with the answers and the files.
    """
    if given := next((name for name, value in others.items() if value), None):
        raise UserError(given, "does not go together with a run that finds things in pictures", "leave it out")
    if bool(files) == bool(part):
        raise UserError("predict", "one of INPUT and --part says what is asked", "give one of them")
    skipped: list[dict[str, str]] = []

    def passed(item: Item, error: DataError) -> None:
        skipped.append({"input": item.place, "why": str(error)})
        click.echo(f"skipped: {error}", err=True)

    told: list[dict[str, Any]] = []
    with stdout_for_json(as_json):
        from trainwright.runs.detect import detected, save
        from trainwright.runs.inputs import items_from, items_of
        from trainwright.runs.run import open_run

        predictor = open_run(folder).predictor
        items = items_of(folder, part) if part else items_from(files, folder)
        target = _folder(folder, out)
        last: Path | None = None
        count = 0
        for found, path in save(detected(predictor, items, passed if skip else None), target):
            count += 1
            if as_json:
                told.append({**plain(found.answer), "file": str(path)})
            elif path != last:
                click.echo(f"{path}  {_said(found.answer['boxes'])}")
            last = path
    if not count:
        raise DataError("predict", "no input could be used", "what was wrong with each is told above")
    if as_json:
        print_json({"run": str(folder), "answers": told, **({"skipped": skipped} if skip else {})})


def _said(boxes: Sequence[Mapping[str, Any]]) -> str:
    """``12 RBC, 1 WBC``; of a film, in its first frame."""
    kinds = [str(b["label"]) for b in boxes]
    return ", ".join(f"{kinds.count(k)} {k}" for k in sorted(set(kinds))) or "nothing found"


def _folder(folder: Path, out: str | None) -> Path:
    from trainwright.runs.directory import DETECTIONS

    target = folder / DETECTIONS if out is None else Path(out).expanduser()
    try:
        target.mkdir(parents=out is None, exist_ok=True)
    except OSError as error:
        raise CannotCreateError("--out", f"'{target}' cannot be made: {error.strerror}", "name a folder") from None
    return target
