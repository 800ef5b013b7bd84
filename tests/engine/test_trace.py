"""What samples go through: modules with weights, and activations in whatever form they are written."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwright.engine.trace import figures_of, last_operation, traced, without_dropout


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.act, self.b, self.g = nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.GRU(4, 5)
        self.drop, self.c = nn.Dropout(0.5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sigmoid(self.b(self.act(self.a(x))))
        h, _ = self.g(h[None])
        return F.softmax(self.c(self.drop(h[0])), -1).squeeze(-1)


def test_modules_and_functions_are_seen_in_their_order() -> None:
    model = Mixed()
    with traced(model) as calls:
        output = model(torch.randn(6, 3))
    assert [c.name for c in calls] == ["a", "act", "b", "sigmoid", "g", "drop", "c", "softmax"]
    assert last_operation(calls, output) == ("softmax", 1)


def test_nothing_is_left_and_nothing_is_changed() -> None:
    model, x = Mixed().eval(), torch.randn(6, 3)
    before = model(x)
    with traced(model) as calls:
        during = model(x)
    count = len(calls)
    after = model(x)
    assert len(calls) == count
    assert torch.equal(before, during)
    assert torch.equal(before, after)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("last", "kind"),
    [(nn.Sigmoid(), "sigmoid"), (nn.ReLU(), "relu"), (nn.LogSoftmax(1), "log_softmax"), (nn.Identity(), "linear")],
)
def test_the_last_operation_is_named_through_changes_of_shape(last: nn.Module, kind: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2), last, nn.Flatten())
    with traced(model) as calls:
        output = model(torch.randn(5, 3))
    assert last_operation(calls, output)[0] == kind


def test_figures_count_zeros_dead_units_and_flat_ends() -> None:
    x = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 3.0]])
    mean, deviation, zeros, dead, pinned = figures_of(x, "relu").tolist()
    assert mean == pytest.approx(1.0)
    assert deviation == pytest.approx(float(x.std(correction=0)))
    assert zeros == pytest.approx(0.5)
    assert dead == pytest.approx(1 / 3)
    assert pinned == 0
    images = torch.zeros(2, 4, 3, 3)
    images[0, 1, 2, 2] = 1.0
    assert float(figures_of(images, "relu")[3]) == 0.75
    assert float(figures_of(torch.tensor([[0.999, 0.5]]), "sigmoid")[4]) == 0.5


def test_without_dropout_is_training_mode_and_goes_back() -> None:
    model = Mixed().eval()
    back = without_dropout(model)
    assert model.training
    assert not model.drop.training
    back()
    assert not any(m.training for m in model.modules())
