"""The options of keys of a recipe that are tables of their own."""

from __future__ import annotations

from typing import Literal


def doctor(*, mode: Literal["off", "advise"] = "advise") -> None:
    """The options of the recipe's key ``doctor``.

    Args:
        mode: "advise" says what is wrong and changes nothing; "off" says nothing.
    """
