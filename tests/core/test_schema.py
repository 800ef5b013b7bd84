from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from trainwright.core.errors import UserError
from trainwright.core.schema import check, json_schema, options, required, source, summary


def adamw(
    params: object,
    *,
    lr: Annotated[float, Field(gt=0, le=10)] = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    mode: Literal["a", "b"] = "a",
    size: int,
    mask: str | None = None,
) -> None:
    """Adam with decoupled
    weight decay.

    Args:
        lr: learning rate
            per step.
        betas: decay of the moments.
        mode: which.
        size: how many.
        mask: none by default.

    Source: Loshchilov & Hutter 2019,
    arXiv:1711.05101.
    """


def test_defaults_are_filled_in_and_whole_numbers_stand_for_numbers() -> None:
    assert check(adamw, {"lr": 1, "size": 3}, "optimizer") == {
        "lr": 1.0,
        "betas": (0.9, 0.999),
        "mode": "a",
        "size": 3,
        "mask": None,
    }


def test_a_list_stands_for_a_tuple() -> None:
    assert check(adamw, {"betas": [0.8, 0.9], "size": 1}, "o")["betas"] == (0.8, 0.9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lrr": 1.0, "size": 1}, "optimizer.lrr: unknown option; did you mean 'lr'?"),
        ({"lr": "1e-3", "size": 1}, "0.001 without quotes"),
        ({"lr": 99.0, "size": 1}, "optimizer.lr: 99.0 is out of range; write a number with 0 < x ≤ 10"),
        ({"lr": float("inf"), "size": 1}, "optimizer.lr: inf is not valid"),
        ({"lr": float("nan"), "size": 1}, "optimizer.lr: nan is not valid"),
        ({"lr": True, "size": 1}, "optimizer.lr: True is not valid"),
        ({"betas": [1.0], "size": 1}, "optimizer.betas"),
        ({"betas": ["x", 0.9], "size": 1}, "at position 0"),
        ({"mode": "c", "size": 1}, "'a' or 'b'"),
        ({"size": 1.5}, "whole number"),
        ({}, "optimizer.size: required, but missing"),
        ({"mask": 3, "size": 1}, "text or none"),
    ],
)
def test_a_mistake_names_the_key_and_what_to_write(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as raised:
        check(adamw, given, "optimizer")
    assert message in str(raised.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(UserError) as raised:
        check(adamw, {"lrr": 1, "lr": -1.0}, "o")
    assert all(key in str(raised.value) for key in ("o.lrr", "o.lr", "o.size"))


def test_options_given_later_are_not_asked_for_and_not_taken() -> None:
    assert "size" not in check(adamw, {}, "o", later=["size"])
    with pytest.raises(UserError):
        check(adamw, {"size": 1}, "o", later=["size"])
    assert required(adamw) == ["size"]


def test_the_docstring_describes_each_option() -> None:
    known = options(adamw)
    assert known["lr"].doc == "learning rate per step."
    assert known["lr"].range == "0 < x ≤ 10"
    assert known["size"].required
    assert source(adamw.__doc__) == "Loshchilov & Hutter 2019, arXiv:1711.05101."
    assert summary(adamw.__doc__) == "Adam with decoupled weight decay."
    assert json_schema(adamw)["properties"]["lr"]["exclusiveMinimum"] == 0
