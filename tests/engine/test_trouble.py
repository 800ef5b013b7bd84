"""Trouble that one of two processes meets is met by both in the same way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.engine.trouble_worker import SETUPS, STEPS, begun, not_finite
from tests.training import difference, weights
from trainwright.engine.ranks import free_port
from trainwright.engine.runtime import Runtime

pytestmark = pytest.mark.ranks


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trouble")
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.engine.trouble_worker", str(folder)]
    workers, root = [], Path(__file__).parent.parent.parent
    for rank in range(2):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        with (folder / f"rank-{rank}.log").open("w") as log:
            workers.append(
                subprocess.Popen(command, env={**os.environ, **place, **own}, stdout=log, stderr=log, cwd=root)
            )
    try:
        codes = [w.wait(timeout=3000) for w in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert codes == [0, 0], "\n".join((folder / f"rank-{r}.log").read_text()[-3000:] for r in range(2))
    return folder


@pytest.mark.parametrize("setup", SETUPS)
def test_both_halve_where_one_is_short_of_memory(setup: str, written: Path) -> None:
    first, second = json.loads((written / f"short_of_memory-{setup}.json").read_text())
    assert first == second == ([2, 2, 0, 0, 2] if setup == "whole" else [2, 1, 0, 0, 2])
    alone = begun(Runtime(precision="float64"), setup)
    alone.train(STEPS)
    assert difference(load_file(written / f"short_of_memory-{setup}.safetensors"), weights(alone.state)) < 1e-9


@pytest.mark.parametrize("setup", SETUPS)
def test_both_skip_where_the_numbers_of_one_are_not_finite(setup: str, written: Path) -> None:
    first, second = json.loads((written / f"not_finite-{setup}.json").read_text())
    assert first == second
    assert first[2:4] == [1, 0]
    alone = not_finite(Runtime(precision="float64"), setup)
    assert difference(load_file(written / f"not_finite-{setup}.safetensors"), weights(alone.state)) < 1e-9
