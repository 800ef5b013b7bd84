"""The attention that is shown is what the network computed: the softmax of query · key / √d."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import trainwright.explain  # noqa: F401 - fills the registries
from tests.tasks.cases import network, reviews, whole
from trainwright.core.batch import Batch
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress, Task
from trainwright.inside import attention as room
from trainwright.inside.attention import attends, attention, told
from trainwright.models import transformer

PAIRS = [
    {"source": "one two three four", "target": "eins zwei drei vier"},
    {"source": "two two", "target": "zwei"},
    {"source": "three", "target": "drei drei drei"},
]


class Case(NamedTuple):
    task: str
    options: Mapping[str, Any]
    records: list[dict[str, Any]]
    build: Callable[[Mapping[str, Any]], nn.Module]
    maps: list[tuple[str, int, str, str]]  # title, heads, who looks, what is looked at


WORDS = {"tokenizer": {"name": "words", "least": 1}}
READER = network("transformer_encoder", width=8, heads=2, depth=2, positions="learned")
WRITER = network("transformer", width=8, heads=4, groups=2, depth=1, decoder_depth=2, positions="learned")
TRANSLATION = [
    ("encoder, block 1", 4, "source", "source"),
    ("decoder, block 1", 4, "written", "written"),
    ("decoder, block 1, looking at the source", 4, "written", "source"),
    ("decoder, block 2", 4, "written", "written"),
    ("decoder, block 2, looking at the source", 4, "written", "source"),
]
CASES = {
    "a text that is read": Case(
        "text_classification", {}, reviews(9), READER, [("block 1", 2, "text", "text"), ("block 2", 2, "text", "text")]
    ),
    "a text that is translated": Case("translation", WORDS, PAIRS, WRITER, TRANSLATION),
    "texts of one length": Case("translation", WORDS, PAIRS[:1], WRITER, TRANSLATION),
}


def of(case: Case, index: int = 0) -> tuple[Task[Any], nn.Module, Batch]:
    task = tasks[case.task](**case.options)
    task.processor.fit(case.records)
    torch.manual_seed(0)
    model = case.build(task.sizes()).eval()
    return task, model, whole([case.records[index]], task, fit=False)


@pytest.mark.parametrize("name", CASES)
def test_every_head_is_as_the_model_computes_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, seen, computed = CASES[name], [], transformer._seen
    task, model, batch = of(case)

    def watched(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        scores = (
            query @ key.repeat_interleave(query.shape[1] // key.shape[1], 1).transpose(2, 3) * query.shape[3] ** -0.5
        )
        if causal:
            scores = scores.masked_fill(~torch.ones(scores.shape[2:]).bool().tril(), -torch.inf)
        seen.append(scores.softmax(3)[0])
        return computed(query, key, value, mask, causal)

    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(transformer, "_seen", watched)
        task.loss(model, batch, Progress())
    texts, maps = attention(task, model, batch)
    assert [(room.title_of(m), len(m.weights), m.queries, m.keys) for m in maps] == case.maps
    assert len(seen) == len(maps)
    for m, known in zip(maps, seen, strict=True):
        assert m.weights.shape[1:] == (len(texts[m.queries].pieces), len(texts[m.keys].pieces))
        assert torch.allclose(m.weights, known, rtol=1e-5, atol=1e-6)
        assert torch.allclose(m.weights.sum(2), torch.ones(m.weights.shape[:2]))


def test_a_page_is_given_pieces_and_numbers() -> None:
    task, model, batch = of(CASES["a text that is translated"])
    texts, maps = attention(task, model, batch)
    head, numbers = told(texts, maps)
    assert head["texts"]["source"][:4] == ["one", "two", "three", "four"]
    assert len(head["texts"]["written"]) == 5
    assert head["texts"]["written"][1:] == ["eins", "zwei", "drei", "vier"]
    assert [m["heads"] for m in head["maps"]] == [4] * 5
    assert len(numbers) == 4 * sum(m.weights.numel() for m in maps)
    first = torch.frombuffer(bytearray(numbers[: 4 * maps[0].weights.numel()]), dtype=torch.float32)
    assert torch.equal(first.reshape(maps[0].weights.shape), maps[0].weights)


def test_a_recurrent_reader_that_attends_shows_where_it_looks() -> None:
    case = Case("translation", WORDS, PAIRS, network("gru_attention", width=8, units=8), [])
    texts, (only,) = attention(*of(case))
    assert (only.queries, only.keys) == ("written", "source")
    assert only.weights.shape == (1, len(texts["written"].pieces), len(texts["source"].pieces))


def test_what_does_not_attend_or_is_no_text_has_no_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not attends(*of(CASES["a text that is read"]._replace(build=network("text_cnn", width=8, filters=4))))
    assert attends(*of(CASES["a text that is read"]))
    monkeypatch.setattr(room, "MOST", 10)
    assert not attends(*of(CASES["a text that is read"]))
