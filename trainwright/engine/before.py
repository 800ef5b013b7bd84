"""What was before a step: a step that is not taken leaves no trace, neither in buffers nor in randomness."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.engine.randomness import device_generator

_form = attrgetter("shape", "dtype", "device", "requires_grad")  # of a tensor


class Buffers:
    """The buffers of modules, such as running statistics, kept and put back bit for bit.

    Args:
        modules: as their authors wrote them; which of them have buffers is looked up once.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        every = dict.fromkeys(m for module in modules for m in module.modules())
        self._homes = [m for m in every if next(m.buffers(recurse=False), None) is not None]
        self._then: list[int] = []  # which lay in them
        self._kept: list[tuple[nn.Module, str, Tensor]] = []
        self._now: list[Tensor] = []
        self._forms: list[Any] = []  # what each is like
        self._copies: list[Tensor] = []
        self._in_graph = False  # one of them was computed from weights

    def keep(self) -> None:
        """Copy them as they are now."""
        if not self._homes:
            return
        there = [id(b) for m in self._homes for b in m._buffers.values()]
        if there != self._then or not there:
            self._then = there
            self._kept = [(m, name, b) for m in self._homes for name, b in m.named_buffers(recurse=False)]
            self._now = [b for _, _, b in self._kept]
        if (forms := [*map(_form, self._now)]) != self._forms:
            self._forms, self._copies = forms, [torch.empty_like(b.detach()) for b in self._now]
            self._in_graph = any(b.requires_grad for b in self._now)
        if self._in_graph:
            torch._foreach_copy_(self._copies, [b.detach() for b in self._now])
        elif self._now:  # without `no_grad`, which costs as much as to copy a dozen
            torch._foreach_copy_(self._copies, self._now)

    @torch.no_grad()
    def put_back(self) -> None:
        """What was kept, also where a module has put another tensor in its place since."""
        for (module, name, buffer), copy in zip(self._kept, self._copies, strict=True):
            buffer.detach().copy_(copy)
            if getattr(module, name) is not buffer:
                setattr(module, name, buffer)


def buffers_kept(modules: Iterable[nn.Module]) -> Callable[[], None]:
    """Copies all buffers, also those that are no part of a checkpoint; returns what puts them back as they were.

    A module may put another tensor in a buffer's place instead of writing into it. One of another shape stays: it was
    made for more rows than there were before, and what else the module knows of it stays as well.
    """
    every = dict.fromkeys(m for module in modules for m in module.modules())
    found = [(m, name, b, b.detach().clone()) for m in every for name, b in m.named_buffers(recurse=False)]

    @torch.no_grad()
    def back() -> None:
        for module, name, buffer, kept in found:
            buffer.copy_(kept)
            now = getattr(module, name, None)
            if now is not buffer and isinstance(now, Tensor) and now.shape == buffer.shape:
                setattr(module, name, buffer)

    return back


class Dice:
    """The global generators before a step; cheap enough to be read at each.

    Those of Python and NumPy take longer to read than a small step to compute, and hardly a model uses them. So they
    are read at each step only until nothing has drawn from them for a while, and again from when something has.

    Args:
        device: whose generator is read beside those of the CPU.
    """

    _WHILE = 50  # steps

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._torch = self._on_device = torch.empty(0)
        self._python: Any = None
        self._numpy: Any = None
        self._mark: tuple[Any, Any] | None = None  # those two when they were last compared
        self._steps = 0  # since they were last compared
        self._every = True  # read those of Python and NumPy at each step

    def keep(self) -> None:
        """Read them as they are now.

        Into the same memory each time: a small tensor that is new while the old one is still there lies at another
        place, where the step wants to put something large.
        """
        self._torch = _kept(torch.default_generator.get_state(), self._torch)
        if (generator := device_generator(self._device)) is not None:
            self._on_device = _kept(generator.get_state(), self._on_device)
        compared = self._steps % self._WHILE == 0
        if compared or self._every:
            self._python, self._numpy = random.getstate(), np.random.get_state()
        if compared:
            now = self._python, self._numpy
            self._every = self._mark is None or not _alike(now, self._mark)
            self._mark = now
        self._steps += 1

    def put_back(self) -> None:
        """What was read last."""
        torch.default_generator.set_state(self._torch)
        if (generator := device_generator(self._device)) is not None:
            generator.set_state(self._on_device)
        random.setstate(self._python)
        np.random.set_state(self._numpy)


def _kept(state: Tensor, place: Tensor) -> Tensor:
    return place.copy_(state) if place.shape == state.shape else state


def _alike(a: tuple[Any, Any], b: tuple[Any, Any]) -> bool:
    words = all(np.array_equal(x, y) for x, y in zip(a[1], b[1], strict=True))
    return bool(a[0] == b[0] and words)
