"""A state that is put aside while plans are tried, in memory or in a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from trainwright.core.events import Event, StepDone, Stop
from trainwright.runs import planning, shelved
from trainwright.runs.shelved import Shelved


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are measured here, which other tests leave out."""
    monkeypatch.setattr(planning, "_may", lambda pieces: True)


def state() -> dict[str, dict[str, Any]]:
    return {
        "model": {
            "a": torch.arange(6.0).reshape(2, 3),
            "flag": torch.tensor([True, False, True]),
            "b": torch.arange(4, dtype=torch.float64),
            "half": torch.ones(3, dtype=torch.bfloat16),
            "none": torch.zeros(0, 4),
            "one": torch.tensor(7),
        },
        "optimizer": {"state": {0: {"step": torch.tensor(2.0)}}, "rates": (0.1, float("inf"))},
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


@pytest.mark.parametrize("much", [1, 2**30], ids=["in a file", "in memory"])
def test_it_comes_back_as_often_as_it_is_asked_for(much: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelved, "_MUCH", much)
    given = state()
    kept = Shelved(given)
    assert kept.large == (much == 1)
    given["model"]["a"].fill_(9)
    for _ in range(2):
        taken = kept.take()
        assert same(dict(taken), state())
    kept.close()
    assert not kept.large


@pytest.mark.parametrize("much", [1, 2**30], ids=["in a file", "in memory"])
def test_what_is_loaded_into_an_optimizer_does_not_change_it(much: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelved, "_MUCH", much)
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.ones(3)
    optimizer.step()
    kept = Shelved({"optimizer": optimizer.state_dict()})
    for _ in range(3):
        optimizer.load_state_dict(dict(kept.take()["optimizer"]))
        optimizer.step()
        assert float(optimizer.state[weight]["step"]) == 2
    kept.close()
    assert float(optimizer.state[weight]["step"]) == 2


def test_a_file_that_cannot_grow_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        closed = 0

        def write(self, what: object) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            Full.closed += 1
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelved, "_MUCH", 1)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    kept = Shelved(state())
    assert not kept.large
    assert Full.closed == 1
    assert same(dict(kept.take()), state())


def test_without_a_place_for_a_file_memory_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelved, "_MUCH", 1)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    kept = Shelved(state())
    assert not kept.large
    assert same(dict(kept.take()), state())


def first_losses(folder: Path) -> tuple[float, ...]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    dice = torch.Generator().manual_seed(1)
    x, y = torch.randn(256, 8, generator=dice), torch.randint(0, 3, (256,), generator=dice)
    seen: list[float] = []

    def enough(event: Event) -> Stop | None:
        if isinstance(event, StepDone):
            seen.extend(event.losses)
        return Stop("enough") if len(seen) >= 5 else None

    tw.fit(
        model, (x, y), loss="cross_entropy", valid=0.0, batch_size=32, budget="5000 steps", optimizer="adam",
        log_every=5, precision="float32", observers=[enough], out=folder, quiet=True, doctor="off", device="cpu",
    )  # fmt: skip
    return tuple(seen)


def test_a_state_that_cannot_be_put_back_is_no_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelved, "take", lambda self: 1 / 0)
    with pytest.raises(tw.UserError, match="could not be put back"):
        first_losses(tmp_path / "run")


def test_a_plan_found_with_a_file_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {}
    for name, much in (("memory", 2**30), ("file", 1)):
        monkeypatch.setattr(shelved, "_MUCH", much)
        losses[name] = first_losses(tmp_path / name)
    assert losses["file"] == pytest.approx(losses["memory"], rel=1e-4)  # plans may differ, by what a clock says
