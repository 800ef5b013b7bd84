"""Whether a resumed attempt computes what the earlier one would have: bit for bit, or why perhaps not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DECIDES = {  # what the last bits of a sum depend on, and where a manifest tells it
    "torch": ("versions", "torch"),
    "numpy": ("versions", "numpy"),
    "processor": ("machine", "processor"),
    "threads": ("machine", "threads"),
    "device": ("machine", "device"),
    "device name": ("machine", "device_name"),
    "ranks": ("plan", "ranks"),
    "parallel": ("plan", "parallel"),
}


def likeness(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """``exact``, or ``approximate`` with what differs between two manifests of a run."""
    why = reasons(before, now)
    return f"approximate: {'; '.join(why)}" if why else "exact"


def reasons(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two manifests of a run, of all that decides the last bits."""
    why = [
        f"{name} was {before[part].get(key)!r}, is {now[part].get(key)!r}"
        for name, (part, key) in _DECIDES.items()
        if before[part].get(key) != now[part].get(key)
    ]
    loader = str(now["data"].get("resume", "exact"))
    return why + ([loader.removeprefix("approximate: ")] if loader != "exact" else [])
