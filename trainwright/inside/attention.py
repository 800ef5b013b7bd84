"""How much each piece of a text looks at each other, head by head: what a network that attends really computed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.task import Progress, Task
from trainwright.core.tokenizer import Tokenizer
from trainwright.data.pairs import Pairs
from trainwright.runs.inspect.graph import Graph, Node
from trainwright.runs.inspect.record import Recorder

MOST = 2_000_000  # weights of all heads that are told at once


class Map(NamedTuple):
    """The weights of one attention."""

    name: str  # of the module that computed it
    weights: Tensor  # (H, T, S): how much of piece s goes to piece t; each row adds up to 1
    queries: str  # which text looks
    keys: str  # which text is looked at


class Text(NamedTuple):
    """A text of a sample in pieces, and their numbers as the network is given them."""

    pieces: list[str]
    ids: Tensor


Texts = dict[str, Text]


def attention(task: Task[Any], model: nn.Module, batch: Batch) -> tuple[Texts, list[Map]]:
    """The pieces of each text of one sample, and every attention between them.

    A translation is read and written with the true pieces before each. No map where a network does not attend.

    Args:
        task: of the run.
        model: in evaluation mode.
        batch: of one sample.

    Raises UserError where the maps are more than a page can draw.
    """
    texts = texts_of(task, batch)
    if not texts:
        return {}, []
    given = {**batch.inputs, **{f"true {k}": v for k, v in batch.targets.items()}}
    recorder = Recorder(model, given, light=True)
    with torch.no_grad(), recorder.watching():
        task.loss(model, batch, Progress())
    maps = list(_maps(recorder.graph, texts))
    if sum(m.weights.numel() for m in maps) > MOST:
        raise UserError("attention", "this text is too long for its attention to be drawn")
    return texts, maps


def attends(task: Task[Any], model: nn.Module, batch: Batch) -> bool:
    """Whether there is any attention to be seen in one sample."""
    try:
        return bool(attention(task, model, batch)[1])
    except UserError:
        return False


def texts_of(task: Task[Any], batch: Batch) -> Texts:
    """The texts of one sample: one that is read, or ``source`` and ``written``; none of what is no text."""
    processor = task.processor
    if isinstance(processor, Pairs):
        if "target" not in batch.targets:
            return {}
        truth, source = batch.targets["target"][0], batch.inputs["source"][0]
        before = torch.cat([truth.new_tensor([processor.marks.begin]), truth[truth >= 0][:-1]])
        return {
            "source": Text(processor.reads.pieces(source), source),
            "written": Text(processor.writes.pieces(before), before),
        }
    reader = getattr(processor, "reader", processor)
    tokenizer, tokens = getattr(reader, "tokenizer", None), batch.inputs.get("tokens")
    if not isinstance(tokenizer, Tokenizer) or tokens is None:
        return {}
    return {"text": Text(tokenizer.pieces(tokens[0]), tokens[0])}


def _maps(graph: Graph, texts: Texts) -> Iterator[Map]:
    """Every softmax over products of what came of the texts."""
    for node in graph.nodes:
        found = _products(graph, node)
        if found is None or node.value.ndim not in (3, 4) or node.value.shape[0] != 1:
            continue
        weights = node.value[0] if node.value.ndim == 4 else node.value
        fits = [
            (q, k)
            for q in reversed(texts)  # what is written looks, where nothing tells
            for k in texts
            if weights.shape[1:] == (len(texts[q].pieces), len(texts[k].pieces))
        ]
        traced = tuple(_text(graph, found.operands[i].node, texts) for i in (0, 1))
        pair = next((p for p in fits if p == traced), fits[0] if (fits and "" in traced) or len(fits) == 1 else None)
        if pair is not None:
            yield Map(node.name, weights, *pair)


def _products(graph: Graph, node: Node) -> Node | None:
    """What a softmax over the last axis was made of: products of queries and keys, whatever was hidden of them."""
    if node.op not in ("attention", "softmax") or node.options.get("axis") != node.value.ndim - 1:
        return None
    before = graph.nodes[node.operands[0].node]
    while before.op in ("mask", "scale"):
        before = graph.nodes[before.operands[0].node]
    return before if before.op in ("scores", "matmul") else None


def _text(graph: Graph, number: int, texts: Texts) -> str:
    """Which text a tensor tells of: the last one that went into it; empty where that cannot be followed."""
    went: set[str] = set()
    seen, todo = {number}, [number]
    while todo:
        node = graph.nodes[todo.pop()]
        if node.op == "embedding":
            ids = graph.nodes[node.operands[0].node].value.reshape(-1)
            went |= {name for name, text in texts.items() if torch.equal(ids, text.ids.float())}
        for operand in node.operands:
            if operand.node not in seen:
                seen.add(operand.node)
                todo.append(operand.node)
    return next((name for name in reversed(texts) if name in went), "")


def told(texts: Texts, maps: list[Map]) -> tuple[dict[str, Any], bytes]:
    """The same as plain data, with the weights as float32 behind it, map by map."""
    head = {
        "texts": {name: text.pieces for name, text in texts.items()},
        "maps": [
            {"name": m.name, "title": title_of(m), "heads": m.weights.shape[0], "queries": m.queries, "keys": m.keys}
            for m in maps
        ],
    }
    return head, b"".join(m.weights.contiguous().numpy().astype("<f4").tobytes() for m in maps)


def title_of(of: Map) -> str:
    """Where an attention stands, for a person: "encoder, block 1"; and which text is looked at, where it is another."""
    block = re.match(r"(?:(\w+)\.)?(?:\w+\.)*?(?:blocks|layers)\.(\d+)", of.name)
    place = "attention" if block is None else f"block {int(block[2]) + 1}"
    where = f"{block[1]}, {place}" if block and block[1] and of.queries != "text" else place
    return where if of.queries == of.keys else f"{where}, looking at the {of.keys}"
