"""The trials of a study: one is taken, trained, judged and told, by as many processes as there are."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from trainwright.core.errors import CannotCreateError, NumericsError, UserError
from trainwright.core.events import EvalDone, Event, RunStarted, StepDone, Stop
from trainwright.core.redaction import redacted
from trainwright.engine import checkpoint
from trainwright.runs.directory import CHECKPOINTS, MANIFEST, TRIALS, read_view
from trainwright.runs.lock import Lock, locked
from trainwright.runs.planning import shared
from trainwright.runs.run import Run
from trainwright.runs.train import resume, train
from trainwright.tools.crew import orphaned
from trainwright.tools.space import changes_of
from trainwright.tools.study import Plan, mutex, opened, proposed, pruner_of, quiet_optuna, values_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

PRUNED, OUT_OF_TIME = "pruned", "the time of the search is over"
WORKERS = "workers"
_ALIKE = 3  # trials that fail for one reason before any succeeds: then it is not the values

_AGAIN = 20  # proposals in a row that were tried already: then the space is taken to be used up

_ASKED = 8  # of the first trials, for their plan: some may have failed before they had one
_PLANNED = {"pace", "precision", "device", "task", "model"}  # whoever searches these has another plan for each

State = Literal["finished", "pruned", "broken", "failed", "running", "lost"]


@dataclass(frozen=True, slots=True)
class Told:
    """A trial, as it is known now."""

    number: int  # from 0
    values: Mapping[str, Any]  # of the keys that are searched
    state: State
    objectives: tuple[float, ...]  # empty unless finished
    seconds: float  # it took; 0 while it runs
    why: str  # it did not finish
    steps: int  # optimizer steps it took
    run: Path


class Worker:
    """Takes one trial after another until none is left.

    Args:
        folder: of the study.
        plan: what was asked.
        recipe: that trials change; secrets included.
        say: is told of each trial.
    """

    def __init__(self, folder: Path, plan: Plan, recipe: Mapping[str, Any], say: Callable[[Told], None]) -> None:
        self.folder, self.plan, self.recipe, self.say = folder, plan, dict(recipe), say
        self.began = 0.0  # the trial it has, by the clock of this process
        self.study = opened(folder, plan)
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        (folder / WORKERS / self.name).mkdir(parents=True)
        self._lock = Lock(folder / WORKERS / self.name)

    def close(self) -> None:
        """What it did not finish may be taken up by others."""
        self._lock.release()

    def run(self) -> str:
        """Trial after trial; returns why there are no more: "done", or the name of what interrupted it."""
        while (taken := self._take()) is not None:
            run = self._trained(*taken)
            if run is not None and run.state == "interrupted":
                ended = run.view.ended
                return ended.reason if ended else "interrupted"
            self.say(told_of(self.study, self.plan, self.folder, taken[0]))
            self._must_help()
        return "done"

    def _take(self) -> tuple[int, dict[str, Any]] | None:
        """The number and the values of a trial that nobody else has; a dead worker's before a new one."""
        with mutex(self.folder), quiet_optuna():
            trials = self.study.get_trials(deepcopy=False)
            for trial in trials:
                if trial.state.name == "RUNNING" and not self._held(trial):
                    if "worker" in trial.user_attrs or trial.params.keys() == self.plan.space.keys():
                        return self._signed(trial.number), values_of(trial, self.plan.space)
                    self.study.tell(trial.number, state=_state("FAIL"))  # died before it had values
            trials = self.study.get_trials(deepcopy=False)
            asked = [t for t in trials if "worker" in t.user_attrs]
            largest = self.plan.largest
            if (largest is not None and len(asked) >= largest) or self._spent(asked):
                return None
            return self._new(trials)

    def _new(self, trials: Sequence[FrozenTrial]) -> tuple[int, dict[str, Any]] | None:
        """A trial with values that none has had; None where none are proposed any more."""
        had = [values_of(t, self.plan.space) for t in trials if "worker" in t.user_attrs]
        for attempt in range(_AGAIN):
            number, values = proposed(self.study, self.plan, len(trials) + attempt)
            if values not in had:
                return self._signed(number), values
            self.study.tell(number, state=_state("FAIL"))  # it would reach what it reached before
        return None

    def _signed(self, number: int) -> int:
        self._note(number, worker=self.name)
        self.began = time.monotonic()
        return number

    def _note(self, number: int, **facts: Any) -> None:
        storage, trial = stored(self.study, self.plan, number)
        for name, fact in facts.items():
            storage.set_trial_user_attr(trial, name, fact)

    def _held(self, trial: FrozenTrial) -> bool:
        """Whether the process that has this trial is alive."""
        name = trial.user_attrs.get("worker")
        return name is not None and (name == self.name or locked(self.folder / WORKERS / str(name)))

    def _spent(self, trials: Sequence[FrozenTrial]) -> bool:
        return self.plan.seconds is not None and self.left(trials) <= 0

    def left(self, trials: Sequence[FrozenTrial]) -> float:
        """Seconds for further trials; with several workers, of each."""
        assert self.plan.seconds is not None
        return self.plan.seconds - sum(_seconds(t) for t in trials if t.state.is_finished()) / self.plan.workers

    def _trained(self, number: int, values: Mapping[str, Any]) -> Run | None:
        """One trial to its end, and told; an interrupted one is left for whoever goes on."""
        folder = run_folder(self.folder, number)
        watch = _Watch(self, number, folder)
        try:
            run = self._run(folder, values, watch)
        except CannotCreateError:
            raise
        except (NumericsError, UserError) as error:
            self._told(number, "broken" if isinstance(error, NumericsError) else "failed", redacted(str(error)))
            return None
        if run.state != "interrupted":
            self._judge(number, run)
        return run

    def _run(self, folder: Path, values: Mapping[str, Any], watch: _Watch) -> Run:
        told: dict[str, Any] = {"quiet": True, "observers": [watch]}
        if (folder / MANIFEST).is_file():
            run = Run(folder)
            if run.state in ("finished", "stopped"):
                return run
            if checkpoint.steps(folder / CHECKPOINTS):
                return resume(folder, **told)
        changes = {**changes_of(self.plan.space, values, self.recipe), "score": "valid"}
        searched = {key.partition(".")[0] for key in self.plan.space}
        if self.recipe.get("pace", "auto") == "auto" and not searched & _PLANNED:
            changes |= shared(run_folder(self.folder, number) for number in range(_ASKED))
        return train(self.recipe, changes, out=folder, exist_ok=True, **told)

    def _judge(self, number: int, run: Run) -> None:
        ended = run.view.ended
        reason = ended.reason if ended else ""
        if reason.startswith((PRUNED, OUT_OF_TIME)):
            self._told(number, "pruned", reason)
            return
        values = [objective(run, name) for name in self.plan.objectives]
        if not all(math.isfinite(v) for v in values):
            self._told(number, "broken", "what is sought is not a finite number")
            return
        self._note(number, steps=run.view.step, seconds=time.monotonic() - self.began)
        with quiet_optuna():
            self.study.tell(number, values)

    def _told(self, number: int, state: State, why: str) -> None:
        """The end of a trial without a score.

        A broken model is worse than all others, and a search that has one score learns so where it counts as pruned;
        one that could not be built says nothing.
        """
        folder = run_folder(self.folder, number)
        steps = read_view(folder).step if folder.is_dir() else 0
        self._note(number, steps=steps, seconds=time.monotonic() - self.began, ended=state, why=why)
        pruned = state != "failed" and len(self.plan.objectives) == 1
        with quiet_optuna():
            self.study.tell(number, state=_state("PRUNED" if pruned else "FAIL"))

    def _must_help(self) -> None:
        """UserError where the first trials all failed alike."""
        trials = [t for t in self.study.get_trials(deepcopy=False) if t.state.is_finished() and t.user_attrs]
        failed = [t for t in trials if t.user_attrs.get("ended") in ("failed", "broken")]
        if len(trials) == len(failed) == _ALIKE and len({t.user_attrs["why"] for t in failed}) == 1:
            what = f"the first {_ALIKE} trials all failed: {failed[0].user_attrs['why']}"
            raise UserError("tune", what, "train the recipe by itself first, or search elsewhere")


@final
class _Watch:
    """Tells the study how a trial goes, and ends it where it is not worth its time."""

    def __init__(self, worker: Worker, number: int, folder: Path) -> None:
        self.worker, self.number, self.folder = worker, number, folder
        plan = worker.plan
        self.pruner = pruner_of(plan) if plan.pruner != "none" else None
        self.done = 0  # evaluations
        self.best = math.nan
        self.left = math.inf  # seconds for this trial
        self.monitor = ""

    def __call__(self, event: Event) -> Stop | None:
        """Asks to stop."""
        match event:
            case RunStarted():
                self._begin(event)
            case EvalDone(part="valid"):
                return self._report(event)
            case StepDone():
                return Stop("SIGTERM", "interrupted") if orphaned() else self._late()
        return None

    def _begin(self, event: RunStarted) -> None:
        if self.worker.plan.seconds is not None:
            self.left = self.worker.left(self.worker.study.get_trials(deepcopy=False))
        self.monitor = str(Run(self.folder).manifest["monitor"]["name"])
        for earlier in read_view(self.folder).evals:
            if earlier.part == "valid" and earlier.step <= event.from_step:
                self._see(earlier)

    def _see(self, event: EvalDone) -> None:
        self.done += 1
        value, best = event.metrics.get(self.monitor, math.nan), self.best
        higher = self.worker.plan.directions[0] == "higher"
        if math.isnan(best) or (value > best if higher else value < best):
            self.best = value

    def _report(self, event: EvalDone) -> Stop | None:
        """The best so far at this evaluation, which is what the trial would be worth if it ended here."""
        self._see(event)
        if self.pruner is None:
            return None
        study, plan = self.worker.study, self.worker.plan
        storage, trial = stored(study, plan, self.number)
        with quiet_optuna():
            storage.set_trial_intermediate_value(trial, self.done, self.best)
            bad = self.pruner.prune(study, storage.get_trial(trial))
        return Stop(f"{PRUNED} by {plan.pruner} after {self.done} evaluations") if bad else None

    def _late(self) -> Stop | None:
        if self.worker.plan.seconds is None:
            return None
        mine = time.monotonic() - self.worker.began
        return Stop(OUT_OF_TIME) if mine / self.worker.plan.workers >= self.left else None


def told_of(study: Study, plan: Plan, folder: Path, number: int) -> Told:
    """One trial as it is known now."""
    return _told(study.get_trials(deepcopy=False)[number], plan, folder)


def trials_of(study: Study, plan: Plan, folder: Path) -> list[Told]:
    """All trials that have begun, in order."""
    found = [_told(t, plan, folder) for t in study.get_trials(deepcopy=False) if "worker" in t.user_attrs]
    return [t for t in found if t.state != "lost"]


def _told(trial: FrozenTrial, plan: Plan, folder: Path) -> Told:
    attrs, number = trial.user_attrs, trial.number
    states: dict[str, State] = {"COMPLETE": "finished", "RUNNING": "running"}
    state = attrs.get("ended") or states.get(trial.state.name, "lost")
    values = tuple(trial.values) if trial.state.name == "COMPLETE" and trial.values else ()
    return Told(
        number, values_of(trial, plan.space), state, values, _seconds(trial), attrs.get("why", ""),
        int(attrs.get("steps", 0)), run_folder(folder, number),
    )  # fmt: skip


def run_folder(folder: Path, number: int) -> Path:
    """Of a trial."""
    return folder / TRIALS / f"{number + 1:04d}"


def objective(run: Run, name: str) -> float:
    """What a run reached of what is sought; nan where it has none."""
    if name == "seconds":
        return sum(e.seconds * len(e.losses) for e in run.view.steps)
    if name == "size":
        return float(run.manifest["model"]["parameters"])
    metric = str(run.manifest["monitor"]["name"]) if name == "score" else name
    return float(run.metrics.get(f"valid/{metric}", math.nan))


def stored(study: Study, plan: Plan, number: int) -> tuple[BaseStorage, int]:
    """The storage of a study and a trial's id in it."""
    storage: BaseStorage = study._storage
    return storage, storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(plan.id), number)


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _seconds(trial: FrozenTrial) -> float:
    """What a trial took; of one that was taken up again, since then."""
    return float(trial.user_attrs.get("seconds", 0.0))
