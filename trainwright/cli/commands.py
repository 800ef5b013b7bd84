"""The commands of ``trainwright``. Nothing here imports torch before a command that needs it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trainwright.cli.grammar import Settable, Verbs
from trainwright.cli.outcome import go_on, of_several_seeds, repeated, trained, unattended
from trainwright.cli.scale import scaled, unasked
from trainwright.cli.told import failed, forget_stdout, print_json, stdout_for_json
from trainwright.cli.typed import (
    alone,
    healing,
    in_all,
    in_epochs,
    recipe_first,
    run_folder,
    settings_of,
    started_again,
    value_of,
)
from trainwright.core.errors import CheckpointError, NumericsError, UserError

if TYPE_CHECKING:
    from trainwright.runs.run import Run

C = TypeVar("C", bound=Callable[..., Any])


@dataclass(slots=True)
class _Place:
    """Where a failure of ours is written down."""

    folder: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code. Mistakes are one message on standard error.

    Exit codes: 0 done; 1 `verify` found a difference; 2 a mistake of the user's; 3 a checkpoint that cannot be used;
    10 the doctor's verdict is SUSPECT, with --strict; 69 a public data set that cannot be downloaded; 70 a fault of
    ours; 71 another process of the training is gone; 73 a file or folder that cannot be made; 74 a full disk; 75 the
    run is being trained elsewhere; 76 too many bad samples; 77 NaN ended the training, or the doctor's verdict is
    FAILED; 128 + n ended by signal n (130 for Ctrl-C).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    place = _Place()
    try:
        os.getcwd()  # libraries that we import end the process where it is gone
        code = _invoked(given, place)
        if sys.stdout is not None:  # closed by who started us
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has seen enough
        forget_stdout()
        return 128 + 13
    except Exception as error:
        return failed(error, "--json" in given, place.folder)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130


def _invoked(arguments: list[str], place: _Place) -> int:
    try:
        with commands.make_context("trainwright", arguments, obj=place) as context:
            return int(commands.invoke(context) or 0)
    except click.exceptions.Exit as done:
        return done.exit_code


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("trainwright"), prog_name="trainwright", message="%(prog)s %(version)s")
def commands() -> None:
    """Trains neural networks without failing silently.

    \b
    trainwright train digits                       a built-in example
    trainwright train recipe.toml --epochs 20      your own
    trainwright explain optimizer.adamw            what can be written, and what it does
    """


def json_option(command: C) -> C:
    """The flag --json."""
    text = "One JSON object on standard output, for scripts; all else goes to standard error."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


def quiet_option(command: C) -> C:
    """The flag --quiet."""
    return click.option("--quiet", is_flag=True, help="Say nothing but warnings and errors.")(command)


def scale_options(command: C) -> C:
    """--processes, --nodes and --rendezvous."""
    for option in (
        click.option(
            "--rendezvous", metavar="HOST:PORT", default="", help="With --nodes: where they meet, at one of them."
        ),
        click.option(
            "--nodes", type=int, default=1, metavar="N", help="Machines; each runs this command, --out is shared."
        ),
        click.option("--processes", type=int, metavar="N", help="Processes of this machine that train together."),
    ):
        command = option(command)
    return command


def set_options(command: C) -> C:
    """``key=value`` after the name, and ``--set key=value``."""
    text = "Set any key of the recipe, such as optimizer.lr=3e-4; may be repeated."
    command = click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help=text)(command)
    return click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")(command)


@commands.command(cls=Settable, short_help="Train what a recipe says.")
@click.argument("recipe", required=False, metavar="RECIPE|NAME")
@set_options
@click.option("--config", metavar="FILE", help="The recipe, for those who would rather write it so.")
@click.option("--data", metavar="PATH", help="File or folder with the data (data.path).")
@click.option("--epochs", type=float, help="Passes over the training data (budget).")
@click.option("--batch-size", metavar="N|all", help="Samples per optimizer step (batch_size).")
@click.option("--lr", type=float, help="Learning rate (optimizer.lr).")
@click.option("--device", help="auto, cpu, cuda, cuda:1, mps, xpu, xla.")
@click.option("--seed", type=int, help="Of the split, the weights, the order and the augmentation.")
@click.option("--seeds", type=int, metavar="N", help="Train with N seeds, from --seed on; tell mean and deviation.")
@click.option("--name", help="Label in the run folder's name.")
@click.option("--out", metavar="FOLDER", help="The run folder, empty or not there yet; runs/DATE-NAME-… unless given.")
@click.option("--exist-ok", is_flag=True, help="A run that is in --out already is moved aside to FOLDER.1, whole.")
@click.option("--strict", is_flag=True, help="Exit code 10 where the doctor's verdict is SUSPECT.")
@click.option("--heal", is_flag=True, help="Where something is wrong, try what may help, and go on with what won.")
@click.option("--yes", is_flag=True, help="With --heal: also take what changes the model, the loss or the data.")
@click.option(
    "--resume", "run", metavar="auto|RUN", help="auto: go on with the run in --out, or begin it. Else as resume RUN."
)
@scale_options
@quiet_option
@json_option
@click.pass_obj
def train(
    place: _Place,
    recipe: str | None,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    config: str | None,
    data: str | None,
    epochs: float | None,
    batch_size: str | None,
    lr: float | None,
    device: str | None,
    seed: int | None,
    seeds: int | None,
    name: str | None,
    out: str | None,
    exist_ok: bool,
    strict: bool,
    heal: bool,
    yes: bool,
    run: str | None,
    processes: int | None,
    nodes: int,
    rendezvous: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train what a recipe says: a .toml, .yaml or .json file, or the name of a built-in example (digits, iris, …).

    \b
    trainwright train recipe.toml --epochs 20 --lr 3e-4
    trainwright train digits optimizer.name=sgd optimizer.lr=0.1 batch_size=all
    trainwright train digits --optimizer.weight_decay 0.1 --micro-batch 16      any key, as an option
    trainwright train digits --seeds 5                                          five runs, and what they say together
    trainwright train recipe.toml --out run --resume auto                       begins, goes on, or is finished
    trainwright train recipe.toml --heal --yes                                  repairs what keeps it from learning
    trainwright train recipe.toml --processes 4                                 four processes, or GPUs, as one

    Names of other systems (learning_rate, max_epochs, …) are understood, and it is said what they are called here.
    """
    asked = ([] if recipe is None else [recipe]) + list(settings)
    recipe, settings = recipe_first(asked, config, resuming=run not in (None, "auto"))
    flags = {
        "data.path": data,
        "budget": None if epochs is None else in_epochs(epochs),
        "batch_size": None if batch_size is None else value_of(batch_size, "batch_size"),
        "optimizer.lr": lr,
        "device": device,
        "seed": seed,
        "name": name,
        "ranks": in_all(processes, nodes),
        **healing(heal, yes),
    }
    changes = settings_of([*settings, *more], flags)
    if run is not None:
        alone(seeds, "--resume", "leave --seeds out: a folder of several seeds is known by itself")
        alone(exist_ok or None, "--resume", "leave --exist-ok out: a run that goes on is not moved", "--exist-ok")
        if run != "auto":
            return _resumed(place, run, changes, nodes, rendezvous, quiet, as_json)
    place.folder = Path(out) if out else None
    if run is None and out is not None and started_again():
        run = "auto"
    if run == "auto" and nodes == 1:  # several machines find out together
        return unattended(recipe, changes, out, quiet, as_json)
    if seeds is not None:
        alone(seeds if exist_ok else None, "--exist-ok", "choose another folder with --out")
        alone(seeds if nodes > 1 else None, "--nodes", "train one seed after the other")
        return repeated(recipe, changes, seeds, out, quiet, as_json)

    with stdout_for_json(as_json):
        from trainwright.runs.train import train

        scale: dict[str, Any] = {"nodes": nodes, "rendezvous": rendezvous}
        made = train(recipe, changes, out=out, exist_ok=exist_ok, quiet=quiet, to_stderr=as_json, **scale)
    return trained(made, as_json, strict)


@commands.command(cls=Settable, short_help="Take a run up again where it stopped.")
@click.argument("run")
@set_options
@click.option("--epochs", type=float, help="A larger budget than the run's own.")
@scale_options
@quiet_option
@json_option
@click.pass_obj
def resume(
    place: _Place,
    run: str,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    epochs: float | None,
    processes: int | None,
    nodes: int,
    rendezvous: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Take a run up again where its newest checkpoint left it, exactly.

    \b
    trainwright resume runs/2026-11-20-digits-a1b2
    trainwright resume runs/2026-11-20-digits-a1b2 --epochs 60     a finished run, trained for longer

    A folder of runs that `train --seeds` made goes on with the seeds that are not finished.
    """
    flags = {"budget": None if epochs is None else in_epochs(epochs), "ranks": in_all(processes, nodes)}
    changes = settings_of([*settings, *more], flags)
    return _resumed(place, run, changes, nodes, rendezvous, quiet, as_json)


@commands.command(short_help="Score a run's model on data.")
@click.argument("run")
@click.option("--data", metavar="FILE", help="Another file or folder of the same kind; all its records count.")
@click.option("--part", type=click.Choice(["train", "valid", "test"]), help="A part of the run's own data.")
@json_option
def evaluate(run: str, data: str | None, part: str | None, as_json: bool) -> int:
    """Score a run's model on a part of its data (test unless given), or on other data."""
    folder = run_folder(run)
    with stdout_for_json(as_json):
        from trainwright.runs.run import open_run
        from trainwright.runs.score import evaluate_run
        from trainwright.runs.sound import told_broken
        from trainwright.runs.verdict import score_lines
        from trainwright.runs.words import standing

        opened = open_run(folder)
        found = evaluate_run(opened, data=data, part=part, tell=lambda text: click.echo(text, err=True))
    if found.trouble:
        click.echo(f"error: {told_broken(found.trouble)}", err=True)
    code = NumericsError.exit_code if found.trouble else 0
    if as_json:
        told: dict[str, Any] = {"scores": found.scores, "intervals": found.intervals, "trouble": found.trouble}
        told["confusion"] = found.confusion.as_json() if found.confusion else None
        print_json({"run": str(opened.path), **told})
        return code
    same = "test" in {key.partition("/")[0] for key in found.scores}
    simple, monitor = opened.baselines if same else {}, opened.manifest["monitor"]
    for line in score_lines(found.scores, simple, monitor["name"], intervals=found.intervals):
        click.echo(line)
    ended = opened.view.ended
    for text, _ in standing(ended, monitor["name"], monitor["better"]) if ended and same else ():
        click.echo(text)
    for line in found.confusion.lines() if found.confusion else ():
        click.echo(line)
    return code


@commands.command(short_help="Say what can be written in a recipe.")
@click.argument("name", required=False)
@click.option("--scale", "recipe", metavar="RECIPE", help="Say instead what this recipe would take on many devices.")
@click.option("--devices", type=int, metavar="N", help="With --scale: how many; 8 unless given.")
@click.option("--link", metavar="BPS", help="With --scale: of each device, such as 400Gbps; 100Gbps unless given.")
@click.option("--speed", metavar="FLOPS", help="With --scale: what a device reaches, such as 300TFLOPS; as here else.")
@click.option("--memory", metavar="BYTES", help="With --scale: of a device, such as 80GB; says whether it suffices.")
@json_option
def explain(
    name: str | None,
    recipe: str | None,
    devices: int | None,
    link: str | None,
    speed: str | None,
    memory: str | None,
    as_json: bool,
) -> None:
    """Say what can be written in a recipe: type, range, default, what it does, source.

    \b
    trainwright explain                    all there is
    trainwright explain optimizer          every optimizer
    trainwright explain optimizer.adamw    its options
    trainwright explain batch_size         a key of the recipe
    trainwright explain --scale recipe.toml --devices 64 --link 400Gbps       what it would take there
    """
    if recipe is not None:
        if name is not None:
            raise UserError(name, "and --scale both ask for something", "ask for one of them")
        scaled(recipe, 8 if devices is None else devices, link or "100Gbps", speed, memory, as_json)
        return
    unasked({"--devices": devices, "--link": link, "--speed": speed, "--memory": memory})
    with stdout_for_json(as_json):
        from trainwright.explain import as_text, explain, show

        page = explain(name)
    if as_json:
        print_json(page.as_json())
    elif sys.stdout.isatty():
        show(page)
    else:
        click.echo(as_text(page))


@commands.command(short_help="List the runs in a folder.")
@click.argument("folder", default="runs")
@json_option
def runs(folder: str, as_json: bool) -> None:
    """List the runs in a folder, oldest first."""
    if not Path(folder).is_dir() and folder != "runs":
        raise UserError(folder, "is not a folder", "name the folder that holds run folders, such as runs")
    with stdout_for_json(as_json):
        from trainwright.runs.figures import aligned, number
        from trainwright.runs.run import list_runs

        found = [_described(run) for run in list_runs(folder)]
    if as_json:
        print_json({"folder": folder, "runs": found})
    elif not found:
        click.echo(f"{folder} holds no runs yet; `trainwright train digits` makes one in runs")
    else:
        titles = ["run", "written", "state", "task", "model", "step", "score"]
        rows = [[str(r.get(t, "")) for t in titles[:-1]] for r in found]
        for row, r in zip(rows, found, strict=True):
            row.append("" if r.get("value") is None else f"{r['score']} {number(r['value'])}")
        for line in aligned([titles, *rows]):
            click.echo(line)


def _resumed(
    place: _Place, run: str, changes: Mapping[str, Any], nodes: int, rendezvous: str, quiet: bool, as_json: bool
) -> int:
    if of_several_seeds(run):
        if changes:
            raise UserError(next(iter(changes)), "cannot change in runs of several seeds", "train them anew with it")
        return go_on(run, quiet, as_json)
    place.folder = run_folder(run)
    with stdout_for_json(as_json):
        from trainwright.runs.train import resume

        scale: dict[str, Any] = {"nodes": nodes, "rendezvous": rendezvous}
        resumed = resume(place.folder, changes, quiet=quiet, to_stderr=as_json, **scale)
    return trained(resumed, as_json)


def _described(run: Run) -> dict[str, Any]:
    """A line of ``trainwright runs``; a folder that cannot be read is listed as such."""
    try:
        config, view, monitor = run.config, run.view, run.manifest["monitor"]["name"]
        best = next((e for e in reversed(view.evals) if e.best), None)
        scores = run.metrics
        key = next((k for k in (f"test/{monitor}", f"valid/{monitor}") if k in scores), "")
        own = run.manifest["model"]["class"]
        return {
            "run": str(run.path),
            "written": run.manifest["written"][:16].replace("T", " "),
            "state": run.state,
            "task": config.get("task", {}).get("name", ""),
            "model": config.get("model", {}).get("name") or own,
            "step": view.step,
            "best_step": best.step if best else None,
            "score": key,
            "value": scores.get(key),
        }
    except (OSError, ValueError, KeyError, TypeError, CheckpointError) as error:
        return {"run": str(run.path), "state": "unreadable", "why": f"{type(error).__name__}: {error}"}
