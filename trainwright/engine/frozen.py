"""Weights that do not learn: for good, or until a step of the training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


class Frozen:
    """Which weights of a model rest, and until which step.

    A resting weight gets no gradient, so no optimizer touches it. A norm whose weights all rest stays in evaluation
    mode: its running statistics rest as well.

    Args:
        model: as its author wrote it.
        until: name of a weight -> the step from which on it learns; None is never.
    """

    def __init__(self, model: nn.Module, until: Mapping[str, int | None]) -> None:
        self._until = {weight: until[name] for name, weight in model.named_parameters() if name in until}
        self._norms = [(m, end) for m in model.modules() if (end := self._norm(m)) != 0]
        self._settled = -1  # the step at which the modes were last set
        for weight, end in self._until.items():
            if end is None:
                weight.requires_grad_(False)

    def drop(self, step: int) -> None:
        """Forget the gradients of weights that still rest."""
        for weight, end in self._until.items():
            if end is not None and step < end:
                weight.grad = None

    def resting(self, step: int) -> set[Tensor]:
        """The weights that do not learn at a step."""
        return {weight for weight, end in self._until.items() if end is None or step < end}

    def settle(self, step: int) -> None:
        """Resting norms into evaluation mode, those that have just awoken into training mode."""
        for norm, end in self._norms:
            if end is None or step < end:
                norm.training = False
            elif self._settled < end:
                norm.training = True
        self._settled = step

    def _norm(self, module: nn.Module) -> int | None:
        """The step at which a norm with running statistics awakes: None is never, 0 is at once."""
        own = list(module.parameters(recurse=False))
        if not isinstance(module, _NormBase) or module.running_mean is None or not own:
            return 0
        ends = [self._until.get(weight, 0) for weight in own]
        return min((end for end in ends if end is not None), default=None)
