"""Covariance matrix adaptation as an Optuna sampler that keeps nothing: its state is told again from the trials.

Optuna's own keeps a pickle of it in the study, which whoever opens the study would run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_GENERATION = "generation"
_WIDTH = 1 / 6  # the first deviation, of each range, as Optuna has it

Number = FloatDistribution | IntDistribution


@final
class CovarianceSampler(BaseSampler):
    """Proposes numbers out of a normal distribution that follows the better half of each generation.

    Args:
        seed: of what is proposed next.
        space: the keys that are searched, all of them numbers, two or more.

    Source: Hansen & Ostermeier 2001, "Completely derandomized self-adaptation in evolution strategies".
    """

    def __init__(self, seed: int, space: Mapping[str, BaseDistribution]) -> None:
        self._seed, self._space = seed, dict(space)
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All keys together."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point of the generation that is not complete."""
        strategy = CMA(
            mean=np.full(len(search_space), 0.5),
            sigma=_WIDTH,
            bounds=np.tile([0.0, 1.0], (len(search_space), 1)),
            seed=self._seed,
        )
        sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
        done = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
        generation = 0
        while len(born := [t for t in done if t.user_attrs.get(_GENERATION) == generation]) >= strategy.population_size:
            told = born[: strategy.population_size]
            strategy.tell([(_place(t.params, search_space), sign * float(t.value or 0.0)) for t in told])
            generation += 1
        study._storage.set_trial_user_attr(trial._trial_id, _GENERATION, generation)
        return _values(strategy.ask(), search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """At random, what is no number."""
        return self._random.sample_independent(study, trial, name, distribution)


def _place(values: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> NDArray[np.float64]:
    """Values as a point of the unit cube."""
    return np.array([_share(float(values[name]), known) for name, known in space.items()])


def _share(value: float, known: BaseDistribution) -> float:
    assert isinstance(known, FloatDistribution | IntDistribution)
    low, high = _ends(known)
    value = math.log(value) if known.log else value
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _values(point: NDArray[np.float64], space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for share, (name, known) in zip(point.tolist(), space.items(), strict=True):
        assert isinstance(known, FloatDistribution | IntDistribution)
        low, high = _ends(known)
        value = low + share * (high - low)
        value = math.exp(value) if known.log else value
        if known.step is not None:
            value = known.low + round((value - known.low) / known.step) * known.step
        value = min(known.high, max(known.low, value))
        found[name] = round(value) if isinstance(known, IntDistribution) else float(value)
    return found


def _ends(known: Number) -> tuple[float, float]:
    """Of the scale on which it is searched; whole numbers reach half a step beyond."""
    half = 0.5 * known.step if isinstance(known, IntDistribution) else 0.0
    low, high = known.low - half, known.high + half
    return (math.log(low), math.log(high)) if known.log else (low, high)
