"""The commands that write a trained model for other programs and a run for other people, and take weights."""

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


@commands.command(short_help="Write a run as one HTML page.")
@click.argument("run")
@click.option("--out", metavar="FILE", help="The page; report.html in the run unless given.")
@json_option
def report(run: str, out: str | None, as_json: bool) -> None:
    """Write a run as one HTML page to send to others: scores, curves, findings, samples, recipe. Nothing is fetched.

    \b
    trainwright report runs/2026-11-20-digits-a1b2
    """
    folder = run_folder(run)
    with stdout_for_json(as_json):
        from trainwright.runs.run import open_run

        made = open_run(folder).report(out)
    if as_json:
        print_json({"run": str(folder), "report": str(made)})
        return
    click.echo(str(made))


@commands.command(name="import", short_help="Make .safetensors of foreign weights, safely.")
@click.argument("file")
@click.argument("out")
@click.option("--key", metavar="NAME", help="Where in the file the tensors are, such as ema; found by itself.")
@click.option("--leave-out", multiple=True, metavar="CLASS", help="Pass over objects of this class; may be repeated.")
@json_option
def import_(file: str, out: str, key: str | None, leave_out: tuple[str, ...], as_json: bool) -> None:
    """Write the tensors of FILE (.pt, .pth, .bin, .ckpt of torch.save) to OUT.safetensors, for init_from.

    Such files are pickles, and reading one can run any program in it. Here a process that can open, connect to and
    start nothing reads it, with torch's reader for weights only. What is not tensors is refused, or left out and told.

    \b
    trainwright import resnet18.pth resnet18.safetensors
    """
    with stdout_for_json(as_json):
        from trainwright.runs.figures import aligned
        from trainwright.tools.convert import convert

        made = convert(file, out, key=key, leave_out=leave_out)
    rows = [(name, "×".join(map(str, shape)) or "1", kind) for name, (shape, kind) in made.tensors.items()]
    if as_json:
        tensors = {name: {"shape": list(shape), "type": kind} for name, (shape, kind) in made.tensors.items()}
        print_json({"weights": str(made.path), "tensors": tensors, "notes": made.notes, "fences": made.fences})
        return
    for line in aligned(rows):
        click.echo(line)
    told = f"{len(rows):,} tensors, {made.numbers:,} numbers"
    for line in aligned([("weights", str(made.path)), ("holds", told), *(("note", note) for note in made.notes)]):
        click.echo(line)
