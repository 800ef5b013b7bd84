"""The blocks of a deep model: what can be sharded, and computed again, one by one."""

from __future__ import annotations

from torch import nn


class Blocks(nn.ModuleList):
    """Modules that are called one after the other, each once in a forward pass and equally often on all ranks.

    Where they are within the model plays no role; their names are those of a `ModuleList`.
    """


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The members of all `Blocks`, and else those of the stacks (`ModuleList`, `Sequential`) directly in the model.

    Only what has weights counts. A stack that holds `Blocks` deeper inside is not cut anew.
    """
    told = [block for stack in model.modules() if isinstance(stack, Blocks) for block in stack]
    inside = {id(module) for block in told for module in block.modules()}
    stacks = [child for child in model.children() if isinstance(child, nn.ModuleList | nn.Sequential)]
    others = [block for stack in stacks if not isinstance(stack, Blocks) for block in stack if id(block) not in inside]
    plain = [b for b in others if not any(isinstance(module, Blocks) for module in b.modules())]
    return [block for block in [*told, *plain] if any(True for _ in block.parameters())]
