"""How numbers, times and columns are written."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(x: float) -> str:
    """About five digits: ``0.9833``, ``1,234.5``, ``4.2e-05``, ``nan``."""
    if not math.isfinite(x):
        return str(x)
    size = abs(x)
    if size and (size < 1e-2 or size >= 1e6):
        return f"{x:.3g}"
    return f"{x:,.{4 if size < 10 else 3 if size < 100 else 2 if size < 1000 else 1}f}"


def duration(seconds: float) -> str:
    """``3.2 s``, ``1:42``, ``1:02:03``, ``2 d 03 h``."""
    return f"{seconds:.1f} s" if seconds < 59.95 else remaining(seconds)


def remaining(seconds: float) -> str:
    """``0:05``, ``1:42``, ``1:02:03``, ``2 d 03 h``."""
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole >= 172800:
        return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def aligned(rows: Sequence[Sequence[str]], *, right: bool = False) -> list[str]:
    """Columns of equal width; the first flush left, the others flush ``right`` where asked."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    turned = [
        [c.rjust(w) if right and i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    ]
    return ["  ".join(row).rstrip() for row in turned]
