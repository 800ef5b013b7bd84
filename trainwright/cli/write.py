"""What a run that writes texts writes behind prompts, as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from trainwright.cli.told import print_json, stdout_for_json
from trainwright.cli.typed import run_folder
from trainwright.core.errors import UserError


def write(
    run: str, prompts: Sequence[str], samples: int, asked: Mapping[str, Any], others: Mapping[str, Any], as_json: bool
) -> None:
    """Continue prompts on standard output: one text as it is written, several one after the other.

    Args:
        run: its folder.
        prompts: what to go on from.
        samples: of each.
        asked: what `runs.generate.Asked` holds; None for what the run's task says.
        others: flags of `predict` that do not go together with prompts.
        as_json: one object with all texts.
    """
    if given := next((name for name, value in others.items() if value), None):
        raise UserError(given, "does not go together with --prompt", "give one of the two")
    folder = run_folder(run)
    with stdout_for_json(as_json):
        from trainwright.runs.generate import Asked, generate, streamed
        from trainwright.runs.run import open_run

        predictor, how = open_run(folder).predictor, Asked(**asked)
        if samples == 1 and not as_json:
            _as_they_come(prompts, lambda prompt: streamed(predictor, prompt, how, _told))
            return
        found = generate(predictor, prompts, samples, how, _told)
    if as_json:
        answers = [{"prompt": prompt, "texts": texts} for prompt, texts in zip(prompts, found, strict=True)]
        print_json({"run": str(folder), "answers": answers})
        return
    for prompt, texts in zip(prompts, found, strict=True):
        for number, text in enumerate(texts, 1):
            click.echo(f"--- sample {number}\n{prompt}{text}")


def _as_they_come(prompts: Sequence[str], pieces: Callable[[str], Iterable[str]]) -> None:
    for number, prompt in enumerate(prompts):
        click.echo(("\n" if number else "") + prompt, nl=False)
        for piece in pieces(prompt):
            click.echo(piece, nl=False)
            sys.stdout.flush()
        click.echo()


def _told(text: str) -> None:
    click.echo(f"note: {text}", err=True)
