"""Windows over one stream: each character is guessed once, and the cache says what the whole model says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.sketches import language
from tests.sketches.language import FIRST, Language, SmallGPT
from tests.training import Case, enrol
from trainwright.core.task import Task
from trainwright.data.encode import encode_records

CASE = Case("language", Language, language.model_for, language.records)


def task() -> Language:
    made = Language()
    made.processor.fit(language.records(40))
    return made


def gpt(made: Task[Any]) -> SmallGPT:
    torch.manual_seed(0)
    model = language.model_for(made.sizes()).double()
    assert isinstance(model, SmallGPT)
    return model


def test_the_cache_equals_the_full_forward() -> None:
    model = gpt(task())
    text = torch.randint(FIRST, 12, (3, 20), generator=torch.Generator().manual_seed(1))
    whole, cache = model(text), model.start(text)
    for place in range(text.shape[1]):
        logits, cache = model.step(text[:, place], cache)
        assert torch.allclose(logits, whole[:, place], rtol=0, atol=1e-12)


def test_a_reordered_cache_goes_on_as_the_picked_sequence() -> None:
    model = gpt(task())
    text = torch.randint(FIRST, 12, (3, 6), generator=torch.Generator().manual_seed(2))
    cache = model.start(text)
    for place in range(5):
        _, cache = model.step(text[:, place], cache)
    picked = torch.tensor([2, 2, 0, 1])
    logits, _ = model.step(text[picked, 5], model.reorder(cache, picked))
    assert torch.allclose(logits, model(text)[picked, 5], rtol=0, atol=1e-12)


def slowly(model: SmallGPT, made: Language, prompt: str) -> str:
    """What `predict` must say, by the full forward, one prompt at a time."""
    known = made.processor.known
    ids = [known.find(c) + FIRST if c in known else 1 for c in prompt][-made.processor.length :]
    said: list[int] = []
    for _ in range(made.write):
        logits: Tensor = model(torch.tensor([ids + said]))[0, -1]
        said.append(int(logits[FIRST:].argmax()) + FIRST)
    return "".join(known[i - FIRST] for i in said)


def test_prompts_of_any_length_are_continued_as_if_alone() -> None:
    made = task()
    model = gpt(made)
    prompts = ["o", "two, three, ", "zero, one, two, three, four, five, six, seven, eight", "X one"]
    batch = made.processor.batch(encode_records([{"text": p} for p in prompts], made.processor), None)
    told = made.processor.decode(made.predict(model, batch), batch)
    assert [t["text"] for t in told] == [slowly(model, made, p) for p in prompts]


def test_targets_are_the_inputs_one_character_later() -> None:
    taught = enrol(CASE)
    for batch in taught.valid():
        text, target, real = batch.inputs["text"], batch.targets["text"], batch.targets["real"]
        assert bool((text[:, 1:] == target[:, :-1])[real[:, 1:]].all())
        assert float(batch.weight) == int(real.sum())


@pytest.mark.parametrize("n", [17, 40, 41])
def test_each_character_of_the_held_out_part_is_guessed_once(n: int) -> None:
    taught = enrol(CASE, n=n)
    held = max(n // 4, 5)
    expected = "".join(r["text"] for r in language.records(n, 1)[-held:])
    known = taught.task.processor.known
    found = ""
    for batch in taught.valid():
        ids = batch.targets["text"][batch.targets["real"]].tolist()
        found += "".join(known[i - FIRST] if i >= FIRST else "?" for i in ids)
    assert found == "".join(c if c in known else "?" for c in expected)


def test_windows_begin_elsewhere_each_epoch() -> None:
    part = enrol(CASE).loader.part
    starts = {int(part.positions(3, epoch)[0]) for epoch in range(8)}
    assert len(starts) > 3
    assert len({len(part.positions(3, epoch)) for epoch in range(8)}) == 1
