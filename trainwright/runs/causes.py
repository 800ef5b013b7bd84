"""Which cause a change takes away, and what a trial of changes says of the cause that was named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

# causes that one change takes away, in words; each is the name of the rule that would find it
CAUSES: Mapping[str, str] = {
    "rate_too_high": "a learning rate that is too high",
    "rate_too_low": "a learning rate that is too low",
    "weights_out_of_scale": "the first weights",
    "exploding_gradient": "gradients that leap",
    "penalty_too_strong": "a penalty that is too strong",
    "noisy_steps": "steps on too few samples",
    "inputs_not_scaled": "inputs that are not scaled",
    "target_not_scaled": "targets that are not scaled",
    "weights_at_rest": "weights that rest",
    "not_in_optimizer": "weights that the optimizer does not have",
    "too_much_dropout": "too much dropout",
    "rate_spent": "a schedule that ends too soon",
    "dead_units": "units that have died",
    "vanishing_gradient": "activations that let no slope pass",
}
_KEYS = {
    "init": "weights_out_of_scale",
    "clip": "exploding_gradient",
    "l1": "penalty_too_strong",
    "l2": "penalty_too_strong",
    "optimizer.weight_decay": "penalty_too_strong",
    "freeze": "weights_at_rest",
    "unfreeze": "weights_at_rest",
    "schedule": "rate_spent",
    "batch_size": "noisy_steps",
}
_REPAIRS = {
    "standard_inputs": "inputs_not_scaled",
    "standard_targets": "target_not_scaled",
    "learn_all": "weights_at_rest",
    "optimizer_of_all": "not_in_optimizer",
    "dropout": "too_much_dropout",
}
_NAMELESS = ("not_learning", "below_linear")  # findings that name no cause
_SAME = {  # the same trouble by another name, as far as changes go
    "symmetric_weights": "weights_out_of_scale",
    "saturated_units": "vanishing_gradient",
    "absurd_values": "inputs_not_scaled",
    "code_for_missing": "inputs_not_scaled",
}


class Change(Protocol):
    """One that was tried."""

    @property
    def what(self) -> str:
        """In words."""
        ...

    @property
    def cause(self) -> str:
        """Which it takes away; "" where it is of no single one."""
        ...


def taken_away(keys: Mapping[str, Any], repairs: Sequence[Mapping[str, Any]], rate: Any) -> str:
    """The rule whose cause these changes take away; "" where they change several things, or it is of no single one.

    Args:
        keys: dotted -> value, of the recipe.
        repairs: of the model, the optimizer or the data, each with its name and options.
        rate: the learning rate there was.
    """
    bends = [r for r in repairs if r["name"] == "activations"]
    found = {_KEYS.get(key, "") for key in keys if key != "optimizer.lr" and not (bends and key == "init")}
    found |= {_REPAIRS.get(r["name"], "") for r in repairs if r not in bends}
    found |= {"dead_units" if r.get("by") == "leaky_relu" else "vanishing_gradient" for r in bends}
    if "optimizer.lr" in keys:
        known = isinstance(rate, int | float) and rate > 0
        found.add(("rate_too_high" if keys["optimizer.lr"] < rate else "rate_too_low") if known else "")
    return found.pop() if len(found) == 1 else ""


def corrected(rule: str, tried: Sequence[Change], sure: Sequence[Change]) -> str:
    """The cause by a trial, where another was named or none; "" where the trial does not contradict it.

    It does where what takes away the named cause was tried and is no better for sure than no change and another seed,
    and the change that won takes away another cause alone.

    Args:
        rule: that found what is wrong.
        tried: changes.
        sure: those that are better for sure, the best first.
    """
    cause = sure[0].cause if sure else ""
    named = _SAME.get(rule, rule)
    if not cause or cause == named:
        return ""
    if rule in _NAMELESS:
        return cause
    direct = [c for c in tried if c.cause == named]
    return cause if direct and not any(c.cause == named for c in sure) else ""


def said(rule: str, cause: str) -> str:
    """That, as the end of a sentence; "" where there is nothing to correct."""
    if not cause:
        return ""
    if rule in _NAMELESS:
        return f"; so the cause is {CAUSES[cause]} ({cause})"
    return f"; so the cause is {CAUSES[cause]} ({cause}), not {rule}: what takes that away is no better for sure"
