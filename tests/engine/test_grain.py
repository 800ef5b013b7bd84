"""Which columns bfloat16 would blur."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainwright.engine import grain
from trainwright.engine.grain import blurred

N = 512


def dice() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def years() -> Tensor:
    return torch.randint(1950, 2020, (N,), generator=dice()).float()


KEPT = {
    "drawn from a normal distribution": torch.randn(N, generator=dice()),
    "over many orders of magnitude": torch.exp(4 * torch.randn(N, generator=dice())),
    "levels of grey from 0 to 1": torch.randint(0, 256, (N,), generator=dice()) / 255,
    "counts": torch.randint(0, 257, (N,), generator=dice()).float(),
    "always the same": torch.full((N,), 0.1),
    "years, scaled": (years() - years().mean()) / years().std(),
}
BLURRED = {
    "years": years(),
    "years, mostly missing": years() * (torch.rand(N, generator=dice()) > 0.9),
    "one of two neighbours": 2000 + (torch.rand(N, generator=dice()) > 0.95).float(),
    "latitudes": 37 + torch.randn(N, generator=dice()),
    "small beside its mean": 1e4 + 10 * torch.randn(N, generator=dice()),
}


@pytest.mark.parametrize("column", list(KEPT.values()), ids=list(KEPT))
def test_values_that_stay_apart_are_kept(column: Tensor) -> None:
    assert blurred(column[:, None]) == []


@pytest.mark.parametrize("column", list(BLURRED.values()), ids=list(BLURRED))
def test_values_that_fall_together_are_seen_wherever_their_column_stands(column: Tensor) -> None:
    fine = torch.randn(N, 2, generator=dice())
    assert blurred(torch.stack([fine[:, 0], column, fine[:, 1]], 1)) == [1]


def test_the_pairs_that_fall_together_are_counted_right() -> None:
    """Beside the definition, pair by pair."""
    rows = torch.randint(250, 290, (60, 30), generator=dice()).float()  # above 256 every second number is there
    expected = []
    for k, column in enumerate(rows.T):
        usual = column.mode().values
        other = column[column != usual]
        pairs = torch.combinations(other)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        lost = (pairs[:, 0].bfloat16() == pairs[:, 1].bfloat16()).sum() > 0.01 * len(pairs)
        often = len(column) - len(other) > 0.05 * len(column)
        if lost or (often and (other.bfloat16() == usual.bfloat16()).sum() > 0.01 * len(other)):
            expected.append(k)
    assert blurred(rows) == expected
    close = torch.cat([torch.arange(40.0), torch.tensor([1000.0, 1001.0])])  # one of 861 pairs
    assert blurred(close[:, None]) == []


def test_of_many_columns_none_is_called_blurred_by_chance() -> None:
    assert blurred(torch.randn(128, 2000, generator=dice())) == []


def test_of_few_rows_nothing_can_be_said() -> None:
    assert blurred(torch.randn(31, 2)) == [0, 1]


def test_columns_are_judged_alike_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.stack([*BLURRED.values(), *KEPT.values(), -0.0 * KEPT["counts"]], 1)
    found = list(range(len(BLURRED)))
    assert blurred(rows) == found
    monkeypatch.setattr(grain, "_AT_ONCE", 3 * N)
    assert blurred(rows) == found
    assert blurred(rows[:, [2]]) == [0]
