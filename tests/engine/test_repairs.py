"""Repairs change what they say, once, by their options alone; what they measure is of training samples."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from trainwright.core.errors import UserError
from trainwright.core.kinds import repairs
from trainwright.core.repair import Repair

X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * 100 + 700


def net(*end: nn.Module, act: type[nn.Module] = nn.Sigmoid) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), act(), nn.Linear(8, 3), *end)


def made(name: str, **options: object) -> Repair:
    repair: Repair = repairs.make(name, options)
    return repair


def test_inputs_are_brought_to_mean_0_and_deviation_1_in_front_of_the_layer() -> None:
    model, seen = net(), list[torch.Tensor]()
    repair = made("standard_inputs", layer="0")
    before = model(X)
    repair.change(model)
    assert torch.equal(model(X), before)  # as if it were not there, until it has learned
    repair.learn(model, lambda: model(X), None)
    model[0].register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    model(X)
    assert seen[0].mean(0).abs().max() < 1e-3
    assert (seen[0].std(0, correction=0) - 1).abs().max() < 1e-3
    again = net()
    made("standard_inputs", layer="0").change(again)
    again.load_state_dict(model.state_dict())  # what was measured is a part of the weights
    assert torch.equal(again(X), model(X))


def test_images_are_scaled_channel_by_channel() -> None:
    images = torch.randn(20, 2, 5, 5) * torch.tensor([1.0, 50.0]).reshape(1, 2, 1, 1) + 9
    model, seen = nn.Sequential(nn.Conv2d(2, 3, 3)), list[torch.Tensor]()
    repair = made("standard_inputs", layer="0")
    repair.change(model)
    repair.learn(model, lambda: model(images), None)
    model[0].register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    model(images)
    assert (seen[0].std((0, 2, 3), correction=0) - 1).abs().max() < 1e-4


def test_answers_are_in_old_units_and_the_gradient_is_that_of_the_new_ones() -> None:
    y = torch.randn(200, 3) * 50 + 1000
    model, plain = net(), net()
    repair = made("standard_targets", columns=3)
    repair.change(model)
    repair.learn(model, lambda: model(X), y)
    mean, deviation = y.mean(0), y.std(0, correction=0)
    assert torch.allclose(model(X), plain(X) * deviation + mean, rtol=1e-4)
    nn.functional.mse_loss(model(X), y).backward()
    nn.functional.mse_loss(plain(X), (y - mean) / deviation).backward()
    assert torch.allclose(model[2].weight.grad, plain[2].weight.grad, rtol=1e-3, atol=1e-6)


def test_of_an_absolute_error_the_gradient_is_that_of_the_new_units_too() -> None:
    y = torch.randn(200, 3) * 50 + 1000
    model, plain = net(), net()
    repair = made("standard_targets", columns=3, power=1)
    repair.change(model)
    repair.learn(model, lambda: model(X), y)
    nn.functional.l1_loss(model(X), y).backward()
    nn.functional.l1_loss(plain(X), (y - y.mean(0)) / y.std(0, correction=0)).backward()
    assert torch.allclose(model[2].weight.grad, plain[2].weight.grad, rtol=1e-3, atol=1e-6)


def test_activations_of_an_unknown_class_are_exchanged_by_name_and_layers_with_weights_are_not() -> None:
    class Exponential(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.exp()

    model = net(act=Exponential)
    made("activations", of=(), layers=("1", "2", "gone")).change(model)
    assert isinstance(model[1], nn.ReLU)
    assert isinstance(model[2], nn.Linear)
    with pytest.raises(UserError, match="has no module"):
        made("activations", of=(), layers=("2",)).change(model)


def test_a_softmax_is_taken_out_whether_it_is_a_module_or_a_function() -> None:
    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).softmax(1)

    model, called = net(nn.Softmax(1)), Called()
    plain = net()(X).log_softmax(1)
    made("last_activation", was="softmax", layer="3").change(model)
    assert torch.allclose(model(X).log_softmax(1), plain, atol=1e-5)
    made("last_activation", was="softmax", layer="softmax").change(called)
    assert torch.allclose(called(X).log_softmax(1), plain, atol=1e-4)
    with pytest.raises(UserError, match="called as a function"):
        made("last_activation", was="tanh", layer="tanh").change(net())


def test_an_activation_is_put_at_the_end() -> None:
    model = net()
    made("last_activation", by="softmax").change(model)
    assert torch.allclose(model(X).sum(1), torch.ones(200), atol=1e-5)


def test_activations_between_the_layers_are_exchanged_and_the_last_one_stays() -> None:
    model = net(nn.Sigmoid())
    made("activations", of=("sigmoid",), by="relu", last="3").change(model)
    assert [type(m).__name__ for m in model] == ["Linear", "ReLU", "Linear", "Sigmoid"]
    with pytest.raises(UserError, match="no module"):
        made("activations", of=("tanh",)).change(model)


def test_layers_that_are_one_matrix_are_bent() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    zero = torch.zeros(1, 4)
    bent = lambda m: float((m(X[:1]) + m(X[1:2]) - m(X[:1] + X[1:2]) - m(zero)).detach().abs())  # noqa: E731
    assert bent(model) < 1e-2
    made("activations_between").change(model)
    assert bent(model) > 0.1


def test_norms_stand_behind_hidden_layers_and_are_weights_of_the_model() -> None:
    model = net()
    made("norms_between").change(model)
    assert "0.norm.weight" in dict(model.named_parameters())
    assert "2.norm.weight" not in dict(model.named_parameters())
    assert model(X).shape == (200, 3)


def test_dropout_is_lowered_and_said_where_it_is_low() -> None:
    model = net(nn.Dropout(0.9))
    made("dropout", most=0.2).change(model)
    assert model[3].p == 0.2
    with pytest.raises(UserError, match="no dropout"):
        made("dropout", most=0.2).change(model)


def test_answers_and_shapes_are_what_was_asked_for() -> None:
    model = net()
    made("answers", count=5).change(model)
    assert model(X).shape == (200, 5)
    one = nn.Sequential(nn.Linear(4, 1))
    made("output_shape", to="flat").change(one)
    assert one(X).shape == (200,)
    made("output_shape", to="column").change(one)
    assert one(X).shape == (200, 1)


def test_weights_that_rested_learn_again() -> None:
    model = net()
    model[0].requires_grad_(False)
    made("learn_all").change(model)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("standard_inputs", {"layer": "0"}),
        ("standard_targets", {"columns": 3}),
        ("last_activation", {"by": "softmax"}),
        ("activations_between", {}),
        ("norms_between", {}),
        ("output_shape", {"to": "column"}),
    ],
)
def test_a_repaired_model_can_be_copied_and_the_copy_says_the_same(name: str, options: dict[str, object]) -> None:
    model = net()
    made(name, **options).change(model)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(X), model(X))
    with torch.no_grad():
        twin[0].weight.add_(1.0)
    assert not torch.equal(twin(X), model(X))  # it is a copy, not the same weights


def test_what_cannot_be_scaled_is_said() -> None:
    with pytest.raises(UserError, match="no layer whose inputs"):
        made("standard_inputs", layer="1").change(net())
