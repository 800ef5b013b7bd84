"""Two processes equal one: gradients, losses, metrics, stops and checkpoints, under DDP and FSDP2."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.rank_worker import NORMED, PRECISIONS, SETUPS, setups, shaped, trained
from tests.training import cases, difference, enrol, summed, weights
from trainwright.engine import checkpoint
from trainwright.engine.average import averaged_weights
from trainwright.engine.ranks import free_port
from trainwright.engine.runtime import Precision, Runtime
from trainwright.runs.sameness import same

pytestmark = pytest.mark.ranks
ALL = summed()
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
TRAINED = [(case, setup, precision) for precision in PRECISIONS for case in ALL for setup in setups(precision)]


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def two_ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks wrote, in a folder for each precision."""
    mode = request.param
    folder = tmp_path_factory.mktemp(mode)
    port = str(free_port())
    root = Path(__file__).parent.parent.parent
    workers = []
    for rank in range(2):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.engine.rank_worker", mode, str(folder)]
        with (folder / f"rank-{rank}.log").open("w") as log:
            workers.append(
                subprocess.Popen(command, env={**os.environ, **place, **where}, stdout=log, stderr=log, cwd=root)
            )
    try:
        codes = [w.wait(timeout=3000) for w in workers]  # of a process that hangs; a busy machine takes minutes
    finally:
        for worker in workers:
            worker.kill()
    told = "\n".join((folder / f"rank-{r}.log").read_text()[-3000:] for r in range(2))
    assert codes == [0, 0], told
    return folder


@functools.cache
def alone(number: int) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
    """The same in one process: weights, and what was told."""
    case, setup, precision = TRAINED[number]
    learner, told = trained(case, Runtime(precision=precision), {**SETUPS[setup], "micro": "all"})
    return weights(learner.state), told


@pytest.mark.parametrize("number", range(len(TRAINED)), ids=lambda i: "-".join(map(str, TRAINED[i])))
def test_two_ranks_equal_one(number: int, two_ranks: Path) -> None:
    case, setup, precision = TRAINED[number]
    folder, tolerance = two_ranks / precision, TOLERANCE[precision]
    expected_weights, expected = alone(number)
    found = json.loads((folder / f"{case.name}-{setup}.json").read_text())
    moved = load_file(folder / f"{case.name}-{setup}.safetensors")
    assert difference(moved, expected_weights) < tolerance
    assert found["losses"] == pytest.approx(expected["losses"], rel=tolerance * 10, abs=tolerance)
    assert found["samples"] == expected["samples"]
    assert found["metrics"] == pytest.approx(expected["metrics"], rel=tolerance * 10, abs=tolerance * 10)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NORMED)
def test_batch_norms_see_the_batch_of_both_ranks(name: str, precision: Precision, two_ranks: Path) -> None:
    case = next(case for case in cases() if case.name == name)
    folder, tolerance = two_ranks / precision, TOLERANCE[precision]
    learner, expected = trained(case, Runtime(precision=precision), NORMED[name])
    found = json.loads((folder / f"{name}-normed.json").read_text())
    assert difference(load_file(folder / f"{name}-normed.safetensors"), weights(learner.state)) < tolerance
    assert found["losses"] == pytest.approx(expected["losses"], rel=tolerance * 10, abs=tolerance)
    assert found["metrics"] == pytest.approx(expected["metrics"], rel=tolerance * 10, abs=tolerance * 10)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_ranks_stop_when_one_asks(precision: str, two_ranks: Path) -> None:
    told = json.loads((two_ranks / precision / "stop.json").read_text())
    assert told == [[2, "rank 1 is tired"]] * 2


@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_ranks_resume_exactly(precision: str, two_ranks: Path) -> None:
    assert json.loads((two_ranks / precision / "resume.json").read_text()) is True


def size_of(file: Path) -> int:
    return file.stat().st_size


@pytest.mark.parametrize("precision", PRECISIONS)
def test_shards_that_the_ranks_wrote_hold_what_a_gathered_state_does(precision: str, two_ranks: Path) -> None:
    folder = two_ranks / precision
    written, gathered = (folder / name / "step-00000002" for name in ("checkpoints", "gathered"))
    shards = sorted(p.name for p in written.glob("*.shard-*"))
    if two_ranks.name.startswith("fsdp"):
        parts = ("model", "optimizer")
        assert shards == sorted(f"{p}.shard-{n}-of-2.safetensors" for p in parts for n in (1, 2))
        assert all(size_of(written / n) < size_of(gathered / f"{n.partition('.')[0]}.safetensors") for n in shards)
    else:
        assert shards == []
    assert same(checkpoint.load(written), checkpoint.load(gathered))
    assert not [p for p in written.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_process_goes_on_where_two_ranks_stopped(precision: Precision, two_ranks: Path) -> None:
    folder = two_ranks / precision
    learner = enrol(ALL[-1], Runtime(precision=precision))
    learner.state.load_state_dict(checkpoint.load(folder / "checkpoints" / "step-00000002"))
    assert learner.state.counters.step == 2
    learner.train(4)
    assert difference(load_file(folder / "whole.safetensors"), weights(learner.state)) < TOLERANCE[precision]
    assert all(isinstance(v, torch.Tensor) for v in weights(learner.state).values())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_penalties_clipped_values_averages_and_resting_weights_are_those_of_one_process(
    precision: Precision, two_ranks: Path
) -> None:
    folder, tolerance = two_ranks / precision, TOLERANCE[precision]
    learner = shaped(Runtime(precision=precision), ALL[-1])
    assert learner.state.ema is not None
    assert difference(load_file(folder / "shaped.safetensors"), weights(learner.state)) < tolerance
    averaged = averaged_weights(learner.state.ema.state_dict())
    assert difference(load_file(folder / "averaged.safetensors"), averaged) < tolerance
    assert difference(averaged, weights(learner.state)) > 10 * tolerance
