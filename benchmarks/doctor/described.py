"""Data that a case describes in a sentence: the sentence is read, by the few forms such sentences have."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.doctor.case import CannotBuildError
from benchmarks.doctor.formula import worked_out
from benchmarks.doctor.inits import NUMBER

Array = NDArray[Any]
VALUES = 8_000_000  # more numbers than this are not made: a run has seconds

_N = rf"({NUMBER})"
_SHAPE = r"shape\s*\(([\d,\s]+)\)"
_EVEN = re.compile(
    r"(\d+) (?:evenly spaced )?(?:points|values|numbers|rows)\D*?(?:from |between |in )?"
    rf"{_N}\s*(?:to|\.\.|and|-)\s*{_N}"
)
_YES = re.compile(
    r"(?:y|label|target|class)s?\s*(?:=|:|is|are)?\s*1 (?:if|when|where) "
    r"([^;]+?)(?:,? (?:else|otherwise)[^;]*)?(?:;|$)"
)


@dataclass(frozen=True, slots=True)
class Made:
    """Rows, and rows of their own for judging where the sentence has them."""

    x: Array
    y: Array
    x_test: Array | None = None
    y_test: Array | None = None


def described(gen: Mapping[str, Any], rng: np.random.Generator) -> Made:
    """The data that a sentence describes.

    Args:
        gen: ``how`` (the sentence), ``key`` (its short name), ``n`` where rows are counted apart.
        rng: where it says random.

    Raises:
        CannotBuildError: it is not understood.
    """
    how, key = str(gen.get("how", "")), str(gen.get("key", ""))
    if key in KEYS:
        return KEYS[key](how, gen, rng)
    if re.search(r"class(?:es)? (?:a|0)\b.*[un]\(.*class (?:b|1)\b.*[un]\(", how.lower()):
        return _two_classes(how, gen, rng)
    x = _inputs(how, gen, rng)
    if "sorted" in how and x.ndim == 1:
        x = np.sort(x)
    y = _targets(how, x, rng)
    x, y = _scaled(how, x, y)
    return Made(x, y, *_apart(how, rng))


def _inputs(how: str, gen: Mapping[str, Any], rng: np.random.Generator) -> Array:
    text = how.lower().split("test x")[0]
    told = text.split("y =")[0]
    columns = re.search(r" of \d+ (?:random )?(?:integers|numbers|values|features)", text)
    if (even := _spaced(text)) is not None and not columns and "random" not in told and "~" not in told:
        return even
    x = _random(text, _shape(text, _rows(text, gen)), rng)
    if x is None:
        raise CannotBuildError(f"the data is not understood: {how!r}")
    return x


def _spaced(text: str) -> Array | None:
    """Numbers at equal distances, as far as a sentence tells them."""
    if found := re.search(rf"(linspace|arange)\(\s*{_N}\s*,\s*{_N}\s*,\s*{_N}\s*\)", text):
        low, high, third = (float(n) for n in found.groups()[1:])
        return np.linspace(low, high, int(third)) if found.group(1) == "linspace" else np.arange(low, high, third)
    if found := re.search(rf"from {_N} to {_N}(?: in)?,? steps? (?:of )?{_N}", text):
        return np.arange(*(float(n) for n in found.groups()))
    if found := re.search(rf"from {_N} to {_N}(?:,? in)? (\d+) steps", text) or re.search(
        rf"from {_N} to {_N}.*?(\d+) (?:points|values|rows|samples)", text
    ):
        return np.linspace(float(found.group(1)), float(found.group(2)), int(found.group(3)))
    if found := _EVEN.search(text):
        return np.linspace(float(found.group(2)), float(found.group(3)), int(found.group(1)))
    if found := re.search(rf"\b{_N}\s*,\s*{_N}\s*,(?:\s*{NUMBER}\s*,)?\s*\.\.\.\s*,?\s*{_N}", text):
        first, second, last = (float(n) for n in found.groups())
        return np.arange(first, last + (second - first) / 2, second - first)
    if found := re.search(
        rf"(?:integers|whole numbers|x = |x: |x from )\s*(?:from )?{_N}\s*(?:to|\.\.\.?)\s*{_N}", text
    ):
        return np.arange(float(found.group(1)), float(found.group(2)) + 1)
    return None


def _random(text: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    if "bits" in text or "0/1 features" in text or "binary features" in text:
        return rng.integers(0, 2, shape).astype(float)
    for letter, draw in (("u", rng.uniform), ("n", rng.normal)):
        if found := re.search(rf"\b{letter}\(\s*{_N}\s*,\s*{_N}\s*\)(?:\s*/\s*{_N})?", text):
            drawn: Array = draw(float(found.group(1)), float(found.group(2)), shape)
            return drawn / float(found.group(3) or 1)
    if found := re.search(rf"integers (?:in |between |from )?\[?{_N}\s*(?:,|to|\.\.|and)\s*{_N}", text):
        return rng.integers(int(float(found.group(1))), int(float(found.group(2))) + 1, shape).astype(float)
    if "normal" in text or "gaussian" in text:
        return rng.normal(size=shape)
    return rng.uniform(size=shape) if "uniform" in text or "random" in text else None


def _rows(text: str, gen: Mapping[str, Any]) -> int:
    if gen.get("n"):
        return int(gen["n"])
    found = re.search(
        r"(\d[\d_,]*)\s*(?:random )?(?:rows|samples|points|images|examples|pictures|numbers|values|sequences)", text
    )
    return int(re.sub(r"\D", "", found.group(1))) if found else 1000


def _shape(text: str, rows: int) -> tuple[int, ...]:
    if found := re.search(_SHAPE, text):
        return trimmed(tuple(int(n) for n in found.group(1).replace(" ", "").strip(",").split(",")))
    if found := re.search(r"\b(\d+(?:\s*x\s*\d+)+)\b", text):
        whole = tuple(int(n) for n in found.group(1).split("x"))
        counted = re.search(r"\d+ (?:random )?(?:rows|samples|images|examples|pictures)", text)
        return trimmed((rows, *whole) if counted and whole[0] != rows else whole)
    width = re.search(r"(\d+)\s*(?:random\s*)?(?:features|columns|inputs|bits|dimensions|numbers each)", text)
    width = width or re.search(r" of (\d+) (?:random )?(?:integers|numbers|values)", text)
    if width or "two random bits" in text:
        return trimmed((rows, int(width.group(1)) if width else 2))
    return (rows,)


def trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The same shape, with fewer rows where they are too many."""
    return (min(shape[0], max(1, VALUES // math.prod(shape[1:]))), *shape[1:])


def _targets(how: str, x: Array, rng: np.random.Generator) -> Array:
    text = how.lower()
    rows, names = len(x), _names(x)
    if found := re.search(r"(?:every|all) labels? (?:equals?|are|is) (\d+)", text):
        return np.full(rows, float(found.group(1)))
    if re.search(r"labels?[^;]*random|random[^;]*labels?", text):
        classes = re.search(r"(?:over|of|from|in) (\d+)(?: classes)?|(\d+) classes", text.split("label")[-1])
        return rng.integers(0, int(next((g for g in classes.groups() if g), 2)) if classes else 2, rows)
    if found := re.search(rf"y ~ u\(\s*{_N}\s*,\s*{_N}\s*\)(?:[^;]*?{_SHAPE})?", text):
        shape = (rows,) if not found.group(3) else tuple(int(n) for n in found.group(3).split(",") if n.strip())
        return rng.uniform(float(found.group(1)), float(found.group(2)), (rows, *shape[1:]))
    if gate := re.search(r"\b(xor|and|or) of (?:the |two )", text):
        return _gate(gate.group(1), x)
    if found := _YES.search(text):
        return worked_out(_condition(found.group(1)), names).astype(float)
    if found := re.search(r"(?:\by|targets?|labels?)\s*(?:=|:|is)\s*([^;:]+)", text):
        return _formula(found.group(1), names)
    raise CannotBuildError(f"the targets are not understood: {how!r}")


def _gate(name: str, x: Array) -> Array:
    first, second = (x.reshape(len(x), -1)[:, i] > 0.5 for i in (0, 1))
    gates = {"xor": np.logical_xor, "and": np.logical_and, "or": np.logical_or}
    return np.asarray(gates[name](first, second), float)


def _formula(text: str, names: Mapping[str, Array]) -> Array:
    """The formula a text begins with; what follows it (a remark in brackets, another clause) is left off."""
    text = _worded(text)
    shorter = [text, re.sub(r"\s*\([^()]*[a-z]{3,}[^()]*\)\s*$", "", text), text.split(",")[0]]
    for candidate in shorter:
        try:
            value = worked_out(candidate, names)
        except CannotBuildError:
            continue
        return np.broadcast_to(value, next(iter(names.values())).shape) if value.ndim == 0 else value
    raise CannotBuildError(f"the targets are not understood: {text!r}")


def _worded(text: str) -> str:
    """Words for what every row has become names."""
    of = r"(?: of (?:the |all |its )?(?:features|columns|row|rows|inputs|bits|numbers|values|entries))?"
    text = re.sub(rf"\bparity{of}", "(total % 2)", text)
    return re.sub(rf"\b(?:the )?(sum|mean|argmax){of}\b", lambda m: {"sum": "total"}.get(m[1], m[1]), text)


def _condition(text: str) -> str:
    text = re.sub(r"\b(?:is )?(?:greater|more|larger) than\b", ">", text)
    text = re.sub(r"\b(?:is )?(?:less|smaller) than\b", "<", text)
    text = re.sub(r"^(?:x )?(?:is )?(even|odd)\b", r"x is \1", text.strip())
    text = re.sub(r"\bis even\b", "% 2 == 0", re.sub(r"\bis odd\b", "% 2 == 1", text))
    return re.sub(r"(?<![<>=!])=(?!=)", "==", _worded(text))


def _names(x: Array) -> dict[str, Array]:
    if x.ndim == 1:
        return {"x": x, "x0": x, "total": x, "n": np.arange(len(x), dtype=float), "i": np.arange(len(x), dtype=float)}
    flat = x.reshape(len(x), -1)
    columns = {f"x{i}": flat[:, i] for i in range(min(flat.shape[1], 200))}
    return {**columns, "x": flat[:, 0], "total": flat.sum(1), "mean": flat.mean(1), "argmax": flat.argmax(1)}


def _scaled(how: str, x: Array, y: Array) -> tuple[Array, Array]:
    if re.search(r"both min-?max scaled", how):
        return tuple((a - a.min(0)) / (a.max(0) - a.min(0)) for a in (x, y))  # type: ignore[return-value]
    return x, y


def _apart(how: str, rng: np.random.Generator) -> tuple[Array | None, Array | None]:
    """``test x: 100 points 8..12``: judged on rows of another range."""
    found = re.search(r"test x\s*:?\s*(.+)", how.lower())
    if not found:
        return None, None
    x = _inputs(found.group(1), {}, rng)
    return x, _targets(how.lower().split("test x")[0], x, rng)


def _bits(how: str, gen: Mapping[str, Any], rng: np.random.Generator) -> Made:
    """Rows of random bits; the target is the number they spell, mod k, as bits with the least significant first."""
    found = re.search(r"mod (\d+)", how)
    width = int(m.group(1)) if (m := re.search(r"(\d+)(?: random)? bits", how)) else 20
    x = rng.integers(0, 2, (_rows(how.lower(), gen), width))
    number = (x * 2 ** np.arange(width)).sum(1) % int(found.group(1) if found else 7)
    return Made(x.astype(float), (number[:, None] >> np.arange(width) & 1).astype(float))


def _sines(how: str, gen: Mapping[str, Any], rng: np.random.Generator) -> Made:
    """Columns sin(t) and sin(t - 1) with one label for all."""
    t = np.arange(_rows(how.lower(), gen) + 1, dtype=float)
    x = np.stack([np.sin(t[1:]), np.sin(t[:-1])], 1)
    return Made(x, np.ones(len(x)) if "equals 1" in how else (x[:, 0] > x[:, 1]).astype(float))


def _two_classes(how: str, gen: Mapping[str, Any], rng: np.random.Generator) -> Made:
    """Two classes, each drawn from a range or a bell of its own, the same for every feature."""
    text = how.lower()
    pairs = [(float(a), float(b)) for a, b in re.findall(rf"[un]\(\s*{_N}\s*,\s*{_N}\s*\)", text)]
    first, second = np.array(pairs[:2] if len(pairs) > 1 else [(0.2, 0.4), (0.5, 0.7)]).T
    y = np.arange(_rows(text, gen) * (2 if " each" in text else 1)) % 2
    if "shuffled" in text:
        rng.shuffle(y)
    found = re.search(r"(\d+) features", text)
    draw = rng.normal if re.search(r"\bn\(", text) else rng.uniform
    return Made(draw(first[y][:, None], second[y][:, None], (len(y), int(found.group(1)) if found else 2)), y)


def _waves(how: str, gen: Mapping[str, Any], rng: np.random.Generator) -> Made:
    """Sines with random shifts, whole ones unless it says real, each to be continued by one step; the first rows are
    for judging.
    """
    told = {name: int(value) for name, value in re.findall(r"\b([TLN])\s*=\s*(\d+)", how)}
    period, length, rows = told.get("T", 20), told.get("L", 25), told.get("N", 25)
    widest = 4 * period
    shift = rng.uniform(-widest, widest, rows) if re.search(r"\breal\b", how) else rng.integers(-widest, widest, rows)
    wave = np.sin((np.arange(length) + shift[:, None]) / period)[..., None]
    return Made(wave[3:, :-1], wave[3:, 1:], wave[:3, :-1], wave[:3, 1:])


KEYS: Mapping[str, Callable[[str, Mapping[str, Any], np.random.Generator], Made]] = {
    "bitsmod7": _bits,
    "sin_const": _sines,
    "twou": _two_classes,
    "timeseq": _waves,
}
