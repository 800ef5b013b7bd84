"""The linear model beside a network: a weight for each number and each level, and steps of its own size."""

from __future__ import annotations

import pytest
import torch

from trainwright.models.line import Line


def given(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(n, 3), torch.stack([torch.randint(0, 4, (n,)), torch.randint(0, 2, (n,))], 1)


def made(speed: float = 10.0) -> Line:
    line = Line(3, (4, 2), 2, speed)
    torch.manual_seed(1)
    for weight in line.parameters():
        torch.nn.init.normal_(weight)
    return line


def test_it_says_nothing_before_it_learns() -> None:
    assert torch.equal(Line(3, (4, 2), 2, 10.0)(*given()), torch.zeros(5, 2))


def test_it_is_a_weighted_sum_of_the_numbers_and_of_one_column_for_each_level() -> None:
    line, (x, ids) = made(3.0), given()
    columns = [x, torch.nn.functional.one_hot(ids[:, 0], 4), torch.nn.functional.one_hot(ids[:, 1], 2)]
    weights = torch.cat([line.weight, line.levels])
    assert torch.allclose(line(x, ids), 3 * (torch.cat(columns, 1) @ weights + line.bias), rtol=1e-5)


def test_either_kind_of_column_may_be_absent() -> None:
    x, ids = given()
    assert Line(3, (), 2, 1.0)(x).shape == Line(0, (4, 2), 2, 1.0)(None, ids).shape == (5, 2)


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_a_step_of_adam_moves_what_is_said_by_speed_times_the_rate(speed: float) -> None:
    line = Line(1, (), 1, speed)
    optimizer = torch.optim.Adam(line.parameters(), lr=0.01)
    line(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert line(torch.ones(1, 1)).item() == pytest.approx(-speed * 0.01 * 2, rel=1e-4)  # the weight and the bias
