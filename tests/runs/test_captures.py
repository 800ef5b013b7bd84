"""A module of the user's own is captured at its checkpoints, and the training is the same with and without that."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from trainwright.engine import checkpoint, disk
from trainwright.inside.answers import Answers
from trainwright.runs.directory import CAPTURES
from trainwright.runs.inspect import capturing
from trainwright.runs.inspect.captured import Stored
from trainwright.runs.inspect.capturing import name_of, steps_of

X = torch.randn(48, 5, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long()
ALWAYS = 1e9  # of the training's time


class Restless(nn.Module):
    """Draws from every generator, changes buffers and remembers how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = nn.functional.dropout(torch.tanh(self.norm(self.first(x))), 0.3, self.training)
        x = x + 1e-3 * torch.randn_like(x) + 1e-3 * random.random() + 1e-3 * float(np.random.rand())
        said: Tensor = self.last(x)
        return said


def trained(out: Path, model: nn.Module | None = None, **more: Any) -> tuple[tw.Run, nn.Module]:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    model = model or Restless()
    options: dict[str, Any] = {"valid": 0.25, "epochs": 3, "batch_size": 12, "loss": "cross_entropy", **more}
    run = tw.fit(model, (X, Y), out=out, quiet=True, pace="plain", **options)
    return run, model


def everything(run: tw.Run, model: nn.Module) -> tuple[Any, ...]:
    """All that a training leaves: weights, losses, checkpoints, and the generators' next numbers."""
    newest = sorted((run.path / "checkpoints").iterdir())[-1]
    files = [(newest / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")]
    weights = [p.detach().numpy().tobytes() for p in model.state_dict().values()]
    losses = [step.losses for step in run.view.steps]
    draws = (torch.rand(2).tolist(), random.random(), float(np.random.rand()))
    return files, weights, losses, run.metrics, draws, getattr(model, "calls", 0)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "SHARE", ALWAYS)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    return everything(*trained(tmp_path_factory.mktemp("runs") / "without", captures=0))


@pytest.mark.usefixtures("always")
def test_captures_change_no_bit_of_a_training(tmp_path: Path, without: tuple[Any, ...]) -> None:
    run, model = trained(tmp_path / "with")
    assert everything(run, model) == without
    assert steps_of(run.path) == [3, 6, 9]  # at every checkpoint, the last one among them


@pytest.mark.usefixtures("always")
def test_a_run_that_goes_on_is_captured_too_and_is_what_it_would_have_been(
    tmp_path: Path, without: tuple[Any, ...]
) -> None:
    halves = tmp_path / "halves"
    trained(halves, observers=[lambda event: tw.Stop("half") if getattr(event, "step", 0) >= 4 else None], log_every=2)
    assert steps_of(halves) == [3, 4]
    (halves / CAPTURES / name_of(4)).rename(halves / CAPTURES / name_of(8))  # of steps that no longer count
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    model = Restless()
    run = tw.fit(
        model, (X, Y), valid=0.25, epochs=3, batch_size=12, loss="cross_entropy", resume=halves, quiet=True,
        pace="plain", log_every=2,
    )  # fmt: skip
    assert steps_of(halves) == [3, 6, 9]
    assert everything(run, model)[:2] == without[:2]


def test_before_its_end_captures_take_a_hundredth_of_a_training() -> None:
    allowance, took = capturing.Allowance(100.0), 0
    for second in range(100, 200):
        if allowance.allows(second):
            assert second >= 100 + capturing.FIRST / capturing.SHARE
            allowance.took(0.05)
            took += 1
            assert took * 0.05 <= 0.01 * (second - 100) + 1e-9
    assert took == pytest.approx(20, abs=2)  # and no less than there is time for


def test_a_short_training_is_captured_at_its_end_alone(tmp_path: Path) -> None:
    run, _ = trained(tmp_path / "short")
    assert steps_of(run.path) == [9]
    assert not (tmp_path / "short" / CAPTURES / capturing.WHY).exists()
    assert [p.name for p in (run.path / CAPTURES).iterdir()] == [name_of(9)]


def test_it_can_be_switched_off_and_asked_for_with_a_number(tmp_path: Path) -> None:
    run, _ = trained(tmp_path / "off", captures=0, epochs=1)
    assert not (run.path / CAPTURES).exists()
    run, _ = trained(tmp_path / "three", captures=3, epochs=1)
    assert len(Stored(run.path / CAPTURES / name_of(3))) == 3
    with pytest.raises(tw.UserError, match="captures"):
        trained(tmp_path / "wrong", captures="many")


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("this one is unique")


def test_a_module_that_cannot_be_copied_trains_all_the_same_and_the_run_says_why_it_is_not_captured(
    tmp_path: Path,
) -> None:
    run, _ = trained(tmp_path / "run", Uncopied(5, 2), epochs=1, doctor="off")
    assert run.state == "finished"
    assert steps_of(run.path) == []
    assert "this one is unique" in (run.path / CAPTURES / capturing.WHY).read_text()


@pytest.mark.usefixtures("always")
def test_a_disk_that_refuses_a_capture_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put: Callable[[Path, bytes], None] = disk.put

    def full(path: Path, data: bytes) -> None:
        if path.parent.name == CAPTURES:
            raise OSError(28, "No space left on device")
        put(path, data)

    monkeypatch.setattr(disk, "put", full)
    run, _ = trained(tmp_path / "run", epochs=1)
    assert run.state == "finished"
    assert steps_of(run.path) == []


def test_a_step_too_large_for_a_capture_or_a_network_for_a_copy_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(capturing, "BYTES", 1000)
        run, _ = trained(tmp_path / "step", epochs=1)
    assert "one sample alone is more than" in (run.path / CAPTURES / capturing.WHY).read_text()
    monkeypatch.setattr(capturing, "_COPIES", 10**9)
    monkeypatch.setattr(capturing, "LIGHT", 10)
    run, _ = trained(tmp_path / "network", epochs=1)
    assert "its 62 weights are more than the 10" in (run.path / CAPTURES / capturing.WHY).read_text()


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.middle.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.last(torch.tanh(self.middle(torch.tanh(self.first(x)))))
        return said


@pytest.mark.usefixtures("always")
def test_of_a_large_network_the_weights_are_left_to_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "_COPIES", 10**9)
    run, model = trained(tmp_path / "run", Tied(), optimizer="sgd")
    kept = checkpoint.steps(run.path / "checkpoints")
    assert steps_of(run.path)[-1] == 9
    assert set(steps_of(run.path)) <= {*kept, 6}  # the one before the last was still there when that was written
    stored = Stored(run.path / CAPTURES / name_of(9))
    assert not [name for name in stored.tensors if name.startswith("weight.")]
    taken = stored.read(1).taken
    names = {n.name: n for n in taken.shown if n.kind == "weight"}
    assert len(names) == 5
    for name, node in names.items():
        assert torch.equal(node.value, model.get_parameter(name).detach())
        assert (node.gradient, node.change) == (None, None)
    x = next(n.value for n in taken.shown if n.kind == "data" and n.value.numel() == 5)
    bent = torch.tanh(model.middle(torch.tanh(model.first(x)))).detach().requires_grad_()  # type: ignore[operator]
    said = model.last(bent)  # type: ignore[operator]
    node = next(n for n in taken.shown if n.name == "last" and n.kind == "value")
    assert torch.allclose(node.value, said, 1e-5, 1e-6)
    losses = [nn.functional.cross_entropy(said, torch.tensor([k])) for k in (0, 1)]
    loss = min(losses, key=lambda found: abs(found.item() - taken.loss))
    assert loss.item() == pytest.approx(taken.loss, rel=1e-5)
    loss.backward()
    before = next(n for n in reversed(taken.shown) if n.op == "tanh")
    assert before.gradient is not None
    assert torch.allclose(before.gradient, bent.grad, 1e-5, 1e-7)
    answers = Answers()
    outline = answers.answer({"ask": "outline", "run": run.path})[0]
    assert (outline["steps"][-1], outline["large"]) == (9, True)
    assert set(outline["steps"]) <= set(kept)
    cell = answers.answer({"ask": "cell", "run": run.path, "node": node.number, "cell": 1, "what": "value"})[0]
    assert cell["agrees"]
    assert cell["of"] == 6
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(tw.UserError, match="gone with its checkpoints"):
        Answers().answer({"ask": "outline", "run": run.path})


def test_old_captures_give_way_the_crowded_ones_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / CAPTURES
    folder.mkdir()
    for step in (1, 2, 3, 10, 20, 30):
        (folder / name_of(step)).write_bytes(b"x" * 100)
    monkeypatch.setattr(capturing, "TOTAL", 400)
    capturing._thin(folder)
    assert steps_of(tmp_path) == [1, 10, 20, 30]


def test_batches_of_somebodys_loader_are_captured_sample_by_sample(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(
        torch.utils.data.ConcatDataset([torch.utils.data.TensorDataset(X, Y)]), batch_size=12
    )
    run = tw.fit(Restless(), loader, loss="cross_entropy", epochs=1, out=tmp_path / "run", quiet=True, pace="plain")
    stored = Stored(run.path / CAPTURES / name_of(4))
    assert stored.facts["part"] == "train"
    values = [next(n for n in stored.read(i).taken.shown if n.name == "x0" or n.name == "x").value for i in range(2)]
    assert torch.equal(torch.cat(values), X[:2])


def test_what_is_no_capture_is_refused_in_a_line(tmp_path: Path) -> None:
    run, _ = trained(tmp_path / "run", epochs=1)
    path = run.path / CAPTURES / name_of(3)
    whole = path.read_bytes()
    for broken in (b"", b"{}", whole[:200], whole[: len(whole) // 2], whole.replace(b"operands", b"0perands")):
        path.write_bytes(broken)
        with pytest.raises(tw.UserError, match="capture"):
            Stored(path).read(0)
    shutil.rmtree(run.path)
