"""Where a file or a folder named in a recipe really is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from trainwright.core.errors import DataError, did_you_mean

DATA = "TRAINWRIGHT_DATA"  # the environment variable that names a folder of data sets
_LISTED = 12  # names shown of a folder that holds nothing similar


def find(path: str, where: str) -> Path:
    """The file or folder ``path`` names: as given (``~`` expanded), else under the folder of $TRAINWRIGHT_DATA.

    Args:
        path: absolute, or relative to the working directory or to $TRAINWRIGHT_DATA.
        where: the option that named it (``data.path``), for the message.

    Raises `DataError` that names every place looked at.
    """
    if not path.strip():
        raise DataError(where, "the path is empty", "write the path of a file or a folder")
    looked = list(_places(path))
    for place in looked:
        try:
            if place.exists():
                return place.absolute()
        except (OSError, ValueError) as error:
            raise DataError(
                where, f"{place} cannot be looked at ({error})", "check the path and its permissions"
            ) from None
    names = " nor at ".join(str(p.absolute()) for p in looked)
    raise DataError(where, f"nothing is at {names}", _instead(looked))


def cache(room: str) -> Path:
    """The folder of the user's cache for ``room``: below $XDG_CACHE_HOME, else below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "trainwright" / room


def _places(path: str) -> Iterator[Path]:
    try:
        given = Path(path).expanduser()
    except RuntimeError:  # ~name of a person this machine does not know
        given = Path(path)
    yield given
    home = os.environ.get(DATA)
    if home and not given.is_absolute():
        yield Path(home).expanduser() / given


def _instead(looked: list[Path]) -> str:
    """The nearest name beside the first missing part of each place; else what the folders hold."""
    hints = []
    for place in looked:
        folder, word = _missing(place.absolute())
        names = _names(folder)
        hint = did_you_mean(word, names)
        if hint.startswith("did you mean"):
            return hint if folder == place.absolute().parent else f"{hint[:-1]} (in {folder})?"
        shown = ", ".join(names[:_LISTED]) + (f", … ({len(names) - _LISTED} more)" if len(names) > _LISTED else "")
        hints.append(f"{folder} holds {shown or 'nothing'}")
    if len(looked) == 1 and not looked[0].is_absolute() and DATA not in os.environ:
        hints.append(f"a relative path is also looked up under ${DATA}, which is not set")
    return "; ".join(dict.fromkeys(hints))


def _missing(place: Path) -> tuple[Path, str]:
    """The deepest folder on the way that exists, and the next name, which does not."""
    while not place.parent.is_dir() and place.parent != place:
        place = place.parent
    return place.parent, place.name


def _names(folder: Path) -> list[str]:
    try:
        return sorted(n for n in os.listdir(folder) if not n.startswith("."))
    except OSError:
        return []
