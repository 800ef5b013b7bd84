"""What a person looks at beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Something to look at beside the numbers: a prediction, boxes on an image, an alignment, a piano roll."""

    kind: str  # "text", "table", "image", "boxes", …
    title: str
    data: Mapping[str, Any]  # JSON-able; pictures by digest in the run's media folder
