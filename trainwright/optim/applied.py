"""Whether a model has applied already what its loss applies by itself: a softmax or a sigmoid."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.optim.theirs import module_of

_OURS = {
    "cross_entropy": "softmax",
    "focal": "softmax",
    "binary_cross_entropy": "sigmoid",
    "binary_focal": "sigmoid",
}
_THEIRS: Mapping[type[nn.Module], str] = {nn.CrossEntropyLoss: "softmax", nn.BCEWithLogitsLoss: "sigmoid"}
_SHAPES = ("Squeeze", "Unsqueeze", "View", "Reshape", "UnsafeView", "Alias", "Clone", "Select", "Slice", "ToCopy")


def applies(loss: object) -> str:
    """What a loss applies to the model's output: ``softmax``, ``sigmoid``, or nothing that is known."""
    name = loss.get("name") if isinstance(loss, Mapping) else loss
    if isinstance(name, str):
        return _OURS.get(name, "")
    module = module_of(loss)
    return _THEIRS.get(type(module), "") if module is not None else ""


def refuse_twice(output: Tensor, applied: str) -> None:
    """UserError where the output, which must have its graph, was made by what the loss applies."""
    node = output.grad_fn
    while node is not None and node.name().startswith(_SHAPES):
        node = node.next_functions[0][0]
    if applied and node is not None and node.name().startswith(f"{applied.capitalize()}Backward"):
        what = f"ends in a {applied}, which the loss applies by itself"
        raise UserError("model", what, "leave it out: predictions have probabilities all the same")
