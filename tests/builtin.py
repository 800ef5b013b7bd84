"""The built-in tasks as cases: small synthetic records with a rule that can be learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BUILTIN: Sequence[Any] = ()
