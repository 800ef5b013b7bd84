"""Recurrent cells, place by place: every gate and state of every step, each in one node of steps by units.

Letters in shapes: T steps, F numbers of a step, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from trainwright.runs.inspect.graph import NOTHING, Operand

if TYPE_CHECKING:
    from trainwright.runs.inspect.record import Recorder

GATES = {  # torch's order of the rows of the weights, and what each gate goes through
    "rnn_tanh": (("state", "tanh"),),
    "rnn_relu": (("state", "relu"),),
    "gru": (("reset", "sigmoid"), ("update", "sigmoid"), ("candidate", "tanh")),
    "lstm": (("write", "sigmoid"), ("keep", "sigmoid"), ("candidate", "tanh"), ("show", "sigmoid")),
}
_BEND: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}


class Weights(NamedTuple):
    """Of one layer in one direction: (G·U, F), (G·U, U), and (G·U,) twice."""

    given: Tensor
    before: Tensor
    given_bias: Tensor | None
    before_bias: Tensor | None

    def of(self, gate: int, units: int) -> Weights:
        """Those of one gate."""
        rows = slice(gate * units, (gate + 1) * units)
        return Weights(*(None if w is None else w[rows] for w in self))  # type: ignore[arg-type]


def run_cells(
    recorder: Recorder, kind: str, x: Tensor, weights: list[Tensor], biased: bool, layers: int, directions: int
) -> tuple[Tensor, list[Tensor]]:
    """Every layer in every direction over (T, F).

    Returns (T, U · directions) the states of the last layer, and the last states (layers · directions, 1, U) of each,
    with the memories of an LSTM behind them.
    """
    size, last = (4 if biased else 2), []
    for layer in range(layers):
        found = []
        for direction in range(directions):
            at = (layer * directions + direction) * size
            biases = weights[at + 2 : at + size] if biased else [None, None]
            own = Weights(weights[at], weights[at + 1], *biases)
            states, memory = _Layer(recorder, kind, own, x, bool(direction)).run()
            found.append(states)
            last.append((states, memory, bool(direction)))
        if directions == 1:
            x = found[0]
        else:
            x = torch.cat(found, 1)
            recorder.node("cat", x, [recorder.operand(s) for s in found], lambda *a: torch.cat(a, 1), {"axis": 1})
    ends = [_ends(recorder, [(states, back) for states, _, back in last])]
    if kind == "lstm":
        ends.append(_ends(recorder, [(memory, back) for _, memory, back in last if memory is not None]))
    return x, ends


def _ends(recorder: Recorder, of: Sequence[tuple[Tensor, bool]]) -> Tensor:
    """(layers · directions, 1, U) the states after the last step that was read."""
    rows = [states[0 if back else -1] for states, back in of]
    made = torch.stack(rows)[:, None]
    units = rows[0].shape[0]
    if len(of) == 1:
        operand = recorder.operand(of[0][0])
        first = 0 if of[0][1] else (operand.shape[0] - 1) * units
        recorder.is_cells(made, operand.node, torch.arange(first, first + units).reshape(made.shape))
        return made
    for row, (states, back) in zip(rows, of, strict=True):
        first = 0 if back else (states.shape[0] - 1) * units
        recorder.is_cells(row, recorder.operand(states).node, torch.arange(first, first + units))
    recorder.node("stack", made, [recorder.operand(r) for r in rows], lambda *a: torch.stack(a)[:, None], {"axis": 0})
    return made


class _Layer:
    """One layer in one direction."""

    def __init__(self, recorder: Recorder, kind: str, weights: Weights, x: Tensor, back: bool) -> None:
        self.recorder, self.kind, self.weights, self.x, self.back = recorder, kind, weights, x, back
        self.units = weights.before.shape[1]
        self.kept: dict[str, list[Tensor]] = {}

    def run(self) -> tuple[Tensor, Tensor | None]:
        """(T, U) states, and the memories of an LSTM."""
        state, memory = self.x.new_zeros(1, self.units), self.x.new_zeros(1, self.units)
        steps = range(len(self.x))
        for t in reversed(steps) if self.back else steps:
            state, memory = self._step(self.x[t : t + 1], state, memory)
        made = {name: self._stacked(rows) for name, rows in self.kept.items()}
        self._note(made)
        return made["state"], made.get("memory")

    def _stacked(self, rows: list[Tensor]) -> Tensor:
        return torch.cat(rows[::-1] if self.back else rows)

    def _keep(self, name: str, made: Tensor) -> Tensor:
        self.kept.setdefault(name, []).append(made)
        return made

    def _step(self, x: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        found: dict[str, Tensor] = {}
        for i, (name, bend) in enumerate(GATES[self.kind]):
            own = self.weights.of(i, self.units)
            reset = found["reset"] if self.kind == "gru" and name == "candidate" else None
            found[name] = self._keep(name, _gate(bend, x, state, *own, reset=reset))
        if self.kind == "lstm":
            memory = self._keep("memory", found["keep"] * memory + found["write"] * found["candidate"])
            return self._keep("state", found["show"] * torch.tanh(memory)), memory
        if self.kind == "gru":
            return self._keep("state", (1 - found["update"]) * found["candidate"] + found["update"] * state), memory
        return found["state"], memory

    def _note(self, made: dict[str, Tensor]) -> None:
        """A node for each gate and state. The state comes first: the gates read the one before."""
        numbers = {}
        first = len(self.recorder.graph.nodes)
        for offset, name in enumerate(made):
            numbers[name] = first + offset
        for name, rows in self.kept.items():  # nodes first, their operands after: they read each other
            live = rows[::-1] if self.back else rows
            node = self.recorder.node(f"{self.kind}:{name}", made[name], (), _nothing, live=live)
            assert node.number == numbers[name]
        shape = tuple(made["state"].shape)
        before = {n: Operand(numbers[n], shape, self._shifted(shape)) for n in ("state", "memory") if n in numbers}
        whole = {n: Operand(numbers[n], shape) for n in made}
        for i, (name, bend) in enumerate(GATES[self.kind]):
            self._gate_node(numbers[name], i, name, bend, before["state"], whole)
        nodes = self.recorder.graph.nodes
        if self.kind == "lstm":
            nodes[numbers["memory"]].operands = (whole["keep"], before["memory"], whole["write"], whole["candidate"])
            nodes[numbers["memory"]].run = lambda keep, old, write, new: keep * old + write * new
            nodes[numbers["state"]].operands = (whole["show"], whole["memory"])
            nodes[numbers["state"]].run = lambda show, memory: show * torch.tanh(memory)
        elif self.kind == "gru":
            nodes[numbers["state"]].operands = (whole["update"], whole["candidate"], before["state"])
            nodes[numbers["state"]].run = lambda update, new, old: (1 - update) * new + update * old

    def _gate_node(
        self, number: int, gate: int, name: str, bend: str, before: Operand, whole: dict[str, Operand]
    ) -> None:
        node, recorder = self.recorder.graph.nodes[number], self.recorder
        rows = slice(gate * self.units, (gate + 1) * self.units)
        own = [_part(recorder.operand(w), rows) for w in self.weights if w is not None]
        reset = [whole["reset"]] if self.kind == "gru" and name == "candidate" else []
        node.operands = (recorder.operand(self.x), before, *own, *reset)
        node.options = {"bend": bend, "biased": self.weights.given_bias is not None, "reset": bool(reset)}
        node.run = partial(again, bend, self.weights.given_bias is not None, bool(reset))

    def _shifted(self, shape: tuple[int, ...]) -> Tensor:
        """The cells of the step before; nothing before the first."""
        cells = torch.arange(shape[0] * shape[1]).reshape(shape)
        nothing = torch.full((1, shape[1]), NOTHING)
        return torch.cat([cells[1:], nothing] if self.back else [nothing, cells[:-1]])


def _gate(
    bend: str,
    x: Tensor,
    before: Tensor,
    given: Tensor,
    state: Tensor,
    given_bias: Tensor | None,
    state_bias: Tensor | None,
    *,
    reset: Tensor | None = None,
) -> Tensor:
    """(T, U) of (T, F) and the states before (T, U)."""
    told, kept = x @ given.T, before @ state.T
    if given_bias is not None and state_bias is not None:
        told, kept = told + given_bias, kept + state_bias
    return _BEND[bend](told + (kept if reset is None else reset * kept))


def again(bend: str, biased: bool, reset: bool, *given: Tensor) -> Tensor:
    """(T, U) a gate from its operands, in the order in which its node has them."""
    rest = list(given)
    gate = rest.pop() if reset else None
    x, before, w, u, *biases = rest
    return _gate(bend, x, before, w, u, *(biases if biased else (None, None)), reset=gate)


def _part(operand: Operand, rows: slice) -> Operand:
    """The rows of one gate, as cells of the whole weight."""
    cells = torch.arange(torch.Size(operand.shape).numel()).reshape(operand.shape)[rows]
    return Operand(operand.node, tuple(cells.shape), cells if operand.cells is None else operand.cells[rows])


def _nothing(*given: Tensor) -> Tensor:
    raise AssertionError("its operands are not known yet")
