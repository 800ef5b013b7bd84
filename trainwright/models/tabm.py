"""TabM: many networks in one for rows of a table, alike but for how they weigh its columns and for their last layer.

Letters in shapes: N samples, F numbers, K categories, M members, D features, H hidden units, C outputs.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import models
from trainwright.core.model import Members
from trainwright.core.span import Span
from trainwright.models.activations import Activation, activation_of, dense
from trainwright.models.dropout import Dropout
from trainwright.models.line import Line
from trainwright.models.mlp import embeddings
from trainwright.models.numeric import Numbers, Periodic, PiecewiseLinear, Plain, thinned

Size = Annotated[int, Field(ge=1)]


@models.add("tabm", speaks=Members, default_for=("tabular_classification", "tabular_regression"))
@final
class TabM(nn.Module):
    """An ensemble of MLPs that share all but the first scaling and the last layer; the default for tables.

    Numbers become vectors that are linear within learned bins, categories become learned vectors; together they are the
    features. Each member multiplies those of each column by a sign of its own, which learning changes; all pass through
    the same hidden layers, and each has its own last layer. Each member is trained by its own loss; what is predicted
    is the mean of all members. Beside them lies a linear path from the numbers and categories themselves, which all
    members share; it begins at zero and learns faster, so that where lines tell all the network says little else.

    Args:
        inputs: numbers of one row; given by the data.
        outputs: numbers that come out; given by the data.
        cardinalities: how many ids each category has; given by the data.
        edges: of the bins of each number; given by the data.
        members: networks in the ensemble.
        width: units of each hidden layer.
        depth: hidden layers.
        dropout: share of the hidden units silenced in training.
        activation: between the layers.
        numbers: how a number enters: "piecewise" (linear within bins), "periodic" (sines and cosines), or "plain".
        size: units of each number's vector.
        bins: of each number, at most; only for "piecewise".
        linear: how much faster the linear path learns than the rest, under an optimizer whose steps do not grow with
            the gradient, such as Adam; 0 leaves it out.

    Source: Gorishniy, Kotelnikov & Babenko 2024, "TabM: advancing tabular deep learning with parameter-efficient
    ensembling" (TabM-mini); Gorishniy, Rubachev & Babenko 2022, "On embeddings for numerical features in tabular deep
    learning", for the vectors of numbers; Cheng et al. 2016, "Wide & deep
    learning for recommender systems", for the linear path.
    """

    def __init__(
        self,
        *,
        inputs: Annotated[int, Field(ge=0)],
        outputs: Size,
        edges: tuple[tuple[float, ...], ...],
        cardinalities: tuple[Size, ...] = (),
        members: Size = 16,
        width: Annotated[int, Field(ge=1), Span(32, 512, log=True)] = 256,
        depth: Annotated[int, Field(ge=1), Span(1, 6)] = 2,
        dropout: Annotated[float, Field(ge=0, lt=1), Span(0.0, 0.6)] = 0.1,
        activation: Activation = "relu",
        numbers: Literal["piecewise", "periodic", "plain"] = "piecewise",
        size: Size = 24,
        bins: Size = 96,
        linear: Annotated[float, Field(ge=0)] = 10.0,
    ) -> None:
        super().__init__()
        if inputs + len(cardinalities) == 0:
            what = "there are no inputs"
            raise UserError("model", what, "give the data at least one column of numbers or categories")
        self.members = members
        self.numbers = _numbers(numbers, inputs, [thinned(e, bins) for e in edges], size)
        self.embeddings, _ = embeddings(cardinalities)
        sizes = [cast(Numbers, self.numbers).width // inputs] * inputs if inputs else []
        sizes += [cast(nn.Embedding, e).embedding_dim for e in self.embeddings]
        features = sum(sizes)
        # scalings and biases lie flat, as optimizers know by the shape what should not decay
        self.adapter = nn.Parameter(_signs(members, sizes).flatten())
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [dense(features if i == 0 else width, width, activation), activation_of(activation)]
            layers += [Dropout(dropout)] if dropout else []
        self.hidden = nn.Sequential(*layers)
        self.heads = nn.Parameter(torch.empty(members, width, outputs))
        self.biases = nn.Parameter(torch.zeros(members * outputs))
        nn.init.normal_(self.heads, std=0.1 / math.sqrt(width))  # the first loss is close to a constant prediction's
        self.linear = Line(inputs, cardinalities, outputs, linear) if linear else None

    def forward(self, x: Tensor | None = None, categorical: Tensor | None = None) -> Tensor:
        """Numbers (N, F), category ids (N, K) int64 -> (N, M, C)."""
        parts = [] if x is None else [self.numbers(x)]
        if categorical is not None:
            parts += [e(categorical[:, i]) for i, e in enumerate(self.embeddings)]
        features = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        hidden = self.hidden(features * self.adapter.view(self.members, 1, -1))  # (M, N, D) -> (M, N, H)
        said = torch.baddbmm(self.biases.view(self.members, 1, -1), hidden, self.heads).transpose(0, 1)
        return said if self.linear is None else said + self.linear(x, categorical).unsqueeze(1)


def _numbers(kind: str, inputs: int, edges: list[list[float]], size: int) -> nn.Module:
    """The module of (N, F) numbers."""
    if kind == "plain" or not inputs:
        return Plain(inputs)
    return Periodic(inputs, size) if kind == "periodic" else PiecewiseLinear(edges, size)


def _signs(members: int, sizes: list[int]) -> Tensor:
    """(M, D) a random sign of each member for each column, whose features share it."""
    signs = torch.randint(0, 2, (members, len(sizes))) * 2.0 - 1.0
    return signs.repeat_interleave(torch.tensor(sizes), 1)
