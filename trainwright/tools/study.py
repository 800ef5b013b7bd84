"""A study: the folder of a search, what was asked of it, and Optuna's record of its trials."""

from __future__ import annotations

import json
import logging
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from trainwright.core.batch import seed_of
from trainwright.core.errors import UserError
from trainwright.runs.directory import STUDY, write_json
from trainwright.runs.stored import damaged, stored_json
from trainwright.tools.space import Range, Space, applies

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

FORMAT = 1
RECIPE, JOURNAL, BEST = "recipe.toml", "journal.jsonl", "best.toml"
_MUTEX = "study.lock"
_STARTUP = 10  # trials at random before a model proposes any, as Optuna has it
_GENERATIONS = 5  # a genetic search of few trials still has so many
_HELD = 60  # seconds that a database may be busy with others
_DRIVERS = {"psycopg": '"psycopg[binary]"'}  # module -> what brings it


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked of a study, as ``study.json`` holds it."""

    space: Space
    sampler: str = "tpe"
    pruner: str = "none"
    objectives: tuple[str, ...] = ("score",)
    directions: tuple[str, ...] = ("higher",)  # or "lower", of each objective
    names: tuple[str, ...] = ("score",)  # what each is: "valid accuracy", "seconds", "parameters"
    trials: int | None = 40
    seconds: float | None = None
    seed: int = 0
    workers: int = 1
    storage: str = ""  # the address; a file in the folder where it is empty
    id: str = ""  # of the study within its storage
    evaluations: int = 0  # of a whole trial; 0 where that is not known
    first: Mapping[str, Any] | None = None  # the recipe's own values, which are tried first

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "format": FORMAT, "space": [r.as_json() for r in self.space.values()]}

    @property
    def largest(self) -> int | None:
        """Trials that there can be: of a grid, no more than it has points."""
        if self.sampler != "grid":
            return self.trials
        points = len(grid(self.space))
        return points if self.trials is None else min(points, self.trials)


def write_plan(plan: Plan, folder: Path) -> None:
    """Into ``study.json``; an address with a password in it is left out."""
    write_json({**plan.as_json(), "storage": _unsigned(plan.storage)}, folder / STUDY)


def read_plan(folder: Path) -> Plan:
    """Of ``study.json``; UserError where there is none."""
    if not (folder / STUDY).is_file():
        raise UserError(str(folder), f"is not the folder of a search (no {STUDY})", "name a recipe, or such a folder")
    told: dict[str, Any] = dict(stored_json(folder / STUDY))
    try:
        if told.pop("format") > FORMAT:
            what = "was written by a newer version of Trainwright"
            raise UserError(str(folder), what, "install that one")
        space = {r["key"]: Range(**{**r, **_pairs(r)}) for r in told.pop("space")}
        lists = {k: tuple(told.pop(k)) for k in ("objectives", "directions", "names")}
        return Plan(**{"space": space, **lists, **told})
    except (KeyError, TypeError) as error:
        raise damaged(folder / STUDY, error) from None


def new_id(label: str, seed: int, storage: str) -> str:
    """A name for a study that no other in the same storage has.

    Optuna draws the bracket of a trial from it, so that the seed says it all where the study is alone in its folder.
    """
    return f"{label}-{secrets.token_hex(6) if storage else seed}"


@contextmanager
def mutex(folder: Path) -> Iterator[None]:
    """One process at a time takes a trial; a process that dies lets go."""
    with FileLock(folder / _MUTEX, mode=0o600):
        yield


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna's own words are left to its log; what it calls experimental is meant here."""
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        yield


def opened(folder: Path, plan: Plan) -> Study:
    """Optuna's study, made where there is none."""
    import optuna

    sides = optuna.study.StudyDirection
    directions = [sides.MAXIMIZE if d == "higher" else sides.MINIMIZE for d in plan.directions]
    with quiet_optuna():
        return optuna.create_study(
            storage=_storage(folder, plan.storage), study_name=plan.id, directions=directions, load_if_exists=True
        )


def _storage(folder: Path, address: str) -> BaseStorage:
    """A journal in the folder, or a database; both hold JSON, nothing that could be run."""
    if not address:
        from optuna.storages import JournalStorage

        from trainwright.tools.journal import journal

        return JournalStorage(journal(folder / JOURNAL))
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    options = {"connect_args": {"timeout": _HELD}} if address.startswith("sqlite") else {"pool_pre_ping": True}
    try:
        return RDBStorage(address, engine_kwargs=options)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or "a driver"
        what = f"needs {missing} to speak with such a database, and it is not installed"
        raise UserError("storage", what, f"pip install {_DRIVERS.get(missing, missing)}") from None
    except (SQLAlchemyError, ValueError) as error:
        what = f"cannot be opened: {' '.join(str(error).split())[:200]}"
        raise UserError("storage", what, "write an address such as sqlite:///search.db, or leave it out") from None


def known_address(address: str) -> str:
    """An address of a database with an absolute path, so that it is the same from everywhere; UserError else."""
    scheme, sign, rest = address.partition("://")
    if not sign or not scheme:
        raise UserError("storage", f"'{address}' is no address", "write one such as sqlite:///search.db")
    if scheme == "sqlite" and rest.startswith("/") and rest not in ("/", "/:memory:"):
        return f"sqlite:///{Path(rest[1:]).expanduser().absolute()}"
    if scheme == "sqlite":
        raise UserError("storage", "a database in memory is lost", "write an address such as sqlite:///search.db")
    return address


def _unsigned(address: str) -> str:
    """Without its password."""
    parts = urlsplit(address)
    return address.replace(f":{parts.password}@", ":***@") if parts.password else address


def with_address(plan: Plan, given: str | None) -> Plan:
    """The plan with the address of the command; UserError where the file's lacks its password and none is given."""
    if given:
        return replace(plan, storage=known_address(given))
    if ":***@" in plan.storage:
        what = f"{plan.storage} needs a password, which no file of the search holds"
        raise UserError("storage", what, "give the address again with --storage")
    return plan


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """As Optuna has them."""
    from optuna import distributions as d

    found: dict[str, BaseDistribution] = {}
    for key, span in space.items():
        if span.choices is not None:
            found[key] = d.CategoricalDistribution([_scalar(c) for c in span.choices])
        elif span.whole:
            low, high, step = int(span.low or 0), int(span.high or 0), int(span.step or 1)
            found[key] = d.IntDistribution(low, high - (high - low) % step, log=span.log, step=step)
        else:
            start, end = float(span.low or 0), float(span.high or 0)
            if span.step is not None:
                end = start + int((end - start) / span.step + 1e-9) * span.step
            found[key] = d.FloatDistribution(start, end, log=span.log, step=span.step)
    return found


def proposed(study: Study, plan: Plan, number: int) -> tuple[int, dict[str, Any]]:
    """A new trial: its number and its values.

    Whoever proposes is made anew, with a seed of the trial's number: so a search that was interrupted goes on as if it
    had not been, and two workers never begin alike.
    """
    with quiet_optuna():
        study.sampler = sampler_of(plan, seed_of(plan.seed, "trial", number) % 2**32)
        asked = _asked(study, plan, number)
        if asked is not None:
            study.enqueue_trial({k: _scalar(v) for k, v in asked.items()})
        known = distributions(plan.space)
        always = {k: v for k, v in known.items() if not _depends(k, plan.space)}
        trial = study.ask(always)
        values = {k: _value(plan.space[k], trial.params[k]) for k in always}
        for key in plan.space:
            if key not in always and applies(key, plan.space, values):
                values[key] = _value(plan.space[key], _suggested(trial, key, known[key]))
        return trial.number, {k: values[k] for k in plan.space if k in values}


def _asked(study: Study, plan: Plan, number: int) -> Mapping[str, Any] | None:
    """What is tried whoever proposes: the next point of a grid, or first of all what the recipe says."""
    if plan.sampler != "grid":
        return plan.first if number == 0 else None
    taken = [values_of(t, plan.space) for t in study.get_trials(deepcopy=False) if t.state.name != "FAIL"]
    return next((point for point in grid(plan.space) if point not in taken), None)


def grid(space: Space) -> list[dict[str, Any]]:
    """Every combination of values, without the keys that its names do not have."""
    found: list[dict[str, Any]] = [{}]
    for key, span in space.items():
        found = [
            {**point, **more}
            for point in found
            for more in ([{key: v} for v in span.grid()] if applies(key, space, point) else [{}])
        ]
    return found


def _suggested(trial: Trial, key: str, known: BaseDistribution) -> Any:
    from optuna import distributions as d

    if isinstance(known, d.CategoricalDistribution):
        return trial.suggest_categorical(key, known.choices)
    if isinstance(known, d.IntDistribution):
        return trial.suggest_int(key, known.low, known.high, step=known.step, log=known.log)
    assert isinstance(known, d.FloatDistribution)
    return trial.suggest_float(key, known.low, known.high, step=known.step, log=known.log)


def values_of(trial: FrozenTrial, space: Space) -> dict[str, Any]:
    """The values of a trial, as a recipe has them."""
    return {k: _value(span, trial.params[k]) for k, span in space.items() if k in trial.params}


def sampler_of(plan: Plan, seed: int) -> BaseSampler:
    """Who proposes the next trial."""
    from optuna import samplers

    if plan.sampler in ("random", "grid"):
        return samplers.RandomSampler(seed=seed)
    if plan.sampler == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=_STARTUP, warn_independent_sampling=False)
    if plan.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed, population_size=population(plan))
    if plan.sampler == "cmaes":
        from trainwright.tools.cmaes import CovarianceSampler

        return CovarianceSampler(seed, distributions(plan.space))
    return samplers.TPESampler(
        seed=seed, n_startup_trials=_STARTUP, multivariate=True, group=any(_depends(k, plan.space) for k in plan.space),
        warn_independent_sampling=False, constant_liar=True,
    )  # fmt: skip


def population(plan: Plan) -> int:
    """Of a genetic search: a fifth of the trials, so that few of them still make several generations."""
    return max(4, min(50, (plan.trials or 40) // _GENERATIONS))


def pruner_of(plan: Plan) -> BasePruner:
    """Who ends trials early; a trial's resource is its evaluations."""
    from optuna import pruners

    if plan.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    if plan.pruner == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if plan.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=plan.evaluations or "auto", reduction_factor=3)
    return pruners.NopPruner()


def _depends(key: str, space: Space) -> bool:
    """Whether some names that are searched have no such option."""
    section, _, option = key.partition(".")
    names = space.get(f"{section}.name")
    if option == "name" or names is None:
        return False
    return not all(applies(key, space, {f"{section}.name": name}) for name in names.choices or ())


def _scalar(value: Any) -> Any:
    """A choice as Optuna can write it down."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _value(span: Range, said: Any) -> Any:
    """The inverse."""
    if span.choices is None:
        return int(said) if span.whole else float(said)
    return next(c for c in span.choices if _scalar(c) == said and type(_scalar(c)) is type(said))


def _pairs(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"choices": tuple(told["choices"])} if told.get("choices") is not None else {}


def said(values: Mapping[str, Any]) -> str:
    """``optimizer.lr 0.00123, model.depth 3``."""
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
