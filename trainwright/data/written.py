"""Numbers and dates as people write them in text: 1,234.50, $12, 7 %, (3.00); 31.12.2024, Dec 31, 2024."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

UNITS = "$€£¥₹%"  # that may stand before or after a number

_MARKS = r"[,'\u2019\u00a0\u202f\u2009 ]"  # between thousands: comma, apostrophes, blanks
_GROUPED = rf"[1-9]\d{{0,2}}(?P<mark>{_MARKS})\d{{3}}(?:(?P=mark)\d{{3}})*(?:\.\d*)?"
_PLAIN = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(
    rf"(?P<open>\()?(?P<sign>[+\-−])?\s*(?P<before>[{UNITS}])?\s*(?P<inner>[+\-−])?"
    rf"(?P<digits>{_GROUPED}|{_PLAIN})\s*(?P<after>[{UNITS}])?(?P<close>\))?"
)
_DAYS = (
    *("%d.%m.%Y", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%d-%b-%Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", "T%H:%M:%S")


def number_of(text: str) -> tuple[float, str]:
    """A number and its unit ("" where there is none); ValueError for anything else.

    Marks between thousands are commas, blanks or apostrophes, in groups of three; parentheses mean minus.
    """
    try:
        return float(text), ""
    except ValueError:
        found = _NUMBER.fullmatch(text.strip())
    if found is None or bool(found["open"]) != bool(found["close"]) or (found["before"] and found["after"]):
        raise ValueError(f"{text!r} is not a number")
    signs = [s for s in (found["sign"], found["inner"], found["open"]) if s]
    if len(signs) > 1:
        raise ValueError(f"{text!r} has two signs")
    size = float(re.sub(_MARKS, "", found["digits"]))
    return -size if signs and signs[0] != "+" else size, found["before"] or found["after"] or ""


def date_of(text: str, form: str = "") -> datetime:
    """A date in ISO form, or in ``form`` as `datetime.strptime` reads it; ValueError for anything else."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        if not form:
            raise
        return datetime.strptime(text, form)


def forms_of(texts: Iterable[str]) -> list[str]:
    """The forms in which every text is a date: ``[""]`` for ISO, none for what are no dates, two where both fit.

    Days and months of two digits can be read both ways as long as no day is above 12.
    """
    possible: list[str] | None = None
    for text in texts:
        if len(text) < 8 or not any(c.isdigit() for c in text):
            return []
        if possible is None and _reads(text, ""):
            possible = [""]  # other forms that begin with a year have a slash or a dot behind it
        elif possible is None:
            possible = [f for f in (d + t for d in _DAYS for t in _TIMES) if _reads(text, f)]
        else:
            possible = [f for f in possible if _reads(text, f)]
        if not possible:
            return []
    return possible or []


def _reads(text: str, form: str) -> bool:
    try:
        if form:
            datetime.strptime(text, form)
        else:
            return text[:4].isdigit() and bool(datetime.fromisoformat(text))
    except ValueError:
        return False
    return True
