"""The examination says what data, model, loss and optimizer are, and leaves everything as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwright.core.facts import Facts
from trainwright.engine.examine import Subject, examine, target_of, values_of

N = 64


def examined(model: nn.Module, x: Tensor, y: Tensor, loss: object = F.cross_entropy) -> Facts:
    def say(inputs: Mapping[str, Tensor]) -> object:
        return model(inputs["x"])

    measure = lambda o: loss(o, y)  # type: ignore[operator] # noqa: E731
    optimizer = torch.optim.Adam(model.parameters(), 1e-3) if any(True for _ in model.parameters()) else None
    return examine(Subject(model, say, lambda: measure(model(x)), {"x": x}, y, measure, optimizer))


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, 5, generator=generator), torch.randint(0, 3, (N,), generator=generator)


def test_a_usual_network_has_usual_facts(data: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    facts = examined(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)), *data)
    assert [layer.kind for layer in facts.layers] == ["linear", "relu", "dropout", "linear"]
    assert facts.layers[0].weights == 48
    assert facts.layers[2].option == 0.1
    assert all(layer.gradient > 0 for layer in (facts.layers[0], facts.layers[3]))
    assert facts.output.last == "linear"
    assert (facts.loss.name, facts.loss.wants) == ("cross_entropy", "logits")
    assert facts.target.coding == "classes"
    assert facts.bent > 0.01
    assert facts.mixed == 0
    assert not facts.unused
    assert not facts.unreached
    assert facts.optimizer.absent == 0


def test_the_loss_at_the_start_is_that_of_the_model(data: tuple[Tensor, Tensor]) -> None:
    model = nn.Linear(5, 3)
    x, y = data
    assert examined(model, x, y).loss.start == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-5)


def test_nothing_is_changed(data: tuple[Tensor, Tensor]) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    model.eval()
    examined(model, *data)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_layers_without_a_bend_are_seen_to_be_one(data: tuple[Tensor, Tensor]) -> None:
    assert examined(nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3)), *data).bent < 1e-5
    assert examined(nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3), nn.Softmax(1)), *data).bent < 1e-5
    assert examined(nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3)), *data).bent > 1e-3
    assert math.isnan(examined(nn.Linear(5, 3), *data).bent)


class Mixing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) - self.a(x).mean(0)


def test_samples_that_answer_for_each_other_are_seen(data: tuple[Tensor, Tensor]) -> None:
    assert examined(Mixing(), *data).mixed > 0.01
    normed = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    assert examined(normed, *data).mixed < 1e-4


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + self.c(x).detach()


def test_forgotten_layers_and_weights_that_are_cut_off_are_named(data: tuple[Tensor, Tensor]) -> None:
    facts = examined(Forgetful(), *data)
    assert facts.unused == ("b",)
    assert set(facts.unreached) == {"b.weight", "b.bias", "c.weight", "c.bias"}


class Reading(nn.Module):
    """Uses a layer's weights without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.a.weight, self.a.bias)


class Empty(nn.Module):
    """Has a weight for each of no categories, and takes part in nothing with it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.levels = nn.Linear(5, 3), nn.Parameter(torch.zeros(0, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x)


def test_weights_without_a_number_need_no_gradient(data: tuple[Tensor, Tensor]) -> None:
    assert not examined(Empty(), *data).unreached


def test_a_layer_whose_weights_are_read_counts_as_called(data: tuple[Tensor, Tensor]) -> None:
    facts = examined(Reading(), *data)
    assert not facts.unused
    assert not facts.unreached


def test_weights_that_the_optimizer_does_not_know_are_named(data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    half = torch.optim.SGD(model[2].parameters(), 0.1)
    subject = Subject(model, lambda i: model(i["x"]), lambda: F.cross_entropy(model(x), y), {"x": x}, y, None, half)
    rule = examine(subject).optimizer
    assert rule.missing == ("0.weight", "0.bias")
    assert (rule.absent, rule.weights) == (48, 75)


def test_equal_units_are_counted(data: tuple[Tensor, Tensor]) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.constant_(model[0].weight, 0.3)
    first, _, last = examined(model, *data).layers
    assert first.alike == pytest.approx(7 / 8)
    assert last.alike == 0


@pytest.mark.parametrize(
    ("values", "coding", "classes"),
    [
        (torch.tensor([0, 1, 2, 2]), "classes", 3),
        (torch.eye(3)[[0, 1, 2, 2]], "one_hot", 3),
        (torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]), "several", 2),
        (torch.tensor([0.0, 1.0, 1.0, 0.0]), "binary", 2),
        (torch.tensor([0.5, 1.5, 2.5, 3.5]), "numbers", 0),
    ],
)
def test_targets_are_known_by_their_values(values: Tensor, coding: str, classes: int) -> None:
    found = target_of(values)
    assert (found.coding, found.classes) == (coding, classes)


def test_values_tell_where_a_number_is_not_finite_and_where_one_lies_apart() -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    x[17, 1] = math.nan
    x[40, 2] = 900.0
    found = values_of(x, lambda sample: f"row {sample}")
    assert (found.bad, found.bad_at) == (1, "row 17, column 1")
    assert found.outlier_at == "row 40, column 2"
    assert found.outlying > 100
    assert values_of(torch.ones(5, 2)).constant == 2


@pytest.mark.parametrize("huge", [900.0, 1e5, 1e9])
@pytest.mark.parametrize("rows", [60, 200])
def test_a_number_is_found_however_far_it_moves_the_deviation_of_its_column(rows: int, huge: float) -> None:
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))
    x[40, 2] = huge
    found = values_of(x)
    assert found.outlier_at == "sample 40, column 2"
    assert found.outlying == pytest.approx(huge, rel=0.5)


def test_columns_of_two_kinds_of_numbers_have_none_that_lies_apart() -> None:
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    x[:, 0] *= 1e-3
    x[:20, 0] += 100  # a twentieth is of another kind
    x[:, 1] = 0
    x[:3, 1] = 1  # most say the same
    assert values_of(x).outlying < 25


def test_one_huge_sample_hides_no_bend(data: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    x, y = data[0].clone(), data[1]
    x[7, 1] = 1e7
    assert examined(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), x, y).bent > 0.01
    assert examined(nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3)), x, y).bent < 1e-4


def test_the_share_of_targets_beyond_the_last_activation_is_counted() -> None:
    x, y = torch.randn(N, 5), torch.linspace(-1, 1, N).unsqueeze(1)
    facts = examined(nn.Sequential(nn.Linear(5, 1), nn.ReLU()), x, y, F.mse_loss)
    assert facts.output.reach == (0.0, math.inf)
    assert facts.output.missed == pytest.approx(0.5)
