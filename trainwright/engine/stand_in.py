"""A class of ours in the place of one of torch's, for as long as a plan has it so."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def stand_in(
    model: nn.Module,
    theirs: type[nn.Module],
    ours: type[nn.Module],
    which: Callable[[nn.Module], bool] = lambda m: True,
) -> Callable[[], None]:
    """Have every module of a class be one of ours instead; returns what puts all back.

    Args:
        model: and all modules in it.
        theirs: exactly this class; what is derived from it stays what it is.
        ours: derived from it, with nothing else to remember.
        which: of that class, unless all.
    """
    changed = [m for m in model.modules() if type(m) is theirs and which(m)]
    for module in changed:
        module.__class__ = ours

    def back() -> None:
        for module in changed:
            module.__class__ = theirs

    return back
