"""The commands that train a recipe many times: with other values, and on other folds."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import click

from trainwright.cli.commands import commands, json_option, quiet_option, set_options
from trainwright.cli.grammar import Settable
from trainwright.cli.told import print_json, stdout_for_json
from trainwright.cli.typed import settings_of
from trainwright.core.errors import NumericsError, UserError


@commands.command(cls=Settable, short_help="Search for the best values of a recipe.")
@click.argument("recipe", metavar="RECIPE|NAME|FOLDER")
@set_options
@click.option("--space", multiple=True, metavar="KEY[=RANGE]", help="What is searched; may be repeated.")
@click.option("--trials", type=int, metavar="N", help="Trainings in all; 40 unless told.")
@click.option("--time", metavar="AMOUNT", help="For all trials together, such as '2 hours'; with --workers, of each.")
@click.option("--sampler", metavar="NAME", help="tpe, gp, cmaes, nsga2, random or grid; tpe unless told.")
@click.option("--pruner", metavar="NAME", help="Ends trials early: median, hyperband or asha; none unless told.")
@click.option("--objective", "objectives", multiple=True, metavar="NAME", help="score, seconds, size, or a metric.")
@click.option("--search-seed", type=int, metavar="N", help="Of the search; the recipe's own seed stays as it is.")
@click.option("--workers", type=int, default=1, metavar="N", help="Processes that train at once.")
@click.option("--storage", metavar="ADDRESS", help="A database, such as sqlite:///search.db; a file unless told.")
@click.option("--out", metavar="FOLDER", help="The folder of the search; runs/NAME-tune unless told.")
@click.option("--lr-range", is_flag=True, help="No search: one short training at rising rates, and its curve.")
@click.option("--steps", type=int, metavar="N", help="Of --lr-range; 200 unless told.")
@click.option("--join", is_flag=True, help="Only run trials of a search that is there; others end it.")
@quiet_option
@json_option
def tune(
    recipe: str,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    space: tuple[str, ...],
    trials: int | None,
    time: str | None,
    sampler: str | None,
    pruner: str | None,
    objectives: tuple[str, ...],
    search_seed: int | None,
    workers: int,
    storage: str | None,
    out: str | None,
    lr_range: bool,
    steps: int | None,
    join: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Search for the values that are best on the validation part; score the best once on the test part.

    \b
    trainwright tune recipe.toml --space optimizer.lr=1e-5..1e-1:log --space model.depth=2..6 --trials 40
    trainwright tune recipe.toml --space optimizer.lr --space optimizer.name=adamw,sgd --pruner hyperband
    trainwright tune recipe.toml --workers 4 --time '2 hours'       the space as the recipe has it in [tune.space]
    trainwright tune runs/digits-tune --trials 80                   goes on with a search, for more trials
    trainwright tune recipe.toml --lr-range                         which learning rates the training bears

    A range is LOW..HIGH, with :log, :step=2 or (for a grid) :points=5 behind it, or values with commas between them; a
    key alone has the range that its option suggests. The same command goes on with a search that was interrupted; in
    another terminal, or on another machine that sees the folder, it helps with it.
    """
    changes = settings_of([*settings, *more], {})
    if lr_range:
        others: dict[str, Any] = {
            "--trials": trials,
            "--time": time,
            "--sampler": sampler,
            "--pruner": pruner,
            "--storage": storage,
        }
        others |= {"--objective": objectives, "--join": join, "--search-seed": search_seed}
        if given := next((name for name, value in others.items() if value), None):
            raise UserError(given, "belongs to a search, and --lr-range is none", "leave one of them out")
        return _rates(recipe, changes, space, steps, out, quiet, as_json)
    if steps is not None:
        raise UserError("--steps", "belongs to --lr-range", "trials take as long as the recipe's budget says")
    with stdout_for_json(as_json):
        from trainwright.tools.tune import tune as search

        found = search(
            recipe,
            changes,
            space=space or None,
            trials=trials,
            time=time,
            sampler=sampler,
            pruner=pruner,
            objectives=objectives or None,
            seed=search_seed,
            workers=workers,
            storage=storage,
            out=out,
            join=join,
            quiet=quiet,
            to_stderr=as_json,
            say=_silence if quiet else _spoken,
        )
        lines = [] if quiet or as_json else found.lines()
    if as_json:
        print_json({"folder": str(found.path), **found.as_json()})
    for line in lines:
        click.echo(line)
    if not quiet and not as_json:
        click.echo(f"search   {found.path}  (best.toml, trials.csv, history.png, keys.png)")
    return _left("tune", str(found.path), found.interrupted) if found.interrupted else 0


def _rates(
    recipe: str,
    changes: Mapping[str, Any],
    space: tuple[str, ...],
    steps: int | None,
    out: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    with stdout_for_json(as_json):
        from trainwright.tools.rates import HIGH, LOW, STEPS, lr_range
        from trainwright.tools.space import ends

        low, high = ends("optimizer.lr", space) if space else (LOW, HIGH)
        told = STEPS if steps is None else steps
        found = lr_range(recipe, changes, low=low, high=high, steps=told, out=out, quiet=quiet, to_stderr=as_json)
    if as_json:
        print_json(found.as_json())
    for line in () if quiet or as_json else [*found.lines(), f"curve    {found.path}/lr_range.png"]:
        click.echo(line)
    return 0


@commands.command(cls=Settable, short_help="Cross-validate a recipe.")
@click.argument("recipe", metavar="RECIPE|NAME|FOLDER")
@set_options
@click.option("--folds", type=int, metavar="K", help="How many; 5 unless told.")
@click.option("--repeats", type=int, metavar="N", help="How often all is divided anew; 1 unless told.")
@click.option("--split", metavar="HOW", help="random, stratified, grouped or chronological; as the recipe has it.")
@click.option("--group", metavar="FIELD", help="Records with the same value are in one fold.")
@click.option("--time", metavar="FIELD", help="Folds lie behind all that is trained on, by this field.")
@click.option("--space", multiple=True, metavar="KEY[=RANGE]", help="Search within each fold (nested), as tune does.")
@click.option("--trials", type=int, metavar="N", help="Of the search within each fold; 20 unless told.")
@click.option("--workers", type=int, default=1, metavar="N", help="Processes that train at once.")
@click.option("--out", metavar="FOLDER", help="The folder of all runs; runs/NAME-crossval unless told.")
@click.option("--join", is_flag=True, help="Only train folds of a cross-validation that is there; others end it.")
@quiet_option
@json_option
def crossval(
    recipe: str,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    folds: int | None,
    repeats: int | None,
    split: str | None,
    group: str | None,
    time: str | None,
    space: tuple[str, ...],
    trials: int | None,
    workers: int,
    out: str | None,
    join: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train a recipe once for each fold, each time judged on that fold; tell mean, deviation and interval.

    \b
    trainwright crossval recipe.toml --folds 5
    trainwright crossval recipe.toml --folds 10 --repeats 3 --workers 4
    trainwright crossval recipe.toml --group patient             no patient is trained on and judged
    trainwright crossval recipe.toml --time date                 each fold is later than all that is trained on
    trainwright crossval recipe.toml --space optimizer.lr        with a search within each fold

    Folds are scikit-learn's for the recipe's seed. The same command goes on where it was interrupted.
    """
    changes = settings_of([*settings, *more], {})
    with stdout_for_json(as_json):
        from trainwright.tools.crossval import crossval as validate

        found = validate(
            recipe,
            changes,
            folds=folds,
            repeats=repeats,
            split=split,
            group=group,
            time=time,
            space=space or None,
            trials=trials,
            workers=workers,
            out=out,
            join=join,
            quiet=quiet,
            to_stderr=as_json,
            say=_silence if quiet else _heading,
        )
        lines = [] if quiet or as_json else found.lines()
    if as_json:
        print_json({"folder": str(found.path), **found.as_json()})
    for line in lines:
        click.echo(line)
    if not quiet and not as_json:
        click.echo(f"folds    {found.path}  (folds.csv, folds.png, predictions.csv)")
    for fold, why in found.failed.items():
        click.echo(f"error: {fold}: {why}", err=True)
    if found.interrupted:
        return _left("crossval", str(found.path), found.interrupted)
    return NumericsError.exit_code if found.failed else 0


def _left(verb: str, folder: str, reason: str) -> int:
    """128 + the number of the signal."""
    click.echo(f"interrupted; go on with it: trainwright {verb} {folder}", err=True)
    names: dict[str, Any] = dict(signal.Signals.__members__)
    return 128 + int(names.get(reason, 2))


def _heading(text: str) -> None:
    click.echo(f"\n{text}")


def _spoken(text: str) -> None:
    click.echo(text)


def _silence(text: str) -> None:
    """Nobody is told."""
