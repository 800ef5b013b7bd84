"""One step of a run, taken aside: forward, loss, backward and update for one sample, and every number of it kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.criterion import sample_by_sample
from trainwright.core.task import Loss, Progress, Task
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import train_step
from trainwright.runs.inspect.graph import Graph, Node
from trainwright.runs.inspect.record import Recorder


@dataclass(frozen=True, slots=True)
class Stand:
    """A state of the run, ready to take one step."""

    state: TrainState
    multiplier: float  # of the rates, at this step
    steps: int  # of the whole budget
    light: bool  # too large for an update


@dataclass(slots=True)
class Moved:
    """What the optimizer did to one weight."""

    clipped: Tensor  # the gradient as the optimizer was given it
    before: Mapping[str, Tensor]  # what it remembered of the weight
    options: Mapping[str, Any]  # of the weight's group, with the rate of this step


@dataclass(slots=True)
class Taken:
    """The step."""

    graph: Graph
    shown: list[Node]  # what led to the loss, and the probabilities, in order
    batch: Batch
    loss: float
    norm: float  # of the gradient; NaN where it is not whole
    finite: bool  # False: no weight was moved
    optimizer: str  # its class
    moved: dict[int, Moved] = field(default_factory=dict)  # by node
    light: bool = False  # no weight was moved, nor has a gradient: the network is too large
    difference: float = 0.0  # of the loss, from that of the network as it is
    after: float = 0.0  # the loss of the same sample once the weights were moved; NaN where they were not


def take(
    task: Task[Any],
    batch: Batch,
    stand: Stand,
    *,
    clip: float | None = None,
    clip_value: float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    answered: Callable[[nn.Module, Batch], None] = lambda model, batch: None,
    until: float = math.inf,
) -> Taken:
    """Take the step that the run would take with this sample alone, at its rate, from its state.

    Nothing is dropped out and batch norms use their running statistics, so that the forward pass is the network's
    answer. The run itself is not touched: the state is a copy.

    Args:
        task: gives the loss.
        batch: of one sample.
        stand: the state, which is used up.
        clip: as the recipe has it; None for none.
        clip_value: likewise.
        l1: likewise.
        l2: likewise.
        answered: is given the model and the sample before a weight moves.
        until: the time (`perf_counter`) at which it is given up, with TimeoutError.
    """
    state = stand.state
    model = state.model.eval()
    progress = Progress(state.counters.step, stand.steps, state.counters.epoch)
    with torch.no_grad():
        plain = float(task.loss(model, batch, progress).sum / weight_of(batch))
        answered(model, batch)
    given = {**batch.inputs, **{f"true {k}": v for k, v in batch.targets.items()}}
    recorder = Recorder(model, given, light=stand.light, until=until)

    def objective(model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        with sample_by_sample(), recorder.watching():  # a sum at once would hide the sample's own arithmetic
            found = task.loss(model, batch, progress)
            mean = _mean(recorder, found.sum, weight_of(batch))
        return replace(found, sum=mean * weight_of(batch))

    graph = recorder.graph
    if stand.light:
        (objective(model, batch, progress).sum / weight_of(batch)).backward()
        graph.settle()
        made = Taken(graph, graph.needed(), batch, plain, float("nan"), False, "", light=True)
    else:
        made = _stepped(state, task, batch, stand, objective, recorder, (clip, clip_value, l1, l2))
        with torch.no_grad():
            made.after = float(task.loss(model, batch, progress).sum / weight_of(batch))
    made.loss, made.difference = plain, abs(plain - float(graph.nodes[-1].value))
    _probabilities(made)
    return made


def weight_of(batch: Batch) -> float:
    """What the summed loss of the sample is divided by."""
    return float(batch.weight) or 1.0


def _mean(recorder: Recorder, total: Tensor, weight: float) -> Tensor:
    """The loss: the sum over what counts, divided by how much that is."""
    share = 1 / weight
    mean = total * share  # a recorded multiplication
    last = recorder.graph.nodes[-1]
    last.options = {"times": share, "plus": 0.0, "said": f"the sum / {weight:g} that count"}
    return mean


def _stepped(
    state: TrainState,
    task: Task[Any],
    batch: Batch,
    stand: Stand,
    objective: Any,
    recorder: Recorder,
    how: tuple[Any, Any, float, float],
) -> Taken:
    clip, clip_value, l1, l2 = how
    raw: dict[int, Tensor] = {}
    moved: dict[int, Moved] = {}
    optimizer, graph = state.optimizer, recorder.graph
    groups = {id(p): g for g in optimizer.param_groups for p in g["params"]}

    def number(weight: Tensor) -> int | None:
        return recorder.number_of(weight)

    def keep(weight: Tensor) -> None:
        assert weight.grad is not None
        raw[id(weight)] = weight.grad.detach().clone()

    def before(*_: Any) -> None:
        graph.settle()
        for weight in state.model.parameters():
            at = number(weight)
            if at is not None and weight.grad is not None:
                graph.nodes[at].gradient = raw[id(weight)]
                remembered = optimizer.state.get(weight, {})
                kept = {k: v.detach().clone() for k, v in remembered.items() if isinstance(v, Tensor)}
                options = {k: v for k, v in groups[id(weight)].items() if k != "params"}
                moved[at] = Moved(weight.grad.detach().clone(), kept, options)

    handles = [p.register_post_accumulate_grad_hook(keep) for p in state.model.parameters() if p.requires_grad]
    handles.append(optimizer.register_step_pre_hook(before))
    step = train_step(
        state, task, [batch], Runtime(), clip=clip, multiplier=stand.multiplier, clip_value=clip_value, l1=l1, l2=l2,
        loss=objective, progress=Progress(state.counters.step, stand.steps, state.counters.epoch),
    )  # fmt: skip
    for handle in handles:
        handle.remove()
    graph.settle()
    for at in moved:
        node = graph.nodes[at]
        weight = state.model.get_parameter(node.name)
        node.change = weight.detach().float() - node.value
    finite = bool(step.finite)
    return Taken(graph, graph.needed(), batch, 0.0, float(step.norm), finite, type(optimizer).__name__, moved)


def _probabilities(made: Taken) -> None:
    """Where classes or tokens are told apart: how probable each is, beside the logits."""
    last = next((n for n in reversed(made.shown) if n.op == "cross_entropy"), None)
    if last is None:
        return
    operand = last.operands[0]
    logits = made.graph.nodes[operand.node]
    value = operand.of(logits.value).softmax(1)
    node = Node(len(made.graph.nodes), "value", "softmax", "probabilities", value, (operand,), {"axis": 1},
                lambda z: z.softmax(1))  # fmt: skip
    made.graph.nodes.append(node)
    made.shown.insert(made.shown.index(last), node)
