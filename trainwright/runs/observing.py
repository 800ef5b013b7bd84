"""Observers: those a recipe names, and those a caller brings; a fault of one is told as such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainwright.core.config import split_spec
from trainwright.core.errors import TrainwrightError, UserError
from trainwright.core.events import Event, Observer, Stop
from trainwright.core.kinds import observers
from trainwright.core.registry import failed
from trainwright.core.schema import check


def checked_specs(specs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Every spec with all its options; UserError for a name or an option that nobody knows."""
    found = []
    for number, spec in enumerate(specs, 1):
        name, options = split_spec(spec, f"observers[{number}]")
        found.append({"name": name, **check(observers[name], options, f"observers.{name}")})
    return tuple(found)


def named(specs: Sequence[Mapping[str, Any]]) -> list[Observer]:
    """The observers of checked specs."""
    return [observers.make(spec["name"], {k: v for k, v in spec.items() if k != "name"}) for spec in specs]


class Audience:
    """All observers of a run as one. Whoever raised an error is told nothing more."""

    def __init__(self, members: Sequence[Observer]) -> None:
        if callable(members):
            raise UserError("observers", f"{_name(members)} is one function, not a list", "write observers=[it]")
        for member in members:
            if not callable(member):
                what = f"{member!r} is no observer"
                raise UserError("observers", what, "give functions (event) -> tw.Stop or None")
        self._members = list(members)

    def __call__(self, event: Event) -> Stop | None:
        """The first wish to stop."""
        wishes = [wish for member in list(self._members) if (wish := self._ask(member, event)) is not None]
        return wishes[0] if wishes else None

    def _ask(self, member: Observer, event: Event) -> Stop | None:
        try:
            wish = member(event)
        except TrainwrightError:
            self._members.remove(member)
            raise
        except Exception as error:
            self._members.remove(member)
            raise failed(f"observer {_name(member)}, told of {type(event).__name__},", error) from error
        if wish is not None and not isinstance(wish, Stop):
            self._members.remove(member)
            what = f"returned {wish!r} ({type(wish).__name__})"
            raise UserError(f"observer {_name(member)}", what, "return None, or tw.Stop(why) to end the training")
        return wish


def _name(member: Observer) -> str:
    return str(getattr(member, "__name__", type(member).__name__))
