"""What a run says and remembers when memory ran out: from then on it computes less at once, also when it is resumed."""

from __future__ import annotations

from collections.abc import Callable

from trainwright.core.events import Found, Observer
from trainwright.core.finding import Advice, Finding
from trainwright.engine.memory import Shortage
from trainwright.runs.assemble import Pieces
from trainwright.runs.notes import batch_norms


def teller(pieces: Pieces, tell: Observer) -> Callable[[Shortage], None]:
    """Tells every halving as a finding."""
    return lambda shortage: _ignored(tell(Found(shortage.step - 1, finding_of(shortage, pieces))))


def finding_of(shortage: Shortage, pieces: Pieces) -> Finding:
    """The finding of a halving."""
    fixes = [Advice(f"micro_batch = {shortage.now} begins with it; the step was taken again, nothing is lost")]
    if batch_norms(pieces):
        seen = f"batch norm now sees {shortage.now} samples at a time, which changes what is learned"
        fixes.append(Advice(f"{seen}: group norm does not depend on it"))
    where = (
        f"in step {shortage.step:,}" if shortage.where == "a step" else f"in an evaluation at step {shortage.step:,}"
    )
    now = f"{shortage.now} samples at once" if shortage.now > 1 else "one sample at once"
    return Finding(
        rule="out_of_memory",
        severity="warning",
        what=f"memory ran out {where} with {shortage.before} samples at once; the run goes on with {now}",
        evidence={"before": float(shortage.before), "now": float(shortage.now)},
        why=f"{shortage.what}; the batch of a step, and so its update, stay the same",
        fixes=tuple(fixes),
    )


def go_on(pieces: Pieces) -> None:
    """A resumed run computes as much at once as the interrupted one did, unless micro_batch was set anew."""
    counters, asked = pieces.state.counters, pieces.config.micro_batch
    if counters.micro and counters.asked == (0 if asked == "all" else asked):
        pieces.groups.limit(counters.micro)
    else:
        counters.micro = counters.halvings = counters.asked = 0


def _ignored(wish: object) -> None:
    """Whoever wishes to stop is asked again at the next step."""
