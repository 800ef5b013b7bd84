"""What all tests share: the real data where it is, quiet libraries, and the same randomness every time."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
import torch

from trainwright.core.events import View
from trainwright.engine.abilities import has_bfloat16
from trainwright.runs.plot import curves

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

LONGEST = (  # files that take a minute or so; with --no-loadscope-reorder no worker is left alone with one at the end
    "docs/test_docs.py",
    "benchmarks/test_faults.py",
    "engine/test_resume_matrix.py",
    "engine/test_ranks.py",
    "test_examples.py",
    "runs/test_healed.py",
    "data/test_pool.py",
    "tools/test_crossval.py",
    "tools/test_tune.py",
    "studio/test_browser.py",
)


NO_LSTM = "could not create a primitive descriptor for the LSTM"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Torch computes no LSTM in 16 bits on a processor that has none: what asks for one is skipped there."""
    try:
        return (yield)
    except Exception as error:
        if NO_LSTM in str(error) and not has_bfloat16(torch.device("cpu")):
            pytest.skip("torch computes no LSTM in 16 bits on this processor")
        raise


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first."""
    here = Path(__file__).parent
    order = {here / name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; skips where there is none."""
    place = os.environ.get("TRAINWRIGHT_DATA", "")
    if not place or not Path(place).is_dir():
        pytest.skip("TRAINWRIGHT_DATA names no folder of real data sets")
    return Path(place)


@pytest.fixture(scope="session", autouse=True)
def _quick_and_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Encoded data is kept apart from the user's, plans are not measured, and curves are left blank.

    For a whole session, so that fixtures of modules, which are made before those of a test, are under it too. A plan
    depends on what else the machine does; the tests of plans bring measuring back. Curves take longer to draw than
    most trainings of the tests to train; those that look at them ask for ``drawn``.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr("trainwright.runs.planning._may", lambda pieces: False)
        patch.setattr("trainwright.runs.run.curves", _blank)
        yield


def _blank(view: View, monitor: str, path: Path) -> Path:
    path.unlink(missing_ok=True)
    path.touch()
    return path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves are drawn, as they are for users."""
    monkeypatch.setattr("trainwright.runs.run.curves", curves)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the ranks of another, or what another drew."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    torch.manual_seed(0)
