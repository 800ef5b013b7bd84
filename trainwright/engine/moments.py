"""What an optimizer remembers, as a part of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.engine.layout import laid
from trainwright.engine.ranks import Share, Single


class Moments:
    """An optimizer as a part of the state, keyed by the names of the weights, so that any number of ranks reads it."""

    def __init__(self, optimizer: Optimizer, module: nn.Module, ranks: Single | None = None) -> None:
        self.optimizer, self.module, self.ranks = optimizer, module, ranks or Single()
        self._given = [_options(g) for g in optimizer.param_groups]  # before anything changed them

    def state_dict(self) -> dict[str, Any]:
        """``kind``; ``state`` {weight: {moment: tensor}}; ``groups`` [{…, "params": [weights]}]; ``given`` options."""
        names = self._names()
        state = {
            names[p]: {k: self.ranks.kept(v) if isinstance(v, Tensor) else v for k, v in entry.items()}
            for p, entry in self.optimizer.state.items()
        }
        groups = [{**g, "params": [names[p] for p in g["params"]]} for g in self.optimizer.param_groups]
        return {"kind": type(self.optimizer).__name__, "state": state, "groups": groups, "given": self._given}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse; an option that was set anew since then keeps its new value.

        ValueError for another optimizer, or where the groups hold other weights.
        """
        if state["kind"] != type(self.optimizer).__name__:
            raise ValueError(f"it is of {state['kind']}, the run's optimizer is {type(self.optimizer).__name__}")
        weights = {name: p for p, name in self._names().items()}
        _must_be_whole(state["groups"], state["given"], self._given)
        mine = [[self._names()[p] for p in g["params"]] for g in self.optimizer.param_groups]
        if mine != [list(g["params"]) for g in state["groups"]]:
            raise ValueError("the optimizer's groups hold other weights than the checkpoint's")
        number = {name: i for i, name in enumerate(n for names in mine for n in names)}
        self.optimizer.load_state_dict(
            {
                "state": {
                    number[name]: {k: self._laid(v, weights[name]) for k, v in entry.items()}
                    for name, entry in state["state"].items()
                },
                "param_groups": [
                    {**g, **_changed(was, now), "params": [number[n] for n in g["params"]]}
                    for g, was, now in zip(state["groups"], state["given"], self._given, strict=True)
                ],
            }
        )

    def asked_anew(self, state: Mapping[str, Any]) -> bool:
        """Whether a learning rate was given that differs from the one that a saved state began with."""
        return any("lr" in _changed(was, now) for was, now in zip(state["given"], self._given, strict=True))

    def _names(self) -> dict[Any, str]:
        return {p: name for name, p in self.ranks.bare(self.module).named_parameters()}

    def _laid(self, value: Any, weight: Tensor) -> Any:
        return laid(self.ranks.like(value, weight), weight) if isinstance(value, Tensor | Share) else value


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in group.items() if k != "params" and not isinstance(v, Tensor)}


def _must_be_whole(groups: Sequence[Mapping[str, Any]], was: Sequence[Mapping[str, Any]], now: Sequence[Any]) -> None:
    """KeyError where an option of a group is lost: torch would go on with a default of its own.

    An option that neither the groups nor what was given have is of a newer version than the checkpoint.
    """
    for group, given, mine in zip(groups, was, now, strict=True):
        plain = _options(group).keys()
        if lost := (given.keys() - group.keys()) | (mine.keys() & plain - given.keys()):
            raise KeyError(f"option {', '.join(sorted(lost))} of a group")


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The options whose given value is another now."""
    return {k: v for k, v in now.items() if k not in was or was[k] != v}
