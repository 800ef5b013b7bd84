"""A training holds what a step needs: no second copy of the data, of a batch, or of what was looked at before."""

from __future__ import annotations

import gc
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainwright as tw
from trainwright.core.batch import Batch
from trainwright.core.events import Event, Examined, StepDone
from trainwright.core.task import Loss, Progress
from trainwright.data.arrays import Arrays
from trainwright.data.store import Store
from trainwright.runs import doctoring, gathered

X = np.random.default_rng(0).normal(size=(96, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def net(*first: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*first, nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


def fit(place: Path, x: Any = X, model: nn.Module | None = None, **more: Any) -> tw.Run:
    given = {"loss": "cross_entropy", "budget": "8 steps", "batch_size": 7, "pace": "plain", "device": "cpu", **more}
    return tw.fit(model or net(), (x, Y), out=place / "run", quiet=True, **given)


def test_the_weights_are_the_same_whether_the_callers_array_is_used_or_encoded(tmp_path: Path) -> None:
    models = []
    for kind in (np.float32, np.float64):
        model, x = net(nn.ReLU(inplace=True)), X.astype(kind)
        fit(tmp_path / kind.__name__, x, model, doctor="off")
        assert np.array_equal(x, X), "which a network that writes into its input does not change"
        models.append(model)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("changes", [True, False])
def test_an_array_that_is_changed_meanwhile_is_told_of(changes: bool, tmp_path: Path) -> None:
    x = X.copy()

    def observe(event: Event) -> None:
        if isinstance(event, StepDone) and changes:
            x[:] += 1

    run = fit(tmp_path, x, observers=[observe], log_every=4)
    found = [f for f in run.findings if f.rule == "data_changed"]
    assert len(found) == changes
    assert not changes or found[0].what == "x changed while the network was trained on it"


def test_a_batch_is_free_before_the_next_one_is_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[weakref.ref[Tensor]] = []
    left: list[int] = []
    picked = Store.picked

    def pick(self: Store, positions: Tensor) -> Any:
        left.append(sum(ref() is not None for ref in given))
        rows = picked(self, positions)
        assert rows is not None
        given.append(weakref.ref(rows.dense("x")))
        return rows

    monkeypatch.setattr(Store, "picked", pick)
    fit(tmp_path, doctor="off")
    assert len(left) >= 8
    assert not any(left)


def test_what_the_model_said_is_free_while_gradients_are_computed() -> None:
    model, free = net(), list[bool]()
    state = tw.TrainState.of(model, torch.optim.SGD(model.parameters(), lr=0.1))

    def objective(module: nn.Module, batch: Batch, progress: Progress) -> Loss:
        logits = module(batch.inputs["x"])
        total = nn.functional.cross_entropy(logits, batch.targets["y"], reduction="sum")
        outputs = {"logits": logits.detach()}
        said = weakref.ref(outputs["logits"])
        total.register_hook(lambda gradient: free.append(said() is None))
        return Loss(total, outputs)

    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    batch = Batch({"x": x}, {"y": y}, torch.tensor(96.0), torch.arange(96), 96)
    tw.train_step(state, None, [batch], tw.Runtime(), loss=objective)  # type: ignore[arg-type]
    assert free == [True]


def test_what_the_doctor_looked_at_is_free_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[weakref.ref[Tensor]] = []
    held: list[int] = []
    samples = doctoring._samples

    def watched(*asked: Any) -> Any:
        found = samples(*asked)
        looked.extend(weakref.ref(batch.inputs["x"]) for batch in found if batch is not None)
        return found

    def observe(event: Event) -> None:
        if isinstance(event, Examined) and not held:
            gc.collect()
            held.append(sum(ref() is not None for ref in looked))

    monkeypatch.setattr(doctoring, "_samples", watched)
    run = fit(tmp_path, observers=[observe])
    assert looked
    assert held == [0]
    assert run.view.probed[-1].statistics["0"]["deviation"] > 0


@pytest.mark.parametrize(("kept", "most"), [(0, 86), (2**40, 8)])
def test_where_a_pass_keeps_much_the_doctor_examines_half_of_the_samples_that_a_step_computes(
    kept: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Counted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return x

    def observe(event: Event) -> None:
        if isinstance(event, Examined):
            sizes.append(-1)

    monkeypatch.setattr(doctoring, "saved_for_backward", lambda model: nullcontext(lambda: kept))
    fit(tmp_path, model=net(Counted()), observers=[observe], batch_size=16)
    assert max(sizes[: sizes.index(-1)]) == most  # of the 86 samples that are trained on


def test_arrays_are_learned_from_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    source, ids = Arrays({"x": X, "y": Y}), torch.arange(95, -1, -1)
    monkeypatch.setattr(gathered, "_BYTES", 10 * (5 * 4 + 8))
    blocks = list(gathered._blocks(source, ids))
    assert [len(block["x"]) for block in blocks] == [10] * 9 + [6]
    assert np.array_equal(np.concatenate([block["x"] for block in blocks]), X[::-1])
