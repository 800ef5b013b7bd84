"""A module and data of one's own: trained, reopened, resumed, asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.events import Event, StepDone

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
TX, TY = torch.tensor(X, dtype=torch.float32), torch.tensor(Y)


def net(outputs: int = 2) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, outputs))


def fit(model: nn.Module, data: Any, tmp_path: Path, **more: Any) -> tw.Run:
    given = {"loss": "cross_entropy", "epochs": 3, "lr": 1e-2, "out": tmp_path / "run", "quiet": True, **more}
    return tw.fit(model, data, **given)


def same(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return all(torch.equal(one[k], two[k]) for k in one)


class Noisy(Dataset[Any]):
    """Draws on the global generators for each item, as a user's augmentation does."""

    def __len__(self) -> int:
        return 160

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return TX[i] + 0.1 * torch.randn(4) + float(np.random.rand()), TY[i]


KINDS: dict[str, Any] = {
    "arrays": lambda: ((X, Y), (X[:50], Y[:50])),
    "tensors": lambda: ((TX, TY), (TX[:50], TY[:50])),
    "a TensorDataset": lambda: (TensorDataset(TX, TY), TensorDataset(TX[:50], TY[:50])),
    "a Dataset": lambda: (Noisy(), Noisy()),
    "a Dataset beside arrays": lambda: (Noisy(), (X[:50], Y[:50])),
    "a DataLoader": lambda: (
        DataLoader(TensorDataset(TX, TY), batch_size=32, shuffle=True),
        DataLoader(TensorDataset(TX[:50], TY[:50]), batch_size=32),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_trains_and_reopens(kind: str, tmp_path: Path) -> None:
    data, valid = KINDS[kind]()
    model = net()
    run = fit(model, data, tmp_path, valid=valid)
    assert run.state == "finished"
    assert run.metrics["valid/accuracy"] > 0.6
    fresh = net()
    again = tw.open(run.path, model=fresh)
    assert again.predict(X[:5]) == run.predict(X[:5])
    assert same(fresh, model)
    expected = np.argmax([a["probabilities"] for a in again.predict(X)], 1)
    assert [a["label"] for a in again.predict(X)] == expected.tolist()


@pytest.mark.parametrize("kind", ["arrays", "a Dataset", "a DataLoader"])
def test_an_interrupted_run_is_resumed(kind: str, tmp_path: Path) -> None:
    def stop(event: Event) -> tw.Stop | None:
        stops = isinstance(event, StepDone) and event.step >= 4
        return tw.Stop("enough", "interrupted") if stops else None

    data, valid = KINDS[kind]()
    whole = net()
    fit(whole, data, tmp_path / "whole", valid=valid, log_every=1)
    half = net()
    run = fit(half, data, tmp_path / "half", valid=valid, log_every=1, observers=[stop])
    assert (run.state, run.view.step) == ("interrupted", 4)
    again = net()
    resumed = fit(again, data, tmp_path / "half", valid=valid, log_every=1, resume=run.path, out=None)
    assert resumed.state == "finished"
    note = resumed.view.attempts[-1].note
    assert note.startswith("exact")
    assert same(whole, again)


def test_inputs_go_by_position_or_by_name(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(4, 2)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            found: Tensor = self.line(torch.cat([left, right], 1))
            return found

    by_place = fit(Two(), ((X[:, :2], X[:, 2:]), Y), tmp_path / "a")
    by_name = fit(Two(), ({"right": X[:, 2:], "left": X[:, :2]}, Y), tmp_path / "b")
    assert by_place.metrics.keys() == by_name.metrics.keys()
    assert len(by_place.predict((X[:3, :2], X[:3, 2:]))) == 3
    assert len(by_name.predict({"left": X[:3, :2], "right": X[:3, 2:]})) == 3


@pytest.mark.parametrize(
    ("loss", "target", "outputs", "metric"),
    [
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])), Y, 2, "accuracy"),
        (nn.MSELoss(), X[:, :1], 1, "rmse"),
        ("mse", X[:, 0], 1, "rmse"),
        ("binary_cross_entropy", Y, 1, "accuracy"),
        ({"name": "huber", "delta": 0.5}, X[:, 0], 1, "rmse"),
        (lambda output, target: (output.squeeze(1) - target).abs(), X[:, 0], 1, "loss"),
    ],
)
def test_losses_by_name_by_torch_and_by_hand(loss: Any, target: Any, outputs: int, metric: str, tmp_path: Path) -> None:
    run = fit(net(outputs), (X, target), tmp_path, loss=loss)
    assert f"valid/{metric}" in run.metrics
    again = tw.open(run.path, model=net(outputs))
    assert again.predict(X[:2]) == run.predict(X[:2])


def test_an_autoencoder_needs_no_targets(tmp_path: Path) -> None:
    run = fit(nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4)), TX, tmp_path, loss="mse", epochs=20)
    assert run.metrics["valid/loss"] < float(TX.var())


def test_frames_are_arrays_too(tmp_path: Path) -> None:
    frame = pl.DataFrame({f"c{i}": X[:, i] for i in range(4)})
    assert fit(net(), (frame, pl.Series("y", Y)), tmp_path).state == "finished"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"data": (X, Y[:-1])}, "not equally long"),
        (lambda: {"data": (X, Y), "loss": "cross_entropi"}, "did you mean 'cross_entropy'"),
        (lambda: {"data": (X, Y), "optimizer": "adamv"}, "did you mean"),
        (lambda: {"data": (X, Y), "lr": -1.0}, "optimizer.lr"),
        (lambda: {"data": (np.where(X > 2, np.nan, X), Y)}, "nan"),
        (lambda: {"data": (X, Y + 0.5)}, "whole numbers"),
        (lambda: {"data": (X, Y + 5), "model": net(3)}, "class"),
        (lambda: {"data": (X, Y), "model": nn.ReLU()}, "no weights"),
        (lambda: {"data": (X, Y), "model": "resnet"}, "nn.Module"),
        (lambda: {"data": (X, Y), "budget": "3 epochs"}, "give one of them"),
        (lambda: {"data": "flowers/"}, "data"),
        (lambda: {"data": (X, Y), "valid": 2.5}, "valid"),
        (lambda: {"data": KINDS["a DataLoader"]()[0], "valid": 0.1}, "share"),
        (lambda: {"data": (X, Y), "resume": "nowhere"}, "nowhere"),
        (lambda: {"data": (np.array([["a", "b"]] * 10), Y[:10])}, "x"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_message(make: Any, message: str, tmp_path: Path) -> None:
    given = make()
    model = given.pop("model", None) or net()
    with pytest.raises(UserError) as raised:
        fit(model, given.pop("data"), tmp_path, **given)
    assert message.lower() in str(raised.value).lower()
    assert not (tmp_path / "run").exists()


def test_the_command_line_says_how_to_reopen_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trainwright.cli import main

    run = fit(net(), (X, Y), tmp_path)
    for command in (["resume", str(run.path)], ["evaluate", str(run.path)], ["predict", str(run.path), "x.csv"]):
        assert main(command) == 2
        assert "tw." in capsys.readouterr().err
    assert main(["train", str(run.path / "config.toml"), "--out", str(tmp_path / "other")]) == 2
    assert "tw.fit" in capsys.readouterr().err


def test_the_optimizer_may_be_ones_own(tmp_path: Path) -> None:
    model = net()
    fast = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters()}], lr=0.01)  # type: ignore[index]
    run = fit(model, (X, Y), tmp_path / "a", optimizer=fast, lr=None, schedule="cosine")
    assert run.view.steps[0].lr <= 0.1
    made = fit(net(), (X, Y), tmp_path / "b", optimizer=lambda ps: torch.optim.SGD(ps, lr=0.1), lr=None)
    assert made.state == "finished"


def test_a_step_of_ones_own_replaces_ours(tmp_path: Path) -> None:
    calls: list[int] = []

    def step(state: Any, task: Any, group: Any, runtime: Any, **more: Any) -> Any:
        calls.append(len(group))
        return tw.train_step(state, task, group, runtime, **more)

    run = fit(net(), (X, Y), tmp_path, step_fn=step)
    assert len(calls) == run.view.step


def test_sparse_gradients_are_refused_in_a_sentence(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Embedding(8, 4, sparse=True), nn.Flatten(), nn.Linear(8, 3))
    data = torch.arange(64).view(32, 2) % 8, torch.arange(32) % 3
    with pytest.raises(UserError, match="model: '0' gives sparse gradients"):
        tw.fit(module, data, loss="cross_entropy", out=tmp_path / "run", quiet=True)
    module[0].requires_grad_(False)
    tw.fit(module, data, loss="cross_entropy", out=tmp_path / "run", budget="2 steps", quiet=True)
