"""The simple models a run is held against: fitted in what time they may take, and judged as the network is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from trainwright.core.batch import Batch
from trainwright.core.rows import Encoded
from trainwright.core.task import Baseline, Metric, Task, TooSlowError
from trainwright.engine.evaluate import Judged, judge, judge_outputs
from trainwright.engine.runtime import Runtime

ALWAYS = ("constant", "linear", "seasonal_naive")  # are fitted whatever the time
LEAST, SHARE = 2.0, 0.05  # seconds for all of them together: at least, and of the training
_ROWS = 1024  # of a batch


def allowed(training: float) -> float:
    """Seconds that baselines may take beside a training of so many."""
    return max(LEAST, SHARE * training)


def baselines(
    task: Task[Any], train: Encoded, test: Encoded, metrics: Mapping[str, Metric], seconds: float
) -> tuple[dict[str, Judged], dict[str, str]]:
    """Simple models, judged as the network is, and why others were left out.

    Args:
        task: says which there are.
        train: they learn from.
        test: they are judged on.
        metrics: are measured.
        seconds: they may take together; those of `ALWAYS` come first and are fitted all the same.
    """
    found: dict[str, Judged] = {}
    skipped: dict[str, str] = {}
    began = time.perf_counter()
    fits = task.baselines(train)
    for name in sorted(fits, key=lambda n: n not in ALWAYS):
        left = seconds - (time.perf_counter() - began)
        if left <= 0 and name not in ALWAYS:
            skipped[name] = f"nothing is left of the {seconds:.1f} s that baselines may take"
            continue
        try:
            found[name] = judged_baseline(fits[name](left), task, test, metrics)
        except TooSlowError as error:
            skipped[name] = f"{error}; {left:.1f} s are left of the {seconds:.1f} s that baselines may take"
        except Exception as error:  # a comparison that fails must not spoil a training that ended well
            skipped[name] = f"{type(error).__name__}: {error}"
    return found, skipped


def judged_baseline(fitted: Baseline, task: Task[Any], test: Encoded, metrics: Mapping[str, Metric]) -> Judged:
    """A simple model on a part of the data, in float64 on the CPU."""
    exact = Runtime(precision="float64")
    if isinstance(fitted, nn.Module):
        return judge(fitted, task, _batches(task, test), exact, metrics=metrics)
    return judge_outputs(fitted, _batches(task, test), exact, metrics=metrics)


def _batches(task: Task[Any], part: Encoded) -> Iterator[Batch]:
    for start in range(0, len(part), _ROWS):
        yield task.processor.batch(part.rows(start, min(start + _ROWS, len(part))), None)
