"""The first weights of a run, where somebody asked for others than the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from trainwright.core.config import split_spec
from trainwright.core.errors import UserError
from trainwright.core.kinds import Init, inits
from trainwright.core.schema import check
from trainwright.models.draw import draw
from trainwright.models.wiring import behind
from trainwright.runs.assemble import Pieces, try_first
from trainwright.runs.begin import begun

InitSpec: TypeAlias = str | Mapping[str, Any] | Init


def rule_of(given: InitSpec | None) -> tuple[Init | None, str]:
    """The rule that a name, a spec or a function stands for, and what to call it; None leaves all weights alone."""
    if given is None:
        return None, ""
    if isinstance(given, str | Mapping):
        name, options = split_spec({"name": given} if isinstance(given, str) else given, "init")
        return inits.make(name, check(inits[name], options, "init")), name
    if not callable(given):
        raise UserError("init", f"{given!r} is no rule", "give a name such as 'orthogonal', or a function")
    return given, str(getattr(given, "__name__", type(given).__name__))


def written(given: InitSpec | None) -> dict[str, Any]:
    """The same as config.toml has it."""
    if given is None:
        return {"name": "auto"}
    return {"name": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {"name": "own"}


def begin(pieces: Pieces, rule: Init | None, name: str) -> None:
    """Draw the weights anew by the rule, each with the gain of the activation behind it; notes say what was done."""
    if rule is None:
        return
    part = pieces.state.parts["model"]
    weights = dict(part.state_dict())
    model = pieces.runtime.ranks.bare(pieces.state.model)
    gains = behind(model, lambda: try_first(pieces))
    drawn = draw(model, weights, rule, gains, pieces.config.seed)
    part.load_state_dict(weights)
    pieces.facts["notes"] = [*pieces.facts.get("notes", ()), *drawn.notes(name)]


def take(pieces: Pieces) -> None:
    """Weights of another training, where the recipe says ``init_from``; notes say which were taken."""
    state = pieces.state
    if pieces.config.init_from:
        beginning = begun(state.parts["model"], pieces.config.init_from)
        pieces.facts["init_from"] = beginning.facts()
        pieces.facts["notes"] = [*pieces.facts.get("notes", ()), *beginning.notes()]
    if state.ema:
        state.ema.restart()


def remember(pieces: Pieces, manifest: Mapping[str, Any]) -> None:
    """What the run began with, told by its manifest: the files may be gone."""
    if "init_from" in manifest["data"]:
        pieces.facts["init_from"] = manifest["data"]["init_from"]
