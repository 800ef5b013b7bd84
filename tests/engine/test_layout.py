"""Where the numbers of weights, and of what optimizers remember of them, lie in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.engine.layout import channels_last, has_pictures, laid
from trainwright.engine.moments import Moments
from trainwright.models import strided

LAST = torch.channels_last
X = torch.randn(6, 3, 9, 9, generator=torch.Generator().manual_seed(0))
MAKERS: dict[str, Callable[[Iterable[Tensor]], Optimizer]] = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.1, fused=True),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, fused=True),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, lr=0.1, fused=True),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(4, 2, 3), nn.Flatten(), nn.Linear(50, 5)
    )


def move(net: nn.Module, optimizer: Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_values_stay_and_layouts_come_back() -> None:
    net = network()
    assert has_pictures(net)
    before, optimizer = flat(net), MAKERS["adagrad"](net.parameters())
    back = channels_last(net, optimizer)
    assert torch.equal(flat(net), before)
    assert net[0].weight.is_contiguous(memory_format=LAST)
    assert not net[0].weight.is_contiguous()
    assert net[2](net[0](X)).is_contiguous(memory_format=LAST)
    assert optimizer.state[net[0].weight]["sum"].stride() == net[0].weight.stride()
    back()
    assert torch.equal(flat(net), before)
    assert net[0].weight.is_contiguous()
    assert optimizer.state[net[0].weight]["sum"].is_contiguous()


def test_pictures_of_one_channel_are_answered_with_the_channels_last() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    x, strides = X[:, :1], net[0].weight.stride()
    assert net(x).is_contiguous()
    back = channels_last(net, MAKERS["sgd"](net.parameters()))
    assert net(x).is_contiguous(memory_format=LAST)
    back()
    assert net[0].weight.stride() == strides
    assert net(x).is_contiguous()


def test_an_author_s_own_layout_is_left() -> None:
    net = network().to(memory_format=LAST)
    assert not has_pictures(net)
    channels_last(net, MAKERS["sgd"](net.parameters()))()
    assert net[0].weight.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("name", MAKERS)
def test_what_was_saved_is_laid_as_the_weights_it_goes_on_with(name: str) -> None:
    """Updates in one pass mix up numbers that lie in another order, and say nothing."""
    net, kept = network(), {}
    net = net.to(memory_format=LAST)
    optimizer = MAKERS[name](net.parameters())
    move(net, optimizer, 2)
    moments = Moments(optimizer, net)
    state = moments.state_dict()
    for weight, entry in state["state"].items():  # as a file has them
        kept[weight] = {k: v.contiguous().clone() if isinstance(v, Tensor) else v for k, v in entry.items()}
    start = {k: v.clone() for k, v in net.state_dict().items()}
    move(net, optimizer, 3)
    whole = flat(net)

    net.load_state_dict(start)
    again = MAKERS[name](net.parameters())
    Moments(again, net).load_state_dict({**state, "state": kept})
    move(net, again, 3)
    assert torch.equal(flat(net), whole)


def test_only_a_tensor_of_the_weight_s_shape_is_laid_anew() -> None:
    weight = torch.randn(4, 3, 3, 3).contiguous(memory_format=LAST)
    counter, moment = torch.tensor(3.0), torch.randn(4, 3, 3, 3)
    assert laid(counter, weight) is counter
    assert laid(weight, weight) is weight
    assert torch.equal(laid(moment, weight), moment)
    assert laid(moment, weight).stride() == weight.stride()


def test_a_gradient_comes_back_through_a_flatten_as_the_pictures_lay() -> None:
    """Else every layer before it, up to the last convolution, reads one layout and writes another."""
    net, seen = network(), list[Tensor]()
    before = repr(net)
    back = channels_last(net, MAKERS["adam"](net.parameters()))
    assert repr(net) == before
    pictures = net[:4](X)
    pictures.register_hook(seen.append)
    out = net[5](net[4](pictures))
    assert torch.equal(out, net[5](torch.flatten(pictures, 1)))
    out.square().sum().backward()
    assert seen[0].stride() == pictures.stride()
    (plain,) = torch.autograd.grad(net[5](torch.flatten(pictures.detach().requires_grad_(), 1)).square().sum(),
                                   net[5].weight)  # fmt: skip
    assert torch.equal(net[5].weight.grad, plain)
    back()
    assert type(net[4]) is nn.Flatten


@pytest.mark.parametrize("shape", [(6, 8), (6, 4, 1, 1), (6, 4, 3, 3)])
def test_what_lies_otherwise_is_flattened_as_usual(shape: tuple[int, ...]) -> None:
    ends = nn.Sequential(nn.Flatten())
    channels_last(ends, MAKERS["adam"]([torch.zeros(1, requires_grad=True)]))
    x = torch.randn(shape, requires_grad=True)
    out = ends(x)
    assert "Laid" not in f"{out.grad_fn} {getattr(out.grad_fn, 'next_functions', '')}"
    assert torch.equal(out, x.flatten(1))


def test_a_copy_and_what_is_stored_meanwhile_are_torchs_own() -> None:
    model = network()
    back = channels_last(model, torch.optim.SGD(model.parameters(), 0.1))
    twin = copy.deepcopy(model)
    assert type(twin[4]) is nn.Flatten
    assert vars(twin[4]) == vars(model[4])
    assert (
        model[4].__reduce_ex__(2)[0] is nn.Flatten
    )  # as torch.save writes it, to be read where there is no Trainwright
    back()


def test_what_torch_may_compute_beyond_its_memory_is_computed_otherwise() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1, stride=2))
    told = net(X)
    back = channels_last(net, MAKERS["sgd"](net.parameters()))
    assert isinstance(net[1], strided.Conv2d)
    assert not isinstance(net[0], strided.Conv2d)
    torch.testing.assert_close(net(X), told)
    twin = copy.deepcopy(net)
    assert type(twin[1]) is nn.Conv2d
    torch.testing.assert_close(twin(X), told)
    back()
    assert type(net[1]) is nn.Conv2d
