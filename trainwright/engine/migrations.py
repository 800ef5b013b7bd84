"""Checkpoints of earlier formats in the present one: pure functions, each from one format to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from trainwright.core.errors import CheckpointError

FORMAT = 5  # of what is written
Part = Mapping[str, Any]
State = Mapping[str, Part]


def must_be_known(version: Any, where: str) -> None:
    """CheckpointError for a format that this version cannot read."""
    if version in (FORMAT, *_TO_NEXT):
        return
    if isinstance(version, int) and version > FORMAT:
        what = f"of format {version}, which a newer version of Trainwright wrote"
        raise CheckpointError(
            f"{where} is {what}; this one reads formats {min(_TO_NEXT)} to {FORMAT}: install that one"
        )
    raise CheckpointError(f"{where} is of format {version!r}; this version reads formats {min(_TO_NEXT)} to {FORMAT}")


def migrated(state: State, version: int) -> dict[str, Part]:
    """A whole state, or some parts of one, as the present format has it; nothing of ``state`` is changed."""
    for step in range(version, FORMAT):
        state = _TO_NEXT[step](state)
    return dict(state)


def _from_1(state: State) -> State:
    """The layouts of before there were averages, plateaus, patience, roll-backs, and generators of a user's loader."""
    known: dict[str, Callable[[Part], Part]] = {
        "best": lambda best: {**best, "mark": best.get("mark", best["value"]), "waited": best.get("waited", 0)},
        "counters": lambda counters: {**_COUNTED, **counters},
        "loader": lambda loader: {"generators": [], **loader},
    }
    now = {name: known[name](part) if name in known else _moments(part) for name, part in state.items()}
    return {"schedule": {}, **now} if "optimizer" in now else now


def _from_2(state: State) -> State:
    """The layout of before memory that ran out was remembered."""
    if "counters" not in state:
        return state
    return {**state, "counters": {"micro": 0, "asked": 0, "halvings": 0, **state["counters"]}}


_COUNTED = {"streak": 0, "rollbacks": 0, "back": 0, "home": 0, "share": 1.0}


def _moments(part: Part) -> Part:
    """An optimizer's state with what its groups were given: the base rate is `initial_lr`; other parts as they are."""
    if "given" in part or not {"kind", "state", "groups"} <= part.keys():
        return part
    given = [
        {k: v for k, v in group.items() if k != "params" and not isinstance(v, Tensor)}
        | ({"lr": group["initial_lr"]} if "initial_lr" in group else {})
        for group in part["groups"]
    ]
    return {**part, "given": given}


def _from_3(state: State) -> State:
    """The layout of before a checkpoint carried the identity of its run, which is in its manifest alone."""
    return state


def _from_4(state: State) -> State:
    """The layout of before several ranks each wrote the rows they hold; a state that is read is the same."""
    return state


_TO_NEXT: Mapping[int, Callable[[State], State]] = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4}
