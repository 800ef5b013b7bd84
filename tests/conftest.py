"""What all tests share: the real data where it is, quiet libraries, and the same randomness every time."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
import torch

mpl.use("Agg")


def _offline(event: str, given: tuple[Any, ...]) -> None:
    """No test may reach another machine; those of downloads have a server of their own on this one."""
    if event in ("socket.connect", "socket.sendto"):
        place = given[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        place = given[0]
    else:
        return
    host = place[0] if isinstance(place, tuple) else place
    host = host.decode() if isinstance(host, bytes) else host
    if str(host).endswith(".invalid"):  # nowhere, by RFC 2606: no resolver needs to be asked
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if host and not str(host).startswith(("127.", "::1", "localhost", "/")) and host != socket.gethostname():
        raise AssertionError(f"a test reaches for the network: {event} {place!r}")


sys.addaudithook(_offline)
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
    # A plan is measured, so it may differ from run to run; the tests of plans bring it back.
    monkeypatch.setattr("trainwright.runs.planning._may", lambda pieces: False)
    torch.manual_seed(0)
