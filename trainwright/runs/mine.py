"""What of a run is code of the caller's: no file of the run can hold it, so whoever goes on must bring it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainwright.core.config import RunConfig
from trainwright.core.errors import UserError
from trainwright.runs.recipe import plain
from trainwright.runs.run import Run

_OWN = {"name": "own"}
_PARTS = ("optimizer", "schedule", "step", "init")  # of a call of `tw.fit`, that may be a function


def own_parts(config: RunConfig, supervised: Mapping[str, Any]) -> list[str]:
    """The arguments of a call of `tw.fit` that were code, beside the module: ``["loss", "schedule", "metrics.f1"]``."""
    said = config.model_dump()
    own = ["loss"] if supervised["loss"] is None else []
    own += [key for key in _PARTS if said[key] == _OWN]
    return own + [f"metrics.{label}" for label, spec in config.metrics.items() if spec == _OWN]


def also(manifest: Mapping[str, Any]) -> str:
    """The parts that must be brought again, for a message; nothing where there are none."""
    own = manifest.get("own", [])
    return f": its {', its '.join(own)} {'are' if len(own) > 1 else 'is'} code of yours too" if own else ""


_FOR_GOOD = (
    ("seed", "batch_size", "precision", "pace", "ema", "monitor", "rates", "freeze", "unfreeze")
    + ("init", "init_from")
)  # fmt: skip


def same_parts(run: Run, config: RunConfig, loss: str | Mapping[str, Any] | None) -> None:
    """A run goes on with the loss, optimizer and step it began with, and with its own schedule; UserError otherwise.

    Two functions cannot be told apart: whether it is the same one is the caller's to see to.
    """
    if run.manifest["kind"] != "own":
        return
    before = run.config
    was = before["task"].get("loss")
    if was != plain(loss):
        raise UserError("loss", f"{_shown(loss)}, but this run began with {_of_loss(was)}", "give it that again")
    for key in ("optimizer", "step", "schedule"):
        then, here = before[key]["name"], getattr(config, key)["name"]
        if then != here and (key != "schedule" or then == "own"):
            what = f"{_shown(here, 'own')}, but this run began with {_of(then)}"
            raise UserError(key, what, "give it that again")


def same_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """A run goes on with the settings that decide its numbers; UserError otherwise.

    Args:
        before: config.toml as it is.
        now: as it would be written.
    """
    for key in _FOR_GOOD:
        if before.get(key) != now.get(key):
            what = f"is {_option(now.get(key))}, but this run began with {_option(before.get(key))}"
            raise UserError(key, what, "give it that again, or start a new run with the other")


def _option(value: Any) -> str:
    if isinstance(value, Mapping) and value.keys() == {"name"}:
        value = value["name"]
    return "none" if value in (None, {}, [], "auto") else repr(value)


def _shown(name: Any, own: Any = None) -> str:
    return "is code of yours" if name == own else f"is {name!r}"


def _of_loss(name: Any) -> str:
    return "one of your own" if name is None else repr(name)


def _of(name: str) -> str:
    return "one of your own" if name == "own" else repr(name)
