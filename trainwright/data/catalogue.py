"""The catalogue: public data sets by name, found on this machine or downloaded from where they are published."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import sets, sources
from trainwright.data import paths
from trainwright.data.download import Report, digest, download, is_sound
from trainwright.data.joined import Joined
from trainwright.data.published import File, PublicSet
from trainwright.data.source import Source

NAME = "catalogue"


@sources.add(NAME)
def catalogue(*, set: str) -> Source:
    """A public data set by its name: ``data = "mnist"`` says the same as ``{ source = "catalogue", set = "mnist" }``.

    Its files are looked for in the folder of that name under $TRAINWRIGHT_DATA, then in the user's cache
    ($XDG_CACHE_HOME/trainwright/data, else ~/.cache/trainwright/data). What is nowhere is downloaded into the cache
    from its published address, once, with progress, and taken up again where a connection broke. Every file is
    compared with its sha256 before it is used. The records and parts are those of the source that reads the files.

    Args:
        set: the name of a public set; `trainwright explain set` lists them.
    """
    return opened(set)


def opened(name: str, report: Report = lambda what, done, total: None) -> Source:
    """The records of a public set, told ``report`` while it is downloaded."""
    public = known(name)
    folder = provided(name, report)
    factory = sources[public.source]
    options = reading(public, folder)
    first: Source = factory(**options)
    others = {part: name for part, name in (("valid", public.valids), ("test", public.tests)) if name}
    if not others:
        return first
    return Joined({"train": first, **{p: factory(**{**options, "path": str(folder / n)}) for p, n in others.items()}})


def known(name: str) -> PublicSet:
    """A set by its name; `UserError` with the nearest name where there is none."""
    try:
        public: PublicSet = sets[name]()
    except UserError as error:
        raise UserError("data.set", error.what, error.instead) from None
    return public


def reading(public: PublicSet, folder: Path) -> dict[str, Any]:
    """The options of the source that reads the set's files in ``folder``."""
    return {**public.options, "path": str(folder / public.options.get("path", ""))}


def provided(name: str, report: Report) -> Path:
    """The folder that holds every file of a set, checked; what is missing is downloaded first."""
    public = known(name)
    for place in _places(name, public):
        if all(is_sound(place / f.name, f.size, f.sha256) for f in public.files):
            return place
        _ours(place, name, public)
    cache = _places(name, public)[-1]
    if hidden := [f.name for f in public.files if not f.addresses and not (cache / f.name).is_file()]:
        what = f"{hidden[0]} is published nowhere by itself, so it cannot be downloaded"
        raise DataError(f"data set '{name}'", what, f"put it into {_wish(name, public)}")
    download(public.files, cache, report)
    return cache


@dataclass(frozen=True, slots=True)
class Found:
    """Where a set's files are, for those who want to know before anything is downloaded."""

    folder: Path | None
    missing: Sequence[File]


def look(name: str) -> Found:
    """Whether a set is on this machine; nothing is read but names."""
    public = known(name)
    for place in _places(name, public):
        if all((place / f.name).is_file() for f in public.files):
            return Found(place, ())
    return Found(None, public.files)


def _places(name: str, public: PublicSet) -> list[Path]:
    """Where the files may be; the last one is the cache."""
    folder = public.folder or name
    home = os.environ.get(paths.DATA)
    return [*([Path(home).expanduser() / folder] if home else []), paths.cache("data") / folder]


def _ours(place: Path, name: str, public: PublicSet) -> None:
    """A file of the user's own folder that is another than the published one is not passed over in silence."""
    if place == _places(name, public)[-1]:
        return
    for file in public.files:
        if (place / file.name).is_file() and not is_sound(place / file.name, file.size, file.sha256):
            what = (
                f"is not the published file (its sha256 is {digest(place / file.name)[:12]}…, not {file.sha256[:12]}…)"
            )
            own = f'data = {{ source = "{public.source}", path = "{place / str(public.options.get("path", ""))}" }}'
            raise DataError(str(place / file.name), what, f"take it away, or read it as data of your own: {own}")


def _wish(name: str, public: PublicSet) -> str:
    """The folder that a person is asked to put a file into."""
    home = os.environ.get(paths.DATA)
    folder = public.folder or name
    return str(Path(home) / folder) if home else f"the folder {folder} of a folder that ${paths.DATA} names"


def defaults(name: str) -> Mapping[str, Any]:
    """How a set is split where the recipe does not say."""
    return known(name).split
