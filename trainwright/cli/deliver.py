"""The command that writes a trained model for other programs."""

from __future__ import annotations

import click

from trainwright.cli.commands import commands, json_option
from trainwright.cli.told import print_json, stdout_for_json
from trainwright.cli.typed import run_folder


@commands.command(short_help="Write a run's model as .onnx or .safetensors.")
@click.argument("run")
@click.argument("file")
@click.option("--data", metavar="PATH", help="Records to check the file on; the run's own data unless given.")
@json_option
def export(run: str, file: str, data: str | None, as_json: bool) -> None:
    """Write a run's model to FILE (.onnx or .safetensors), and a .json file beside it with all that is to be known.

    The file must answer real records as the run does, else it is not kept. Nothing is ever overwritten.

    \b
    trainwright export runs/2026-11-20-digits-a1b2 digits.onnx
    """
    folder = run_folder(run)
    with stdout_for_json(as_json):
        from trainwright.runs.figures import aligned
        from trainwright.tools.export import export as write

        made = write(folder, file, data=data)
    if as_json:
        agreement = {"records": made.records, "difference": made.difference, "largest_output": made.largest}
        print_json({"model": str(made.model), "about": str(made.about), "checked": agreement})
        return
    told = f"{made.records} records; outputs up to {made.largest:g} differ by at most {made.difference:.1e}"
    for line in aligned([("model", str(made.model)), ("about", str(made.about)), ("checked", told)]):
        click.echo(line)
