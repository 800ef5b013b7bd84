"""A recipe for records that are learned without being asked anything: autoencoding."""

from __future__ import annotations

from typing import Any

from trainwright.core.errors import DataError, did_you_mean
from trainwright.tools.found import Found

CODES = "autoencoding"
_OF_PICTURES = 32  # numbers of a code


def in_codes(plan: Any, found: Found, target: str | None) -> None:
    """Fill a plan: codes of a third as many numbers as columns; a column that is named, or a label, is not learned.

    Args:
        plan: of the recipe, whose data section is there.
        found: what lies there.
        target: the column asked for.
    """
    fields = list(found.source.fields())
    label = target or found.target or ("label" if found.kind == "images" else None)
    if label is not None and label not in fields:
        raise DataError("--target", f"no column is named '{label}'", did_you_mean(label, fields))
    columns = len(fields) - (label is not None)
    codes = _OF_PICTURES if found.kind == "images" else max(1, min(_OF_PICTURES, columns // 3))
    plan.values = {"task": {"name": CODES, "codes": codes, **({"label": label} if label else {})}, **plan.values}
    plan.reasons["task"] = f"{codes} numbers of a code." + (f" '{label}' is read for scores alone." if label else "")
    plan.facts += [
        ("data", f"{found.told}: {len(found.source):,} records"),
        ("task", f"{CODES}: {plan.reasons['task']}"),
    ]
    if label is None:
        plan.unsure.append("every column is learned; a class or a mark of anomalies that is not to be: --target COLUMN")
    else:
        plan.unsure.append(f"if a value of '{label}' marks anomalies, write it in the recipe: task.anomaly")
