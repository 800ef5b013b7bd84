"""Operations that are several in one, computed step by step so that what is inside of them is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainwright.runs.inspect.graph import Operand
from trainwright.runs.inspect.recurrent import run_cells

if TYPE_CHECKING:
    from trainwright.runs.inspect.record import Recorder


def _attention(recorder: Recorder, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Scaled dot products, their softmax over what may be looked at, and the mixture of values."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    query, key, value, mask = given["query"], given["key"], given["value"], given.get("attn_mask")
    if not recorder.is_known(query) or given.get("enable_gqa") or (mask is not None and mask.dtype != torch.bool):
        return None
    scale = given.get("scale") or 1 / math.sqrt(query.shape[-1])
    allowed = _allowed(query, key, mask, bool(given.get("is_causal")))
    operands = [recorder.operand(query), recorder.operand(key)]

    def products(q: Tensor, k: Tensor) -> Tensor:
        return q @ k.transpose(-2, -1) * scale

    def weights(s: Tensor) -> Tensor:
        return (s if allowed is None else s.masked_fill(~allowed, -math.inf)).softmax(-1)

    scores = products(query, key)
    shown = scores if allowed is None else scores.masked_fill(~allowed, math.nan)
    recorder.node("scores", scores, operands, products, {"scale": scale, "mask": allowed}, shown=shown)
    attention = weights(scores)
    recorder.node(
        "attention", attention, [recorder.operand(scores)], weights, {"axis": scores.ndim - 1, "mask": allowed}
    )
    mixed: Tensor = attention @ value
    recorder.node("matmul", mixed, [recorder.operand(attention), recorder.operand(value)], torch.matmul)
    return mixed


def _allowed(query: Tensor, key: Tensor, mask: Tensor | None, causal: bool) -> Tensor | None:
    """(…, T, S) where one may look, as large as the scores; None for everywhere."""
    shape = (*query.shape[:-1], key.shape[-2])
    if causal:
        return torch.ones(shape[-2:], dtype=torch.bool).tril().expand(shape)
    return None if mask is None else mask.expand(shape)


def _recurrent(kind: str) -> Callable[[Recorder, Sequence[Any], Mapping[str, Any]], Any]:
    def whole(recorder: Recorder, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        packed = isinstance(args[1], Tensor) and args[1].dtype == torch.int64 and args[1].ndim == 1
        if packed:
            x, sizes, states, weights, biased, layers, _, _, both = args
            rows, first = x, bool((sizes == 1).all())
        else:
            x, states, weights, biased, layers, _, _, both, batch_first = args
            first = x.ndim == 3 and x.shape[0 if batch_first else 1] == 1
            rows = None if not first else (x[0] if batch_first else x[:, 0])
        begun = states if isinstance(states, tuple | list) else (states,)
        if not first or any(bool(s.detach().any()) for s in begun) or not recorder.is_known(x):
            return None  # several sequences at once, or a state from elsewhere
        if not packed:
            recorder.is_cells(rows, *_row(recorder.operand(x), rows))
        made, last = run_cells(recorder, kind, rows, list(weights), biased, layers, 2 if both else 1)
        out = made if packed else made[None] if batch_first else made[:, None]
        if not packed:
            operand = recorder.operand(made)
            recorder.is_cells(out, operand.node, None if operand.cells is None else operand.cells.reshape(out.shape))
        return (out, *last)

    return whole


def _row(operand: Operand, rows: Tensor) -> tuple[int, Tensor | None]:
    """The only sequence of a batch, as cells."""
    return operand.node, None if operand.cells is None else operand.cells.reshape(rows.shape)


WHOLE: Mapping[str, Callable[[Recorder, Sequence[Any], Mapping[str, Any]], Any]] = {
    "scaled_dot_product_attention": _attention,
    **{name: _recurrent(name) for name in ("rnn_tanh", "rnn_relu", "lstm", "gru")},
}
"""By the name of the function: does the whole, and returns None where it cannot be taken apart."""
