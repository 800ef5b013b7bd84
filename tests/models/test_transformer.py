"""The Transformer's blocks say what torch's own say, what the papers' formulas say, and the same with a cache."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu, silu

from trainwright.core.errors import UserError
from trainwright.models.rotary import turned, turns_of
from trainwright.models.transformer import Attention, CrossAttention, Embedded, FeedForward, Form, Stack

PLAIN: dict[str, Any] = {"width": 24, "heads": 3, "positions": "learned", "bias": True}
FORMS: dict[str, Form] = {
    "gpt2": Form(**PLAIN),
    "rotary": Form(24, 3),
    "grouped": Form(32, 4, groups=2, norm="rms", activation="swiglu"),
    "one group": Form(32, 4, groups=1, activation="relu2", qk_norm=True),
}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def stack_of(form: Form, *, causal: bool = True, crossed: bool = False) -> Stack:
    torch.manual_seed(3)
    made = Stack(form, 3, causal=causal, crossed=crossed).double().eval()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn_like(p))  # norms and biases that count
    return made


def theirs(stack: Stack, form: Form, *, decoder: bool) -> list[nn.Module]:
    """Torch's layers with the weights of ours."""
    kind = nn.TransformerDecoderLayer if decoder else nn.TransformerEncoderLayer
    layers: list[nn.Module] = []
    for block in stack._blocks():
        layer = kind(form.width, form.heads, form.units, 0.0, "gelu", batch_first=True, norm_first=True).double().eval()
        pairs = [(block.attention, layer.self_attn)]
        norms = [(block.attention_norm, layer.norm1), (block.feed_norm, layer.norm3 if decoder else layer.norm2)]
        if decoder:
            pairs.append((block.cross, layer.multihead_attn))
            norms.append((block.cross_norm, layer.norm2))
        with torch.no_grad():
            for ours, other in pairs:
                parts = [ours.mix] if isinstance(ours, Attention) else [ours.ask, ours.tell]
                other.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
                other.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
                other.out_proj.load_state_dict(ours.out.state_dict())
            for ours, other in norms:
                other.load_state_dict(ours.state_dict())
            layer.linear1.load_state_dict(block.feed.up.state_dict())
            layer.linear2.load_state_dict(block.feed.down.state_dict())
        layers.append(layer)
    return layers


@pytest.mark.parametrize("causal", [True, False])
def test_a_pre_norm_stack_is_torchs_own_encoder(causal: bool) -> None:
    form = FORMS["gpt2"]
    stack, x = stack_of(form, causal=causal), drawn(2, 7, 24)
    expected = x
    mask = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64) if causal else None
    for layer in theirs(stack, form, decoder=False):
        expected = layer(expected, src_mask=mask)
    assert torch.allclose(stack(x), stack.norm(expected), rtol=0, atol=1e-12)


def test_a_crossed_stack_is_torchs_own_decoder_with_padding_on_both_sides() -> None:
    form = FORMS["gpt2"]
    stack, x, memory = stack_of(form, crossed=True), drawn(2, 6, 24), drawn(2, 9, 24, seed=1)
    real = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    memory_real = torch.tensor([[True] * 5 + [False] * 4, [True] * 9])
    expected = x
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1)
    for layer in theirs(stack, form, decoder=True):
        expected = layer(
            expected, memory, tgt_mask=mask, tgt_key_padding_mask=~real, memory_key_padding_mask=~memory_real
        )
    found = stack(x, real, memory, memory_real)
    assert torch.allclose(found[real], stack.norm(expected)[real], rtol=0, atol=1e-12)


def test_padding_of_an_encoder_changes_nothing_that_is_real() -> None:
    stack, x = stack_of(FORMS["grouped"], causal=False), drawn(2, 8, 32)
    real = torch.arange(8) < torch.tensor([[8], [5]])
    found = stack(x, real)
    assert torch.allclose(found[1, :5], stack(x[1:, :5])[0], rtol=0, atol=1e-12)
    changed = torch.where(real[..., None], x, drawn(2, 8, 32, seed=4))
    assert torch.equal(stack(changed, real)[real], found[real])


def test_rotary_turns_pairs_as_complex_numbers_do() -> None:
    places, size, base = torch.tensor([0, 1, 7, 1000]), 8, 10_000.0
    x = drawn(2, 3, 4, size)
    found = turned(x, turns_of(places, size, base, torch.float64))
    pairs = torch.complex(x[..., :4], x[..., 4:])
    for p, place in enumerate(places.tolist()):
        for i in range(4):
            angle = place * base ** (-2 * i / size)
            wanted = pairs[..., p, i] * complex(math.cos(angle), math.sin(angle))
            assert torch.allclose(torch.complex(found[..., p, i], found[..., p, i + 4]), wanted, rtol=0, atol=1e-12)


def test_rotary_products_tell_distance_alone() -> None:
    query, key = drawn(1, 1, 1, 16), drawn(1, 1, 1, 16, seed=1)

    def product(here: int, there: int) -> float:
        turns = [turns_of(torch.tensor([p]), 16, 10_000.0, torch.float64) for p in (here, there)]
        return float((turned(query, turns[0]) * turned(key, turns[1])).sum())

    assert product(3, 11) == pytest.approx(product(103, 111), abs=1e-12)
    assert product(3, 11) != pytest.approx(product(3, 12), abs=1e-3)


def test_rotary_keeps_its_digits_in_low_precision() -> None:
    x = drawn(1, 1, 1, 8)
    far = torch.tensor([60_000])
    exact = turned(x, turns_of(far, 8, 10_000.0, torch.float64))
    found = turned(x.bfloat16(), turns_of(far, 8, 10_000.0, torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.double(), exact, rtol=0.02, atol=0.02)


def test_grouped_heads_are_heads_with_repeated_weights() -> None:
    form, whole = Form(32, 4, groups=2), Form(32, 4)
    few, many = Attention(form).double(), Attention(whole).double()
    with torch.no_grad():
        query, key, value = few.mix.weight.split((32, 16, 16))
        again = (w.view(2, 1, 8, 32).expand(2, 2, 8, 32).reshape(32, 32) for w in (key, value))
        many.mix.weight.copy_(torch.cat([query, *again]))
        many.out.load_state_dict(few.out.state_dict())
    x, turns = drawn(2, 5, 32), turns_of(torch.arange(5), 8, 10_000.0, torch.float64)
    found, expected = (a.look(*a.project(x, turns), causal=True) for a in (few, many))
    assert torch.allclose(found, expected, rtol=0, atol=1e-13)
    crossed, wide = CrossAttention(form).double(), CrossAttention(whole).double()
    with torch.no_grad():
        again = (w.view(2, 1, 8, 32).expand(2, 2, 8, 32).reshape(32, 32) for w in crossed.tell.weight.split(16))
        wide.tell.weight.copy_(torch.cat([*again]))
        wide.ask.load_state_dict(crossed.ask.state_dict())
        wide.out.load_state_dict(crossed.out.state_dict())
    asked, told = (a.look(a.queries(x), *a.keys_and_values(x)) for a in (crossed, wide))
    assert torch.allclose(asked, told, rtol=0, atol=1e-13)


def test_normed_queries_and_keys_have_one_length() -> None:
    made = Attention(Form(32, 4, qk_norm=True)).double()
    x = 100 * drawn(2, 5, 32)
    query, key, _ = made.project(x, turns_of(torch.arange(5), 8, 10_000.0, torch.float64))
    other = CrossAttention(Form(32, 4, qk_norm=True)).double()
    crossed = other.queries(x), other.keys_and_values(x)[0]
    lengths = torch.cat([part.norm(dim=-1) for part in (query, key, *crossed)])
    assert torch.allclose(lengths, torch.full_like(lengths, math.sqrt(8)), rtol=1e-4)


def test_the_feed_forward_parts_are_their_formulas() -> None:
    x = drawn(2, 3, 24)
    gated, squared = FeedForward(Form(24, 3, activation="swiglu")), FeedForward(Form(24, 3, activation="relu2"))
    gated, squared = gated.double(), squared.double()
    assert gated.gate is not None
    expected = (silu(x @ gated.gate.weight.T) * (x @ gated.up.weight.T)) @ gated.down.weight.T
    assert torch.allclose(gated(x), expected, rtol=0, atol=1e-13)
    expected = relu(x @ squared.up.weight.T) ** 2 @ squared.down.weight.T
    assert torch.allclose(squared(x), expected, rtol=0, atol=1e-13)
    assert sum(p.numel() for p in gated.parameters()) == pytest.approx(8 * 24 * 24, rel=0.05)


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_a_cache_says_what_the_whole_stack_says(name: str, crossed: bool) -> None:
    form = FORMS[name]
    stack, x = stack_of(form, crossed=crossed), drawn(3, 150, form.width)
    memory = drawn(3, 5, form.width, seed=2) if crossed else None
    memory_real = torch.arange(5) < torch.tensor([[5], [3], [4]]) if crossed else None
    whole = stack(x, None, memory, memory_real)
    with torch.no_grad():
        past = stack.start(x[:, :0], torch.zeros(3, dtype=torch.int64), memory, memory_real)
        for place in range(x.shape[1]):
            said = stack.step(x[:, place : place + 1], past)
            assert torch.allclose(said[:, 0], whole[:, place], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", FORMS)
def test_prompts_of_different_lengths_go_on_each_as_if_alone(name: str) -> None:
    form = FORMS[name]
    stack, x, lengths = stack_of(form), drawn(4, 90, form.width), torch.tensor([3, 0, 80, 11])
    with torch.no_grad():
        past = stack.start(x[:, :80], lengths)
        for ahead in range(10):
            newest = x[torch.arange(4), lengths + ahead][:, None]
            said = stack.step(newest, past)
            for row, length in enumerate(lengths.tolist()):
                alone = stack(x[row : row + 1, : length + ahead + 1])[0, -1]
                assert torch.allclose(said[row, 0], alone, rtol=0, atol=1e-11)


def test_a_picked_past_is_a_copy_that_goes_on_as_the_picked_sequences() -> None:
    form = FORMS["grouped"]
    stack, x = stack_of(form), drawn(3, 12, 32)
    rows = torch.tensor([2, 2, 0, 1])
    with torch.no_grad():
        past = stack.start(x[:, :10], torch.tensor([10, 7, 9]))
        picked = past.picked(rows)
        stack.step(x[:, 10:11], past)  # changes nothing of the copy
        said = stack.step(x[rows, 11:12], picked)
    for m, row in enumerate(rows.tolist()):
        length = [10, 7, 9][row]
        alone = stack(torch.cat([x[row : row + 1, :length], x[row : row + 1, 11:12]], 1))[0, -1]
        assert torch.allclose(said[m, 0], alone, rtol=0, atol=1e-11)


def test_the_first_weights_are_the_books() -> None:
    torch.manual_seed(0)
    form = Form(768, 12, positions="learned", bias=True)
    stack, table = Stack(form, 2, causal=True), Embedded(1000, form, 64, padding=3)
    for name, weight in stack.named_parameters():
        if weight.ndim == 2:
            wanted = 0.02 / math.sqrt(4) if name.endswith(("out.weight", "down.weight")) else 0.02
            assert float(weight.detach().std()) == pytest.approx(wanted, rel=0.02)
        else:
            assert set(weight.tolist()) == {1.0 if "norm" in name and name.endswith("weight") else 0.0}
    assert float(table.tokens.weight[4:].detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not table.tokens.weight[3].any()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"width": 20, "heads": 3}, "3 heads do not divide a width of 20"),
        ({"width": 24, "heads": 4, "groups": 3}, "3 groups do not divide 4 heads"),
        ({"width": 9, "heads": 3}, "rotary positions turn pairs"),
    ],
)
def test_dimensions_that_do_not_fit_are_said(wrong: dict[str, int], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Form(**wrong)
