"""The options of keys of a recipe that are tables of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

Sampler = Literal["tpe", "gp", "cmaes", "nsga2", "random", "grid"]
Pruner = Literal["none", "median", "hyperband", "asha"]


def doctor(*, mode: Literal["off", "advise", "heal"] = "advise", trials: bool = False, yes: bool = False) -> None:
    """The options of the recipe's key ``doctor``.

    Args:
        mode: "advise" says what is wrong and changes nothing; "heal" tries what may help and goes on with what won;
            "off" says nothing.
        trials: try what may help also where nothing shall be changed, and say what came of it.
        yes: "heal" also takes what changes the model, the loss or the data; without it that is offered.
    """


def tune(
    *,
    space: dict[str, Any] | None = None,
    trials: Annotated[int, Field(ge=1)] | None = None,
    time: str | None = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = "none",
    objectives: Annotated[tuple[str, ...], Field(min_length=1)] = ("score",),
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0,
) -> None:
    """The options of the recipe's key ``tune``; what the command line says counts more.

    Args:
        space: what is searched: dotted keys of the recipe and their ranges, { "optimizer.lr" = "1e-5..1e-1:log",
            "model.depth" = "2..6", "optimizer.name" = ["adamw", "sgd"], "model.dropout" = "auto" }; "auto" is the range
            that the option itself suggests.
        trials: trainings in all; 40 where time is not given either.
        time: for all trials together, such as "2 hours"; with several workers, each of them may take so long.
        sampler: who proposes what is tried next: "tpe" (tree-structured Parzen estimators), "gp" (Gaussian processes),
            "cmaes" (covariance matrix adaptation; numbers only), "nsga2" (a genetic algorithm), "random" or "grid".
        pruner: who ends trials early that promise little, by the monitor at each evaluation: "median" of the trials
            before, "hyperband", "asha" (successive halving), or "none".
        objectives: what is sought: "score" is the monitor on the validation part; further ones are "seconds" (training
            time), "size" (parameters), or the name of a metric. The first decides which trial is called the best.
        seed: of the search itself; that of the recipe stays as it is, so that all trials have the same split.
    """
