"""Steps of torch's optimizers in fewer calls, beside torch's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from trainwright.engine import direct
from trainwright.engine.direct import stepped

SHAPES = ((1_200_001,), (7, 5), (), (3, 4, 3, 3), (331_073, 2), (2, 0))  # some larger than a part
HOW: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "Adam": (Adam, {}),
    "Adam, decayed": (Adam, {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}),
    "Adam, fused": (Adam, {"fused": True, "weight_decay": 0.1}),
    "AdamW": (AdamW, {"weight_decay": 0.1}),
    "AdamW, fused": (AdamW, {"fused": True}),
    "SGD": (SGD, {}),
    "SGD, momentum": (SGD, {"momentum": 0.9, "weight_decay": 0.1, "dampening": 0.3}),
    "SGD, Nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "SGD, fused": (SGD, {"momentum": 0.9, "fused": True}),
}


@pytest.fixture(params=[1, 2, 3], ids=["1 thread", "2 threads", "3 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def weights(kind: torch.dtype = torch.float32) -> list[nn.Parameter]:
    dice = torch.Generator().manual_seed(0)
    found = [nn.Parameter(torch.randn(shape, generator=dice, dtype=kind)) for shape in SHAPES]
    found.append(
        nn.Parameter(torch.randn(6, 4, 5, 5, generator=dice, dtype=kind).to(memory_format=torch.channels_last))
    )
    return found


def drawn(of: list[nn.Parameter], step: int) -> list[Tensor]:
    dice = torch.Generator().manual_seed(step + 1)
    return [torch.randn(w.shape, generator=dice, dtype=w.dtype) for w in of]


def trained(make: Callable[[list[nn.Parameter]], Optimizer], *, by_torch: bool, steps: int = 4) -> Optimizer:
    """After the first, steps with a gradient of all weights but one, which rests in each other step."""
    moved = weights()
    optimizer = make(moved)
    for step in range(steps):
        for i, (weight, gradient) in enumerate(zip(moved, drawn(moved, step), strict=True)):
            weight.grad = None if i == 1 and step % 2 else gradient
        if by_torch or step == 0:
            optimizer.step()
        else:
            with torch.no_grad():
                assert stepped(optimizer)
    return optimizer


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("how", HOW)
def test_weights_and_state_are_those_of_torch_to_the_last_bit(how: str) -> None:
    kind, options = HOW[how]
    one = trained(lambda w: kind(w, lr=0.01, **options), by_torch=False)
    other = trained(lambda w: kind(w, lr=0.01, **options), by_torch=True)
    for mine, theirs in zip(one.param_groups[0]["params"], other.param_groups[0]["params"], strict=True):
        assert torch.equal(mine, theirs)
        assert one.state[mine].keys() == other.state[theirs].keys()
        assert all(torch.equal(x, other.state[theirs][name]) for name, x in one.state[mine].items())


def test_every_group_has_rates_of_its_own() -> None:
    def make(w: list[nn.Parameter]) -> Optimizer:
        return Adam([{"params": w[:2]}, {"params": w[2:], "lr": 1.0, "weight_decay": 0.5}], lr=0.01)

    one, other = trained(make, by_torch=False), trained(make, by_torch=True)
    for mine, theirs in zip(one.param_groups, other.param_groups, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine["params"], theirs["params"], strict=True))


def asked(**options: Any) -> Callable[[list[nn.Parameter]], Optimizer]:
    return lambda w: Adam(w, **options)


@pytest.mark.parametrize(
    "make",
    [
        asked(amsgrad=True),
        asked(maximize=True),
        asked(foreach=True),
        asked(lr=torch.tensor(0.1)),
        asked(betas=(torch.tensor(0.9), torch.tensor(0.99))),
        lambda w: RMSprop(w),
        lambda w: type("Mine", (Adam,), {})(w),
        lambda w: Adam([{"params": w[:1]}, {"params": w[1:], "amsgrad": True}]),
    ],
    ids=["amsgrad", "maximize", "foreach", "rate a tensor", "betas tensors", "another", "derived", "one group of two"],
)
def test_what_is_out_of_the_ordinary_is_left_to_torch(make: Callable[[list[nn.Parameter]], Optimizer]) -> None:
    optimizer = trained(make, by_torch=True, steps=2)
    moved = [w for group in optimizer.param_groups for w in group["params"]]
    for weight, gradient in zip(moved, drawn(moved, 7), strict=True):
        weight.grad = gradient
    before, kept = [w.detach().clone() for w in moved], copy.deepcopy(optimizer.state_dict()["state"])
    with torch.no_grad():
        assert not stepped(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, moved, strict=True))
    assert repr(kept) == repr(optimizer.state_dict()["state"])


def test_the_first_step_and_sparse_gradients_are_left_to_torch() -> None:
    table = nn.Embedding(10, 3, sparse=True)
    optimizer = SGD(table.parameters(), lr=0.1)
    table(torch.tensor([1, 2])).sum().backward()
    assert not stepped(optimizer)
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    fresh = Adam([weight])
    assert not stepped(fresh)
    assert not fresh.state


def separate() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))]


def twice(weight: nn.Parameter) -> list[nn.Parameter]:
    return [weight, nn.Parameter(weight.data)]


@pytest.mark.parametrize("spoiled", ["one place", "one count", "whole counts", "wider momentum"])
def test_state_that_is_out_of_the_ordinary_is_left_to_torch(spoiled: str) -> None:
    found = twice(nn.Parameter(torch.ones(3))) if spoiled == "one place" else separate()
    optimizer = SGD(found, momentum=0.9) if spoiled == "wider momentum" else Adam(found, weight_decay=0.1)
    for weight in found:
        weight.grad = torch.ones(3)
    optimizer.step()
    with torch.no_grad():
        assert stepped(optimizer) == (spoiled != "one place")  # and has looked at all that lies there now
    kept = [optimizer.state[w] for w in found]
    if spoiled == "one count":
        kept[0]["step"] = kept[1]["step"]
    if spoiled == "whole counts":
        kept[0]["step"] = torch.tensor(1)
    if spoiled == "wider momentum":
        kept[0]["momentum_buffer"] = kept[0]["momentum_buffer"].double()
    with torch.no_grad():
        assert not stepped(optimizer)


def test_constants_lie_where_the_weights_do() -> None:
    direct._constant.cache_clear()
    weight = nn.Parameter(torch.ones(3))
    optimizer = SGD([weight], lr=1.0, momentum=0.9)
    with torch.device("meta"):
        for _ in range(2):
            weight.grad = torch.ones(3, device="cpu")
            with torch.no_grad():
                if not stepped(optimizer):
                    optimizer.step()
    assert torch.equal(optimizer.state[weight]["momentum_buffer"], torch.full((3,), 1.9))


def test_types_of_numbers_are_not_mixed_where_one_call_takes_all() -> None:
    found = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.float64))]
    optimizer = Adam(found, fused=True)
    for weight in found:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert not stepped(optimizer)


def test_without_gradients_nothing_moves() -> None:
    optimizer = Adam(weights())
    assert stepped(optimizer)
    assert not optimizer.state


def test_a_large_tensor_needs_little_memory_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    root = torch._foreach_sqrt

    def seen(tensors: Any) -> Any:
        sizes.append(sum(x.numel() for x in tensors))
        return root(tensors)

    monkeypatch.setattr(torch, "_foreach_sqrt", seen)
    trained(Adam, by_torch=False, steps=2)
    assert max(sizes) <= direct._PART * max(2, torch.get_num_threads())
    assert len(sizes) > len([s for s in SHAPES if s]) - 2
