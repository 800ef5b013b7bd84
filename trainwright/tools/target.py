"""Which column of a table is to be predicted, whether its values are classes or numbers, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainwright.core.errors import DataError, did_you_mean
from trainwright.data.labels import is_missing
from trainwright.data.written import number_of

_PLAIN = ("target", "label", "labels", "class", "y", "outcome", "response", "output", "result")
# What people want to know of a record, as the whole name of a column or its last word.
_SUBJECTS = (
    *("price", "value", "cost", "sales", "revenue", "salary", "income", "demand", "amount", "charges", "rent"),
    *("survived", "churn", "churned", "exited", "attrition", "default", "defaulted", "fraud", "approved", "status"),
    *("diagnosis", "disease", "malignant", "positive", "species", "variety", "type", "category", "kind", "sentiment"),
    *("quality", "rating", "score", "grade", "rank", "risk", "spam", "clicked", "purchased", "converted", "winner"),
)
_MOST = 20  # whole numbers of more values are quantities
_NEARLY = 0.9  # numbers among the texts of a target that is one of numbers, the others being mistakes
_CODED = (0, 1)  # codes of classes begin with one of these
CLASSIFY, REGRESS = "tabular_classification", "tabular_regression"


@dataclass(slots=True)
class Aim:
    """The column to predict, and the task that makes of it."""

    name: str
    why: str
    task: str
    because: str
    unsure: list[str] = field(default_factory=list)


def aim(
    fields: Sequence[str],
    values: Mapping[str, Sequence[Any]],
    *,
    known: str | None = None,
    asked: str | None = None,
    task: str | None = None,
    usual: str | None = None,
) -> Aim:
    """The target of a table.

    Args:
        fields: the columns in order.
        values: of the training records, by column; an item is read only for columns that are looked at.
        known: the target that the data tell, by a test file without it or a public set's description.
        asked: the one a person named.
        task: likewise.
        usual: the task that the data tell.

    Raises `DataError` where nothing can be predicted.
    """
    unsure: list[str] = []
    name, why = _named(fields, known, asked, unsure)
    found, because, doubt = _task_of(name, values[name])
    if task or usual:
        found, because, doubt = task or str(usual), "it was asked for" if task else "the data say so", ""
    return Aim(name, why, found, because, [*unsure, *([doubt] if doubt else [])])


def _named(fields: Sequence[str], known: str | None, asked: str | None, unsure: list[str]) -> tuple[str, str]:
    if asked is not None:
        if asked not in fields:
            raise DataError("--target", f"no column is named '{asked}'", did_you_mean(asked, fields))
        return asked, "it was asked for"
    if known is not None and known in fields:
        return known, "the data say so"
    for word in _PLAIN:
        for name in fields:
            if name.strip().lower() == word:
                return name, "that is what targets are called"
    likely = [name for name in fields if _last_word(name) in _SUBJECTS]
    if likely:
        whole = [n for n in likely if n.strip().lower() in _SUBJECTS]
        name = (whole or likely)[-1]
        if others := [n for n in likely if n != name]:
            unsure.append(f"the target may also be {' or '.join(others)}: --target NAME")
        return name, "its name sounds like what one wants to know"
    unsure.append(f"no column is named like a target, so the last one is taken, '{fields[-1]}': --target NAME")
    return fields[-1], "it is the last column"


def _last_word(name: str) -> str:
    """``median_house_value`` and ``SalePrice`` end with what they are about."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return words[-1].lower() if words else ""


def _task_of(name: str, values: Sequence[Any]) -> tuple[str, str, str]:
    """Task, reason, doubt."""
    there = [v for v in values if not is_missing(v)]
    tally = Counter(str(v) for v in there)
    if len(tally) < 2:
        what = f"it has the value {next(iter(tally), 'none')!r} in every record, so there is nothing to predict"
        raise DataError(f"column '{name}'", what, "name another target: --target NAME")
    texts = [v for v in there if isinstance(v, str)]
    if len(tally) > _MOST and len(texts) == len(there) and (sample := _quantities(texts)):
        return REGRESS, f"it holds numbers, written as {sample!r}", ""
    if any(isinstance(v, str | bool) for v in there):
        if len(there) >= 10 and len(tally) == len(there):
            what = f"each of its {len(there):,} records has a text of its own, so there are no classes"
            raise DataError(f"column '{name}'", what, "name another target: --target NAME")
        if len(there) >= 50 and len(tally) > len(there) / 10 and len(tally) > 100:
            what = f"its {len(tally):,} different texts in {len(there):,} records are no classes"
            raise DataError(f"column '{name}'", what, "name another target: --target NAME")
        return CLASSIFY, f"it has {len(tally)} values: {shares(tally)}", ""
    if not all(isinstance(v, int | float) for v in there):
        raise DataError(f"column '{name}'", "it holds neither numbers nor text", "name another target: --target NAME")
    if any(float(v) != int(v) for v in there):
        return REGRESS, "it holds numbers with fractions", ""
    codes = sorted({int(v) for v in there})
    if len(codes) == 2:
        return CLASSIFY, f"it has two values: {shares(tally)}", ""
    gapless = codes[-1] - codes[0] + 1 == len(codes)
    if codes[0] in _CODED and gapless and len(codes) <= _MOST:
        return CLASSIFY, f"its {len(codes)} values count from {codes[0]}, as classes do: {shares(tally)}", ""
    doubt = ""
    if len(codes) <= _MOST:
        doubt = f"'{name}' has only {len(codes)} different whole numbers; if they are classes: --task {CLASSIFY}"
    return REGRESS, f"it holds whole numbers from {codes[0]:,} to {codes[-1]:,}", doubt


def _quantities(texts: Sequence[str]) -> str:
    """The first of them where nearly all are numbers in one unit, as a mistake or two leave them; "" elsewhere."""
    found: list[tuple[str, str]] = []
    for text in texts:
        try:
            found.append((text, number_of(text)[1]))
        except ValueError:
            continue
    units = {unit for _, unit in found} - {""}
    codes = any(re.match(r"\s*[+-]?0\d", text) for text, _ in found)  # 00501 is a name
    return found[0][0] if len(found) >= _NEARLY * len(texts) and len(units) < 2 and not codes else ""


def shares(tally: Mapping[Any, int], most: int = 5) -> str:
    """``<=50K 76 %, >50K 24 %``."""
    total = sum(tally.values())
    listed = sorted(tally.items(), key=lambda item: -item[1])
    said = ", ".join(f"{value} {_percent(n / total)}" for value, n in listed[:most])
    return said + (f", … ({len(listed)} in all)" if len(listed) > most else "")


def _percent(share: float) -> str:
    """``24.1 %``; what is rare or nearly all keeps the digits that say so."""
    digits = next(d for d in (1, 2, 3, 6) if d == 6 or round(100 * share, d) not in (0.0, 100.0))
    return f"{100 * share:.{digits}f} %"
