"""What is in a user's batch: inputs and targets by name; and randomness kept apart from the run's."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.data.loader import filling

Unpack: TypeAlias = Callable[[Any], tuple[Any, Any]]  # a batch -> (inputs, targets); targets None when there are none
Weigh: TypeAlias = Callable[[Mapping[str, Tensor]], Tensor]  # targets -> 0-d weight
Named: TypeAlias = dict[str, Tensor]

EVALUATION = -1  # the epoch whose randomness evaluation has

_TARGETS = ("labels", "label", "targets", "target", "y")
_HOW = "say how with unpack=lambda batch: (inputs, targets)"


def understood(batch: Any, unpack: Unpack | None) -> tuple[Named, Named, int]:
    """(inputs, targets, samples) of a user's batch: x or x0, x1, …, and y or y0, y1, …; keys of mappings are kept.

    Raises UserError for what cannot be understood without ``unpack``.
    """
    inputs, targets = _parts(batch) if unpack is None else _unpacked(batch, unpack)
    x, y = _named(inputs, "x"), {} if targets is None else _named(targets, "y")
    sizes = {name: t.shape[0] if t.dim() else None for name, t in [*x.items(), *y.items()]}
    if not x or not all(sizes.values()) or len(set(sizes.values())) != 1:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in [*x.items(), *y.items()])
        raise UserError(
            "batch", f"dim 0 of its tensors is not the same number of samples: {shapes or 'there are none'}", _HOW
        )
    return x, y, next(n for n in sizes.values() if n is not None)


def cut_out(
    inputs: Named,
    targets: Named,
    ids: Tensor,
    cut: tuple[int, int],
    device: torch.device,
    weigh: Weigh | None,
) -> Batch:
    """Samples ``cut`` of a batch on the device, or a filler where there are none."""
    start, stop = cut
    rows = slice(start, stop) if stop > start else slice(0, len(filling(ids)))
    x = {k: v[rows].to(device, non_blocking=True) for k, v in inputs.items()}
    y = {k: v[rows].to(device, non_blocking=True) for k, v in targets.items()}
    n = len(ids[rows])
    weight = torch.tensor(float(n), device=device) if weigh is None else weigh(y)
    batch = Batch(x, y, weight, ids[rows].to(device, non_blocking=True), n)
    return batch if stop > start else batch.filler()


class Randomness:
    """Python's, NumPy's and torch's global randomness on the CPU, as a stream of its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._state: Any = None

    @contextmanager
    def own(self) -> Iterator[None]:
        """Within, the globals follow this stream; after, they are as they were."""
        with restored():
            if self._state is None:
                seed_all(self._seed)
            else:
                _restore(self._state)
            try:
                yield
            finally:
                self._state = _states()


@contextmanager
def restored() -> Iterator[None]:
    """After it, the global randomness is as it was before."""
    outer = _states()
    try:
        yield
    finally:
        _restore(outer)


def seed_all(seed: int) -> None:
    """Seed the global randomness of Python, NumPy and torch on the CPU."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


def _parts(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        found = [key for key in batch if key in _TARGETS]
        if len(found) != 1:
            keys = ", ".join(map(str, batch))
            raise UserError("batch", f"which of its keys ({keys}) is the target is not clear", _HOW)
        return {key: value for key, value in batch.items() if key != found[0]}, batch[found[0]]
    if not isinstance(batch, (tuple, list)):
        return batch, None
    if len(batch) not in (1, 2):
        raise UserError("batch", f"it has {len(batch)} parts, not (inputs, targets)", _HOW)
    return batch[0], batch[1] if len(batch) == 2 else None


def _unpacked(batch: Any, unpack: Unpack) -> tuple[Any, Any]:
    answer = unpack(batch)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise UserError("unpack", f"it returned {_said(answer)}", "return (inputs, targets); targets may be None")
    return answer


def _named(value: Any, name: str) -> Named:
    if isinstance(value, Mapping):
        return {str(key): _tensor(v, str(key)) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return {f"{name}{k}": _tensor(v, f"{name}{k}") for k, v in enumerate(value)}
    return {name: _tensor(value, name)}


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(np.array(value))
    raise UserError("batch", f"its part '{name}' is {_said(value)}, not a tensor", _HOW)


def _said(value: Any) -> str:
    inner = f" of {type(value[0]).__name__}" if isinstance(value, (tuple, list)) and value else ""
    return f"{type(value).__name__}{inner}"


def _states() -> Any:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _restore(states: Any) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
