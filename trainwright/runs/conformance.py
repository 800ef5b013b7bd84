"""What every task must keep, ours, a plugin's or your own: one list of promises, checked on a few records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import nn

from trainwright.core.task import Record, Task
from trainwright.runs import processor_promises as p
from trainwright.runs import task_promises as t
from trainwright.runs.sameness import dice
from trainwright.runs.subject import BrokenError, Subject


class Promise(NamedTuple):
    """One promise, whether the task keeps it, and what was seen."""

    name: str
    kept: bool
    evidence: str


_FOUNDATION = {  # without these nothing else can be looked at
    "the processor learns, and the same from the same records": p.learns,
    "columns() describes what encode() returns": p.described,
    "every record can be stored": p.stored,
    "sizes() is JSON": t.sizes_in_json,
    "sizes() is enough for a model": t.sizes_suffice,
    "the loss is finite": t.loss_finite,
}
_CHECKS = {
    **_FOUNDATION,
    "encode() is deterministic": p.encodes_again,
    "fit() and encode() leave records as they are": p.leaves_records,
    "the processor survives JSON": p.survives_json,
    "batch() without a draw is deterministic": p.batches_again,
    "batch() without a draw leaves global randomness alone": p.batches_quietly,
    "augmentation depends on the draw and the sample alone": p.augments_alone,
    "augmentation leaves global randomness alone": p.augments_quietly,
    "a batch is well formed": p.well_formed,
    "ids travel": p.ids_travel,
    "weights add up": p.weights_add_up,
    "the loss is a sum": t.loss_adds_up,
    "each sample's share of the loss adds up": t.shares_add_up,
    "the parts of the loss add up": t.parts_add_up,
    "what a loss hands on is detached": t.detached,
    "the gradient is finite": t.gradient_finite,
    "the loss reaches every weight, whatever is in the batch": t.reaches_every_weight,
    "a filler runs": t.filler_runs,
    "rows of metrics belong to their samples": t.rows_belong,
    "resamples at once agree with each alone": t.resamples_agree,
    "metrics are numbers": t.metrics_are_numbers,
    "metrics by name can be measured": t.comparable,
    "the monitor is the loss or a metric": t.monitored,
    "strata are a field of the records": t.strata_exist,
    "baselines speak of the monitor": t.baselines_compare,
    "predictions do not peek at targets": t.does_not_peek,
    "inputs do not need targets": p.needs_no_targets,
    "unlabelled records can be served": p.serves,
    "an answer does not depend on its neighbours": t.ignores_neighbours,
    "answers are JSON, one per sample": p.answers_in_json,
    "exhibits are JSON": t.exhibits_in_json,
    "judging leaves the model as it is": t.leaves_the_model,
}
PROMISES = tuple(_CHECKS)


def check_task(
    make: Callable[[], Task[Any]],
    model_for: Callable[[dict[str, Any]], nn.Module],
    records: Sequence[Record],
    unlabelled: Callable[[Record], Record],
) -> Iterator[Promise]:
    """Check every promise of `PROMISES`, in order; nothing is raised, and the caller's random state is left alone.

    A task that cannot even be set up gets no further than the promise that says why.

    Args:
        make: a fresh task.
        model_for: a model for the task's sizes, without dropout and batch statistics.
        records: labelled ones, which give at least eight samples; they are not changed.
        unlabelled: what would be served of a record: the same without its labels. Of a stream: one that is long
            enough to be continued.
    """
    with dice(0):
        subject = Subject(make, model_for, records, unlabelled)
    for name, check in _CHECKS.items():
        promise = _checked(name, check, subject)
        yield promise
        if name in _FOUNDATION and not promise.kept:
            return


def report(promises: Sequence[Promise]) -> str:
    """The promises as text, the broken ones first."""
    broken = [x for x in promises if not x.kept]
    lines = [f"BROKEN  {x.name}: {x.evidence}" for x in broken]
    lines += [f"kept    {x.name}" + (f" ({x.evidence})" if x.evidence else "") for x in promises if x.kept]
    missed = len(PROMISES) - len(promises)
    end = f"{len(promises) - len(broken)} kept, {len(broken)} broken" + (f", {missed} not reached" if missed else "")
    return "\n".join([*lines, end])


def _checked(name: str, check: Callable[[Subject], str], subject: Subject) -> Promise:
    try:
        with dice(0):
            return Promise(name, True, check(subject))
    except BrokenError as broken:
        return Promise(name, False, str(broken))
    except Exception as error:  # what cannot be asked is not kept
        return Promise(name, False, f"{type(error).__name__}: {error}")
