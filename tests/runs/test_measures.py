"""Metrics beside the task's own: by name, by a table, or a function of all outputs and targets at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.kinds import KINDS
from trainwright.metrics.bootstrap import resampled
from trainwright.runs.score import evaluate_run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] + 0.5 * RNG.normal(size=120) > 0.5).astype(int)
XV, YV = X[80:], Y[80:]
RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "wine", "test": 0.3},
    "model": {"name": "mlp", "width": 16},
    "budget": "3 epochs",
}


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of one's own is called for each of them; a thousand of a busy machine's are past all patience."""
    monkeypatch.setattr("trainwright.runs.score.resampled", partial(resampled, times=60))


def net(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))


def fit(tmp_path: Path, model: nn.Module | None = None, **options: Any) -> tw.Run:
    chosen: dict[str, Any] = {"loss": "cross_entropy", "epochs": 3, "lr": 0.02, "batch_size": 16, "quiet": True}
    return tw.fit(model or net(), (X[:80], Y[:80]), valid=(XV, YV), out=tmp_path / "run", **{**chosen, **options})


def auroc(output: Tensor, target: Tensor) -> float:
    assert output.shape == (len(target), 2)
    return float(roc_auc_score(target, output.softmax(1)[:, 1]))


def test_a_function_sees_a_whole_part_at_once_in_the_order_of_the_records(tmp_path: Path) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def watching(output: Tensor, target: Tensor) -> float:
        seen.append((output, target))
        return auroc(output, target)

    model = net()
    run = fit(tmp_path, model, metrics={"auroc": watching})
    outputs, targets = seen[0]  # before the first step; the last ones are resamples
    assert targets.tolist() == YV.tolist()
    assert (outputs.dtype, targets.dtype) == (torch.float32, torch.int64)
    with torch.no_grad():
        torch.testing.assert_close(outputs, net()(torch.tensor(XV)))
        final = roc_auc_score(YV, model(torch.tensor(XV)).softmax(1)[:, 1])
    assert run.metrics["valid/auroc"] == pytest.approx(final, abs=1e-6)
    assert all("auroc" in e.metrics for e in run.view.evals)
    assert run.config["metrics"] == {"auroc": {"name": "own"}}
    low, high = run.view.ended.intervals["valid/auroc"]  # type: ignore[union-attr]
    assert low <= final <= high
    assert 0 < run.baselines["linear"]["auroc"] <= 1


def test_one_number_per_sample_is_averaged_over_the_samples(tmp_path: Path) -> None:
    run = fit(
        tmp_path,
        metrics={
            "each": (lambda output, target: output.argmax(1) != target, "lower"),
            "whole": (lambda output, target: float((output.argmax(1) != target).float().mean()), "lower"),
        },
    )
    assert run.metrics["valid/each"] == pytest.approx(1 - run.metrics["valid/accuracy"])
    assert run.metrics["valid/each"] == pytest.approx(run.metrics["valid/whole"])


def test_names_a_table_and_functions_stand_side_by_side(tmp_path: Path) -> None:
    model = net()
    run = fit(
        tmp_path,
        model,
        metrics={
            "balanced": "balanced_accuracy",
            "top2": {"name": "top_k_accuracy", "k": 2},
            "zero": lambda output, target: 0.0,
            "kept": tw.Metric(lambda o, b: torch.ones(b.size, 1), lambda total: float(total), "higher"),
        },
    )
    with torch.no_grad():
        said = model(torch.tensor(XV)).argmax(1)
    assert run.metrics["valid/balanced"] == pytest.approx(balanced_accuracy_score(YV, said))
    assert run.metrics["valid/top2"] == 1
    assert run.metrics["valid/zero"] == 0
    assert run.metrics["valid/kept"] == len(YV)
    named = fit(tmp_path / "list", metrics=["macro_f1", {"name": "top_k_accuracy", "k": 1}])
    assert named.metrics["valid/top_k_accuracy"] == named.metrics["valid/accuracy"]


def test_a_loss_of_ones_own_may_have_metrics_of_ones_own(tmp_path: Path) -> None:
    def apart(output: Tensor, target: dict[str, Tensor]) -> Tensor:
        return (output[:, 0] - target["a"]).square() + (output[:, 1] - target["b"]).square()

    def error(output: Tensor, target: dict[str, Tensor]) -> Tensor:
        assert set(target) == {"a", "b"}
        return (output[:, 0] - target["a"]).abs()

    data = (X, {"a": X[:, 0], "b": X[:, 1]})
    run = tw.fit(
        net(), data, loss=apart, metrics={"error": (error, "lower")}, epochs=2, out=tmp_path / "run", quiet=True
    )
    assert run.metrics["valid/error"] > 0


def test_a_loader_has_them_too_whatever_its_batches(tmp_path: Path) -> None:
    data = TensorDataset(torch.tensor(X), torch.tensor(Y))
    one = {}
    for size in (7, 40):
        model = net()
        valid = DataLoader(TensorDataset(torch.tensor(XV), torch.tensor(YV)), batch_size=size)
        run = tw.fit(
            model, DataLoader(data, batch_size=120), valid=valid, loss="cross_entropy", epochs=2,
            metrics={"auroc": auroc}, out=tmp_path / str(size), quiet=True,
        )  # fmt: skip
        one[size] = run.metrics["valid/auroc"]
    assert one[7] == pytest.approx(one[40], abs=1e-6)


def test_an_autoencoders_metric_compares_with_the_input(tmp_path: Path) -> None:
    run = tw.fit(
        net(4), X, loss="mse", epochs=1, out=tmp_path / "run", quiet=True,
        metrics={"again": lambda output, target: ((output - target) ** 2).mean()},
    )  # fmt: skip
    assert run.metrics["valid/again"] == pytest.approx(run.metrics["valid/loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (
            {"odd": lambda output, target: {}["x"]},
            r"metrics\.odd: raised KeyError: 'x'; look at test_measures.py, line",
        ),
        ({"odd": lambda output, target: "good"}, r"metrics\.odd: returned 'good' for 40 samples"),
        ({"odd": lambda output, target: True}, r"metrics\.odd: returned True for 40 samples; return a number"),
        (
            {"odd": lambda output, target: output},
            r"metrics\.odd: returned float32 numbers of shape \(40, 2\) for 40",
        ),
        ({"odd": lambda output: 0.5}, r"metrics\.odd: raised TypeError"),
        ({"odd": 3}, r"metrics\.odd: 3 is no metric"),
        ({"odd": (auroc, "best")}, "is no metric"),
        ({"loss": auroc}, r"metrics\.loss: is the loss's own name"),
        ("accuracy", r"metrics: 'accuracy' is no list"),
        ([auroc], r"has no name; give a function by name"),
        (["acuracy"], "no metric is named 'acuracy'; did you mean 'accuracy'"),
        ([{"name": "top_k_accuracy", "n": 3}], r"metrics\.top_k_accuracy\.n: unknown option"),
        (["rmse"], r"metrics\.rmse: 'rmse' compares numbers, this training compares classes; choose from accuracy"),
    ],
)
def test_what_is_no_metric_is_told_before_anything_is_written(metrics: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        fit(tmp_path, metrics=metrics)
    assert not (tmp_path / "run").exists()


def test_a_metric_without_a_value_is_logged_as_it_is(tmp_path: Path) -> None:
    run = fit(tmp_path, metrics={"none": lambda output, target: float("nan")})
    assert all(np.isnan(e.metrics["none"]) for e in run.view.evals)


# --- from a recipe ---------------------------------------------------------------------------------------------------

PLUGIN = '''
"""Metrics of classes."""
import torch
import trainwright as tw
from trainwright.core.kinds import metrics
from trainwright.core.task import Classes


@metrics.add("t_first", of=Classes)
def first(of, *, number: int = 0):
    """Share of the samples that are said to be of one class.

    Args:
        number: of the class.
    """

    def count(outputs, batch):
        said = of.logits(outputs).argmax(1) == number
        return torch.stack([said.double(), torch.ones(len(said)).double()], 1)

    return tw.Metric(count, lambda total: float(total[0] / total[1]), "higher")


@metrics.add("t_raising", of=Classes)
def raising(of):
    """Fails."""

    def count(outputs, batch):
        return of.nothing

    return tw.Metric(count, float, "higher")


@metrics.add("t_number")
def number(of):
    """Is none."""
    return 0.5
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[str]:
    """A file of metrics; what it registers is gone afterwards."""
    before = {kind: (dict(r._entries), dict(r._tags)) for kind, r in KINDS.items() if r.names() is not None}
    modules = set(sys.modules)
    file = tmp_path / "measures.py"
    file.write_text(PLUGIN)
    yield str(file)
    for kind, (entries, tags) in before.items():
        KINDS[kind]._entries, KINDS[kind]._tags = entries, tags
    for name in set(sys.modules) - modules:
        if name.startswith("trainwright_plugin_"):
            del sys.modules[name]


def test_a_recipe_names_metrics_and_a_plugin_has_more(plugin: str, tmp_path: Path) -> None:
    asked = {"balanced_accuracy": "balanced_accuracy", "second": {"name": "t_first", "number": 1}}
    run = tw.train(RECIPE, {"plugins": [plugin], "metrics": asked}, out=tmp_path / "run", quiet=True)
    assert run.config["metrics"]["second"] == {"name": "t_first", "number": 1}
    assert 0 <= run.metrics["test/second"] <= 1
    assert "linear" in run.baselines
    assert "second" in run.baselines["linear"]
    found = evaluate_run(run).scores
    for name in ("balanced_accuracy", "second"):
        assert found[f"test/{name}"] == pytest.approx(run.metrics[f"test/{name}"])
    again = tw.resume(run.path, {"budget": "4 epochs", "metrics": ["macro_f1"]}, quiet=True)
    assert "second" not in again.view.evals[-1].metrics


def test_metrics_of_a_recipe_that_fail_are_told(plugin: str, tmp_path: Path) -> None:
    for metrics, said in (
        (["t_raising"], r"metrics\.t_raising: raised AttributeError.*; look at measures.py, line 29"),
        (["t_number"], r"metric\.t_number: made a float; return a tw\.Metric"),
        (["t_frist"], "did you mean 't_first'"),
        ({"a": {"k": 2}}, r"metrics\.a: has no name"),
        ([3], r"metrics: \[3\] is no list of names"),
    ):
        with pytest.raises(UserError, match=said):
            tw.train(RECIPE, {"plugins": [plugin], "metrics": metrics}, out=tmp_path / said[:9], quiet=True)


def test_a_list_of_names_is_a_table_by_those_names(tmp_path: Path) -> None:
    run = tw.train(RECIPE, {"metrics": ["top_k_accuracy"]}, out=tmp_path / "run", quiet=True)
    assert run.config["metrics"] == {"top_k_accuracy": {"name": "top_k_accuracy", "k": 5}}
    assert run.metrics["test/top_k_accuracy"] == 1  # of three classes


@pytest.mark.ranks
def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    changes = {"metrics": ["balanced_accuracy"], "precision": "float64"}
    alone = tw.train(RECIPE, changes, out=tmp_path / "alone", quiet=True)
    pair = tw.train(RECIPE, {**changes, "ranks": 2}, out=tmp_path / "pair", quiet=True)
    assert pair.metrics["test/balanced_accuracy"] == pytest.approx(alone.metrics["test/balanced_accuracy"])


def test_f1_by_hand_is_f1_by_name(tmp_path: Path) -> None:
    def macro(output: Tensor, target: Tensor) -> float:
        return float(f1_score(target, output.argmax(1), average="macro"))

    run = fit(tmp_path, metrics={"by_hand": macro, "by_name": "macro_f1"})
    assert run.metrics["valid/by_hand"] == pytest.approx(run.metrics["valid/by_name"])
