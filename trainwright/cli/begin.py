"""The command that writes a first recipe."""

from __future__ import annotations

import shlex

import click

from trainwright.cli.commands import commands, json_option
from trainwright.cli.told import print_json, stdout_for_json


@commands.command(short_help="Look at data, and write a recipe for it.")
@click.argument("path")
@click.option("--out", metavar="FILE", default="recipe.toml", help="The recipe, which must not be there yet.")
@click.option("--task", metavar="NAME", help="What is learned; found by itself unless given.")
@click.option("--target", metavar="COLUMN", help="The column of a table to predict; found by itself unless given.")
@json_option
def new(path: str, out: str, task: str | None, target: str | None, as_json: bool) -> None:
    """Look at data, find the task, and write a short recipe that trains with no edit.

    PATH is a table (.csv, .tsv, .parquet, .jsonl), a folder with a training and a test table, a folder or .zip with one
    folder of images or films per class (also in folders train, valid and test), a folder of IDX files, an .npz file,
    a text or a folder of texts, one of two files of lines in two languages (train.de beside train.en) or their folder,
    or the name of a public set. Nothing is ever overwritten.

    \b
    trainwright new flowers/
    trainwright new houses.csv --target price --out houses.toml
    """
    with stdout_for_json(as_json):
        from trainwright.runs.figures import aligned
        from trainwright.tools.new import new as propose

        made = propose(path, out=out, task=task, target=target)
    then = f"trainwright train {shlex.quote(str(made.recipe))}"
    if as_json:
        facts = [{"label": label, "text": text} for label, text in made.facts]
        print_json({"recipe": str(made.recipe), "facts": facts, "unsure": list(made.unsure), "next": then})
        return
    rows = [*made.facts, *(("unsure", text) for text in made.unsure), ("recipe", str(made.recipe)), ("next", then)]
    for line in aligned(rows):
        click.echo(line)
