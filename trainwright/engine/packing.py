"""A state as JSON beside tensors, and back: what a checkpoint's files hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainwright.engine.ranks.share import Share


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one moment: it does not follow what happens to the weights afterwards, unless nothing was copied."""

    tree: Mapping[str, Any]  # part -> JSON in which {"$": "tensor", "name": …} stands for a tensor
    tensors: Mapping[str, Mapping[str, Tensor]]  # part -> name -> tensor on the CPU
    shares: Mapping[str, Mapping[str, Share]] = field(default_factory=dict)  # likewise, of what ranks hold together

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        whole = sum(x.nbytes for part in self.tensors.values() for x in part.values())
        return whole + sum(share.rows.nbytes for part in self.shares.values() for share in part.values())


def pack(state: Mapping[str, Mapping[str, Any]], spare: Snapshot | None = None, *, copy: bool = True) -> Snapshot:
    """Copy every tensor of a state; TypeError names what a checkpoint cannot keep.

    Args:
        state: part -> its state_dict.
        spare: one that nobody reads any more; its memory is used again, which takes a third of the time.
        copy: without, tensors on the CPU are the state's own: for one that rests until the snapshot was read.
    """
    tree: dict[str, Any] = {}
    tensors: dict[str, dict[str, Tensor]] = {}
    shares: dict[str, dict[str, Share]] = {}
    for part, content in state.items():
        tensors[part], shares[part] = {}, {}
        old = {**spare.tensors[part], **_rows(spare, part)} if spare and part in spare.tensors else {}
        tree[part] = _packed(content, "", _Copies(tensors[part], shares[part], old, copy))
    return Snapshot(tree, tensors, shares)


def restored(snapshot: Snapshot) -> dict[str, Any]:
    """The state that was packed, whose tensors are those of the snapshot."""
    return {p: unpack(tree, {**snapshot.tensors[p], **snapshot.shares.get(p, {})}) for p, tree in snapshot.tree.items()}


def _rows(snapshot: Snapshot, part: str) -> dict[str, Tensor]:
    return {name: share.rows for name, share in snapshot.shares.get(part, {}).items()}


@dataclass(frozen=True, slots=True)
class _Copies:
    """The tensors of one part, each once."""

    tensors: dict[str, Tensor]
    shares: dict[str, Share]
    spare: Mapping[str, Tensor]
    copy: bool = True
    seen: dict[Any, str] = field(default_factory=dict)

    def name_of(self, value: Tensor, name: str) -> str:
        """Under which name it is kept; tied tensors under that of the first."""
        key = _place(value, name)
        if key not in self.seen:
            self.seen[key] = name
            self.tensors[name] = self._copied(value.detach(), self.spare.get(name))
        return self.seen[key]

    def name_of_share(self, value: Share, name: str) -> str:
        """The same for rows."""
        key = (*_place(value.rows, name), value.shape)
        if key not in self.seen:
            self.seen[key] = name
            self.shares[name] = Share(self._copied(value.rows.detach(), self.spare.get(name)), value.shape)
        return self.seen[key]

    def _copied(self, value: Tensor, old: Tensor | None) -> Tensor:
        if not self.copy:
            return value.to("cpu").contiguous()
        if old is not None and (old.dtype, old.shape) == (value.dtype, value.shape):
            return old.copy_(value)
        return value.to("cpu", copy=True).contiguous()


def _place(value: Tensor, name: str) -> tuple[Any, ...]:
    """What two names of one tensor have in common."""
    return (value.data_ptr(), value.dtype, value.shape, value.stride()) if value.numel() else (name,)


def unpack(value: Any, tensors: Mapping[str, Tensor | Share]) -> Any:
    """The inverse, for one part; ValueError where rows are missing."""
    if isinstance(value, list):
        return [unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    match value.get("$"):
        case "tensor":
            return tensors[value["name"]]
        case "share":
            found = tensors[value["name"]]
            if [*found.shape] != value["shape"]:
                raise ValueError(f"{value['name']} has {found.shape[0]} of its {value['shape'][0]} rows")
            return found
        case "tuple":
            return tuple(unpack(v, tensors) for v in value["items"])
        case "float":
            return float(value["value"])
        case "pairs":
            return dict(zip(value["keys"], (unpack(v, tensors) for v in value["values"]), strict=True))
    return {k: unpack(v, tensors) for k, v in value.items()}


def _packed(value: Any, name: str, copies: _Copies) -> Any:
    """JSON with tensors moved out."""
    if isinstance(value, Tensor):
        return {"$": "tensor", "name": copies.name_of(value, name)}
    if isinstance(value, Share):
        return {"$": "share", "name": copies.name_of_share(value, name), "shape": [*value.shape]}
    if isinstance(value, Mapping):
        pairs = {str(k): _packed(v, f"{name}.{k}" if name else str(k), copies) for k, v in value.items()}
        keys = list(value)
        if any(not isinstance(k, str) for k in keys) or "$" in pairs:
            return {"$": "pairs", "keys": keys, "values": list(pairs.values())}
        return pairs
    if isinstance(value, list | tuple):
        items = [_packed(v, f"{name}.{i}", copies) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$": "tuple", "items": items}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": "float", "value": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name}: a checkpoint cannot keep a {type(value).__name__}")
