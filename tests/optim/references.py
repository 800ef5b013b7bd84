"""What is compared with a reference: parts of a registry that are ours, made from options, for so many steps."""

from __future__ import annotations

from functools import partial
from typing import Any

from trainwright.core.registry import Registry
from trainwright.core.schema import check

STEPS = 100


def ours(registry: Registry[Any]) -> set[str]:
    """Other tests register things of their own."""
    return {name for name in registry.names() if registry[name].__module__.startswith("trainwright.")}


def made(registry: Registry[Any], name: str, options: dict[str, Any]) -> Any:
    return partial(registry[name], **check(registry[name], options, registry.kind))
