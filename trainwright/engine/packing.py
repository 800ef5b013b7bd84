"""A state as JSON beside tensors, and back: what a checkpoint's files hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one moment: it does not follow what happens to the weights afterwards."""

    tree: Mapping[str, Any]  # part -> JSON in which {"$": "tensor", "name": …} stands for a tensor
    tensors: Mapping[str, Mapping[str, Tensor]]  # part -> name -> tensor on the CPU


def pack(state: Mapping[str, Mapping[str, Any]]) -> Snapshot:
    """Copy every tensor of a state; TypeError names what a checkpoint cannot keep."""
    tree: dict[str, Any] = {}
    tensors: dict[str, dict[str, Tensor]] = {}
    for part, content in state.items():
        tensors[part] = {}
        tree[part] = _packed(content, "", tensors[part], {})
    return Snapshot(tree, tensors)


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse, for one part."""
    if isinstance(value, list):
        return [unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    match value.get("$"):
        case "tensor":
            return tensors[value["name"]]
        case "tuple":
            return tuple(unpack(v, tensors) for v in value["items"])
        case "float":
            return float(value["value"])
        case "pairs":
            return dict(zip(value["keys"], (unpack(v, tensors) for v in value["values"]), strict=True))
    return {k: unpack(v, tensors) for k, v in value.items()}


def _packed(value: Any, name: str, tensors: dict[str, Tensor], seen: dict[Any, str]) -> Any:
    """JSON with tensors moved out; tied tensors are stored once."""
    if isinstance(value, Tensor):
        key = (value.data_ptr(), value.dtype, value.shape, value.stride()) if value.numel() else (name,)
        if key not in seen:
            seen[key] = name
            tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"$": "tensor", "name": seen[key]}
    if isinstance(value, Mapping):
        pairs = {str(k): _packed(v, f"{name}.{k}" if name else str(k), tensors, seen) for k, v in value.items()}
        keys = list(value)
        if any(not isinstance(k, str) for k in keys) or "$" in pairs:
            return {"$": "pairs", "keys": keys, "values": list(pairs.values())}
        return pairs
    if isinstance(value, list | tuple):
        items = [_packed(v, f"{name}.{i}", tensors, seen) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$": "tuple", "items": items}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": "float", "value": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name}: a checkpoint cannot keep a {type(value).__name__}")
