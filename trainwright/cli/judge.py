"""The command that asks the doctor: of a recipe, a run, or a table of losses."""

from __future__ import annotations

import sys

import click

from trainwright.cli.commands import commands, json_option, set_options
from trainwright.cli.grammar import Settable
from trainwright.cli.outcome import judged
from trainwright.cli.told import print_json, stdout_for_json
from trainwright.cli.typed import settings_of


@commands.command(cls=Settable, short_help="Say what is wrong with a recipe or a run.")
@click.argument("target", metavar="RECIPE|RUN|FILE.csv")
@set_options
@click.option("--strict", is_flag=True, help="Exit code 10 where something may be wrong.")
@json_option
def doctor(target: str, settings: tuple[str, ...], more: tuple[str, ...], strict: bool, as_json: bool) -> int:
    """Say what is wrong with a recipe before it is trained, with a run, or with a table of losses.

    \b
    trainwright doctor recipe.toml                      examines data, model, loss and optimizer; trains nothing
    trainwright doctor runs/2026-11-20-digits-a1b2      what was wrong with a run, by its log alone
    trainwright doctor losses.csv                       a log of anybody's, with columns such as loss and val_loss

    Exit code 0: healthy, or only suspect; 10: suspect, with --strict; 77: something spoils the result.
    """
    changes = settings_of([*settings, *more], {})
    with stdout_for_json(as_json):
        from trainwright.runs.console import Console
        from trainwright.tools.checkup import checkup

        console = Console(stderr=True)
        try:
            found = checkup(target, changes, console.progress)
        finally:
            console.close()
    if as_json:
        print_json(found.as_json())
    else:
        _tell(found)
    return judged(found.verdict, strict)


def _tell(found: object) -> None:
    import time

    from trainwright.runs.checkup import Checkup
    from trainwright.runs.surface import surface
    from trainwright.runs.words import tell_checkup

    assert isinstance(found, Checkup)
    tell_checkup(found, surface(sys.stdout, time.monotonic))
