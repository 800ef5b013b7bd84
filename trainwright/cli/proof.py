"""The command that proves a run: some of its steps are trained again and compared."""

from __future__ import annotations

import click

from trainwright.cli.commands import commands, json_option
from trainwright.cli.told import print_json, stdout_for_json
from trainwright.cli.typed import run_folder


@commands.command(short_help="Train some steps of a run again, and compare bit for bit.")
@click.argument("run")
@click.option(
    "--steps", type=int, metavar="N", help="How many; about 50 unless given, up to a checkpoint if one is near."
)
@click.option("--from", "start", type=int, metavar="STEP", help="The checkpoint to begin from; 0 is the seed.")
@json_option
def verify(run: str, steps: int | None, start: int | None, as_json: bool) -> int:
    """Train some steps of RUN again, elsewhere, and compare every loss, gradient norm, score and saved number.

    The run is not touched. Exit code 0: all is what it was, bit for bit; 1: it is not, and what may be the cause.

    \b
    trainwright verify runs/2026-11-20-digits-a1b2
    trainwright verify runs/2026-11-20-digits-a1b2 --from 0 --steps 10
    """
    folder = run_folder(run)
    with stdout_for_json(as_json):
        from trainwright.runs.figures import aligned
        from trainwright.tools.verify import verify as proven

        found = proven(folder, steps=steps, start=start)
    if as_json:
        print_json(found.as_json())
    else:
        for line in aligned(found.lines()):
            click.echo(line)
    return 0 if found.exact else 1


@commands.command(short_help="Take a step again that was not finite, and say why.")
@click.argument("incident")
@json_option
def replay(incident: str, as_json: bool) -> None:
    """Take the step of an incident again: which numbers stopped being finite first, where, and for which records.

    \b
    trainwright replay runs/2026-11-20-digits-a1b2/incidents/0001

    Every operation is looked at, forward and backward, in the run's precision; a failure in 16 bits also in float32.
    The data is not needed. A run of a module of your own is replayed from Python: tw.replay(FOLDER, model=net).
    """
    with stdout_for_json(as_json):
        from trainwright.tools.replay import replay

        found = replay(incident)
    if as_json:
        print_json(found.as_json())
        return
    for line in found.lines():
        click.echo(line)
