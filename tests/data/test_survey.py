"""Questions to records: planted faults are found, and what chance makes is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainwright.core.data_facts import Conflict
from trainwright.data.survey.alone import alone, repeated
from trainwright.data.survey.cells import code, conflicts
from trainwright.data.survey.kinship import groups, names_group, names_time, times
from trainwright.data.survey.near import near
from trainwright.data.survey.sequence import order_of

RNG = np.random.default_rng(0)
DRAWN = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("columns", [4, 8, 300])
def test_samples_of_a_density_are_seldom_near_and_shaken_copies_are(columns: int) -> None:
    x = torch.randn(900, columns, generator=DRAWN)
    alone_ = near(x[:700], x[700:])
    assert alone_ is not None
    assert len(alone_.which) <= 2
    shaken = x[700:].clone()
    shaken[:50] = x[:50] + 1e-3 * torch.randn(50, columns, generator=DRAWN)
    found = near(x[:700], shaken)
    assert found is not None
    assert found.which[:50].tolist() == list(range(50))
    assert found.to[:50].tolist() == list(range(50))


def test_copies_to_the_last_bit_and_tables_of_few_values_are_not_called_near() -> None:
    x = torch.randn(400, 6, generator=DRAWN)
    held = torch.cat([x[:60], torch.randn(60, 6, generator=DRAWN)])
    found = near(x, held)
    assert found is not None
    assert not set(found.which.tolist()) & set(range(60))
    few = torch.randint(0, 4, (400, 6), generator=DRAWN).float()
    assert near(few[:300], few[300:]) is None


def test_one_column_that_tells_the_target_is_found_whatever_the_shape_of_the_dependence() -> None:
    x = torch.randn(1000, 3, generator=DRAWN)
    kinds = (x[:, 1].abs() > 0.7).long()  # no line tells it
    shares = alone(x, kinds)
    assert shares is not None
    assert shares[1] > 0.95
    assert max(shares[0], shares[2]) < 0.2
    values = alone(x, x[:, 2].exp())
    assert values is not None
    assert values[2] > 0.95
    assert max(values[0], values[1]) < 0.2


def test_columns_that_are_the_same_are_paired() -> None:
    x = torch.randn(50, 2, generator=DRAWN)
    assert repeated(torch.cat([x, x[:, :1]], 1), ["a", "b", "c"]) == (("a", "c"),)


@pytest.mark.parametrize(
    "name", ["patient_id", "PatientID", "speaker", "user", "session_no", "Subject", "household_id"]
)
def test_names_of_owners_are_known(name: str) -> None:
    assert names_group(name)


@pytest.mark.parametrize(
    "name", ["households", "age", "group_size", "userful", "sessions", "id", "target", "education"]
)
def test_names_of_anything_else_are_no_owners(name: str) -> None:
    assert not names_group(name)


def test_names_of_times_are_known() -> None:
    assert all(names_time(n) for n in ("date", "timestamp", "created_at", "Date", "order_date"))
    assert not any(names_time(n) for n in ("update_count", "mandate", "dated", "daylight"))


def test_groups_in_two_parts_are_as_alike_as_they_are() -> None:
    owner = RNG.integers(0, 60, 1200)
    kind = RNG.integers(0, 2, 60)
    parts = {"train": np.arange(1000), "valid": np.arange(1000, 1200)}
    told = groups("patient", owner.tolist(), kind[owner].astype(float), parts, False)
    assert told.shared > 0.9
    assert told.alike == 1.0
    mixed = groups("patient", owner.tolist(), RNG.integers(0, 2, 1200).astype(float), parts, False)
    assert abs(mixed.alike - mixed.chance) < 4 * mixed.error
    apart = groups("patient", (np.arange(1200) // 20).tolist(), kind[owner].astype(float), parts, False)
    assert apart.shared == 0.0


def test_a_target_that_drifts_with_time_is_told_from_one_that_does_not() -> None:
    when = [f"2020-01-{1 + i // 24:02d}T{i % 24:02d}:00" for i in range(600)]
    drift, noise = np.cumsum(RNG.normal(size=600)), RNG.normal(size=600)
    order = RNG.permutation(600)
    parts = {"train": np.sort(order[:500]), "test": np.sort(order[500:])}
    assert times("date", when, drift, parts, False).alike > 0.9
    assert abs(times("date", when, noise, parts, False).alike) < 0.2
    assert times("date", ["soon"] * 600, drift, parts, False).field == ""


def test_sorted_targets_are_told_from_shuffled_ones() -> None:
    y = np.repeat([0.0, 1.0, 2.0], 100)
    told, mixed = order_of(y, 10), order_of(RNG.permutation(y), 10)
    assert told.alike > 0.98
    assert told.single == 1.0
    assert abs(mixed.alike - mixed.chance) < 4 * mixed.error
    assert mixed.single == 0.0


def test_conflicts_bound_what_can_be_right() -> None:
    hashes = np.array([1, 1, 1, 2, 2, 3])
    found = conflicts(hashes, np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0]))
    assert found == Conflict(rows=6, classes=2, conflicting=3, best=5 / 6, guess=0.5)


def test_a_code_lies_far_from_all_others_and_repeats() -> None:
    ages = RNG.uniform(0, 90, 500)
    found = code("age", np.concatenate([ages, [-999.0] * 5]))
    assert found is not None
    assert (found.value, found.count) == (-999.0, 5)
    assert code("age", np.concatenate([ages, [-999.0]])) is None  # once is a slip
    assert code("age", np.concatenate([ages, [99.0] * 5])) is None  # near the others
    assert code("age", np.concatenate([ages, [-1234.0] * 5])) is None  # no code that anybody writes
