"""Small charts as SVG, by hand: a field with its axes, and lines, dots, bars and words in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

WIDTH, HEIGHT = 420, 160
BLUE, ORANGE, RED, GREY, GREEN = "#36c", "#e80", "#d33", "#888", "#2a7"
Points = Iterable[tuple[float, float]]


@dataclass
class Chart:
    """A field of numbers; what is drawn lies in it, in the order of the calls.

    Args:
        x: from, to.
        y: likewise, from the lower edge to the upper one.
        box: left, top, right, bottom, in points of the picture.
        log: "x", "y" or "xy": these axes are logarithmic.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    box: tuple[float, float, float, float] = (46, 22, WIDTH - 18, HEIGHT - 26)
    log: str = ""
    parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a number in the picture; what lies outside is put at the edge."""
        left, top, right, bottom = self.box
        return (
            round(left + (right - left) * _share(x, *self.x, "x" in self.log), 1),
            round(bottom + (top - bottom) * _share(y, *self.y, "y" in self.log), 1),
        )

    def ticks(self, x: Sequence[tuple[float, str]] = (), y: Sequence[tuple[float, str]] = ()) -> Chart:
        """The frame, and words at some numbers of both axes."""
        left, top, right, bottom = self.box
        self.parts.append(f'<path d="M{left} {top}V{bottom}H{right}" stroke="#bbb" fill="none"/>')
        for value, word in x:
            self.parts.append(words(word, self.at(value, self.y[0])[0], bottom + 11, "middle"))
        for value, word in y:
            self.parts.append(words(word, left - 4, self.at(self.x[0], value)[1] + 3, "end"))
        return self

    def line(self, points: Points, colour: str = BLUE, dashed: bool = False, wide: float = 1.3) -> Chart:
        """From point to point."""
        joined = " ".join(f"{a},{b}" for a, b in (self.at(x, y) for x, y in points))
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{wide}"{dash}/>')
        return self

    def dots(self, points: Points, colour: str = BLUE, size: float = 2, hollow: bool = False) -> Chart:
        """A dot each."""
        made = "".join(f'<circle cx="{a}" cy="{b}" r="{size}"/>' for a, b in (self.at(x, y) for x, y in points))
        how = f'fill="#fff" stroke="{colour}"' if hollow else f'fill="{colour}"'
        self.parts.append(f"<g {how}>{made}</g>")
        return self

    def bars(self, spans: Iterable[tuple[float, float, float]], colour: str = BLUE, faint: bool = False) -> Chart:
        """(from, to, height) each, from the lower edge upwards."""
        made = []
        for start, end, height in spans:
            (a, top), (b, bottom) = self.at(start, height), self.at(end, self.y[0])
            made.append(f'<rect x="{a}" y="{top}" width="{round(b - a, 1)}" height="{round(bottom - top, 1)}"/>')
        self.parts.append(f'<g fill="{colour}" opacity="{0.3 if faint else 1}">{"".join(made)}</g>')
        return self

    def upright(self, x: float, colour: str = RED, dashed: bool = False) -> Chart:
        """A line over the whole height."""
        return self.line([(x, self.y[0]), (x, self.y[1])], colour, dashed, 1.5)

    def level(self, y: float, colour: str = GREY, dashed: bool = True) -> Chart:
        """A line over the whole width."""
        return self.line([(self.x[0], y), (self.x[1], y)], colour, dashed, 1)

    def say(self, text: str, x: float, y: float, anchor: str = "start", colour: str = "#333", up: float = 0) -> Chart:
        """Words at a number; ``up`` points above it."""
        a, b = self.at(x, y)
        self.parts.append(words(text, a, b - up, anchor, colour))
        return self


def _share(value: float, low: float, high: float, log: bool) -> float:
    a, b, v = np.log10(np.maximum((low, high, value), 1e-300)) if log else (low, high, value)
    return float(min(1.0, max(0.0, (v - a) / ((b - a) or 1.0))))


def words(text: str, x: float, y: float, anchor: str = "start", colour: str = "#333") -> str:
    """In the picture's own points."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def cells(numbers: Sequence[Sequence[str]], box: tuple[float, float, float, float]) -> str:
    """A table of colours, the first row at the top."""
    left, top, right, bottom = box
    high, wide = (bottom - top) / len(numbers), (right - left) / max(1, len(numbers[0]))
    return "".join(
        f'<rect x="{left + j * wide:.1f}" y="{top + i * high:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{c}"/>'
        for i, row in enumerate(numbers)
        for j, c in enumerate(row)
    )


def shade(share: float) -> str:
    """From white to blue."""
    far = min(1.0, max(0.0, share))
    return "#" + "".join(f"{round(255 + (c - 255) * far):02x}" for c in (0x33, 0x66, 0xCC))


def picture(title: str, below: str, *inside: Chart | str) -> str:
    """The whole SVG: a line or two above, a line below, and what is between."""
    made = [part for one in inside for part in (one.parts if isinstance(one, Chart) else [one])]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            'font-size="10">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            *(words(line, 8, 12 + 12 * n) for n, line in enumerate(title.split("\n"))),
            *made,
            words(below, WIDTH - 8, HEIGHT - 4, "end"),
            "</svg>\n",
        ]
    )
