"""A user's own parts: Python files named in a recipe, and installed packages that offer entry points."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from hashlib import blake2b
from importlib.metadata import entry_points
from pathlib import Path

from trainwright.core.errors import TrainwrightError, UserError


def load_plugins(files: Sequence[str], folder: Path | None = None) -> list[str]:
    """Run each file once in this process; what it registers is then known by name. Returns absolute paths.

    Args:
        files: as the recipe writes them, relative to the working folder or to the recipe's.
        folder: the recipe's.
    """
    for entry in entry_points(group="trainwright.plugins"):
        entry.load()
    if folder is not None and (folder / "manifest.json").is_file():
        for name in files:
            _named_by_its_owner(name, folder)
    paths = [_found(name, folder) for name in files]
    for path, name in zip(paths, files, strict=True):
        _load(path, name)
    return [str(path) for path in paths]


def _found(name: str, folder: Path | None) -> Path:
    for base in (Path.cwd(), folder):
        if base is not None and (base / name).is_file():
            return (base / name).resolve()
    raise UserError("plugins", f"'{name}' is not a file", "write the path of a Python file, relative to the recipe")


def _named_by_its_owner(name: str, run: Path) -> None:
    """UserError for a file that a run's config.toml brings along: a run only names those of whoever trained it here.

    A folder that somebody sent can hold any file, and would otherwise run it when it is looked at.
    """
    path = Path(name)
    if not path.is_absolute() or path != path.resolve() or path.is_relative_to(run.resolve()):
        what = f"'{name}' is a program that came with the run"
        raise UserError("plugins", what, "read it, put it elsewhere, and write its whole path into config.toml")


def _load(path: Path, name: str) -> None:
    module_name = f"trainwright_plugin_{path.stem}_{blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    if module_name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError("plugins", f"'{name}' is not a Python file", "its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except TrainwrightError:
        del sys.modules[module_name]
        raise
    except Exception as error:
        del sys.modules[module_name]
        raise UserError(
            "plugins", f"'{name}' raised {type(error).__name__}: {error}", "run it with python to see where"
        ) from error
