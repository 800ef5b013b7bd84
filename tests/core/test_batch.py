from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.batch import Batch, Draw, seed_of

words = st.integers(0, 2**40)


@settings(max_examples=30, deadline=None)
@given(seed=words, epoch=st.integers(0, 1000), ids=st.lists(st.integers(0, 2**50), min_size=1, max_size=8))
def test_a_sample_draws_the_same_in_any_company(seed: int, epoch: int, ids: list[int]) -> None:
    together = Draw(seed, epoch, torch.tensor(ids))
    for i, number in enumerate(ids):
        alone = Draw(seed, epoch, torch.tensor([number]))
        assert torch.equal(together.uniform("flip", 3)[i], alone.uniform("flip", 3)[0])
        assert torch.equal(together.normal("noise", 2)[i], alone.normal("noise", 2)[0])
        assert torch.equal(together.integers("shift", 9)[i], alone.integers("shift", 9)[0])
        assert torch.equal(together.choice("pick", 7, 3)[i], alone.choice("pick", 7, 3)[0])


def test_names_seeds_and_epochs_draw_differently() -> None:
    ids = torch.arange(64)
    base = Draw(1, 2, ids).uniform("a")
    assert not torch.equal(base, Draw(1, 2, ids).uniform("b"))
    assert not torch.equal(base, Draw(2, 2, ids).uniform("a"))
    assert not torch.equal(base, Draw(1, 3, ids).uniform("a"))


def test_uniform_numbers_are_uniform_and_independent() -> None:
    u = Draw(0, 0, torch.arange(200_000)).uniform("u", 2).double()
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert torch.allclose(u.mean(0), torch.full((2,), 0.5).double(), atol=0.004)
    assert torch.allclose(u.var(0), torch.full((2,), 1 / 12).double(), atol=0.002)
    assert abs(float(torch.corrcoef(u.T)[0, 1])) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([u[:-1, 0], u[1:, 0]]))[0, 1])) < 0.01


def test_normal_numbers_are_normal() -> None:
    x = Draw(0, 0, torch.arange(200_000)).normal("x").double()
    assert abs(float(x.mean())) < 0.01
    assert abs(float(x.std()) - 1) < 0.01
    assert abs(float((x**4).mean()) - 3) < 0.1
    assert bool(torch.isfinite(x).all())


def test_integers_fill_their_range_evenly() -> None:
    counts = torch.bincount(Draw(0, 0, torch.arange(70_000)).integers("i", 7).flatten(), minlength=7)
    assert counts.shape == (7,)
    assert int((counts - 10_000).abs().max()) < 500


def test_choices_differ_from_each_other() -> None:
    picked = Draw(0, 0, torch.arange(1000)).choice("c", 5, 4)
    assert all(len(set(row)) == 4 for row in picked.tolist())


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    Draw(0, 0, torch.arange(10)).normal("x")
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_tell_types_and_borders_apart() -> None:
    seeds = {seed_of(1, 2), seed_of(12), seed_of("1", 2), seed_of(1, "2"), seed_of("1\x1f2")}
    assert len(seeds) == 5


def test_a_filler_counts_nothing_but_keeps_its_tensors() -> None:
    batch = Batch({"x": torch.ones(2, 3)}, {"y": torch.ones(2)}, torch.tensor(2.0), torch.arange(2), 2)
    filler = batch.filler()
    assert filler.size == 0
    assert float(filler.weight) == 0
    assert filler.inputs["x"] is batch.inputs["x"]


def test_casting_leaves_whole_numbers_and_the_weight() -> None:
    batch = Batch({"x": torch.ones(2), "i": torch.arange(2)}, {}, torch.tensor(2.0), torch.arange(2), 2)
    cast = batch.cast(torch.float64)
    assert cast.inputs["x"].dtype == torch.float64
    assert cast.inputs["i"].dtype == torch.int64
    assert cast.weight.dtype == torch.float32
