"""Of each operation: which cells of its operands made a cell, and by what formula."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from trainwright.inside.cell import Cell, Rule, Term, Worked, products, raveled, total
from trainwright.inside.layered import LAYERED
from trainwright.runs.inspect.calls import FUNCTIONS


def _added(terms: list[Term], what: str, biases: list[tuple[str, Term]], scale: str = "") -> list[tuple[str, float]]:
    first = f"the sum of {len(terms):,} {what}" if len(terms) != 1 else what.rstrip("s")
    return [(first + scale, total(terms)), *((f"+ {name}", t.value) for name, t in biases)]


def _linear(cell: Cell) -> Worked:
    width = cell.shape_of(0)[-1]
    row, unit = divmod(cell.flat, cell.shape[-1])
    terms = cell.products(0, range(row * width, (row + 1) * width), 1, range(unit * width, (unit + 1) * width))
    biases = [("bias", cell.one(2, unit))] if len(cell.node.operands) > 2 else []
    return _dot(cell, "Σ input · weight", terms, "products", biases)


def _dot(cell: Cell, formula: str, terms: list[Term], what: str, biases: list[tuple[str, Term]]) -> Worked:
    again = total(terms) + sum(t.value for _, t in biases)
    whole = formula + "".join(f" + {name}" for name, _ in biases)
    return cell.told(whole, again, terms + [t for _, t in biases], _added(terms, what, biases))


def _conv(cell: Cell) -> Worked:
    sample, filter_, *place = cell.at
    kernel = cell.shape_of(1)
    taken = _window(cell, sample, place, kernel[2:], cell.node.options["dilation"])
    count = math.prod(kernel[1:])
    terms = cell.products(0, taken.reshape(-1), 1, range(filter_ * count, (filter_ + 1) * count))
    biases = [("bias", cell.one(2, filter_))] if len(cell.node.operands) > 2 else []
    return _dot(cell, "Σ window · kernel", terms, "products", biases)


def _window(cell: Cell, sample: int, place: list[int], size: tuple[int, ...], dilation: list[int]) -> Tensor:
    """(C, …) positions of the first operand within a window, -1 beside its edges."""
    found = cell.numbered(0)[sample]
    for axis, (at, n, step) in enumerate(zip(place, size, dilation, strict=True), 1):
        stride, before = cell.node.options["stride"][axis - 1], cell.node.options["before"][axis - 1]
        rows = at * stride - before + torch.arange(n) * step
        inside = (rows >= 0) & (rows < found.shape[axis])
        found = found.index_select(axis, rows.clamp(0, found.shape[axis] - 1))
        shape = [1] * found.ndim
        shape[axis] = n
        found = found.masked_fill(~inside.reshape(shape), -1)
    return found


def _pool(best: bool) -> Rule:
    def rule(cell: Cell) -> Worked:
        sample, channel, *place = cell.at
        size = cell.node.options["kernel"]
        positions = _window(cell, sample, place, tuple(size), [1] * len(size))[channel].reshape(-1)
        return _many(cell, [p for p in positions.tolist() if p >= 0], "max" if best else "mean")

    return rule


def _many(cell: Cell, positions: list[int], how: str) -> Worked:
    cells, numbers = cell.read(0, positions)
    if how == "max":
        top = max(range(len(numbers)), key=lambda i: numbers[i])
        terms = [
            Term((cells[i],), (numbers[i],), numbers[i]) for i in [top, *(j for j in range(len(numbers)) if j != top)]
        ]
        return cell.told(f"the largest of {len(numbers)}", numbers[top], terms, [("the largest", numbers[top])])
    share = 1 / len(numbers) if how == "mean" else 1.0
    terms = [Term((c,), (n,), n * share) for c, n in zip(cells, numbers, strict=True)]
    return cell.told(
        f"the {how} of {len(numbers):,}", total(terms), terms, [(f"the {how} of {len(numbers):,}", total(terms))]
    )


def _over(how: str) -> Rule:
    def rule(cell: Cell) -> Worked:
        axes = cell.node.options["axes"]
        shape = cell.shape_of(0)
        kept = list(cell.at)
        if len(cell.shape) == len(shape):
            kept = [i for axis, i in enumerate(kept) if axis not in axes]
        found = cell.numbered(0)
        for axis in range(len(shape) - 1, -1, -1):
            if axis not in axes:
                found = found.select(axis, kept[sum(a not in axes for a in range(axis))])
        return _many(cell, found.reshape(-1).tolist(), how)

    return rule


def _matmul(cell: Cell) -> Worked:
    *batch, row, column = cell.at
    a, b = cell.numbered(0), cell.numbered(1)
    first = a.expand(*cell.shape[:-2], *a.shape[-2:])[(*batch, row)]
    second = b.expand(*cell.shape[:-2], *b.shape[-2:]).select(-1, column)[tuple(batch)]
    return _dot(cell, "Σ row · column", cell.products(0, first, 1, second), "products", [])


def _scores(cell: Cell) -> Worked:
    *batch, row, column = cell.at
    mask, scale = cell.node.options["mask"], cell.node.options["scale"]
    terms = cell.products(0, cell.numbered(0)[(*batch, row)], 1, cell.numbered(1)[(*batch, column)], scale)
    if mask is not None and not bool(mask[cell.at]):
        return cell.told("hidden: what comes later may not be looked at", math.nan, [], [])
    width = len(terms)
    steps = [(f"query · key: {width} products, / √{width}" if width else "", total(terms))]
    return cell.told("query · key / √(numbers of a head)", total(terms), terms, steps)


def _softmax(logs: bool) -> Rule:
    def rule(cell: Cell) -> Worked:
        axis, mask = cell.node.options["axis"], cell.node.options.get("mask")
        picked = cell.numbered(0)[tuple(slice(None) if i == axis else n for i, n in enumerate(cell.at))]
        if mask is not None:
            allowed = mask[tuple(slice(None) if i == axis else n for i, n in enumerate(cell.at))]
            if not bool(mask[cell.at]):
                return cell.told("hidden: exactly 0", 0.0, [], [])
            picked = picked[allowed]
        cells, numbers = cell.read(0, picked)
        top = max(numbers)
        powers = [math.exp(n - top) for n in numbers]
        own = cell.read(0, [raveled(cell.at, cell.shape_of(0))])[1][0]
        total = math.fsum(powers)
        terms = [Term((c,), (n,), p / total) for c, n, p in zip(cells, numbers, powers, strict=True)]
        if logs:
            again = own - top - math.log(total)
            return cell.told("z - log Σ exp(z)", again, terms, [("its own z", own), ("- log Σ exp(z)", again - own)])
        again = math.exp(own - top) / total
        said = [("exp(z - largest z)", math.exp(own - top)), (f"/ the sum of {len(powers):,} such", total)]
        return cell.told("exp(z) / Σ exp(z)", again, terms, said)

    return rule


def _embedding(cell: Cell) -> Worked:
    width = cell.shape[-1]
    place, unit = divmod(cell.flat, width)
    which = int(cell.read(0, [place])[1][0])
    term = cell.one(1, which * width + unit)
    return cell.told(f"row {which} of the table: a token is told by its own vector", term.value, [term], [])


def _bag(cell: Cell) -> Worked:
    (row, unit), width, count = cell.at, cell.shape[-1], cell.shape_of(0)[1]
    ids = [int(n) for n in cell.read(0, range(row * count, (row + 1) * count))[1]]
    terms = [cell.one(1, i * width + unit) for i in ids if i != cell.node.options["padding"]]
    return _dot(cell, "the sum of their vectors", terms, "vectors", [])


def _where(cell: Cell) -> Worked:
    picked = bool(cell.read(0, [cell.beside(0)])[1][0])
    term = cell.one(1 if picked else 2, cell.beside(1 if picked else 2))
    return cell.told(f"taken over from the {'first' if picked else 'second'}", term.value, [term], [])


def _clamp(cell: Cell) -> Worked:
    term, (low, high) = cell.one(0, cell.beside(0)), (cell.node.options["low"], cell.node.options["high"])
    again = max(term.value, -math.inf if low is None else low)
    again = min(again, math.inf if high is None else high)
    said = (
        f"not below {low:g}" if high is None else f"not above {high:g}" if low is None else f"from {low:g} to {high:g}"
    )
    return cell.told(said, again, [term], [])


def _cat(cell: Cell) -> Worked:
    axis, at = cell.node.options["axis"], list(cell.at)
    for i, operand in enumerate(cell.node.operands):
        if at[axis] < operand.shape[axis]:
            term = cell.one(i, raveled(at, operand.shape))
            return cell.told("taken over as it is", term.value, [term], [])
        at[axis] -= operand.shape[axis]
    raise AssertionError("beyond what was put together")


def _stack(cell: Cell) -> Worked:
    which = cell.at[0]
    term = cell.one(which, cell.flat - which * math.prod(cell.shape[1:]))
    return cell.told("taken over as it is", term.value, [term], [])


def _pair(op: str) -> Rule:
    def rule(cell: Cell) -> Worked:
        a, b = (cell.one(i, cell.beside(i)) for i in (0, 1))
        match op:
            case "add":
                return cell.told("a + b", a.value + b.value, [a, b], [("a", a.value), ("+ b", b.value)])
            case "sub":
                minus = Term(b.cells, b.numbers, -b.value)
                return cell.told("a - b", a.value - b.value, [a, minus], [("a", a.value), ("- b", b.value)])
            case "mul":
                both = Term((*a.cells, *b.cells), (a.value, b.value), a.value * b.value)
                return cell.told("a · b", both.value, [both], [])
        again = a.value / b.value if b.value else math.nan
        return cell.told("a / b", again, [a, b], [("a", a.value), ("/ b", b.value)])

    return rule


def _scale(cell: Cell) -> Worked:
    term = cell.one(0, cell.beside(0))
    times, plus = cell.node.options["times"], cell.node.options["plus"]
    again = term.value * times + plus
    said = cell.node.options.get("said") or (f"a · {times:.6g}" if times != 1 else "a") + (
        f" + {plus:.6g}" if plus else ""
    )
    return cell.told(said, again, [term], [("a", term.value)])


def _function(op: str) -> Rule:
    def rule(cell: Cell) -> Worked:
        term = cell.one(0, cell.beside(0))
        z = torch.tensor(term.value, dtype=torch.float64)
        made = getattr(F, op, None) or getattr(torch, op)
        again = float(made(z))
        return cell.told(_SAID.get(op, f"{op}(z)"), again, [term], [("z", term.value), (op, again)])

    return rule


_SAID = {
    "relu": "z where it is positive, else 0", "gelu": "z · the share of a standard normal below z",
    "sigmoid": "1 / (1 + exp(-z))", "silu": "z · sigmoid(z)", "square": "z²", "neg": "-z",
}  # fmt: skip


def _power(cell: Cell) -> Worked:
    term, power = cell.one(0, cell.beside(0)), cell.node.options["power"]
    return cell.told(f"z to the power of {power}", term.value**power, [term], [("z", term.value)])


def _turn(cell: Cell) -> Worked:
    x, cos, other, sin = (cell.one(i, cell.beside(i)) for i in range(4))
    pairs = [(x, cos), (other, sin)]
    return products(cell, pairs, "x · cosine of the place + its partner · sine of the place")


def _addcmul(cell: Cell) -> Worked:
    a, b, c = (cell.one(i, cell.beside(i)) for i in range(3))
    both = Term((*b.cells, *c.cells), (b.value, c.value), b.value * c.value)
    steps = [("a", a.value), ("+ b · c", both.value)]
    return cell.told("a + b · c", a.value + both.value, [a, both], steps)


def _mask(cell: Cell) -> Worked:
    if bool(cell.node.options["mask"][cell.at]):
        return cell.told("nothing real is there", cell.node.options["to"], [], [])
    term = cell.one(0, cell.flat)
    return cell.told("taken over as it is", term.value, [term], [])


def _cross_entropy(cell: Cell) -> Worked:
    classes = cell.shape_of(0)[1]
    truth = int(cell.read(1, [cell.flat])[1][0])
    if truth == cell.node.options["ignored"]:
        return cell.told("does not count", 0.0, [], [])
    cells, numbers = cell.read(0, range(cell.flat * classes, (cell.flat + 1) * classes))
    top = max(numbers)
    powers = [math.exp(n - top) for n in numbers]
    share = powers[truth] / math.fsum(powers)
    terms = [Term((c,), (n,), p / math.fsum(powers)) for c, n, p in zip(cells, numbers, powers, strict=True)]
    terms.insert(0, terms.pop(truth))
    again = math.log(math.fsum(powers)) + top - numbers[truth]
    return cell.told("- log of the probability of the true class", again, terms, [("its probability", share)])


def _error(op: str) -> Rule:
    def rule(cell: Cell) -> Worked:
        a, b = (cell.one(i, cell.beside(i)) for i in (0, 1))
        z, y = a.value, b.value
        again = {
            "mse_loss": (z - y) ** 2,
            "l1_loss": abs(z - y),
            "binary_cross_entropy_with_logits": max(z, 0) - z * y + math.log1p(math.exp(-abs(z))),
        }[op]
        formula = {"mse_loss": "(said - true)²", "l1_loss": "|said - true|"}.get(
            op, "- log of the probability of the truth"
        )
        return cell.told(formula, again, [a, b], [("said", z), ("true", y)])

    return rule


RULES: Mapping[str, Rule] = {
    "linear": _linear, "conv": _conv, "max_pool": _pool(True), "avg_pool": _pool(False), "matmul": _matmul,
    "scores": _scores, "attention": _softmax(False), "softmax": _softmax(False), "log_softmax": _softmax(True),
    "embedding": _embedding, "embedding_bag": _bag, "where": _where, "clamp": _clamp,
    "cat": _cat, "stack": _stack, "scale": _scale, "pow": _power, "addcmul": _addcmul,
   "turn": _turn,
    "mask": _mask, "cross_entropy": _cross_entropy,
    "mean": _over("mean"), "sum": _over("sum"), "amax": _over("max"),
    **{op: _pair(op) for op in ("add", "sub", "mul", "div")},
    **{op: _function(op) for op in FUNCTIONS},
    **{op: _error(op) for op in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits")},
    **LAYERED,
}  # fmt: skip
