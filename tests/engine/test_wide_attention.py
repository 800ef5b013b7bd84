"""In half precision on the CPU attention keeps 32 bits, whoever calls it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainwright.engine.runtime import Runtime
from trainwright.engine.wide_attention import widen

HALF = Runtime(torch.device("cpu"), "bfloat16")


Heads = tuple[Tensor, Tensor, Tensor]


def heads(dtype: torch.dtype = torch.float32) -> Heads:
    dice = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 8, 4, generator=dice).to(dtype).requires_grad_() for _ in range(3))
    return q, k, v


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_computed_in_32_bits_and_rounded_once(dtype: torch.dtype) -> None:
    here, there = heads(dtype), heads(dtype)
    with HALF.autocast():
        seen = F.scaled_dot_product_attention(here[0], here[1], here[2], is_causal=True)
    q, k, v = (x.float() for x in there)
    wanted = F.scaled_dot_product_attention(q, k, v, is_causal=True).bfloat16()
    assert torch.equal(seen, wanted)
    seen.sum().backward()
    wanted.sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(here, there, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("mask", [torch.eye(8) * -9, torch.ones(8, 8).tril().bool(), torch.zeros(8, 8).bfloat16()])
def test_masks_of_every_type_and_the_scale_are_handed_on(mask: Tensor) -> None:
    q, k, v = heads()
    with HALF.autocast():
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.3)
    wide = mask if mask.dtype == torch.bool else mask.float()
    assert torch.equal(seen, F.scaled_dot_product_attention(q, k, v, attn_mask=wide, scale=0.3).bfloat16())


def test_numbers_of_64_bits_keep_them() -> None:
    given = heads(torch.float64)
    with HALF.autocast():
        seen = _plain(given)
    assert seen.dtype == torch.float64
    assert torch.equal(seen, _plain(given))


def _plain(given: Heads) -> Tensor:
    return F.scaled_dot_product_attention(*given)


def test_without_half_precision_nothing_changes() -> None:
    given = heads()
    before = _plain(given)
    widen()
    assert torch.equal(_plain(given), before)


def test_torchs_own_layers_have_it_and_compute_it_again_as_it_was() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True)
    x = torch.randn(3, 5, 8)
    with HALF.autocast():
        plain = layer(x)
        again = checkpoint(layer, x, use_reentrant=False)
    found = []
    for seen in (plain, again):
        layer.zero_grad()
        seen.float().square().sum().backward()
        found.append([p.grad for p in layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
