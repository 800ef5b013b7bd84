"""Translators read a source, write step by step what they say at once, and see nothing ahead or behind the source."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.models.encoder_decoder import Transformer
from trainwright.models.gru_attention import GRUAttention

SIZES: dict[str, Any] = {"vocab": 19, "source_vocab": 19, "shared": True}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "transformer": (Transformer, {"context": 30, "width": 16, "depth": 2, "heads": 2}),
    "learned places": (Transformer, {"context": 30, "width": 16, "heads": 2, "positions": "learned", "bias": True}),
    "grouped": (Transformer, {"context": 30, "width": 16, "heads": 4, "groups": 2, "qk_norm": True, "norm": "rms"}),
    "gru": (GRUAttention, {"width": 8, "units": 12}),
    "two layers": (GRUAttention, {"width": 8, "units": 12, "layers": 2, "tied": False}),
}


def made(name: str, **more: Any) -> Any:
    torch.manual_seed(2)
    kind, options = MODELS[name]
    model: nn.Module = kind(**{**SIZES, **options, **more}).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model


def given(seed: int = 0) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    source, written = (torch.randint(4, 19, (4, n), generator=dice) for n in (9, 11))
    lengths = torch.tensor([9, 1, 4, 7])
    return {
        "source": source.masked_fill(torch.arange(9) >= lengths[:, None], 0),
        "lengths": lengths,
        "written": written,
    }


@pytest.mark.parametrize("name", MODELS)
def test_steps_say_what_the_whole_says_also_when_sequences_are_picked(name: str) -> None:
    model, inputs = made(name), given()
    written = inputs["written"]
    whole = model(**inputs)
    with torch.no_grad():
        cache = model.start(source=inputs["source"], lengths=inputs["lengths"])
        rows = torch.arange(4)
        for place in range(written.shape[1]):
            said, cache = model.step(written[rows, place], cache)
            assert torch.allclose(said, whole[rows, place], rtol=0, atol=1e-10)
            if place in (2, 5):
                picked = torch.tensor([2, 0, 0, 1, 2])[: len(rows) + 1]
                rows, cache = rows[picked], model.reorder(cache, picked)
            if place == 8:  # each goes on from the first that has the same source, as beams do
                picked = torch.tensor([rows.tolist().index(row) for row in rows.tolist()])
                rows, cache = rows[picked], model.reorder(cache, picked)


@pytest.mark.parametrize("name", MODELS)
def test_a_target_sees_nothing_behind_it_and_nothing_of_the_padding(name: str) -> None:
    model, inputs = made(name), given()
    whole = model(**inputs)
    other = inputs["written"].clone()
    other[:, 6] = 4 + (other[:, 6] - 3) % 15
    changed = model(**{**inputs, "written": other})
    assert torch.allclose(whole[:, :6], changed[:, :6], rtol=0, atol=1e-12)
    assert not torch.allclose(whole[:, 6:], changed[:, 6:])
    for i, length in enumerate(inputs["lengths"].tolist()):
        alone = model(
            source=inputs["source"][i : i + 1, :length],
            lengths=inputs["lengths"][i : i + 1],
            written=inputs["written"][i : i + 1],
        )
        assert torch.allclose(alone[0], whole[i], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_every_source_token_matters(name: str) -> None:
    model, inputs = made(name), given()
    whole = model(**inputs)
    for place in range(9):
        source = inputs["source"].clone()
        source[0, place] = 4 + (source[0, place] - 3) % 15
        assert not torch.allclose(model(**{**inputs, "source": source})[0], whole[0], rtol=0, atol=1e-9)


def test_one_vocabulary_is_one_embedding_and_two_are_two() -> None:
    for name in ("transformer", "gru"):
        model = made(name)
        tables = [getattr(t, "tokens", t) for t in (model.read, model.write)]
        assert tables[0].weight is tables[1].weight is model.head.weight
        apart = made(name, shared=False, source_vocab=23, tied=False)
        assert len({id(p) for p in (*apart.read.parameters(), *apart.write.parameters(), apart.head.weight)}) >= 3
        with pytest.raises(UserError, match="shared"):
            made(name, source_vocab=23)


def test_the_first_loss_is_that_of_a_guess() -> None:
    for kind, options in MODELS.values():
        model = kind(**{**SIZES, **options})
        said = model(**given()).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(said, given(1)["written"].flatten())
        assert float(loss.detach()) == pytest.approx(2.94, abs=0.4)


def test_units_that_have_no_half_are_told() -> None:
    with pytest.raises(UserError, match="odd"):
        GRUAttention(**SIZES, units=7)
