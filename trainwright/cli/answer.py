"""The command that lets a run's model answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainwright.cli.commands import commands, json_option
from trainwright.cli.compose import compose
from trainwright.cli.detect import detect
from trainwright.cli.forecast import forecast
from trainwright.cli.rows import Form, Rows, file_rows, show
from trainwright.cli.told import print_json, stdout_for_json
from trainwright.cli.typed import new_file, run_folder
from trainwright.cli.write import write
from trainwright.core.errors import DataError, UserError

if TYPE_CHECKING:
    from trainwright.runs.inputs import Item

Answers = Iterator[dict[str, Any]]
_TOLD = 20  # bad inputs named one by one


@commands.command(short_help="Let a run's model answer for files.")
@click.argument("run")
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "--part", type=click.Choice(["train", "valid", "test"]), help="Instead of inputs: a part of the run's data."
)
@click.option("--out", metavar="FILE", help="Write the answers to a new .csv or .jsonl file.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), help="Of standard output: csv unless given.")
@click.option("--keep", multiple=True, metavar="FIELD", help="A field of the record to repeat; may be repeated.")
@click.option(
    "--on-bad",
    type=click.Choice(["error", "skip"]),
    default="error",
    help="An input that cannot be read: end, or go on.",
)
@click.option("--text", multiple=True, metavar="TEXT", help="Instead of inputs: a text to judge; may be repeated.")
@click.option("--prompt", multiple=True, metavar="TEXT", help="Of a run that writes: what to go on from; repeatable.")
@click.option("--primer", type=float, metavar="BEATS", help="Of a run that composes: beats of INPUT to go on from.")
@click.option(
    "--tokens", type=int, metavar="N", help="With --prompt: tokens to write, at most; of music, frames or events."
)
@click.option("--samples", type=int, metavar="N", help="With --prompt, or music: how many of each; 1 unless given.")
@click.option(
    "--temperature", type=float, help="With --prompt, or music: 0 writes the likeliest; 1 what the model finds likely."
)
@click.option("--top-k", type=int, help="With --prompt, or music: only one of so many of the likeliest tokens.")
@click.option(
    "--top-p", type=float, help="With --prompt, or music: only the likeliest that together have this probability."
)
@click.option("--repetition", type=float, help="With --prompt: above 1, what stands there is written less readily.")
@click.option("--stop", multiple=True, metavar="TEXT", help="With --prompt: ends a text; may be repeated.")
@click.option("--seed", type=int, help="With --prompt, or music: of what is written.")
@json_option
def predict(
    run: str,
    inputs: tuple[str, ...],
    part: str | None,
    out: str | None,
    form: Form | None,
    keep: tuple[str, ...],
    on_bad: str,
    text: tuple[str, ...],
    prompt: tuple[str, ...],
    primer: float | None,
    tokens: int | None,
    samples: int | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    repetition: float | None,
    stop: tuple[str, ...],
    seed: int | None,
    as_json: bool,
) -> None:
    """Let a run's model answer for files: images, folders of images, texts, or tables (.csv, .parquet, .jsonl).

    An answer begins with where its record came from: the input, and the row of a table, counted from 1. Of classes it
    has the probabilities of all. On a terminal the first answers are shown; a pipe and --out get every one as it is
    made, whatever their number. The input - is standard input: JSON lines, or CSV with a header.

    \b
    trainwright predict runs/2026-11-20-digits-a1b2 photo.png
    trainwright predict runs/2026-11-20-adult-c3d4 new.csv --out answers.csv --keep name
    cat new.jsonl | trainwright predict runs/2026-11-20-adult-c3d4 - --format jsonl
    trainwright predict runs/2026-11-20-sst2-a7b8 --text "a warm and funny film"
    trainwright predict runs/2026-11-20-gpt-e5f6 --prompt "ROMEO:" --tokens 300

    trainwright predict runs/2026-11-29-jsb-g9h0 theme.mid --primer 8 --samples 3

    trainwright predict runs/2026-11-30-airline-k1l2 --out next

    trainwright predict runs/2026-11-30-bccd-m3n4 blood.jpg film.mp4 --out found

    A run that writes texts shows the prompt and what comes behind it, as it is written. A run that composes goes on
    from MIDI files, or begins by itself, and writes .mid, .wav and .png files into --out, or into the run. A run that
    forecasts goes on with the series of a table, or of its own data, and writes .csv and .png files there. A run that
    finds things in pictures, or in films frame by frame, writes them there with boxes drawn, and JSON lines.
    """
    choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition": repetition}
    told: dict[str, Any] = {"--tokens": tokens, "--samples": samples, "--stop": stop or None, "--seed": seed}
    asked = _asked(tokens, stop, seed, choice)
    others: dict[str, Any] = {"--text": text, "--part": part, "--format": form, "--keep": keep}
    if not prompt and _does(run, "continues"):
        others |= {**told, **_flags(choice), "--primer": primer, "--on-bad": on_bad == "skip"}
        forecast(run_folder(run), inputs, out, others, as_json)
        return
    if not prompt and not text and _does(run, "draws"):
        others = {**told, **_flags(choice), "--primer": primer, "--format": form, "--keep": keep}
        detect(run_folder(run), inputs, part, out, on_bad == "skip", others, as_json)
        return
    if not prompt and _does(run, "composes"):
        others |= {"--stop": stop, "--repetition": repetition}
        compose(run_folder(run), inputs, out, primer, 1 if samples is None else samples, asked, others, as_json)
        return
    if prompt:
        others |= {"INPUT": inputs, "--out": out, "--primer": primer}
        write(run, prompt, 1 if samples is None else samples, asked, others, as_json)
        return
    if primer is not None:
        raise UserError("--primer", "is for a run that composes", "leave it out")
    if given := next((k for k, v in {**told, **_flags(choice)}.items() if v is not None), None):
        raise UserError(given, "is for a run that writes texts, with --prompt", "leave it out, or write --prompt TEXT")
    if sum(map(bool, (inputs, part, text))) != 1:
        raise UserError("predict", "one of INPUT, --part and --text says what is asked", "give one of them")
    folder = run_folder(run)
    target = None if out is None else new_file(out)
    skipped: list[dict[str, str]] = []
    with stdout_for_json(as_json):
        from trainwright.runs.answers import answered
        from trainwright.runs.inputs import items_from, items_of, items_typed
        from trainwright.runs.run import open_run

        opened = open_run(folder)
        typed = items_typed(text, folder) if text else items_from(inputs, folder)
        items = items_of(folder, part) if part else typed
        bad = _passing(skipped) if on_bad == "skip" else None
        answers = _counted(answered(opened.predictor, items, keep=keep, bad=bad), shown=target is not None)
        kept = list(_some(answers)) if as_json and target is None else []
        written = _written(answers, target) if target is not None else len(kept)
    if as_json:
        told = {"answers": kept} if target is None else {"out": str(target), "count": written}
        print_json({"run": str(folder), **told, **({"skipped": skipped} if on_bad == "skip" else {})})
        return
    if target is not None:
        click.echo(f"{written:,} answers in {target}")
    elif sys.stdout.isatty() and form is None:
        show(_some(answers))
    else:
        Rows(sys.stdout, form or "csv").write(_some(answers))
    if skipped:
        click.echo(f"{len(skipped):,} inputs were skipped", err=True)


def _does(run: str, tag: str) -> bool:
    """Whether the run's task says so of itself; a run of a module of the user's own says nothing."""
    if not Path(run).expanduser().is_dir():  # that is said once it is known what was asked
        return False
    folder = run_folder(run)

    from trainwright.runs.predict import does

    return does(folder, tag)


def _flags(choice: dict[str, float | int | None]) -> dict[str, Any]:
    return {f"--{name.replace('_', '-')}": value for name, value in choice.items()}


def _asked(tokens: int | None, stop: tuple[str, ...], seed: int | None, choice: dict[str, Any]) -> dict[str, Any]:
    """What was said of how to write."""
    return {"tokens": tokens, "stop": stop or None, "seed": seed, "decoding": choice}


def _written(answers: Answers, target: Path) -> int:
    with file_rows(target) as rows:
        return rows.write(_some(answers))


def _some(answers: Iterable[dict[str, Any]]) -> Answers:
    """The answers; `DataError` where there is none."""
    count = 0
    for answer in answers:
        count += 1
        yield answer
    if not count:
        raise DataError("predict", "no input could be used", "what was wrong with each is told above")


def _counted(answers: Answers, *, shown: bool) -> Answers:
    """The answers, with their number on standard error as they are made, where nothing else is to be seen."""
    if not shown:
        yield from answers
        return
    from trainwright.runs.surface import surface

    out = surface(sys.stderr, time.monotonic)
    began = time.monotonic()
    try:
        for count, answer in enumerate(answers, 1):
            yield answer
            if count % 64 == 0:
                rate = count / max(time.monotonic() - began, 1e-9)
                out.live([(0, f"{count:,} answers"), (1, f"{rate:,.0f}/s")])
    finally:
        out.close()


def _passing(skipped: list[dict[str, str]]) -> Any:
    """Tells of the first bad inputs, and counts all."""

    def tell(item: Item, error: DataError) -> None:
        skipped.append({"input": item.place, "why": str(error)})
        if len(skipped) <= _TOLD:
            click.echo(f"skipped: {error}", err=True)
        elif len(skipped) == _TOLD + 1:
            click.echo("skipped: … and more", err=True)

    return tell
