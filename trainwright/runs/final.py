"""The end of an attempt: the weights that are served, their scores, and whether the model is sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trainwright.engine import checkpoint
from trainwright.engine.average import averaged_weights
from trainwright.engine.guard import broken_weights
from trainwright.engine.memory import Memory, Shortage
from trainwright.runs.assemble import Pieces
from trainwright.runs.begin import served_weights
from trainwright.runs.confusion import FILE as CONFUSION
from trainwright.runs.directory import CHECKPOINTS, owner, read_view
from trainwright.runs.portraits import portray
from trainwright.runs.score import Scores, compared, judged
from trainwright.runs.sound import broken_scores


def final_scores(pieces: Pieces, folder: Path, shortage: Callable[[Shortage], None]) -> Scores:
    """The scores of the best weights, which the model then holds, beside the baselines'; the first rank's are whole.

    ``trouble`` of a broken model is known to every rank.

    Args:
        pieces: of the run.
        folder: of the run.
        shortage: is told where memory runs out, and fewer samples are scored at once.
    """
    if pieces.config.score == "none":
        return Scores()
    state, ranks = pieces.state, pieces.runtime.ranks
    ranks.barrier()
    trouble = broken_weights(state.model, ranks)
    best = state.best.step
    kept = checkpoint.steps(folder / CHECKPOINTS)  # also where the run began, which nothing found to be the best
    if best and best in kept and best != state.counters.step:
        state.parts["model"].load_state_dict(served_weights(checkpoint.at(folder / CHECKPOINTS, best), owner(folder)))
    elif state.ema:
        state.parts["model"].load_state_dict(averaged_weights(state.ema.state_dict()))
    if state.ema:
        state.ema.restart()  # else who asks for what is served gets the newest average, which is not the best
    asked = ("valid", "test") if pieces.config.score == "all" else ("valid",)
    parts = [p for p in asked if p in pieces.evaluations]
    memory = Memory(state, pieces.groups, pieces.runtime, tell=shortage)
    found, confusion = memory.evaluate(lambda: judged(pieces, parts))
    unmoved = state.counters.in_a_row if not state.scaler else 0  # a float16 scale may take steps to settle
    trouble = trouble or broken_weights(state.model, ranks) or broken_scores(found)
    if not trouble and not found and unmoved:
        trouble = f"the gradient of its last {unmoved} steps was NaN or infinite"
    if not pieces.runtime.first:
        return Scores(trouble=trouble)
    if confusion is not None:
        confusion.write(folder / CONFUSION)
    if parts and not trouble:
        portray(pieces, parts[-1], folder)
    if pieces.config.score == "valid":  # it chooses: an interval around it would be too good to be true
        return Scores({f"{p}/{m}": v for p, one in found.items() for m, v in one.values.items()}, trouble=trouble)
    training = sum(e.seconds * len(e.losses) for e in read_view(folder).steps)
    return replace(compared(pieces, found, training), trouble=trouble, confusion=confusion)
