"""The law of sums, on every task: however a batch is cut, the step is the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import trainwright as tw
from tests.training import Case, cases, difference, enrol, losses, same, summed, weights
from trainwright.core.batch import Batch
from trainwright.core.criterion import Criterion
from trainwright.core.errors import NumericsError
from trainwright.core.task import Loss, Progress
from trainwright.engine.runtime import Runtime
from trainwright.engine.scale import LossScale
from trainwright.engine.state import TrainState
from trainwright.engine.step import _backward, train_step

ALL = cases()
sgd = torch.optim.SGD


@pytest.mark.parametrize("case", summed(), ids=repr)
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_micro_batches_of_every_size_equal_the_one_big_batch(case: Case, precision: str, tolerance: float) -> None:
    runtime = Runtime(precision=precision)  # type: ignore[arg-type]
    results = []
    for micro in ("all", 16, 7, 3, 1):
        taught = enrol(case, runtime, micro=micro, optimizer=sgd)  # type: ignore[arg-type]
        events, _ = taught.train(3, clip=1.0)
        results.append((micro, weights(taught.state), losses(events)))
    _, reference, curve = results[0]
    for micro, moved, found in results[1:]:
        assert difference(moved, reference) < tolerance, f"micro-batches of {micro}"
        assert found == pytest.approx(curve, rel=tolerance * 10, abs=tolerance)


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_evaluating_every_step_or_never_gives_the_same_weights(case: Case) -> None:
    never, often = enrol(case), enrol(case)
    never.train(4)
    events, _ = often.train(4, eval_every=1)
    assert any(type(e).__name__ == "EvalDone" for e in events)
    assert same(weights(never.state), weights(often.state))


class Mean:
    """The smallest task: a linear model, its criterion squared error, weights that differ."""

    def __init__(self) -> None:
        self.criterion = Criterion(lambda o, t: (o.squeeze(-1) - t) ** 2, "numbers")

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        return Loss(self.criterion.each(model(batch.inputs["x"]), batch.targets["y"]).sum())


def mini(n: int, weight: float | None = None, bad: bool = False) -> Batch:
    g = torch.Generator().manual_seed(n)
    x = torch.randn(n, 3, generator=g)
    y = torch.full((n,), float("nan")) if bad else torch.randn(n, generator=g)
    return Batch({"x": x}, {"y": y}, torch.tensor(float(n) if weight is None else weight), torch.arange(n), n)


def line() -> TrainState:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    return TrainState.of(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_the_public_step_moves_the_weights_by_the_gradient_of_the_mean() -> None:
    state, batch = line(), mini(5)
    model = nn.Linear(3, 1)
    model.load_state_dict(state.model.state_dict())
    loss = nn.functional.mse_loss(model(batch.inputs["x"]).squeeze(-1), batch.targets["y"])
    loss.backward()
    done = tw.train_step(state, Mean(), [batch], tw.Runtime(), multiplier=0.5)  # type: ignore[arg-type]
    for moved, p in zip(state.model.parameters(), model.parameters(), strict=True):
        assert p.grad is not None
        assert torch.allclose(moved, p - 0.05 * p.grad, atol=1e-7)
    assert float(done.loss) == pytest.approx(float(loss.detach()))
    assert state.counters.step == 1


def test_a_batch_that_weighs_nothing_counts_by_its_sum() -> None:
    state = line()
    before = weights(state)
    done = train_step(state, Mean(), [mini(2, weight=0.0)], Runtime())  # type: ignore[arg-type]
    assert bool(done.finite)
    assert not same(before, weights(state))
    with_others, alone = line(), line()
    one = train_step(with_others, Mean(), [mini(2, weight=0.0), mini(4)], Runtime())  # type: ignore[arg-type]
    two = train_step(alone, Mean(), [mini(4)], Runtime())  # type: ignore[arg-type]
    assert float(one.loss) > float(two.loss)


def test_a_filler_changes_nothing() -> None:
    with_filler, without = line(), line()
    one = train_step(with_filler, Mean(), [mini(4), mini(3).filler()], Runtime())  # type: ignore[arg-type]
    two = train_step(without, Mean(), [mini(4)], Runtime())  # type: ignore[arg-type]
    assert same(weights(with_filler), weights(without))
    assert float(one.loss) == float(two.loss)


def test_a_step_without_a_finite_gradient_is_not_taken() -> None:
    state = line()
    before = weights(state)
    done = train_step(state, Mean(), [mini(3, bad=True)], Runtime())  # type: ignore[arg-type]
    assert not bool(done.finite)
    assert same(before, weights(state))
    assert (state.counters.step, state.counters.skipped) == (1, 1)


def test_clipping_bounds_the_norm_and_reports_it_unclipped() -> None:
    free, bound = line(), line()
    before = weights(free)
    norm = float(train_step(free, Mean(), [mini(5)], Runtime()).norm)  # type: ignore[arg-type]
    clipped = train_step(bound, Mean(), [mini(5)], Runtime(), clip=norm / 4)  # type: ignore[arg-type]
    assert float(clipped.norm) == pytest.approx(norm)
    moved = torch.cat([(weights(free)[k] - before[k]).flatten() for k in before])
    less = torch.cat([(weights(bound)[k] - before[k]).flatten() for k in before])
    assert torch.allclose(less * 4, moved, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_and_keeps_full_weights(precision: str) -> None:
    case = next(c for c in ALL if c.name == "series")
    taught = enrol(case, Runtime(precision=precision))  # type: ignore[arg-type]
    events, _ = taught.train(20)
    assert (taught.state.scaler is not None) == (precision == "float16")
    assert all(p.dtype == torch.float32 for p in taught.state.model.parameters())
    curve = losses(events)
    assert sum(curve[-3:]) < sum(curve[:3])


def test_the_loss_scale_falls_when_gradients_overflow_and_the_steps_are_skipped() -> None:
    state = line()
    state.parts["scaler"] = LossScale(scale=2.0**140)
    before = weights(state)
    done = train_step(state, Mean(), [mini(3)], Runtime())  # type: ignore[arg-type]
    assert not bool(done.finite)
    assert same(before, weights(state))
    assert state.scaler is not None
    assert state.scaler.scale == 2.0**139


def test_a_run_whose_gradients_stay_nan_ends_with_a_message() -> None:
    case = next(c for c in ALL if c.name == "series")
    taught = enrol(case)
    with torch.no_grad():
        next(iter(taught.state.model.parameters())).fill_(float("nan"))
    with pytest.raises(NumericsError, match=r"some of its weights are NaN or infinite \(step 1;"):
        taught.train(10)


def penalized(**options: float) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """One step of a small net by plain gradient descent: its weights, and the parts it logged."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    state = TrainState.of(net, sgd(net.parameters(), lr=0.1))
    group = [mini(5), mini(3)]
    step = train_step(state, Mean(), group, Runtime(precision="float64"), **options)  # type: ignore[arg-type]
    return [p.detach() for p in net.parameters()], dict(step.parts)


def test_penalties_are_what_autograd_makes_of_them_and_spare_the_biases() -> None:
    moved, parts = penalized(l1=0.01, l2=0.02)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    batches = [mini(5).cast(torch.float64), mini(3).cast(torch.float64)]
    loss = sum(Mean().loss(net, b, Progress()).sum for b in batches) / 8
    matrices = [p for p in net.parameters() if p.ndim == 2]
    l1, l2 = 0.01 * sum(w.abs().sum() for w in matrices), 0.02 * sum((w * w).sum() for w in matrices)
    (loss + l1 + l2).backward()  # type: ignore[union-attr]
    for ours, p in zip(moved, net.parameters(), strict=True):
        torch.testing.assert_close(ours, (p - 0.1 * p.grad).detach())  # type: ignore[operator]
    assert parts["l1"].item() == pytest.approx(l1.item())  # type: ignore[union-attr]
    assert parts["l2"].item() == pytest.approx(l2.item())  # type: ignore[union-attr]


def test_values_are_clipped_as_torch_clips_them_and_then_the_norm() -> None:
    moved, _ = penalized(clip_value=0.05, clip=0.08)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    batches = [mini(5).cast(torch.float64), mini(3).cast(torch.float64)]
    (sum(Mean().loss(net, b, Progress()).sum for b in batches) / 8).backward()  # type: ignore[union-attr]
    nn.utils.clip_grad_value_(net.parameters(), 0.05)
    nn.utils.clip_grad_norm_(net.parameters(), 0.08)
    for ours, p in zip(moved, net.parameters(), strict=True):
        torch.testing.assert_close(ours, (p - 0.1 * p.grad).detach())  # type: ignore[operator]


def test_infinity_is_not_clipped_into_a_sound_gradient() -> None:
    net = nn.Linear(3, 1)
    before = net.weight.detach().clone()
    state = TrainState.of(net, sgd(net.parameters(), lr=0.1))
    batch = mini(4)
    batch.inputs["x"][0, 0] = 1e38  # squares to infinity
    step = train_step(state, Mean(), [batch], Runtime(), clip_value=1.0)  # type: ignore[arg-type]
    assert not bool(step.finite)
    assert torch.equal(net.weight.detach(), before)


def test_a_hook_that_writes_into_the_gradient_of_the_loss_changes_that_step_alone() -> None:
    weight = nn.Parameter(torch.ones(3))
    for _ in range(3):
        weight.grad = None
        loss = weight.sum()
        loss.register_hook(lambda gradient: gradient.mul_(2))
        _backward(loss, 0.5)
        assert weight.grad is not None
        assert weight.grad.tolist() == [1.0] * 3
