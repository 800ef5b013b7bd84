"""What may be believed of a share that was counted."""

from __future__ import annotations

import math

_SURE = 1.959964  # standard errors: 95 %


def wilson(hits: float, of: float) -> tuple[float, float]:
    """The 95 % interval of a share; (0, 1) of nothing. Source: Wilson 1927, "Probable inference, the law of
    succession, and statistical inference".
    """
    if not of:
        return 0.0, 1.0
    share, square = hits / of, _SURE**2
    middle = share + square / (2 * of)
    half = _SURE * math.sqrt(share * (1 - share) / of + square / (4 * of**2))
    return max(0.0, (middle - half) / (1 + square / of)), min(1.0, (middle + half) / (1 + square / of))
