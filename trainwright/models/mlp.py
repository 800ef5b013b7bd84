"""The multi-layer perceptron, for numbers and categories.

Letters in shapes: N samples, F numbers, K categories, C outputs.
"""

from __future__ import annotations

import math
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.span import Span
from trainwright.models.activations import Activation, activation_of, dense

Size = Annotated[int, Field(ge=1)]


@models.add("mlp", default_for="supervised")
@final
class MLP(nn.Module):
    """Dense layers with an activation between them; categories enter as learned vectors beside the numbers.

    Args:
        inputs: numbers of one sample (the axes of an image or a matrix are flattened); given by the data.
        outputs: numbers that come out; given by the data.
        cardinalities: how many ids each category has; given by the data.
        width: units of each hidden layer.
        depth: hidden layers; 0 is a linear model.
        activation: between the layers.
        dropout: share of the hidden units silenced in training.

    Source: Rumelhart, Hinton & Williams 1986; He et al. 2015 for the initial weights; the size of a category's vector
    is fastai's rule, min(50, 1.6 n^0.56).
    """

    def __init__(
        self,
        *,
        inputs: Annotated[int, Field(ge=0)],
        outputs: Size,
        cardinalities: tuple[Size, ...] = (),
        width: Annotated[int, Field(ge=1), Span(32, 512, log=True)] = 256,
        depth: Annotated[int, Field(ge=0), Span(1, 6)] = 2,
        activation: Activation = "relu",
        dropout: Annotated[float, Field(ge=0, lt=1), Span(0.0, 0.6)] = 0.0,
    ) -> None:
        super().__init__()
        if inputs + len(cardinalities) == 0:
            raise UserError(
                "model", "there are no inputs", "give the data at least one column of numbers or categories"
            )
        self.inputs = inputs
        self.embeddings, learned = embeddings(cardinalities)
        layers: list[nn.Module] = []
        before = inputs + learned
        for _ in range(depth):
            layers += [dense(before, width, activation), activation_of(activation)]
            layers += [nn.Dropout(dropout)] if dropout else []
            before = width
        self.hidden = nn.Sequential(*layers)
        self.head = dense(before, outputs, None)

    def forward(self, x: Tensor | None = None, categorical: Tensor | None = None) -> Tensor:
        """Numbers (N, F) or (N, …) with F elements, category ids (N, K) int64 -> (N, C)."""
        parts = [] if x is None else [self._flat(x)]
        if categorical is not None:
            parts += [e(categorical[:, i]) for i, e in enumerate(self.embeddings)]
        return self.head(self.hidden(torch.cat(parts, 1) if len(parts) > 1 else parts[0]))  # type: ignore[no-any-return]

    def _flat(self, x: Tensor) -> Tensor:
        """(N, F) in the weights' type; whole numbers and truth values count as numbers."""
        x = x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)
        return x if x.is_floating_point() else x.to(self.head.weight.dtype)


def embeddings(cardinalities: tuple[int, ...]) -> tuple[nn.ModuleList, int]:
    """A table of vectors for each category, and how many numbers they give together."""
    sizes = [min(50, math.ceil(1.6 * n**0.56)) for n in cardinalities]
    return nn.ModuleList(_embedding(n, k) for n, k in zip(cardinalities, sizes, strict=True)), sum(sizes)


def _embedding(ids: int, size: int) -> nn.Embedding:
    """Vectors as large as standardized numbers; id 0, which training never meets, is the origin."""
    table = nn.Embedding(ids, size)
    with torch.no_grad():
        table.weight.normal_(0.0, 1.0 / math.sqrt(size))
        table.weight[0] = 0.0
    return table
