"""Two processes equal one: gradients, losses, metrics, stops and checkpoints, under DDP and FSDP2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.rank_worker import SETUPS, shaped, trained
from tests.training import Case, difference, enrol, summed, weights
from trainwright.engine import checkpoint
from trainwright.engine.average import averaged_weights
from trainwright.engine.ranks import free_port
from trainwright.engine.runtime import Runtime

pytestmark = pytest.mark.ranks
ALL = summed()
KINDS = [("ddp", "float64"), ("fsdp", "float64"), ("ddp", "float32"), ("fsdp", "float32")]
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def two_ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What two ranks wrote."""
    mode, precision = request.param
    folder = tmp_path_factory.mktemp(f"{mode}-{precision}")
    port = str(free_port())
    root = Path(__file__).parent.parent.parent
    workers = []
    for rank in range(2):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.engine.rank_worker", mode, precision, str(folder)]
        with (folder / f"rank-{rank}.log").open("w") as log:
            workers.append(
                subprocess.Popen(command, env={**os.environ, **place, **where}, stdout=log, stderr=log, cwd=root)
            )
    try:
        codes = [w.wait(timeout=400) for w in workers]
    finally:
        for worker in workers:
            worker.kill()
    told = "\n".join((folder / f"rank-{r}.log").read_text()[-3000:] for r in range(2))
    assert codes == [0, 0], told
    return folder, precision


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("case", ALL, ids=repr)
def test_two_ranks_equal_one(case: Case, setup: str, two_ranks: tuple[Path, str]) -> None:
    folder, precision = two_ranks
    tolerance = TOLERANCE[precision]
    alone, expected = trained(case, Runtime(precision=precision), {**SETUPS[setup], "micro": "all"})  # type: ignore[arg-type]
    found = json.loads((folder / f"{case.name}-{setup}.json").read_text())
    moved = load_file(folder / f"{case.name}-{setup}.safetensors")
    assert difference(moved, weights(alone.state)) < tolerance
    assert found["losses"] == pytest.approx(expected["losses"], rel=tolerance * 10, abs=tolerance)
    assert found["samples"] == expected["samples"]
    assert found["metrics"] == pytest.approx(expected["metrics"], rel=tolerance * 10, abs=tolerance * 10)


def test_all_ranks_stop_when_one_asks(two_ranks: tuple[Path, str]) -> None:
    told = json.loads((two_ranks[0] / "stop.json").read_text())
    assert told == [[2, "rank 1 is tired"]] * 2


def test_two_ranks_resume_exactly(two_ranks: tuple[Path, str]) -> None:
    assert json.loads((two_ranks[0] / "resume.json").read_text()) is True


def test_one_process_goes_on_where_two_ranks_stopped(two_ranks: tuple[Path, str]) -> None:
    folder, precision = two_ranks
    alone = enrol(ALL[-1], Runtime(precision=precision))  # type: ignore[arg-type]
    alone.state.load_state_dict(checkpoint.load(folder / "checkpoints" / "step-00000002"))
    assert alone.state.counters.step == 2
    alone.train(4)
    assert difference(load_file(folder / "whole.safetensors"), weights(alone.state)) < TOLERANCE[precision]
    assert all(isinstance(v, torch.Tensor) for v in weights(alone.state).values())


def test_penalties_clipped_values_averages_and_resting_weights_are_those_of_one_process(
    two_ranks: tuple[Path, str],
) -> None:
    folder, precision = two_ranks
    alone = shaped(Runtime(precision=precision), ALL[-1])  # type: ignore[arg-type]
    assert alone.state.ema is not None
    tolerance = TOLERANCE[precision]
    assert difference(load_file(folder / "shaped.safetensors"), weights(alone.state)) < tolerance
    averaged = averaged_weights(alone.state.ema.state_dict())
    assert difference(load_file(folder / "averaged.safetensors"), averaged) < tolerance
    assert difference(averaged, weights(alone.state)) > 10 * tolerance
