"""Where a search looks for a number: a note beside the type of an option, read where its key is only named."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The range that is worth searching, which is narrower than what is legal.

    ``lr: Annotated[float, Field(gt=0), Span(1e-5, 1e-1, log=True)]``
    """

    low: float
    high: float
    log: bool = False  # every order of magnitude is as likely as any other
