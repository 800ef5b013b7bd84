"""Operations done again from their names and options alone: of a step that was read from a file, where no code is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from trainwright.runs.inspect.calls import FUNCTIONS
from trainwright.runs.inspect.graph import Graph, Node
from trainwright.runs.inspect.record import bagged
from trainwright.runs.inspect.recurrent import again as gate

Run: TypeAlias = Callable[..., Tensor]
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5  # float32 sums in another order


def revive(graph: Graph) -> None:
    """Give every operation of a graph its computation back, where that comes to the numbers that were kept.

    What does not is left without: no arithmetic is told that was not the network's.
    """
    for node in graph.nodes:
        maker = _MAKERS.get(node.op)
        if node.kind != "value" or maker is None:
            continue
        try:
            run = maker(node)
            with torch.no_grad():
                made = run(*(o.of(graph.nodes[o.node].value) for o in node.operands))
        except (RuntimeError, TypeError, ValueError, LookupError):
            continue
        if made.shape == node.value.shape and _same(made, node.value):
            node.run = run


def _same(made: Tensor, kept: Tensor) -> bool:
    """Equal to float32's precision; what is hidden was kept as NaN."""
    told = ~kept.isnan()
    return torch.allclose(made.float()[told], kept[told], _RELATIVE, _ABSOLUTE)


def _plain(run: Run) -> Callable[[Node], Run]:
    return lambda node: run


def _conv(node: Node) -> Run:
    options, (_, _, *size) = node.options, node.value.shape
    first, kernel = node.operands[0].shape, node.operands[1].shape[2:]
    sides: list[int] = []
    for i, out in enumerate(size):
        reach = (out - 1) * options["stride"][i] + options["dilation"][i] * (kernel[i] - 1) + 1
        before = options["before"][i]
        sides = [before, reach - first[2 + i] - before, *sides]  # the last axis first
    convolve = getattr(F, f"conv{len(size)}d")

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return convolve(F.pad(x, sides), weight, bias, options["stride"], 0, options["dilation"])  # type: ignore[no-any-return]

    return run


def _pool(op: str) -> Callable[[Node], Run]:
    def maker(node: Node) -> Run:
        options = node.options
        pool = getattr(F, f"{op}_pool{len(options['kernel'])}d")
        return lambda x: pool(x, options["kernel"], options["stride"], options["before"])

    return maker


def _over(op: str) -> Callable[[Node], Run]:
    def maker(node: Node) -> Run:
        kept = len(node.value.shape) == len(node.operands[0].shape)
        return lambda x: getattr(torch, op)(x, dim=node.options["axes"], keepdim=kept)

    return maker


def _norm(node: Node) -> Run:
    options, shape = node.options, tuple(node.value.shape)
    last = shape[len(shape) - options["last"] :]

    def run(x: Tensor, *learned: Tensor) -> Tensor:
        gain = learned[0] if options["gain"] else None
        if node.op == "rms_norm":
            return F.rms_norm(x, last, gain, options["eps"])
        return F.layer_norm(x, last, gain, learned[-1] if options["shift"] else None, options["eps"])

    return run


def _batch_norm(node: Node) -> Run:
    options = node.options

    def run(x: Tensor, mean: Tensor, variance: Tensor, *learned: Tensor) -> Tensor:
        gain, shift = learned[0] if options["gain"] else None, learned[-1] if options["shift"] else None
        return F.batch_norm(x, mean, variance, gain, shift, eps=options["eps"])

    return run


def _attention(node: Node) -> Run:
    mask = node.options["mask"]
    return lambda z: (z if mask is None else z.masked_fill(~mask, -math.inf)).softmax(node.options["axis"])


def _with(run: Callable[[Mapping[str, Any]], Run]) -> Callable[[Node], Run]:
    return lambda node: run(node.options)


def _gate(node: Node) -> Run:
    return partial(gate, node.options["bend"], node.options["biased"], node.options["reset"])


_MAKERS: Mapping[str, Callable[[Node], Run]] = {
    "linear": _plain(F.linear), "conv": _conv, "max_pool": _pool("max"), "avg_pool": _pool("avg"),
    "matmul": _plain(torch.matmul), "add": _plain(torch.add), "sub": _plain(torch.sub), "mul": _plain(torch.mul),
    "div": _plain(torch.div), "addcmul": _plain(torch.addcmul), "where": _plain(torch.where),
    "turn": _plain(lambda x, cos, other, sin: torch.addcmul(x * cos, other, sin)),
    "scale": _with(lambda o: lambda x: x * o["times"] + o["plus"]), "pow": _with(lambda o: lambda x: x ** o["power"]),
    "clamp": _with(lambda o: lambda x: x.clamp(o["low"], o["high"])),
    "mask": _with(lambda o: lambda x: x.masked_fill(o["mask"], o["to"])),
    "softmax": _with(lambda o: lambda x: x.softmax(o["axis"])),
    "log_softmax": _with(lambda o: lambda x: x.log_softmax(o["axis"])),
    "attention": _attention, "scores": _with(lambda o: lambda q, k: q @ k.transpose(-2, -1) * o["scale"]),
    "mean": _over("mean"), "sum": _over("sum"), "amax": _over("amax"),
    "layer_norm": _norm, "rms_norm": _norm, "batch_norm": _batch_norm,
    "embedding": _with(lambda o: lambda ids, table: F.embedding(ids, table, o["padding"])),
    "embedding_bag": _with(lambda o: partial(bagged, o["padding"])),
    "cat": lambda node: lambda *given: torch.cat(given, node.options["axis"]),
    "stack": lambda node: lambda *given: torch.stack(given, node.options["axis"]).reshape(node.value.shape),
    "cross_entropy": _with(
        lambda o: lambda z, y: F.cross_entropy(z, y, ignore_index=o["ignored"], reduction="none")
    ),
    **{
        op: _plain(partial(getattr(F, op), reduction="none"))
        for op in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits")
    },
    **{op: _plain(getattr(F, op, None) or getattr(torch, op)) for op in FUNCTIONS},
    **{
        f"{kind}:{name}": _gate
        for kind, names in {
            "rnn_tanh": ("state",), "rnn_relu": ("state",), "gru": ("reset", "update", "candidate"),
            "lstm": ("write", "keep", "candidate", "show"),
        }.items()
        for name in names
    },
    "lstm:memory": _plain(lambda keep, old, write, new: keep * old + write * new),
    "lstm:state": _plain(lambda show, memory: show * torch.tanh(memory)),
    "gru:state": _plain(lambda update, new, old: (1 - update) * new + update * old),
}  # fmt: skip
