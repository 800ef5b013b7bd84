"""Names to factories. The folder is the registry: importing its files fills it; a second use of a name raises."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from trainwright.core.errors import TrainwrightError, UserError, did_you_mean
from trainwright.core.foreign_values import here

_HOUSE = str(Path(__file__).parent.parent)
T = TypeVar("T", bound=Callable[..., object])


class Registry(Generic[T]):
    """All things of one kind, by name.

    Args:
        kind: the word used in messages and in ``explain``, such as ``optimizer``.
        folder: the package whose modules register themselves when imported.
        gives: what a factory makes, in words; nothing for what cannot be told from here.
        fits: whether something is that.
    """

    def __init__(
        self, kind: str, folder: str, gives: str = "", fits: Callable[[object], bool] = lambda made: True
    ) -> None:
        self.kind, self.folder, self.gives, self._fits = kind, folder, gives, fits
        self._entries: dict[str, T] = {}
        self._tags: dict[str, dict[str, Any]] = {}
        self._loaded = False

    def add(self, name: str, **tags: Any) -> Callable[[T], T]:
        """Register a factory under ``name``; ``tags`` say what others may ask of it (``speaks=TokenModel``)."""

        def keep(factory: T) -> T:
            if name in self._entries:
                raise UserError(f"{self.kind}.{name}", "this name is already taken", "choose another name")
            self._entries[name], self._tags[name] = factory, tags
            return factory

        return keep

    def make(self, name: str, options: Mapping[str, Any], *given: Any) -> Any:
        """What the factory ``name`` makes of checked options; ``given`` comes before them.

        UserError where a person's own factory fails, or makes something else than this kind is.
        """
        factory = self[name]
        try:
            made = factory(*given, **options)
        except TrainwrightError:
            raise
        except Exception as error:
            if factory.__module__.startswith("trainwright."):
                raise
            raise failed(f"{self.kind}.{name}", error) from error
        return self.checked(made, name)

    def checked(self, made: Any, name: str) -> Any:
        """What a factory made, if it is what this kind is; UserError otherwise."""
        if not self._fits(made):
            raise UserError(f"{self.kind}.{name}", f"made a {type(made).__name__}", f"return {self.gives}")
        return made

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._load()
        return sorted(self._entries)

    def tags(self, name: str) -> Mapping[str, Any]:
        """What was said of ``name`` when it was registered."""
        self[name]
        return self._tags[name]

    def default_for(self, task: str) -> str | None:
        """The entry whose tag ``default_for`` names ``task``."""
        return next((n for n in self.names() if task in _words(self._tags[n].get("default_for", ()))), None)

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._entries:
            ours = here(self.kind, name)
            instead = f"it is called '{ours}' here" if ours else did_you_mean(name, self._entries)
            raise UserError(self.kind, f"no {self.kind} is named '{name}'", instead)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.folder)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.ispkg:
                importlib.import_module(f"{self.folder}.{module.name}")


def failed(where: str, error: Exception) -> UserError:
    """What a person's own code raised, and on which line."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(_HOUSE)]
    frame = (theirs or list(frames))[-1]
    what = f"raised {type(error).__name__}: {error}"
    return UserError(where, what, f"look at {Path(frame.filename).name}, line {frame.lineno}")


def _words(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
