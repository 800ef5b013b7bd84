"""What a repair must beat: another seed, a repair drawn blindly, and random search, each at the budget of one repair.

Repairs of networks have been found no better than random search before; a repair that is not clearly above these is
luck. Source: "Repairing DNN architecture: are we there yet?" (ICST 2023), whose finding this is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.doctor.case import CannotBuildError, Case
from benchmarks.doctor.judge import judged
from benchmarks.doctor.plain import Ended, run
from benchmarks.doctor.prepare import Arrays
from benchmarks.doctor.programs import Program, program
from benchmarks.doctor.zoo import Facts

TRIES, SHARE = 3, 0.1  # of random search: so many draws, each for that share of the time, then the best one in full
Change = Callable[[Facts], Facts]
Reached = tuple[Ended, str, int]  # how it ended, what was changed, all steps that were taken
_WEIGHTY = ("dense", "conv2d", "conv1d")


def controls(subject: Program, seed: int, seconds: float = 20.0) -> dict[str, Any]:
    """A program's outcome under each control, as ``{"id", "seed", …, "controls": {name: {"metric", "what"}}}``.

    Args:
        subject: a program that fails.
        seed: of the run that failed; it also decides what is drawn.
        seconds: of the processor, for one full run.
    """
    told: dict[str, Any] = {}
    for name, control in CONTROLS.items():
        ended, what, _ = control(subject, seed, seconds)
        told[name] = {"metric": ended.train.metric, "learned": ended.learned, "what": what}
    return {
        "id": subject.id,
        "seed": seed,
        "status": subject.status,
        "problems": list(subject.problems),
        "baseline": baseline_of(subject),
        "controls": told,
    }


def at_budget(name: str, subject: Program, seed: int, seconds: float, steps: int, goal: float) -> dict[str, Any]:
    """The best of a control that is drawn anew until it took so many steps, or is as good as it need be.

    It is told its own outcome and the aim, which a repair is not.

    Args:
        name: of the control.
        subject: a program that fails.
        seed: of the first draw.
        seconds: of the processor, for one full run.
        steps: as many as the repair took, with all that it tried.
        goal: the metric at which it may stop.
    """
    best, what, taken, draws = -math.inf, "", 0, 0
    while taken < steps and not best >= goal:
        ended, changed_, took = CONTROLS[name](subject, seed + 7919 * draws, seconds)
        if ended.learned and ended.train.metric > best:
            best, what = ended.train.metric, changed_
        taken, draws = taken + max(1, took), draws + 1
    return {"metric": best, "repaired": best >= goal, "what": what, "steps": taken, "draws": draws}


def baseline_of(subject: Program) -> float:
    """What the constant prediction reaches on the program's own rows."""
    data = subject.judging()
    return judged(subject.module(0), data.x, data.y, subject.metric, subject.logits).baseline


def another_seed(subject: Program, seed: int, seconds: float) -> Reached:
    """The same program, once more."""
    return _once(run(subject, seed + 1000, seconds), f"seed {seed + 1000}")


def _once(ended: Ended, what: str) -> Reached:
    return ended, what, ended.steps


def random_repair(subject: Program, seed: int, seconds: float) -> Reached:
    """One usual repair, drawn without looking at the program; the next one where it cannot be applied."""
    rng = random.Random(f"{subject.id} {seed}")
    for name, change in rng.sample(list(REPAIRS.items()), len(REPAIRS)):
        repaired = changed(subject, change) if name != "standardize" else standardized(subject)
        if repaired is not None:
            return _once(run(repaired, seed, seconds), name)
    return _once(run(subject, seed, seconds), "none applies")


def random_search(subject: Program, seed: int, seconds: float) -> Reached:
    """Settings drawn anew a few times, each tried for a short while; the best by its last loss is trained in full."""
    rng = random.Random(f"search {subject.id} {seed}")
    best, best_loss, what, steps = subject, math.inf, "as it was", 0
    for _ in range(TRIES):
        drawn = _drawn(rng)
        tried = changed(subject, lambda facts, drawn=drawn: _with(facts, drawn))  # type: ignore[misc]
        if tried is None:
            continue
        short = replace(tried, epochs=max(1, math.ceil(SHARE * tried.epochs)))
        ended = run(short, seed, SHARE * seconds)
        steps += ended.steps
        if ended.last_loss < best_loss:
            best, best_loss, what = tried, ended.last_loss, str(drawn)
    ended = run(best, seed, seconds)
    return ended, what, steps + ended.steps


CONTROLS: Mapping[str, Callable[[Program, int, float], Reached]] = {
    "another seed": another_seed,
    "random repair": random_repair,
    "random search": random_search,
}


def changed(subject: Program, change: Change) -> Program | None:
    """The program with its facts changed and its data as they are; None where the change says nothing or breaks it."""
    facts = change(dict(subject.case.facts))
    if facts == subject.case.facts:
        return None
    try:
        rebuilt = program(Case(subject.id, facts), subject.twins)
    except CannotBuildError:
        return None
    held = subject.arrays()
    return replace(rebuilt, arrays=lambda: held) if rebuilt.arrays().y.shape == held.y.shape else rebuilt


def standardized(subject: Program) -> Program | None:
    """The program with every column of its inputs at mean 0 and deviation 1."""
    data = subject.arrays()
    if not data.x.is_floating_point():
        return None
    mean, deviation = data.x.mean(0), data.x.std(0)
    deviation[deviation == 0] = 1
    valid = None if data.x_valid is None else (data.x_valid - mean) / deviation
    scaled: Arrays = replace(data, x=(data.x - mean) / deviation, x_valid=valid)
    return replace(subject, arrays=lambda: scaled)


def _rate(factor: float) -> Change:
    def change(facts: Facts) -> Facts:
        optimizer = dict(facts.get("optimizer") or {})
        return {**facts, "optimizer": {**optimizer, "lr": float(optimizer.get("lr") or 0.001) * factor}}

    return change


def _hidden(**values: Any) -> Change:
    def change(facts: Facts) -> Facts:
        *hidden, last = facts["layers"]
        new = [{**layer, **values} if layer.get("type") in _WEIGHTY else layer for layer in hidden]
        return {**facts, "layers": [*new, last]}

    return change


def _without_dropout(facts: Facts) -> Facts:
    return {**facts, "layers": [layer for layer in facts["layers"] if "dropout" not in str(layer.get("type"))]}


def _output_for_task(facts: Facts) -> Facts:
    """The output activation and loss that go with the targets as they are coded."""
    *hidden, last = facts["layers"]
    if not isinstance(last, dict) or last.get("type") != "dense":
        return facts
    one = int(last.get("units", 1)) == 1
    if "class" not in str(facts.get("task")):
        pair = ("linear", "mean_squared_error")
    elif "sparse" in str(facts["loss"]):
        pair = ("softmax", "sparse_categorical_crossentropy")
    else:
        pair = ("sigmoid", "binary_crossentropy") if one else ("softmax", "categorical_crossentropy")
    return {**facts, "layers": [*hidden, {**last, "activation": pair[0]}], "loss": pair[1]}


REPAIRS: Mapping[str, Change] = {
    "rate x10": _rate(10),
    "rate x3": _rate(3),
    "rate /3": _rate(1 / 3),
    "rate /10": _rate(0.1),
    "adam": lambda facts: {**facts, "optimizer": {"name": "adam", "lr": 0.001}},
    "batches of 32": lambda facts: {**facts, "batch_size": 32},
    "clip": lambda facts: {**facts, "optimizer": {**facts["optimizer"], "clipnorm": 1.0}},
    "relu, he": _hidden(activation="relu", kernel_init="he_uniform"),
    "selu": _hidden(activation="selu", kernel_init="lecun_normal"),
    "glorot": _hidden(kernel_init="glorot_uniform"),
    "no dropout": _without_dropout,
    "output for the task": _output_for_task,
    "standardize": lambda facts: facts,  # of the data, not of the facts
}


def _drawn(rng: random.Random) -> dict[str, Any]:
    names: Sequence[str] = ("adam", "sgd", "rmsprop", "adagrad")
    return {
        "optimizer": rng.choice(names),
        "lr": 10 ** rng.uniform(-5, 0),
        "batch_size": rng.choice((8, 16, 32, 64, 128)),
        "activation": rng.choice(("relu", "tanh", "sigmoid", "elu", "selu")),
        "kernel_init": rng.choice(("glorot_uniform", "he_uniform", "lecun_normal", "random_normal")),
    }


def _with(facts: Facts, drawn: Mapping[str, Any]) -> Facts:
    layers = _hidden(activation=drawn["activation"], kernel_init=drawn["kernel_init"])(facts)["layers"]
    optimizer = {"name": drawn["optimizer"], "lr": drawn["lr"]}
    return {**facts, "layers": layers, "optimizer": optimizer, "batch_size": drawn["batch_size"]}
