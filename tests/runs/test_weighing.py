"""A fix wins where it beats no change and another seed by more than samples and seeds explain."""

from __future__ import annotations

import math

import pytest
import torch

from trainwright.runs.trials import length
from trainwright.runs.weighing import Judged, Weighed, best_of, weigh


def judged(mean: float, noise: float = 0.1, seed: int = 0) -> Judged:
    generator = torch.Generator().manual_seed(seed)
    return Judged(mean + noise * torch.randn(400, generator=generator))


def test_a_clear_gain_wins_and_a_clear_loss_is_seen() -> None:
    found = weigh(judged(0.3), judged(1.0, seed=1), judged(1.01, seed=2), start=1.0)
    assert found.better
    assert not found.worse
    assert found.gain == pytest.approx(0.7, abs=0.05)
    worse = weigh(judged(1.5), judged(1.0, seed=1), judged(1.0, seed=2), start=9.0)
    assert worse.worse
    assert not worse.better


def test_what_another_seed_reaches_as_well_is_no_gain() -> None:
    assert not weigh(judged(0.5), judged(1.0, seed=1), judged(0.5, seed=2), start=2.0).better
    assert not weigh(
        judged(0.9), judged(1.0, seed=1), judged(1.25, seed=2), start=2.0
    ).better  # seeds lie further apart


def test_what_lies_within_the_noise_of_the_samples_is_no_gain() -> None:
    assert not weigh(judged(0.99, 1.0), judged(1.0, 1.0, 1), judged(1.0, 1.0, 2), start=5.0).better


def test_branches_that_broke_down_count_as_the_start_however_far_they_went() -> None:
    wild, broken = judged(1e9, seed=1), Judged(None, "its numbers are not finite")
    assert weigh(judged(0.5), wild, broken, start=1.0).better
    assert not weigh(broken, wild, broken, start=1.0).better
    assert broken.mean() == math.inf


def test_how_far_above_guessing_the_others_end_is_no_doubt_of_one_that_learns() -> None:
    same, seed = judged(47.0, seed=1), judged(24.0, seed=2)
    assert not weigh(judged(0.4), same, seed, start=90.0).better  # the seeds lie 23 apart
    assert weigh(judged(0.4), same, seed, start=90.0, guess=0.7).better
    assert not weigh(judged(20.0), same, seed, start=90.0, guess=0.7).better  # nothing is learned with it either
    assert not weigh(judged(0.4), same, judged(0.4, seed=2), start=90.0, guess=0.7).better  # a seed learns as well
    assert not weigh(judged(0.69, 1.0), same, seed, start=90.0, guess=0.7).better  # within the noise of the samples


def test_of_fixes_that_are_as_good_the_first_is_taken() -> None:
    good = Weighed(0.5, 0.05, better=True, worse=False)
    none = Weighed(0.0, 0.05, better=False, worse=False)
    assert best_of([none, good, good], [0.9, 0.32, 0.3]) == 1
    assert best_of([none, good, good], [0.9, 0.5, 0.3]) == 2
    assert best_of([none, none], [0.9, 0.9]) is None


def test_branches_take_two_percent_of_a_long_plan_and_part_of_a_short_one() -> None:
    assert length(100_000, 1000) == 2000
    assert length(5000, 100) == 200
    assert length(300, 100) == 150
    assert length(8000, 700) == 700  # an epoch
    assert length(10, 5) == 10
