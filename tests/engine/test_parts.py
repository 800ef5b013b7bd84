"""Modules and optimizers beside the model: parts of the state like any other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.kinds import tasks
from trainwright.core.task import Loss, Progress
from trainwright.engine.parts import add_parts
from trainwright.engine.runtime import Runtime
from trainwright.engine.state import TrainState
from trainwright.engine.step import train_step

RUNTIME = Runtime()


def state(**parts: object) -> TrainState:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    made = TrainState.of(net, torch.optim.SGD(net.parameters(), lr=0.1), RUNTIME)
    add_parts(made, parts, RUNTIME)  # type: ignore[arg-type]
    return made


def batch(n: int = 4, first: int = 0) -> Batch:
    ids = torch.arange(first, first + n)
    x = torch.stack([ids.float(), ids.float().sin(), ids.float().cos()], 1)
    return Batch({"x": x}, {"y": ids % 2}, torch.tensor(float(n)), ids, n)


def squares(module: nn.Module, batch: Batch, progress: Progress) -> Loss:
    out = module(batch.inputs["x"])
    return Loss(out.square().sum(), parts={"squares": out.detach().square().sum()})


def test_a_module_its_optimizer_and_a_teacher_are_saved_and_restored() -> None:
    def build() -> TrainState:
        critic = nn.Linear(3, 1)
        teacher = nn.Linear(3, 2).requires_grad_(False)
        return state(critic=critic, mover=torch.optim.Adam(critic.parameters(), lr=1e-2), teacher=teacher)

    made = build()
    task = tasks["supervised"](loss="cross_entropy")
    for _ in range(3):
        train_step(made, task, [batch()], RUNTIME, loss=squares, module="critic", optimizer="mover")
    kept = {name: dict(part) for name, part in made.state_dict().items()}
    assert kept["mover"]["state"].keys() == {"weight", "bias"}
    torch.manual_seed(9)
    other = build()
    other.load_state_dict(kept)
    for name in ("critic", "teacher"):
        assert all(map(torch.equal, made.module(name).parameters(), other.module(name).parameters()))
    assert made.mover("mover").state_dict()["state"].keys() == other.mover("mover").state_dict()["state"].keys()


def test_a_step_of_another_optimizer_moves_its_module_alone_and_does_not_count() -> None:
    critic = nn.Linear(3, 1)
    made = state(critic=critic, mover=torch.optim.SGD(critic.parameters(), lr=0.1))
    before = {name: [p.clone() for p in made.module(name).parameters()] for name in ("model", "critic")}
    step = train_step(
        made,
        tasks["supervised"](loss="cross_entropy"),
        [batch()],
        RUNTIME,
        loss=squares,
        module="critic",
        optimizer="mover",
        multiplier=0.5,
    )
    assert made.counters.step == 0
    assert made.mover("mover").param_groups[0]["lr"] == 0.05
    assert step.parts["squares"] == step.loss
    assert all(map(torch.equal, before["model"], made.model.parameters()))
    assert not any(map(torch.equal, before["critic"], critic.parameters()))


def test_another_loss_keeps_the_law_of_sums() -> None:
    task = tasks["supervised"](loss="cross_entropy")
    moved = []
    for group in ([batch(7)], [batch(2), batch(4, 2), batch(1, 6)]):
        made = state()
        made.model.double()
        given = [b.cast(torch.float64) for b in group]
        train_step(made, task, given, RUNTIME, loss=squares)
        moved.append([p.detach().clone() for p in made.model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*moved, strict=True))


def test_gradients_that_another_loss_left_are_forgotten() -> None:
    task = tasks["supervised"](loss="cross_entropy")
    clean, littered = state(), state()
    squares(littered.model, batch(), Progress()).sum.backward()
    for made in (clean, littered):
        train_step(made, task, [batch()], RUNTIME, loss=squares)
    assert all(map(torch.equal, clean.model.parameters(), littered.model.parameters()))


def test_a_gradient_of_nan_moves_no_part_and_is_counted() -> None:
    critic = nn.Linear(3, 1)
    made = state(critic=critic, mover=torch.optim.SGD(critic.parameters(), lr=0.1))
    before = [p.clone() for p in critic.parameters()]

    def nothing(module: nn.Module, batch: Batch, progress: Progress) -> Loss:
        return Loss(module(batch.inputs["x"]).sum() * float("nan"))

    task = tasks["supervised"](loss="cross_entropy")
    step = train_step(made, task, [batch()], RUNTIME, loss=nothing, module="critic", optimizer="mover")
    assert not step.finite
    assert made.counters.skipped == 1
    assert all(map(torch.equal, before, critic.parameters()))


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({"model": nn.Linear(1, 1)}, "parts.model: is the name of a part that every run has"),
        ({"Critic": nn.Linear(1, 1)}, "'Critic' is no name of a part"),
        (
            {"mover": torch.optim.SGD(nn.Linear(1, 1).parameters())},
            "parts.mover: moves weights that are not all of one",
        ),
        ({"number": 3}, "parts.number: is a int without state_dict"),
    ],
)
def test_what_cannot_be_a_part_is_told(parts: dict[str, object], what: str) -> None:
    with pytest.raises(UserError, match=what):
        state(**parts)


def test_a_part_that_is_not_there_is_told_with_those_that_are() -> None:
    made = state(critic=nn.Linear(3, 1))
    with pytest.raises(UserError, match="did you mean 'critic'"):
        made.module("critik")
    with pytest.raises(UserError, match="no part 'critic' is an optimizer"):
        made.mover("critic")
