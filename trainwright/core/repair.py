"""What changes a model that somebody built, so that it can learn: named in the recipe, and so done again each time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn


class Repair(ABC):
    """One change of a model. It depends on its options alone, never on data, so that a reopened run has the same."""

    @abstractmethod
    def change(self, model: nn.Module) -> None:
        """Change the model in place; UserError where it cannot be done.

        New layers begin as if they were not there.
        """

    def learn(self, model: nn.Module, run: Callable[[], object], targets: Tensor | None) -> None:  # noqa: B027
        """Fill the buffers that ``change`` made from training samples; once, before the first step.

        Args:
            model: that was changed.
            run: passes some samples through it.
            targets: (N, …) of many samples; None where there are not any, or several.
        """
