"""What a person should know of a run before its first step, and could not see in its recipe."""

from __future__ import annotations

from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainwright.core.config import Budget
from trainwright.core.events import View
from trainwright.engine import checkpoint
from trainwright.runs.assemble import Pieces
from trainwright.runs.directory import CHECKPOINTS, EVENTS


def batch_statistics(pieces: Pieces) -> list[str]:
    """A line where a batch norm sees less than the batch, so that micro-batches and ranks change what is learned."""
    config, ranks = pieces.config, pieces.runtime.ranks
    norms = batch_norms(pieces)
    alone = [] if config.sync_batch_norm else [m for m in norms if not isinstance(m, nn.SyncBatchNorm)]
    whole, micro = config.batch_size, config.micro_batch
    share = whole if whole == "all" else -(-whole // ranks.world)  # a rank's
    cut = micro != "all" and (share == "all" or micro < share)
    if not (norms if cut else alone if ranks.world > 1 else ()):
        return []
    seen = f"{micro} samples at a time" if cut else "each process's samples alone"
    return [f"batch norm sees {seen}, not the batch of {whole}: micro_batch and ranks change what is learned"]


def out_of_reach(pieces: Pieces, steps: int) -> list[str]:
    """A line for what the recipe asks for only after the training has ended."""
    config, schedule = pieces.config, pieces.config.schedule
    said = []
    if _beyond(warmup := schedule.get("warmup", 0), steps):
        said.append(f"the warm-up of {warmup:g} steps is not over when the training ends, after {steps}")
    if _beyond(every := schedule.get("every", 0), steps):
        said.append(f"schedule.every is {every:g} steps, but the training has {steps}: it never comes")
    late = [at for at in schedule.get("at", ()) if _beyond(at, steps)]
    if late:
        said.append(f"schedule.at: {', '.join(f'{at:g}' for at in late)} never come, as the training has {steps} steps")
    for pattern, amount in config.unfreeze.items():
        if Budget.read(amount).steps(pieces.per_epoch) >= steps:
            said.append(f"unfreeze: {pattern!r} would begin to learn after {amount}, which the training does not reach")
    return said


def _beyond(amount: object, steps: int) -> bool:
    """Whether a number of steps (1 or more; below 1 it is a share of them) is not reached."""
    return isinstance(amount, int | float) and amount >= 1 and amount >= steps


def batch_norms(pieces: Pieces) -> list[_BatchNorm]:
    """Layers that depend on what else is computed at once."""
    return [m for m in pieces.runtime.ranks.bare(pieces.state.model).modules() if isinstance(m, _BatchNorm)]


def lost_of(folder: Path, view: View) -> list[str]:
    """What its log should tell of a run that goes on, and does not; a line for each."""
    saved = max(checkpoint.steps(folder / CHECKPOINTS), default=0)
    untold = sum(step not in view.losses for step in range(1, saved + 1))
    said = []
    if view.unreadable:
        said.append(f"{EVENTS}: {view.unreadable} of its lines cannot be read, so what they told is missing")
    if untold:
        what = f"tells nothing of {untold:,} of the {saved:,} steps that are saved: it was emptied, or is another one"
        said.append(f"{EVENTS}: {what}; curves and tables lack them, the training goes on from its checkpoint")
    return said
