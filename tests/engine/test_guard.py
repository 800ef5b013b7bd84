"""A step that is not finite leaves no trace: the run is bit for bit the one that never saw its batch."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import NumericsError
from trainwright.core.events import EvalDone, Event, StepDone, Stop
from trainwright.core.task import Loss, Progress
from trainwright.engine.average import Average
from trainwright.engine.before import Buffers, Dice
from trainwright.engine.guard import Guard, Policy, Trouble
from trainwright.engine.loop import Cadence, Judge, fit
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import Best, TrainState
from trainwright.engine.step import Step, train_step

NAN, INF = math.nan, math.inf


class Noisy(nn.Module):
    """Everything that a forward pass can change: running statistics, and all global randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.3),
            nn.Linear(8, 1),
        )
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(self.norm(self.first(x))).relu()
        self.mean = 0.9 * self.mean + 0.1 * h.detach().to(self.mean.dtype).mean(0)  # another tensor
        return self.last(h * (1 + 0.01 * random.random() + 0.01 * float(np.random.randn())))


class Squares:
    """The smallest task."""

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        y = batch.targets["y"]
        return Loss((model(batch.inputs["x"]).squeeze(-1).to(y.dtype) - y).square().sum())


class Other:
    """One with a loss of its own."""

    def __init__(self, of: Callable[[Tensor], Tensor]) -> None:
        self.of = of

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        return Loss(self.of(model(batch.inputs["x"]).float()).sum())


class Given:
    """Groups of a list, over and over."""

    def __init__(self, groups: Sequence[list[Batch]]) -> None:
        self.groups, self.index, self.epoch, self.waited = list(groups), 0, 0, 0.0
        self.steps_per_epoch = len(self.groups)

    def __iter__(self) -> Given:
        return self

    def __next__(self) -> list[Batch]:
        self.index += 1
        return self.groups[(self.index - 1) % len(self.groups)]

    def state_dict(self) -> dict[str, int]:
        return {"index": self.index}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.index = state["index"]


def groups(count: int, micro: int = 2) -> list[list[Batch]]:
    g = torch.Generator().manual_seed(5)

    def one(first: int) -> Batch:
        x, y = torch.randn(6, 4, generator=g), torch.randn(6, generator=g)
        return Batch({"x": x}, {"y": y}, torch.tensor(6.0), torch.arange(first, first + 6), 6)

    return [[one(100 * k + 10 * m) for m in range(micro)] for k in range(count)]


def spoilt(group: list[Batch], value: float, where: str = "x") -> list[Batch]:
    """The same group with one number that is not finite, in the second micro-batch."""
    made = copy.deepcopy(group)
    tensor = made[-1].inputs["x"] if where == "x" else made[-1].targets["y"]
    tensor.view(-1)[5] = value
    return made


def begun(
    given: Sequence[list[Batch]], precision: str = "float32", lr: float = 0.02
) -> tuple[TrainState, Given, Runtime]:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    runtime = Runtime(precision=precision)  # type: ignore[arg-type]
    net = runtime.place(Noisy())
    state = TrainState.of(net, torch.optim.AdamW(net.parameters(), lr=0.02), runtime)
    train = Given(given)
    state.parts["loader"] = train
    state.parts["ema"] = Average(net, 0.9)
    return state, train, runtime


def trained(
    given: Sequence[list[Batch]],
    precision: str = "float32",
    *,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    tell: Callable[[Trouble], None] = lambda trouble: None,
    back: Callable[[TrainState], None] | None = None,
    steps: int | None = None,
    step_fn: Any = train_step,
    budget: int = 10_000,
) -> tuple[TrainState, list[Event]]:
    state, train, runtime = begun(given, precision)
    events: list[Event] = []

    def note(event: Event) -> Stop | None:
        events.append(event)
        return None

    went = None if back is None else (lambda why: back(state))
    guard = Guard(state, runtime, budget, policy, tell, went)
    cadence = Cadence(budget, len(given) if steps is None else steps, log=3)
    task: Any = Squares()
    fit(state, task, train, runtime, note, cadence=cadence, schedule=lambda s, n: 1.0, step_fn=step_fn, guard=guard)
    return state, events


def everything(state: TrainState) -> dict[str, Tensor]:
    """Weights, buffers, moments and averages."""
    moments = state.parts["optimizer"].state_dict()["state"]
    found = {f"model/{k}": v.clone() for k, v in state.parts["model"].state_dict().items()}
    found |= {f"moments/{w}/{k}": v.clone() for w, entry in moments.items() for k, v in entry.items()}
    assert state.ema
    return found | {f"ema/{k}": torch.as_tensor(v).clone() for k, v in state.ema.state_dict().items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("where", ["x", "y"])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_skipped_step_leaves_no_bit(precision: str, value: float, where: str, at: int) -> None:
    given = groups(7)
    without, _ = trained([g for k, g in enumerate(given) if k != at], precision)
    told: list[Trouble] = []
    bad = [spoilt(g, value, where) if k == at else g for k, g in enumerate(given)]
    skipping, _ = trained(bad, precision, tell=told.append)
    assert same(everything(skipping), everything(without))
    assert all(bool(x.isfinite().all()) for x in everything(skipping).values())
    assert (skipping.counters.step, skipping.counters.skipped) == (7, 1)
    assert [t.step for t in told] == [at + 1]
    assert told[0].suspects == (100 * at + (11 if where == "x" else 15),)
    assert set(told[0].records) == {100 * at + 10 * m + i for m in range(2) for i in range(6)}
    assert skipping.parts["random"].state_dict() == without.parts["random"].state_dict()
    if skipping.scaler and without.scaler:
        assert skipping.scaler.state_dict() == without.scaler.state_dict()
    sound, _ = trained(given, precision)  # the batch would have made a difference
    assert not same(everything(skipping), everything(sound))


def test_a_loss_that_is_not_finite_is_caught_where_its_gradient_is() -> None:
    """A user's loss with a constant that is NaN has a sound gradient, and yet says nothing true."""
    task: Any = Other(lambda said: said + NAN)
    state, _, runtime = begun(groups(1))
    before = everything(state)
    done = train_step(state, task, groups(1)[0], runtime)
    assert not bool(done.finite)
    assert bool(done.norm.isfinite())
    assert same(before, everything(state))


def test_too_many_in_a_row_end_the_run_and_one_less_does_not() -> None:
    given = groups(9)
    for bad, ends in ((range(2, 5), False), (range(2, 6), True)):
        some = [spoilt(g, NAN) if k in bad else g for k, g in enumerate(given)]
        if ends:
            with pytest.raises(NumericsError, match=r"4 steps in a row .*steps 3, 4, 5, 6; not finite in themselves"):
                trained(some)
        else:
            assert trained(some)[0].counters.skipped == 3


@pytest.mark.parametrize(("budget", "allowed"), [(10, 3), (1000, 10)])
def test_in_all_one_percent_may_be_skipped_and_three_in_any_case(budget: int, allowed: int) -> None:
    given = [g if k % 2 else spoilt(g, NAN) for k, g in enumerate(groups(60, micro=1))]
    reached: list[Trouble] = []
    with pytest.raises(NumericsError, match=f"{allowed + 1} steps without .* {allowed} are allowed"):
        trained(given, tell=reached.append, budget=budget)
    assert len(reached) == allowed + 1


def test_stop_ends_at_the_first_and_skip_never_goes_back() -> None:
    given = [spoilt(g, NAN) if k > 1 else g for k, g in enumerate(groups(9))]
    for policy, count in ((Policy("stop"), 1), (Policy("skip", skips=1), 2), (Policy("skip", skips=0), 1)):
        reached: list[Trouble] = []

        def back(state: TrainState) -> None:
            raise AssertionError("it went back")

        with pytest.raises(NumericsError, match="the loss was NaN"):
            trained(given, policy=policy, tell=reached.append, back=back)
        assert len(reached) == count


def test_a_loss_scale_that_is_too_high_is_not_counted_and_one_that_cannot_fall_is() -> None:
    state, train, runtime = begun(groups(1), "float16")
    assert state.scaler
    state.scaler.scale = 2.0**140
    task: Any = Squares()
    while not bool(train_step(state, task, next(train), runtime).finite):
        assert state.counters.skipped == 0
    assert state.counters.step > 3
    state.scaler.scale = 1.0
    root: Any = Other(lambda said: (said * 0).sqrt())
    assert not bool(train_step(state, root, next(train), runtime).finite)  # its loss is 0, its gradient infinite
    assert state.counters.skipped == 1


def test_broken_weights_send_the_run_back_at_once() -> None:
    """A step of the user's own moves by NaN itself; skipping would never help."""

    def poison(state: TrainState, *arguments: Any, **options: Any) -> Step:
        with torch.no_grad():
            next(iter(state.model.parameters())).fill_(NAN)
        state.counters.step += 1
        return Step(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(False), {})

    with pytest.raises(NumericsError, match=r"weights are NaN or infinite \(step 1;"):
        trained(groups(3), step_fn=poison)


@pytest.mark.parametrize("says", [True, False])
def test_a_step_of_ones_own_is_looked_at_too(says: bool) -> None:
    def own(state: TrainState, *arguments: Any, **options: Any) -> Step:
        state.counters.step += 1
        loss = torch.tensor(NAN if says else 1.0)
        return Step(loss, torch.tensor(1.0), torch.tensor(says), {})

    with pytest.raises(NumericsError, match="4 steps in a row"):
        trained(groups(9), step_fn=own)


def test_a_second_network_is_kept_from_it_too() -> None:
    state, train, runtime = begun(groups(2))
    from trainwright.engine.parts import add_parts

    peer = Noisy()
    add_parts(state, {"peer": peer, "mover": torch.optim.SGD(peer.parameters(), lr=0.1)}, runtime)
    before = {k: v.clone() for k, v in peer.state_dict().items()}
    task: Any = Squares()
    train_step(state, task, spoilt(next(train), NAN), runtime, module="peer", optimizer="mover")
    assert same(before, peer.state_dict())
    train_step(state, task, next(train), runtime, module="peer", optimizer="mover")
    assert not same(before, peer.state_dict())


def test_an_error_in_the_forward_pass_leaves_no_trace_in_buffers() -> None:
    state, train, runtime = begun(groups(1))
    before = everything(state)

    def loss(module: nn.Module, batch: Batch, progress: Progress) -> Loss:
        module(batch.inputs["x"])
        raise RuntimeError("late")

    task: Any = Squares()
    with pytest.raises(RuntimeError, match="late"):
        train_step(state, task, next(train), runtime, loss=loss)
    assert same(before, everything(state))


def test_what_is_not_finite_is_never_the_best() -> None:
    best = Best()
    assert not best.improves(NAN, 1.0, "higher")
    assert not best.improves(INF, 1.0, "higher")
    assert not best.improves(-INF, 1.0, "lower")
    assert not best.improves(0.5, NAN, "higher")
    assert best.improves(0.5, 1.0, "higher")


def test_going_back_is_followed_by_the_events_of_the_earlier_state() -> None:
    given = groups(12)
    bad = [spoilt(g, NAN) if 6 <= k < 10 else g for k, g in enumerate(given)]
    saved: list[dict[str, Any]] = []
    gone: list[int] = []
    state, train, runtime = begun(bad)
    from trainwright.engine.packing import pack, unpack

    def save() -> None:
        content = pack(state.state_dict())
        saved.append({p: unpack(t, content.tensors[p]) for p, t in content.tree.items()})

    def back(why: str) -> None:
        gone.append(state.counters.step)
        state.load_state_dict(saved[0])
        train.groups = given  # the trouble is over
        state.counters.share *= 0.5

    events: list[Event] = []

    def note(event: Event) -> Stop | None:
        events.append(event)
        return None

    task: Any = Squares()
    fit(
        state,
        task,
        train,
        runtime,
        note,
        cadence=Cadence(12, log=3, evaluate=4, save=4),
        schedule=lambda s, n: 1.0,
        judge=Judge(lambda: {"loss": 1.0}, "loss", "lower"),
        save=save,
        guard=Guard(state, runtime, 12, back=back),
    )
    assert gone == [10]
    done = [e for e in events if isinstance(e, StepDone)]
    assert [e.step for e in done] == [3, 4, 6, 8, 9, 6, 8, 9, 12]
    assert {e.lr for e in done if e.step == 12} == {0.01}
    assert [e.step for e in events if isinstance(e, EvalDone)] == [4, 8, 8, 12]


def test_buffers_and_dice_are_put_back_bit_for_bit() -> None:
    net = Noisy()
    buffers, dice = Buffers([net]), Dice(torch.device("cpu"))
    net(torch.randn(5, 4))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for _ in range(25):
        dice.keep()
        buffers.keep()
        drawn = net(torch.ones(5, 4))
        dice.put_back()
        buffers.put_back()
        assert same(before, net.state_dict())
        dice.keep()
        assert torch.equal(net(torch.ones(5, 4)), drawn)
        buffers.put_back()
        torch.rand(1), random.random(), np.random.rand()


def test_buffers_of_another_form_or_in_another_place_are_put_back_as_well() -> None:
    net = nn.BatchNorm1d(3)
    buffers = Buffers([net])
    buffers.keep()
    with torch.no_grad():
        net.register_buffer("more", torch.arange(4.0))
        net.running_mean = torch.full((5,), 2.0, dtype=torch.float64)
        assert net.running_var is not None
        net.running_var.data = torch.arange(6.0).view(2, 3)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for _ in range(2):
        buffers.keep()
        with torch.no_grad():
            for buffer in net.buffers():
                buffer.add_(1)
        net.running_mean = torch.zeros(5)
        buffers.put_back()
        assert same(before, net.state_dict())
