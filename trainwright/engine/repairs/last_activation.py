"""Another activation at the model's end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import repairs
from trainwright.core.repair import Repair
from trainwright.engine.trace import ACTIVATIONS, kind_of

_LEAST = 1e-12  # a probability
_INVERSE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda said: said.clamp_min(_LEAST).log(),
    "sigmoid": lambda said: torch.logit(said, 1e-7),
    "log_softmax": lambda said: said,
}
_MADE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": partial(F.softmax, dim=1),
    "log_softmax": partial(F.log_softmax, dim=1),
    "sigmoid": torch.sigmoid,
}


@repairs.add("last_activation", consent=True)
@final
class LastActivation(Repair):
    """The activation at the model's end is taken out, and another is put in its place.

    One that is a module is replaced by nothing; a softmax or sigmoid that is called as a function is undone by its
    inverse.

    Args:
        was: what is there, "none" where there is nothing.
        layer: the module that is it.
        by: what comes in its place, over axis 1; "none" is nothing.
    """

    def __init__(
        self,
        *,
        was: str = "none",
        layer: str = "",
        by: Literal["none", "softmax", "log_softmax", "sigmoid"] = "none",
    ) -> None:
        self.was, self.layer, self.by = was, layer, by

    def change(self, model: nn.Module) -> None:
        """Replace the module, or put the inverse behind the model."""
        if self.was != "none" and not self._replaced(model):
            if self.was not in _INVERSE:
                what = f"its last {self.was} is called as a function and cannot be taken out from outside"
                raise UserError("model", what, "take it out of forward()")
            model.register_forward_hook(partial(_behind, _INVERSE[self.was]))
        if self.by != "none":
            model.register_forward_hook(partial(_behind, _MADE[self.by]))

    def _replaced(self, model: nn.Module) -> bool:
        named = dict(model.named_modules())
        found = named.get(self.layer) if self.layer else None
        if found is None or (kind_of(found) not in ACTIVATIONS and kind_of(found) != "logsoftmax"):
            return False
        above, _, last = self.layer.rpartition(".")
        setattr(named[above], last, nn.Identity())
        return True


def _behind(change: Callable[[Tensor], Tensor], model: nn.Module, given: Any, made: Any) -> Any:
    return change(made) if isinstance(made, Tensor) else made
