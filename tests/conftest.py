"""What all tests share: the real data where it is, quiet libraries, and the same randomness every time."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

mpl.use("Agg")
torch.set_num_threads(1)


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; skips where there is none."""
    place = os.environ.get("TRAINWRIGHT_DATA", "")
    if not place or not Path(place).is_dir():
        pytest.skip("TRAINWRIGHT_DATA names no folder of real data sets")
    return Path(place)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoded data of tests is kept apart from the user's, and no test sees another's ranks."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    torch.manual_seed(0)
