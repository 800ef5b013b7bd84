"""Activation checkpointing: a block keeps what it was given, and computes the rest again for its gradient.

Source: Chen et al. 2016, "Training deep nets with sublinear memory cost".
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from trainwright.core.blocks import blocks_of
from trainwright.core.errors import UserError


def recompute(model: nn.Module) -> int:
    """Have the blocks of a model compute again what they would keep; how many there are.

    They are what FSDP2 shards one by one. One with a batch norm is left as it is, for it would count its samples twice.
    No number changes: randomness is put back for the second time.

    Args:
        model: UserError where it has no such block.
    """
    blocks = [block for block in blocks_of(model) if _can(block)]
    for block in blocks:
        block.forward = MethodType(_forward, block)
    if not blocks:
        what = "finds no block: no member of a stack that has weights and no batch norm"
        raise UserError("recompute", what, "leave it out, or use a smaller micro_batch")
    return len(blocks)


def _can(block: nn.Module) -> bool:
    return not any(isinstance(module, _BatchNorm) for module in block.modules())


def _forward(block: nn.Module, *given: Any, **named: Any) -> Any:
    plain = type(block).forward
    if not (block.training and torch.is_grad_enabled()):
        return plain(block, *given, **named)
    return checkpoint(plain, block, *given, use_reentrant=False, **named)
