"""A state put aside for as long as something is tried: in memory, or where it is large, in a file."""

from __future__ import annotations

import copy
import mmap
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from trainwright.engine.packing import Snapshot, pack, restored

_MUCH = 32 * 2**20  # bytes, from which on a second state in memory is worth a file instead


class Shelved:
    """What `TrainState.state_dict` gave, as it was then.

    A file keeps it out of the memory that a training is known to need. Where none can be written, memory has it.

    Args:
        state: part -> its state_dict; a file takes tensors of any device, and gives them back on the CPU.
    """

    def __init__(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        self._state: Mapping[str, Any] | None = None
        self._file: Any = None
        self._snapshot: Snapshot | None = None
        try:
            snapshot = pack(state, copy=False)
            if snapshot.nbytes >= _MUCH and not any(snapshot.shares.values()):
                self._write(snapshot)
        except (OSError, TypeError):  # no room on the disk, or something that no checkpoint could keep
            self.close()
        if self._file is None:
            self._state = copy.deepcopy(dict(state))

    @property
    def large(self) -> bool:
        """Whether it lies in a file."""
        return self._file is not None

    def take(self) -> Mapping[str, Any]:
        """It, to be loaded at once, each time anew: what is loaded into an optimizer becomes the optimizer's own.

        The weights are those of the file, which are not in memory before they are read.
        """
        if self._snapshot is None:
            return copy.deepcopy(self._state or {})
        seen = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        begin, tensors = 0, dict[str, dict[str, Tensor]]()
        for part, found in self._snapshot.tensors.items():
            tensors[part] = {}
            for name, like in found.items():
                found_again = _read(seen, begin, like)
                tensors[part][name] = found_again if part == "model" else found_again.clone()
                begin += like.nbytes
        return restored(Snapshot(self._snapshot.tree, tensors))

    def close(self) -> None:
        """Forget it."""
        file, self._state, self._snapshot, self._file = self._file, None, None, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _write(self, snapshot: Snapshot) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - gone with `close`, or with the process
        for found in snapshot.tensors.values():
            for tensor in found.values():
                left: Any = tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b""
                while len(left):
                    left = left[self._file.write(left) :]
        forms = {part: {name: _form(x) for name, x in found.items()} for part, found in snapshot.tensors.items()}
        self._snapshot = Snapshot(snapshot.tree, forms)


def _form(tensor: Tensor) -> Tensor:
    """One of its shape and type that holds nothing."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _read(seen: mmap.mmap, begin: int, like: Tensor) -> Tensor:
    if not like.numel():
        return torch.empty(like.shape, dtype=like.dtype, device="cpu")
    raw = torch.frombuffer(seen, dtype=torch.uint8, count=like.nbytes, offset=begin)
    return (raw if begin % like.itemsize == 0 else raw.clone()).view(like.dtype).reshape(like.shape)
