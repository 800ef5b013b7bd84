"""Less dropout, weights that learn again, and outputs of another shape."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, final

from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import repairs
from trainwright.core.repair import Repair


@repairs.add("dropout", consent=True)
@final
class Dropout(Repair):
    """No dropout leaves out more than a share.

    Args:
        most: of the units.
    """

    def __init__(self, *, most: Annotated[float, Field(ge=0, lt=1)] = 0.2) -> None:
        self.most = most

    def change(self, model: nn.Module) -> None:
        """Lower the rates; UserError where all are low."""
        high = [m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > self.most]
        if not high:
            raise UserError("model", f"no dropout leaves out more than {self.most:g}", "look elsewhere")
        for module in high:
            module.p = self.most


@repairs.add("learn_all", consent=True)
@final
class LearnAll(Repair):
    """All weights learn, also those that were kept from it, and the optimizer knows them all."""

    def change(self, model: nn.Module) -> None:
        """Ask a gradient for each."""
        model.requires_grad_(True)


@repairs.add("answers", consent=True)
@final
class Answers(Repair):
    """The last dense layer gives another number of answers.

    Args:
        count: of them.
        layer: the last dense layer; the last one that the model lists unless given.
    """

    def __init__(self, *, count: Annotated[int, Field(ge=1)], layer: str = "") -> None:
        self.count, self.layer = count, layer

    def change(self, model: nn.Module) -> None:
        """Put a new layer in its place, drawn as torch draws it."""
        named = dict(model.named_modules())
        dense = [name for name, m in named.items() if isinstance(m, nn.Linear) and name]
        name = self.layer or (dense[-1] if dense else "")
        if name not in dense:
            raise UserError("model", "has no last dense layer", "change it by hand")
        old: Any = named[name]
        new = nn.Linear(old.in_features, self.count, old.bias is not None)
        above, _, last = name.rpartition(".")
        setattr(named[above], last, new.to(old.weight.device, old.weight.dtype))


@repairs.add("output_shape", consent=True)
@final
class OutputShape(Repair):
    """The output loses its last axis of length 1, or gets one.

    Args:
        to: "flat" takes the axis away, "column" adds it.
    """

    def __init__(self, *, to: Literal["flat", "column"]) -> None:
        self.to = to

    def change(self, model: nn.Module) -> None:
        """Behind the model."""
        model.register_forward_hook(partial(_reshaped, self.to))


def _reshaped(to: str, model: nn.Module, given: Any, made: Any) -> Any:
    if not isinstance(made, Tensor):
        return made
    return made.squeeze(-1) if to == "flat" else made.unsqueeze(-1)


@repairs.add("optimizer_of_all", consent=False)
@final
class OptimizerOfAll(Repair):
    """The optimizer is given all weights that learn, also those that it was made without; the model stays."""

    def change(self, model: nn.Module) -> None:
        """Nothing: whoever makes the optimizer looks for this repair."""
