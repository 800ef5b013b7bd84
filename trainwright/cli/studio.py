"""The command that opens the studio."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainwright.cli.commands import commands
from trainwright.core.errors import UserError


@commands.command(short_help="Watch runs in the browser.")
@click.argument("folder", default="runs")
@click.option("--port", type=click.IntRange(0, 65535), help="Of this machine; the first free one from 8642 on, 0: any.")
@click.option("--no-browser", is_flag=True, help="Print the link and open nothing.")
@click.option("--control", is_flag=True, help="Let the page stop a training, which saves first.")
def studio(folder: str, port: int | None, no_browser: bool, control: bool) -> None:
    """Watch runs in the browser, while they train and after.

    FOLDER holds run folders, or is one. It is only read. The page answers on this machine alone, to whoever has the
    link that is printed; Ctrl-C closes it. Trainings neither know nor wait.

    \b
    trainwright studio
    trainwright studio runs/2026-11-20-digits-a1b2
    """
    place = Path(folder).expanduser()
    if not place.is_dir() and (folder != "runs" or place.exists()):
        raise UserError(folder, "is not a folder", "name the folder that holds run folders, such as runs")
    from trainwright.studio.files import places
    from trainwright.studio.pages import built
    from trainwright.studio.serve import Studio

    opened = Studio(place, port, control=control)
    if not built():
        click.echo("note: the studio's pages are not built in this installation; the link says what to do", err=True)
    if next(places(opened.shelf.root), None) is None:
        click.echo(f"{folder} holds no runs yet; `trainwright train digits` makes one, and it appears by itself")
    click.echo(f"studio   {opened.link}")
    click.echo("         Ctrl-C closes it; trainings go on")
    sys.stdout.flush()
    opened.serve(lambda: None if no_browser else _open(opened.link))


def _open(link: str) -> None:
    """In the person's browser, where there is a screen; one in the terminal would take the terminal away."""
    import os
    import webbrowser

    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(link)
