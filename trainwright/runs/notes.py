"""What a person should know of a run before its first step, and could not see in its recipe."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainwright.runs.assemble import Pieces


def batch_statistics(pieces: Pieces) -> list[str]:
    """A line where a batch norm sees less than the batch, so that micro-batches and ranks change what is learned."""
    config, ranks = pieces.config, pieces.runtime.ranks
    norms = [m for m in ranks.bare(pieces.state.model).modules() if isinstance(m, _BatchNorm)]
    alone = [m for m in norms if not isinstance(m, nn.SyncBatchNorm)]
    whole, micro = config.batch_size, config.micro_batch
    share = whole if whole == "all" else -(-whole // ranks.world)  # a rank's
    cut = micro != "all" and (share == "all" or micro < share)
    if not (norms if cut else alone if ranks.world > 1 else ()):
        return []
    seen = f"{micro} samples at a time" if cut else "each process's samples alone"
    return [f"batch norm sees {seen}, not the batch of {whole}: micro_batch and ranks change what is learned"]
