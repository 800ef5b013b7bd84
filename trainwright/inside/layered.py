"""The rules of layers that are several operations in one: norms, and the gates of recurrent cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from trainwright.inside.cell import Cell, Rule, Term, Worked, products, total

_BEND: Mapping[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "sigmoid": lambda z: 0.5 * (1 + math.tanh(z / 2)),
    "relu": lambda z: max(z, 0.0),
}


def _layer_norm(rms: bool) -> Rule:
    def rule(cell: Cell) -> Worked:
        options = cell.node.options
        size = math.prod(cell.shape[len(cell.shape) - options["last"] :])
        row, own = divmod(cell.flat, size)
        cells, numbers = cell.read(0, range(row * size, (row + 1) * size))
        mean = 0.0 if rms else math.fsum(numbers) / size
        deviation = math.sqrt(math.fsum((n - mean) ** 2 for n in numbers) / size + options["eps"])
        steps = [] if rms else [(f"the mean of {size} numbers", mean)]
        steps.append((f"their {'root mean square' if rms else 'deviation'}", deviation))
        return _normed(cell, Term((cells[own],), (numbers[own],), numbers[own]), mean, deviation, own, steps, 1)

    return rule


def _normed(
    cell: Cell, own: Term, mean: float, deviation: float, unit: int, steps: list[tuple[str, float]], first: int
) -> Worked:
    """Centred, scaled, and then as learned."""
    again, terms, formula = (own.value - mean) / deviation, [own], "(x - mean) / deviation"
    steps.append(("(x - mean) / deviation", again))
    for name, there in (("gain", cell.node.options["gain"]), ("shift", cell.node.options.get("shift"))):
        if there:
            term = cell.one(first, unit)
            again = again * term.value if name == "gain" else again + term.value
            formula += f" {'·' if name == 'gain' else '+'} {name}"
            steps.append((f"{'·' if name == 'gain' else '+'} {name} {term.value:.5g}", again))
            terms.append(term)
            first += 1
    return cell.told(formula, again, terms, steps)


def _batch_norm(cell: Cell) -> Worked:
    channel = cell.at[1]
    mean, variance = cell.one(1, channel), cell.one(2, channel)
    deviation = math.sqrt(variance.value + cell.node.options["eps"])
    steps = [("the running mean", mean.value), ("the running deviation", deviation)]
    return _normed(cell, cell.one(0, cell.flat), mean.value, deviation, channel, steps, 3)


def _gate(cell: Cell) -> Worked:
    step, unit = cell.at
    options = cell.node.options
    inputs, units = cell.shape_of(0)[1], cell.shape_of(1)[1]
    given = cell.products(0, range(step * inputs, (step + 1) * inputs), 2, range(unit * inputs, (unit + 1) * inputs))
    kept = cell.products(1, range(step * units, (step + 1) * units), 3, range(unit * units, (unit + 1) * units))
    biases = [cell.one(i, unit) for i in (4, 5)] if options["biased"] else []
    told = total(given) + (biases[0].value if biases else 0.0)
    before = total(kept) + (biases[1].value if biases else 0.0)
    steps = [("Σ input · weight + bias", told), ("Σ state before · weight + bias", before)]
    terms = [*given, *kept, *biases]
    if options["reset"]:
        reset = cell.one(len(cell.node.operands) - 1, cell.flat)
        steps.append((f"· reset {reset.value:.5g}", before * reset.value))
        before, terms = before * reset.value, [*terms, reset]
    again = _BEND[options["bend"]](told + before)
    formula = f"{options['bend']}(input · weights + {'reset · (' if options['reset'] else ''}state before · weights"
    return cell.told(formula + (") )" if options["reset"] else ")"), again, terms, [*steps, (options["bend"], again)])


def _lstm_memory(cell: Cell) -> Worked:
    keep, old, write, new = (cell.one(i, cell.flat) for i in range(4))
    return products(cell, [(keep, old), (write, new)], "keep · memory before + write · candidate")


def _lstm_state(cell: Cell) -> Worked:
    show, memory = (cell.one(i, cell.flat) for i in (0, 1))
    bent = math.tanh(memory.value)
    term = Term((*show.cells, *memory.cells), (show.value, memory.value), show.value * bent)
    return cell.told("show · tanh(memory)", term.value, [term], [("show", show.value), ("tanh(memory)", bent)])


def _gru_state(cell: Cell) -> Worked:
    update, new, old = (cell.one(i, cell.flat) for i in range(3))
    rest = Term(update.cells, (1 - update.value,), 1 - update.value)
    return products(cell, [(rest, new), (update, old)], "(1 - update) · candidate + update · state before")


LAYERED: Mapping[str, Rule] = {
    "layer_norm": _layer_norm(False),
    "rms_norm": _layer_norm(True),
    "batch_norm": _batch_norm,
    **{
        f"{kind}:{gate}": _gate
        for kind, gates in {
            "rnn_tanh": ("state",),
            "rnn_relu": ("state",),
            "gru": ("reset", "update", "candidate"),
            "lstm": ("write", "keep", "candidate", "show"),
        }.items()
        for gate in gates
    },
    "lstm:memory": _lstm_memory,
    "lstm:state": _lstm_state,
    "gru:state": _gru_state,
}
