"""The activation behind a layer is found in whatever code joins them, and its gain keeps the signal's size."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import norm
from torch import Tensor, nn

from trainwright.core.kinds import models
from trainwright.models.activations import ACTIVATIONS, SATURATING, Activation, activation_of
from trainwright.models.draw import draw
from trainwright.models.inits import kaiming_normal, orthogonal, xavier_uniform
from trainwright.models.wiring import Behind, behind


def names(model: nn.Module, *given: Tensor) -> dict[str, str | None]:
    return {name: found.activation for name, found in behind(model, lambda: model(*given)).items()}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_found_as_a_module_and_its_gain_is_the_tables(name: Activation) -> None:
    model = nn.Sequential(nn.Linear(4, 5), activation_of(name), nn.Linear(5, 2))
    found = behind(model, lambda: model(torch.randn(3, 4)))
    assert found["0"].activation == name
    assert found["0"].gain == pytest.approx(ACTIVATIONS[name].gain, abs=1e-6)
    assert found["2"] == Behind(None, 1.0)


FUNCTIONS: list[tuple[str, Any]] = [
    ("relu", torch.relu), ("relu", F.relu), ("relu", lambda z: z.relu()), ("relu", lambda z: F.relu(z, inplace=True)),
    ("relu", torch.relu_), ("leaky_relu", F.leaky_relu), ("sigmoid", torch.sigmoid), ("sigmoid", lambda z: z.sigmoid()),
    ("tanh", torch.tanh), ("tanh", lambda z: z.tanh_()), ("gelu", F.gelu), ("silu", F.silu), ("elu", F.elu),
    ("selu", torch.selu), ("softplus", F.softplus), ("mish", F.mish), (None, torch.sin), (None, lambda z: 2 * z),
    (None, lambda z: z.softmax(1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_every_way_to_write_an_activation_is_found(name: str | None, function: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(function(self.one(x)))  # type: ignore[no-any-return]

    with torch.no_grad():
        assert names(Net(), torch.randn(3, 4)) == {"one": name, "two": None}


def test_options_of_an_activation_have_their_own_gain() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.LeakyReLU(0.5), nn.Linear(5, 2), nn.GELU("tanh"))
    found = behind(model, lambda: model(torch.randn(3, 4)))
    assert found["0"].gain == pytest.approx(nn.init.calculate_gain("leaky_relu", 0.5), rel=1e-6)
    assert found["2"].gain == pytest.approx(ACTIVATIONS["gelu"].gain, rel=1e-3)  # an approximation of it


def test_norms_dropout_pools_and_shortcuts_are_passed() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(4), nn.SiLU(),
        nn.Linear(4, 3), nn.Softmax(1),
    )  # fmt: skip
    assert names(model, torch.randn(3, 1, 12, 12)) == {"0": "relu", "5": "silu", "10": None}


def test_the_resnets_of_this_house_have_a_relu_behind_every_convolution() -> None:
    model = models["resnet"](channels=1, size=(8, 8), outputs=3, depth=8, width=4)
    found = names(model, torch.randn(3, 1, 8, 8))
    assert found.pop("head") is None
    assert len(found) == len([m for m in model.modules() if isinstance(m, nn.Conv2d)])
    assert set(found.values()) == {"relu"}


def test_the_inside_of_torchs_transformer_is_seen() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
    found = names(model, torch.randn(3, 5, 8))
    assert found["linear1"] == "gelu"
    assert found["linear2"] is None


def test_what_a_loss_does_with_the_outputs_is_not_the_models() -> None:
    model = nn.Linear(4, 2)
    assert behind(model, lambda: torch.sigmoid(model(torch.randn(3, 4)))) == {"": Behind(None, 1.0)}


def test_nothing_of_the_watch_is_left_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
    with pytest.raises(RuntimeError):
        behind(model, lambda: model(torch.randn(3, 3)))
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


# --- signals through depth -------------------------------------------------------------------------------------------

WIDTH, DEPTH, CHANCE = 512, 12, 1e-6
Z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
DENSITY = torch.exp(-Z.square() / 2) / math.sqrt(2 * math.pi)


def mean(values: Tensor) -> float:
    """E over a standard normal z."""
    return float(torch.trapezoid(values * DENSITY, Z))


def forecast(name: Activation, gain: float) -> list[tuple[float, float]]:
    """The mean square of each layer's numbers in a wide network, and its relative standard deviation at this width.

    A layer's q becomes gain² E[f(√q z)²] (Poole et al. 2016, eq. 3). Its average over WIDTH units is off by chance,
    with relative variance (E f⁴ / (E f²)² - 1) / WIDTH, or 2 / WIDTH where the numbers are normal; what is off already
    grows by the slope of ln q.
    """
    f, q, spread = activation_of(name), 1.0, 0.0

    def following(q: float) -> float:
        return gain**2 * mean(f(math.sqrt(q) * Z).square())

    found = []
    for _ in range(DEPTH):
        values = f(math.sqrt(q) * Z)
        noise = (mean(values**4) / mean(values.square()) ** 2 - 1 + 2) / WIDTH
        slope = (math.log(following(q * 1.001)) - math.log(following(q / 1.001))) / (2 * math.log(1.001))
        q, spread = following(q), slope**2 * spread + noise
        found.append((q, math.sqrt(spread)))
    return found


def squares(name: Activation, rule: Any) -> list[float]:
    """The mean square of each layer's numbers in a network begun by a rule, for inputs with a mean square of 1."""
    inner = [m for _ in range(DEPTH) for m in (activation_of(name), nn.Linear(WIDTH, WIDTH))]
    model = nn.Sequential(*inner, activation_of(name)).double()
    x = torch.randn(64, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = x / x.square().mean(1, keepdim=True).sqrt()
    draw(model, model.state_dict(), rule, behind(model, lambda: model(x)), seed=2)
    seen = []
    with torch.no_grad():
        for module in model:
            x = module(x)
            if isinstance(module, nn.Linear):
                seen.append(float(x.square().mean()))
    return seen


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("rule", [kaiming_normal, xavier_uniform, orthogonal])
def test_signals_keep_their_size_over_depth(name: Activation, rule: Any) -> None:
    far = -norm.ppf(CHANCE / 2)
    predicted = forecast(name, ACTIVATIONS[name].gain)
    for found, (q, spread) in zip(squares(name, rule()), predicted, strict=True):
        assert abs(math.log(found / q)) < far * spread
    if name not in SATURATING:  # 1 is where they stay, in a network as wide as the integral supposes
        assert [q for q, _ in predicted] == pytest.approx([1.0] * DEPTH, abs=1e-3)
    else:  # they settle
        assert predicted[-1][0] == pytest.approx(predicted[-2][0], rel=0.05)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "gelu", "silu", "mish", "elu"])
def test_without_the_gain_they_would_not(name: Activation) -> None:
    far = -norm.ppf(CHANCE / 2)
    (q, spread), found = forecast(name, ACTIVATIONS[name].gain)[-1], squares(name, kaiming_normal(gain=1.0))[-1]
    assert math.log(q / found) > far * spread
