"""What simple models reach on the parts of a run, without the limit of time that a run keeps to."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import trainwright as tw
from trainwright.core.kinds import tasks
from trainwright.engine.runtime import Runtime
from trainwright.runs.assemble import gather_data
from trainwright.runs.baselines import judged_baseline
from trainwright.runs.recipe import read


@dataclass(frozen=True, slots=True)
class Simple:
    """What each simple model reaches on the test part by the metric that the task names, and the seconds it took."""

    metric: str
    scores: Mapping[str, float]
    seconds: Mapping[str, float]


def simple(run: tw.Run) -> Simple:
    """Every baseline of the run's task, fitted on the run's own training part and judged on its test part."""
    recipe = read(run.path)
    task = tasks[recipe.config.task["name"]](**recipe.task)
    parts = gather_data(recipe, task, Runtime(), lambda what, done, total: None).parts
    scores, seconds = {}, {}
    for name, fit in task.baselines(parts["train"]).items():
        began = time.perf_counter()
        fitted = judged_baseline(fit(math.inf), task, parts["test"], {task.monitor: task.metrics()[task.monitor]})
        scores[name], seconds[name] = fitted.values[task.monitor], time.perf_counter() - began
    return Simple(task.monitor, scores, seconds)
