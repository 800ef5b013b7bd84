"""Attention in 32 bits within a forward pass in half precision on the CPU.

Torch 2.13 rounds queries, keys and values there, and its backward pass through attention of such numbers takes four
times as long as of 32 bits where sequences are short: of a small GPT it was 40 % of a step.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

_HALVES = (torch.bfloat16, torch.float16)


@cache
def widen() -> torch.library.Library:
    """From now on `F.scaled_dot_product_attention` works so in this process, wherever autocast is on for the CPU.

    For good, for what is computed again in a backward pass must come out as it did. What it gives has the type that
    autocast would give it.
    """
    ours = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*Overriding a previously registered kernel")
        ours.impl("scaled_dot_product_attention", _attention, "AutocastCPU")
    return ours


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """As torch's own, (N, …, T, E)."""
    half = torch.get_autocast_dtype("cpu")
    mask = None if attn_mask is None else _wide(attn_mask)
    with torch.autocast("cpu", enabled=False):
        seen = F.scaled_dot_product_attention(
            _wide(query), _wide(key), _wide(value), mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    return seen.to(half) if seen.dtype == torch.float32 else seen


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in _HALVES else x
