"""What weights begin with and how they may move: taken from elsewhere, resting, or at rates of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.config import Budget, RunConfig
from trainwright.core.errors import UserError, did_you_mean
from trainwright.core.schema import check
from trainwright.engine import checkpoint
from trainwright.engine.average import averaged_weights
from trainwright.engine.frozen import Frozen
from trainwright.engine.owner import Owner
from trainwright.engine.state import Stateful
from trainwright.runs.directory import CHECKPOINTS, owner

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
_NAMED = 4  # tensors that a report names one by one


@dataclass(frozen=True, slots=True)
class Beginning:
    """Which weights a model got from elsewhere."""

    path: str
    taken: int  # tensors
    tensors: int  # of the model
    misfits: tuple[str, ...]  # "head.weight (10, 64), there (3, 64)"
    fresh: tuple[str, ...]  # names that are not there
    unused: tuple[str, ...]  # names there that the model does not have

    def notes(self) -> list[str]:
        """What a person should know, line by line."""
        said = [f"{self.taken} of the model's {self.tensors} tensors are taken from {self.path}"]
        left = (*self.misfits, *self.fresh)
        said += [f"these begin anew: {_listed(left)}"] if left else []
        return said + ([f"these are there and not used: {_listed(self.unused)}"] if self.unused else [])

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "path": self.path,
            "taken": self.taken,
            "tensors": self.tensors,
            "misfits": list(self.misfits),
            "fresh": list(self.fresh),
            "unused": list(self.unused),
        }


def init_from(*, path: str, map: Mapping[str, str] | None = None, skip: tuple[str, ...] = ()) -> None:
    """The options of the recipe's key ``init_from``.

    Args:
        path: a run folder (its served weights are taken), a checkpoint folder, or a .safetensors file.
        map: how a name there begins -> how it begins here, such as { "encoder." = "stem." }.
        skip: patterns of names here that begin anew all the same, such as "head.*".
    """


def begun(model: Stateful, spec: Mapping[str, Any]) -> Beginning:
    """Weights of another training into the model, by name and shape; UserError where none fits.

    Args:
        model: as a part of the state: whole tensors under the names its author gave.
        spec: the options of `init_from`.
    """
    asked = check(init_from, spec, "init_from")
    found, prefixes = _weights(asked["path"]), asked["map"] or {}
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in found):
            raise UserError("init_from.map", f"no name there begins with {prefix!r}", f"there are {_listed(found)}")
    theirs = {_renamed(name, prefixes): x for name, x in found.items()}
    own = dict(model.state_dict())
    skipped = {name for name in own if fits(name, asked["skip"])}
    for pattern in asked["skip"]:
        must_fit(pattern, own, "init_from.skip")
    there = {n: x for n, x in theirs.items() if n in own and n not in skipped}
    taken = {n: x for n, x in there.items() if x.shape == own[n].shape}
    if not taken:
        raise UserError(
            "init_from",
            f"no tensor of {asked['path']} has a name and shape of this model: there {_listed(theirs)}; here "
            f"{_listed(own)}",
            'rename what differs, such as map = { "encoder." = "stem." }',
        )
    _finite(taken, asked["path"])
    model.load_state_dict({**own, **taken})
    return Beginning(
        path=asked["path"],
        taken=len(taken),
        tensors=len(own),
        misfits=tuple(f"{n} {tuple(own[n].shape)}, there {tuple(there[n].shape)}" for n in there if n not in taken),
        fresh=tuple(n for n in own if n not in there),
        unused=tuple(n for n in theirs if n not in own),
    )


def served_weights(path: Path, mine: Owner | None = None) -> dict[str, Tensor]:
    """The weights of a checkpoint that are judged and served: the running average, where there is one.

    Args:
        path: of the checkpoint.
        mine: the run that it must be of; any unless given.
    """
    if "ema" in checkpoint.verify(path, mine)["parts"]:
        return averaged_weights(checkpoint.load_part(path, "ema", mine))
    return dict(checkpoint.load_part(path, "model", mine))


def served(folder: Path) -> Path:
    """The checkpoint whose weights the run serves: the best, or the last where nothing was evaluated."""
    found = checkpoint.newest(folder / CHECKPOINTS, owner(folder))
    if found is None:
        raise UserError(str(folder), "has no checkpoint yet", "train it first")
    path, state, _ = found
    best = state["best"]["step"]
    kept = checkpoint.steps(folder / CHECKPOINTS)
    return checkpoint.at(folder / CHECKPOINTS, best) if best and best in kept else path  # 0 is where the run began


def freeze(model: nn.Module, config: RunConfig) -> None:
    """No gradient for the weights that never learn; before a model is wrapped for several ranks."""
    resting(model, config, 1)


def resting(model: nn.Module, config: RunConfig, per_epoch: int) -> Frozen | None:
    """Which weights rest, and until which step; None where all learn from the start.

    Args:
        model: as its author wrote it.
        config: ``freeze`` and ``unfreeze``; a weight that both name awakes.
        per_epoch: steps of an epoch.
    """
    names = [name for name, _ in model.named_parameters()]
    until: dict[str, int | None] = {}
    for pattern in config.freeze:
        until |= dict.fromkeys(must_fit(pattern, names, "freeze"))
    for pattern, amount in config.unfreeze.items():
        end = Budget.read(amount).steps(per_epoch)
        until |= dict.fromkeys(must_fit(pattern, names, "unfreeze"), end)
    return Frozen(model, until) if until else None


def learnable(model: nn.Module) -> list[nn.Parameter]:
    """The weights an optimizer moves; UserError where there are none."""
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        instead = "set requires_grad on some of its parameters, or freeze fewer"
        raise UserError("model", "has no weights that can learn", instead)
    return weights


def moving(model: nn.Module, rates: Mapping[str, float], make: Callable[[Any], Optimizer]) -> Optimizer:
    """The optimizer over the weights that learn, in groups where some have a rate of their own.

    Args:
        model: as its author wrote it, or sharded in place.
        rates: pattern of weight names -> multiplier of the optimizer's rate; the first that fits counts.
        make: weights, or groups of them -> optimizer.
    """
    weights = learnable(model)
    if not rates:
        return make(weights)
    names = {p: name for name, p in model.named_parameters()}
    for pattern in rates:
        must_fit(pattern, list(names.values()), "rates")
    factors = {p: next((f for pattern, f in rates.items() if fits(names[p], [pattern])), 1.0) for p in weights}
    kinds = dict.fromkeys(factors.values())
    optimizer = make([{"params": [p for p in weights if factors[p] == kind]} for kind in kinds])
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * factors[group["params"][0]]
    return optimizer


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is one of the patterns, in which * stands for anything."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def must_fit(pattern: str, names: Iterable[str], where: str) -> list[str]:
    """The names that a pattern fits; UserError where there is none: nothing is silently ignored."""
    names = list(names)
    found = [name for name in names if fits(name, [pattern])]
    if not found:
        raise UserError(where, f"{pattern!r} fits no weight of the model", did_you_mean(pattern, names))
    return found


def _weights(path: str) -> dict[str, Tensor]:
    """Name -> tensor of a run, a checkpoint or a file."""
    place = Path(path).expanduser()
    if (place / CHECKPOINTS).is_dir():
        return served_weights(served(place), owner(place))
    if (place / "state.json").is_file():
        return served_weights(place)
    if place.is_dir():
        raise UserError("init_from", f"{path} is neither a run nor a checkpoint", "name a run folder")
    if not place.is_file():
        raise UserError("init_from", f"{path} does not exist", "name a run folder or a .safetensors file")
    if place.suffix.lower() in _PICKLES:
        what = f"{path} may be a pickle, and reading one can run any program in it"
        converted = place.with_suffix(".safetensors").name
        raise UserError("init_from", what, f"convert it first: trainwright import {path} {converted}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(place)
    except (SafetensorError, OSError, MemoryError) as error:
        what = f"{path} is not a sound .safetensors file: {error}"
        raise UserError("init_from", what, "write one with safetensors.torch.save_file(state_dict, path)") from None


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    for there, here in prefixes.items():
        if name.startswith(there):
            return here + name.removeprefix(there)
    return name


def _finite(taken: Mapping[str, Tensor], path: str) -> None:
    bad = [n for n, x in taken.items() if x.is_floating_point() and not bool(torch.isfinite(x).all())]
    if bad:
        raise UserError("init_from", f"{path} holds NaN or infinity in {_listed(bad)}", "take an earlier checkpoint")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_some(list(names)))


def _some(names: Sequence[str]) -> Iterator[str]:
    yield from names[:_NAMED]
    if len(names) > _NAMED:
        yield f"and {len(names) - _NAMED} more"
