"""How much memory a training holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainwright.engine.held import held


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell by /proc")
def test_what_a_process_holds_grows_with_its_tensors() -> None:
    before = held(torch.device("cpu"))
    more = torch.ones(16 << 20)  # 64 MB
    assert 60_000_000 < held(torch.device("cpu")) - before < 200_000_000
    assert more.sum() > 0


def test_of_a_device_that_is_not_there_nothing_is_known() -> None:
    assert held(torch.device("meta")) == 0
