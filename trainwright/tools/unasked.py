"""A recipe for records that are learned without being asked anything: autoencoding."""

from __future__ import annotations

from typing import Any

from trainwright.core.errors import DataError, did_you_mean
from trainwright.data.series import Series
from trainwright.tools.found import Found

CODES = "autoencoding"
_OF_PICTURES = 32  # numbers of a code
_OF_COLUMNS, _OF_STEPS = 3, 8  # numbers of a record for one of its code; steps say more of each other than columns


def in_codes(plan: Any, found: Found, target: str | None) -> None:
    """Fill a plan: codes of a third as many numbers as columns; a column that is named, or a label, is not learned.

    Series are read in windows of a season, with codes of an eighth.

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
    window = _window(found.source, len(found.source)) if isinstance(found.source, Series) else None
    if window is not None:
        columns = (columns - 1) * window  # beside the time
        if not columns:
            raise DataError("--target", f"nothing is left beside the time and '{label}'", "leave it out")
    codes = (
        _OF_PICTURES
        if found.kind == "images"
        else max(1, min(_OF_PICTURES, columns // (_OF_STEPS if window else _OF_COLUMNS)))
    )
    told = {"codes": codes, **({"window": window} if window else {}), **({"label": label} if label else {})}
    plan.values = {"task": {"name": CODES, **told}, **plan.values}
    plan.reasons["task"] = f"{codes} numbers of a code" + (f" for each window of {window} steps." if window else ".")
    plan.reasons["task"] += f" '{label}' is read for scores alone." if label else ""
    plan.facts += [
        ("data", f"{found.told}: {len(found.source):,} records"),
        ("task", f"{CODES}: {plan.reasons['task']}"),
    ]
    if window is not None:
        plan.reasons["data"] += " The newest times are held out."
    if label is None:
        plan.unsure.append("every column is learned; a class or a mark of anomalies that is not to be: --target COLUMN")
    else:
        plan.unsure.append(f"if a value of '{label}' marks anomalies, write it in the recipe: task.anomaly")


def _window(source: Series, records: int) -> int:
    """Steps: a season, or two dozen where there is none; fewer where there are few records."""
    season = source.step.season
    return max(2, min(season if season > 1 else 24, records // 12))
