"""Memory that runs out halves what is computed at once, and nothing else: the run learns what it would have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.events import EvalDone, Event, StepDone
from trainwright.engine import checkpoint
from trainwright.engine.memory import ran_out

CALL: dict[str, Any] = {
    "doctor": "off",  # these count what the model is given; the doctor gives it samples too
    "loss": "mse",
    "budget": "50 steps",
    "batch_size": 32,
    "lr": 1e-3,
    "eval_every": "10 steps",
    "save_every": "10 steps",
    "log_every": 5,
    "quiet": True,
}
RAISED: list[Callable[[], Exception]] = [
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    lambda: MemoryError(),
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"),
]


def arrays(n: int = 128) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(n))
    return x, x.sum(1, keepdim=True).sin()


class Full(Exception):
    """Stands for none of the errors of memory."""


class Limited(nn.Module):
    """Fails as an allocator does once it is given more samples than it has room for."""

    def __init__(
        self,
        room: int,
        norm: nn.Module | None = None,
        raised: Callable[[], Exception] = RAISED[0],
        where: str = "forward",
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 16), norm or nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 1))
        self.room, self.raised, self.where = room, raised, where
        self.largest = 0

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        if self.where == "evaluation" and self.training:
            return out
        if self.where == "backward" and self.training and len(x) > self.room:
            out.register_hook(lambda g: self.fail())
        elif len(x) > self.room:
            self.fail()
        self.largest = max(self.largest, len(x))
        return out

    def fail(self) -> None:
        torch.rand(3)  # randomness that the step has used before it failed
        raise self.raised()


class Items(Dataset[Any]):
    def __init__(self) -> None:
        self.x, self.y = arrays(96)

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def trained(out: Path, model: nn.Module, data: Any = None, **more: Any) -> tw.Run:
    given = {**CALL, **more}
    data = arrays() if data is None else data
    return tw.fit(model, data, valid=given.pop("valid", arrays(40)), out=out, **given)


def state_of(run: tw.Run) -> dict[str, Tensor]:
    newest = checkpoint.at(run.path / "checkpoints", checkpoint.steps(run.path / "checkpoints")[-1])
    return {f"{p.name}/{k}": v for p in newest.glob("*.safetensors") for k, v in load_file(p).items()}


def apart(a: tw.Run, b: tw.Run) -> float:
    one, two = state_of(a), state_of(b)
    assert one.keys() == two.keys()
    return max(float((one[k].double() - two[k].double()).abs().max()) for k in one)


def test_the_doctor_looks_at_fewer_samples_where_memory_runs_out(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", Limited(70), doctor="advise", budget="2 steps")
    assert run.view.examined is not None
    assert run.view.examined.facts.layers
    assert [f.rule for f in run.findings if f.rule == "doctor"] == []


def halvings(run: tw.Run) -> list[tuple[int, int]]:
    found = [f for f in run.findings if f.rule == "out_of_memory"]
    return [(int(f.evidence["before"]), int(f.evidence["now"])) for f in found]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (20, [(32, 16)]),
        (15, [(32, 16), (16, 8)]),
        (7, [(32, 16), (16, 8), (8, 4)]),
        (2, [(32, 16), (16, 8), (8, 4), (4, 2)]),
        (1, [(32, 16), (16, 8), (8, 4), (4, 2), (2, 1)]),
    ],
)
def test_the_weights_after_fifty_steps_are_those_of_the_whole_batch(
    room: int, expected: list[tuple[int, int]], tmp_path: Path
) -> None:
    whole = trained(tmp_path / "whole", Limited(1000))
    model = Limited(room)
    run = trained(tmp_path / "run", model)
    assert run.state == "finished"
    assert halvings(run) == expected
    assert model.largest <= room
    assert apart(whole, run) < 1e-6
    assert run.view.losses == pytest.approx(whole.view.losses, rel=1e-4)
    assert all(f.finding.severity == "warning" for f in run.view.findings)


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("where", ["forward", "backward", "evaluation"])
def test_whatever_says_that_memory_ran_out_and_wherever(
    raised: Callable[[], Exception], where: str, tmp_path: Path
) -> None:
    valid = arrays(200)
    whole = trained(tmp_path / "whole", Limited(1000), valid=valid)
    run = trained(tmp_path / "run", Limited(10, raised=raised, where=where), valid=valid)
    assert apart(whole, run) < 1e-6
    assert halvings(run)[-1][1] in (4, 8)
    where = "in an evaluation at step 10" if where == "evaluation" else "in step 1 "
    assert where in run.findings[0].what
    for a, b in zip(whole.view.evals, run.view.evals, strict=True):
        assert dict(a.metrics) == pytest.approx(dict(b.metrics), rel=1e-4)


def test_final_scores_are_taken_in_smaller_pieces(tmp_path: Path) -> None:
    """Other people's programs take memory while a run trains: it has less when the test part comes."""

    def trained_in(room: int) -> tw.Run:
        model = Limited(1000, where="evaluation")

        def shrink(event: Event) -> None:
            if isinstance(event, EvalDone) and event.step == 50:
                model.room = room

        return trained(tmp_path / str(room), model, valid=arrays(40), test=arrays(200), observers=[shrink])

    whole, run = trained_in(1000), trained_in(10)
    assert (run.state, apart(whole, run)) == ("finished", 0)
    assert halvings(run), "the control: memory ran out"
    assert {k.partition("/")[0] for k in run.metrics} == {"valid", "test"}
    assert run.metrics == pytest.approx(whole.metrics, rel=1e-5)


@pytest.mark.parametrize("kind", ["dataset", "loader", "recipe loader"])
def test_every_loader_gives_its_group_anew(kind: str, tmp_path: Path) -> None:
    def data() -> Any:
        if kind == "loader":
            return DataLoader(Items(), batch_size=32, shuffle=True)
        return Items() if kind == "dataset" else arrays(96)

    whole = trained(tmp_path / "whole", Limited(1000), data(), workers=0)
    run = trained(tmp_path / "run", Limited(9), data(), workers=0)
    assert halvings(run) == [(32, 16), (16, 8)]
    assert apart(whole, run) < 1e-6
    assert [e.samples for e in run.view.steps] == [e.samples for e in whole.view.steps]


@pytest.mark.parametrize("at", [5, 25])
def test_a_resumed_run_begins_with_what_fits_and_is_exact(at: int, tmp_path: Path) -> None:
    """Room shrinks at step 15; the run is interrupted before or after that."""

    def shrinking() -> tuple[Limited, Callable[[Event], tw.Stop | None]]:
        model = Limited(1000)

        def watch(event: Event) -> tw.Stop | None:
            if isinstance(event, StepDone):
                model.room = 9 if event.step >= 15 else 1000
            return None

        return model, watch

    model, watch = shrinking()
    whole = trained(tmp_path / "whole", model, observers=[watch])
    assert halvings(whole) == [(32, 16), (16, 8)]
    model, watch = shrinking()

    def tired(event: Event) -> tw.Stop | None:
        return tw.Stop("enough", "interrupted") if isinstance(event, StepDone) and event.step == at else None

    first = trained(tmp_path / "run", model, observers=[watch, tired])
    assert first.state == "interrupted"
    model, watch = shrinking()
    model.room = 9 if at == 25 else 1000
    run = trained(tmp_path / "run", model, observers=[watch], resume=first.path)
    assert apart(whole, run) == 0
    assert halvings(run) == [(32, 16), (16, 8)]
    assert run.view.losses == whole.view.losses


def test_micro_batch_set_anew_is_what_it_says(tmp_path: Path) -> None:
    trained(tmp_path / "run", Limited(9), valid=arrays(12))
    roomy = Limited(1000)
    with_valid = {"valid": arrays(12)}
    trained(tmp_path / "run", roomy, resume=tmp_path / "run", budget="55 steps", micro_batch=20, **with_valid)
    assert roomy.largest == 16  # 32 samples in two equal parts
    still = Limited(1000)
    trained(tmp_path / "run", still, resume=tmp_path / "run", budget="60 steps", micro_batch=20, **with_valid)
    assert still.largest == 16


def test_one_sample_that_does_not_fit_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"memory ran out in a step \(1\) with one sample at once: .*GiB; "):
        trained(tmp_path / "run", Limited(0))
    assert tw.open(tmp_path / "run", model=Limited(9)).state == "failed"


def test_five_halvings_are_the_most(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with 2 samples, halved 5 times, at once"):
        trained(tmp_path / "run", Limited(1), batch_size=64)


def test_other_errors_are_not_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(Full):
        trained(tmp_path / "run", Limited(9, raised=Full))
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_batch_norm_is_told_of(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", Limited(20, nn.BatchNorm1d(16)))
    (finding,) = [f for f in run.findings if f.rule == "out_of_memory"]
    said = [getattr(fix, "text", "") for fix in finding.fixes]
    assert any("batch norm now sees 16 samples at a time, which changes what is learned" in text for text in said)
    other = trained(tmp_path / "other", Limited(20))
    assert "batch norm" not in str(other.findings)


class Greedy(torch.optim.SGD):
    """An optimizer that has no room for its moments."""

    def step(self, closure: Any = None) -> Any:
        raise torch.OutOfMemoryError("no room for moments")


def test_memory_that_runs_out_while_weights_move_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"where the step cannot be taken again: OutOfMemoryError: no room for moments"):
        trained(tmp_path / "run", Limited(9999), optimizer=lambda weights: Greedy(weights, lr=0.1), lr=None)


HOST = """
import resource, sys, torch
import trainwright as tw
from torch import nn

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(4, 1)
    def forward(self, x):
        wide = x.unsqueeze(1).expand(-1, 500_000, -1) * 1.0   # 8 MB for a sample
        return self.line(wide.mean(1))

x = torch.randn(64, 4)
wide = Wide()
wide(x[:2]).sum().backward()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + 450 * 2**20  # less than 64 samples take; half of them leave some for threads, files and pictures
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
run = tw.fit(wide, (x, x.sum(1, keepdim=True)), valid=0, loss="mse", batch_size=64, budget="3 steps", out=sys.argv[1],
             log_every=1)
assert [f.rule for f in run.findings], run.findings
print("went on with", [int(f.evidence["now"]) for f in run.findings if f.rule == "out_of_memory"][-1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS and /proc are Linux's")
def test_the_hosts_own_memory_too(tmp_path: Path) -> None:
    """A process that may not have more address space: torch's own allocator says so."""
    script = tmp_path / "host.py"
    script.write_text(HOST)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "warning: memory ran out in step 1 with 64 samples at once; the run goes on with 32 samples at once"
        in done.stdout
    )
    assert "went on with" in done.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_devices_memory(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.line = nn.Linear(6, 1)

        def forward(self, x: Tensor) -> Tensor:
            wide = x.unsqueeze(1).expand(-1, 2_000_000, -1) * 1.0  # 48 MB for a sample
            out: Tensor = self.line(wide.mean(1))
            return out

    torch.cuda.set_per_process_memory_fraction(2**30 / torch.cuda.get_device_properties(0).total_memory)
    try:
        run = trained(tmp_path / "run", Wide(), budget="5 steps", device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert run.state == "finished"
    assert halvings(run)
