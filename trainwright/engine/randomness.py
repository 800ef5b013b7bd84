"""The global generators of Python, NumPy and torch: seeded, kept as a part of the state, and put back."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.core.batch import seed_of
from trainwright.engine.runtime import Runtime


class Randomness:
    """The global generators of Python, NumPy and torch, on every rank."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def seed(self, seed: int) -> None:
        """Start all generators; ranks differ, so that their dropout does."""
        word = seed_of(seed, "global", self.runtime.ranks.rank)
        random.seed(word)
        np.random.seed(word % 2**32)
        torch.manual_seed(word % 2**63)

    def state_dict(self) -> dict[str, Any]:
        """The generators of every rank, as text."""
        return {"ranks": self.runtime.ranks.gather_json(take_randomness(self.runtime.device))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse; a rank the checkpoint does not know starts afresh."""
        ranks = state["ranks"]
        if self.runtime.ranks.rank < len(ranks):
            give_randomness(ranks[self.runtime.ranks.rank], self.runtime.device)


@contextmanager
def randomness_kept(device: torch.device) -> Iterator[None]:
    """The global generators are afterwards what they were before."""
    before = take_randomness(device)
    try:
        yield
    finally:
        give_randomness(before, device)


def take_randomness(device: torch.device) -> dict[str, Any]:
    """The global generators of this process, as JSON."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, following = random.getstate()
    taken = {
        "python": [version, list(words), following],
        "numpy": [_text(np.asarray(keys).tobytes()), position, has_gauss, gauss],
        "torch": _text(torch.get_rng_state().numpy().tobytes()),
    }
    if (generator := device_generator(device)) is not None:
        taken["device"] = _text(generator.get_state().numpy().tobytes())
    return taken


def give_randomness(taken: Mapping[str, Any], device: torch.device) -> None:
    """The inverse of `take_randomness`."""
    version, words, following = taken["python"]
    random.setstate((version, tuple(words), following))
    keys, position, has_gauss, gauss = taken["numpy"]
    np.random.set_state(("MT19937", np.frombuffer(base64.b64decode(keys), dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(_bytes(taken["torch"]))
    if "device" in taken and (generator := device_generator(device)) is not None:
        generator.set_state(_bytes(taken["device"]))


def device_generator(device: torch.device) -> torch.Generator | None:
    """The global generator of an accelerator; None where the CPU's is all there is."""
    if device.type not in ("cuda", "xpu", "mps"):
        return None
    if device.type == "mps":
        own: torch.Generator = torch.mps._get_default_mps_generator()
        return own
    module: Any = torch.cuda if device.type == "cuda" else torch.xpu
    module.init()
    found: torch.Generator = module.default_generators[
        module.current_device() if device.index is None else device.index
    ]
    return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
