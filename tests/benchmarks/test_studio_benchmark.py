"""The cost of viewers as it is reckoned: what was planted is found, and a machine that grows slower is no cost."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studio_watched import SETTLE, Block, Mark, costs_of, interval, lines, ratios, switches_of, turns


def played(share: float, drift: float) -> tuple[list[Block], list[Mark]]:
    """A training whose steps cost more by a share while it is watched, on a machine that grows slower all the time."""
    blocks = [Block(4.0 * i, 4.0 * (i + 1), watched, turn) for i, (turn, watched) in enumerate(turns(24))]
    dice, marks, used = np.random.default_rng(1), [], 0.0
    for i in range(int(blocks[-1].end / 0.1)):
        at = 0.1 * i
        watched = blocks[min(int(at / 4), len(blocks) - 1)].watched
        used += 10 * 0.005 * (1 + share * watched) * (1 + drift * at / blocks[-1].end) * dice.normal(1, 0.02)
        marks.append(Mark(at, 10 * i, used))
    return blocks, marks


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_what_was_planted_is_found_whatever_the_machine_does_meanwhile(share: float) -> None:
    found = ratios(*played(share, drift=0.5))
    low, high = interval(found)
    assert len(found) == 24
    assert low - 0.002 <= share <= high + 0.002
    assert high - low < 0.01


def test_viewers_come_as_often_first_as_last_in_each_turn() -> None:
    order = [watched for _, watched in turns(2)]
    assert order == [False, True, True, False, True, False, False, True]


def test_steps_beside_a_change_and_turns_without_steps_do_not_count() -> None:
    block = Block(0.0, 4.0, True, 0)
    marks = [Mark(SETTLE / 2, 0, 0.0), Mark(1.0, 10, 9.0), Mark(2.0, 20, 9.2), Mark(3.0, 30, 9.3), Mark(4.5, 40, 20.0)]
    assert costs_of(block, marks) == pytest.approx([0.02, 0.01])
    assert ratios([block, block._replace(watched=False)], marks) == []
    told = [m._replace(switches=2 * m.step) for m in marks]
    assert switches_of([block], told, True) == pytest.approx(40 / 0.3)
    assert switches_of([block], told, False) == 0


@pytest.mark.parametrize(("low", "high", "said"), [(-1, 1, "holds"), (1, 3, "is not decided"), (3, 5, "does not hold")])
def test_the_limit_is_called_held_only_where_the_whole_interval_is_below_it(low: int, high: int, said: str) -> None:
    found = {"alone": 0.005, "watched": 0.005, "viewers": 20, "turns": 3, "seconds": 3.0, "more": 0.01, "mean": 0.01,
             "low": low / 100, "high": high / 100, "server": 0.1, "switches": [3.0, 4.0],
             "ratios": [0.0, 0.01, 0.02]}  # fmt: skip
    assert lines(found)[-1].endswith(f"limit       2 % {said}".removeprefix("limit       "))
