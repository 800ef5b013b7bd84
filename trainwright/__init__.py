"""Trainwright trains neural networks without failing silently."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("trainwright")

if TYPE_CHECKING:
    from trainwright.core import kinds
    from trainwright.core.batch import Batch, Draw
    from trainwright.core.criterion import Criterion
    from trainwright.core.errors import TrainwrightError, UserError
    from trainwright.core.events import Stop
    from trainwright.core.finding import Evidence, Finding, Rule
    from trainwright.core.repair import Repair
    from trainwright.core.task import Loss, Metric, Processor, Progress, Task
    from trainwright.core.tokenizer import Tokenizer
    from trainwright.engine.runtime import Runtime
    from trainwright.engine.state import TrainState
    from trainwright.engine.step import Step, WholeStep, train_step
    from trainwright.runs.conformance import check_task
    from trainwright.runs.fit import fit
    from trainwright.runs.run import Run, list_runs
    from trainwright.runs.run import open_run as open
    from trainwright.runs.train import resume, train
    from trainwright.runs.watching import doctor, watch
    from trainwright.tools.checkup import checkup
    from trainwright.tools.crossval import crossval
    from trainwright.tools.export import export
    from trainwright.tools.new import new
    from trainwright.tools.rates import lr_range
    from trainwright.tools.replay import replay
    from trainwright.tools.seeds import repeat
    from trainwright.tools.tune import tune
    from trainwright.tools.verify import verify

# Where each public name lives: torch is imported when one is first used, so that `import trainwright` is instant.
_HOMES = {
    "Batch": "core.batch",
    "Criterion": "core.criterion",
    "Draw": "core.batch",
    "Evidence": "core.finding",
    "Finding": "core.finding",
    "Loss": "core.task",
    "Metric": "core.task",
    "Processor": "core.task",
    "Progress": "core.task",
    "Repair": "core.repair",
    "Rule": "core.finding",
    "Run": "runs.run",
    "Runtime": "engine.runtime",
    "Step": "engine.step",
    "Stop": "core.events",
    "Task": "core.task",
    "Tokenizer": "core.tokenizer",
    "TrainState": "engine.state",
    "TrainwrightError": "core.errors",
    "UserError": "core.errors",
    "WholeStep": "engine.step",
    "check_task": "runs.conformance",
    "checkup": "tools.checkup",
    "crossval": "tools.crossval",
    "doctor": "runs.watching",
    "export": "tools.export",
    "fit": "runs.fit",
    "kinds": "core.kinds",
    "list_runs": "runs.run",
    "lr_range": "tools.rates",
    "new": "tools.new",
    "open": "runs.run",
    "repeat": "tools.seeds",
    "replay": "tools.replay",
    "resume": "runs.train",
    "train": "runs.train",
    "train_step": "engine.step",
    "tune": "tools.tune",
    "verify": "tools.verify",
    "watch": "runs.watching",
}
_OTHER_NAMES = {"open": "open_run"}

__all__ = [
    "Batch",
    "Criterion",
    "Draw",
    "Evidence",
    "Finding",
    "Loss",
    "Metric",
    "Processor",
    "Progress",
    "Repair",
    "Rule",
    "Run",
    "Runtime",
    "Step",
    "Stop",
    "Task",
    "Tokenizer",
    "TrainState",
    "TrainwrightError",
    "UserError",
    "WholeStep",
    "__version__",
    "check_task",
    "checkup",
    "crossval",
    "doctor",
    "export",
    "fit",
    "kinds",
    "list_runs",
    "lr_range",
    "new",
    "open",
    "repeat",
    "replay",
    "resume",
    "train",
    "train_step",
    "tune",
    "verify",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trainwright' has no attribute '{name}'")
    home = import_module(f"trainwright.{_HOMES[name]}")
    return home if name == "kinds" else getattr(home, _OTHER_NAMES.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)
