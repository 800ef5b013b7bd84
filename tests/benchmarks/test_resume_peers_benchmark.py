"""The measurement against others says who is absent, and tells the largest difference."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from benchmarks import resume_peers
from benchmarks.resume_peers_child import KILL, PER_EPOCH, SAVE, SYSTEMS


def test_a_system_that_is_not_installed_is_said_to_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYSTEMS, "Nobody", ("no-such-distribution", lambda what, folder: {}))
    assert resume_peers.row("Nobody", sys.executable) == ("Nobody", "absent", "", "", "")


def test_every_system_names_the_documentation_it_follows() -> None:
    assert all((program.__doc__ or "").startswith(("https://", "docs/")) for _, program in SYSTEMS.values())


def test_the_kill_comes_in_mid_epoch_with_a_checkpoint_behind_it() -> None:
    assert KILL // PER_EPOCH == 2
    assert 1 < KILL % PER_EPOCH < PER_EPOCH
    assert KILL % SAVE


@pytest.mark.parametrize(("other", "said"), [({"w": [1.0, 2.0]}, "0"), ({"w": [1.0, 2.5]}, "0.5"), (None, "failed")])
def test_the_largest_difference_is_told(other: Any, said: str) -> None:
    found = other and {k: np.array(v) for k, v in other.items()}
    assert resume_peers.told({"w": np.array([1.0, 2.0])}, found) == said
