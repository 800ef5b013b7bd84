"""Names to factories. The folder is the registry: importing its files fills it; a second use of a name raises."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from trainwright.core.errors import UserError, did_you_mean

T = TypeVar("T", bound=Callable[..., object])


class Registry(Generic[T]):
    """All things of one kind, by name.

    Args:
        kind: the word used in messages and in ``explain``, such as ``optimizer``.
        folder: the package whose modules register themselves when imported.
    """

    def __init__(self, kind: str, folder: str) -> None:
        self.kind, self.folder = kind, folder
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
            raise UserError(self.kind, f"no {self.kind} is named '{name}'", did_you_mean(name, self._entries))
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


def _words(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
