"""Final scores come with intervals, the test part chooses nothing, and a broken model never looks like a good one."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import NumericsError
from trainwright.core.events import EvalDone, Event, StepDone, Stop
from trainwright.engine import checkpoint
from trainwright.runs import baselines, doctoring

QUICK: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
    "model": {"name": "mlp", "width": 16},
    "batch_size": 16,
    "budget": "4 epochs",
}
BROKEN = """
import torch
from torch import nn
from trainwright.core.kinds import models

@models.add("{name}")
class {name}(nn.Module):
    \"\"\"Learns, and says NaN when it is asked.\"\"\"

    def __init__(self, *, inputs: int, outputs: int) -> None:
        super().__init__()
        self.map = nn.Linear(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        said = self.map(x)
        return said if self.training else said * float("nan")
"""


def xy(n: int = 60, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


def test_every_final_score_has_an_interval_around_it_and_the_seed_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "LEAST", math.inf)  # on a busy machine one of the two would be left out
    run = tw.train(QUICK, out=tmp_path / "one", quiet=True)
    assert run.intervals.keys() == run.metrics.keys()
    for name, (low, high) in run.intervals.items():
        assert low <= run.metrics[name] <= high, name
    low, high = run.intervals["test/accuracy"]
    share = run.metrics["test/accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(share * (1 - share) / 30), rel=0.35, abs=0.04)
    ended = run.view.ended
    assert ended is not None
    assert ended.baseline_intervals["linear"].keys() == run.baselines["linear"].keys()
    again = tw.train(QUICK, out=tmp_path / "two", quiet=True)
    assert again.intervals == run.intervals
    assert again.differences == run.differences
    apart = run.differences["constant"]["accuracy"]
    assert apart.value == pytest.approx(share - run.baselines["constant"]["accuracy"])
    assert 0 < apart.low <= apart.value <= apart.high


def test_a_loss_that_weighs_its_samples_is_resampled_with_their_weights(tmp_path: Path) -> None:
    """One class weighs next to nothing: the interval is that of the other's records alone."""
    x, y = xy(200)
    net = nn.Linear(3, 2)
    spec = {"name": "cross_entropy", "class_weights": [1e-6, 2.0]}
    run = tw.fit(net, (x, y), valid=(x, y), loss=spec, epochs=1, out=tmp_path / "run", quiet=True)
    with torch.no_grad():
        each = nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y), reduction="none")
    kept = each[torch.from_numpy(y) == 1].double()
    assert run.metrics["valid/loss"] == pytest.approx(float(kept.mean()), rel=1e-4)
    low, high = run.intervals["valid/loss"]
    half = 1.96 * float(kept.std()) / math.sqrt(len(kept))
    assert low == pytest.approx(float(kept.mean()) - half, abs=0.2 * half)
    assert high == pytest.approx(float(kept.mean()) + half, abs=0.2 * half)


def test_the_command_line_tells_intervals_to_machines_and_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    assert main(["train", "iris", "--epochs", "2", "--out", folder, "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    run = tw.open(folder)
    assert trained["intervals"] == {k: list(v) for k, v in run.intervals.items()}
    assert trained["differences"]["linear"]["accuracy"].keys() == {"value", "low", "high"}
    assert main(["evaluate", folder, "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    for name, span in evaluated["intervals"].items():
        assert span == pytest.approx(trained["intervals"][name])
    assert evaluated["trouble"] == ""
    assert main(["evaluate", folder]) == 0
    said = capsys.readouterr().out
    assert f"{run.metrics['test/accuracy']:.4f} [" in said
    assert "linear" in said


def test_the_labels_of_the_test_part_change_no_weight(tmp_path: Path) -> None:
    """The same records, once with the test labels turned round: training and choosing are the same to the bit."""
    x, y = xy(120)
    parts = ["train"] * 80 + ["valid"] * 20 + ["test"] * 20

    def trained(name: str, labels: Any) -> tw.Run:
        file = tmp_path / f"{name}.csv"
        with file.open("w", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(["a", "b", "c", "part", "target"])
            writer.writerows([*row, part, f"class {label}"] for row, part, label in zip(x, parts, labels, strict=True))
        recipe = {**QUICK, "data": {"source": "table", "path": str(file), "part": "part"}, "budget": "10 epochs"}
        return tw.train(recipe, out=tmp_path / name, quiet=True)

    honest = trained("honest", y)
    turned = trained("turned", [*y[:100], *(1 - y[100:])])
    one, two = (checkpoint.steps(run.path / "checkpoints") for run in (honest, turned))
    assert one == two
    for step in one:
        files = [checkpoint.at(r.path / "checkpoints", step) / "model.safetensors" for r in (honest, turned)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert {k: v for k, v in honest.metrics.items() if k.startswith("valid/")} == {
        k: v for k, v in turned.metrics.items() if k.startswith("valid/")
    }
    assert turned.metrics["test/accuracy"] == pytest.approx(1 - honest.metrics["test/accuracy"])


def test_the_log_shows_which_part_chose(tmp_path: Path) -> None:
    events: list[Event] = []
    run = tw.train(QUICK, out=tmp_path / "run", observers=[events.append], quiet=True)
    assert {e.part for e in events if isinstance(e, EvalDone)} == {"valid"}
    assert "by valid accuracy" in run.manifest["weights"]["monitored"]


class NaNWhenAsked(nn.Module):
    """Learns as it should, and says NaN in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.map(x)
        return said if self.training else said * math.nan


class Spoils(torch.optim.SGD):
    """Writes infinity into a weight in its last step."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken == 6:
            with torch.no_grad():
                self.param_groups[0]["params"][0][0, 0] = math.inf


def test_a_model_that_predicts_nan_is_told_and_its_scores_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match="the model is broken: its loss on the valid part is nan"):
        tw.fit(NaNWhenAsked(), xy(), loss="cross_entropy", epochs=2, out=tmp_path / "run", quiet=True)
    run = tw.open(tmp_path / "run", model=NaNWhenAsked())
    assert run.state == "failed"
    assert math.isnan(run.metrics["valid/loss"])
    assert run.metrics["valid/accuracy"] == 0
    assert run.baselines["linear"]["accuracy"] > 0.5


def test_weights_that_are_not_finite_are_told_even_where_better_ones_were_kept(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    with pytest.raises(NumericsError, match="some of its weights are NaN or infinite"):
        tw.fit(
            net, xy(), loss="cross_entropy", optimizer=lambda w: Spoils(w, lr=0.1), budget="6 steps", batch_size=9,
            eval_every="2 steps", out=tmp_path / "run", quiet=True,
        )  # fmt: skip
    assert tw.open(tmp_path / "run", model=net).state == "failed"


def test_a_last_gradient_of_nan_is_told_where_nothing_is_held_out(tmp_path: Path) -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return (output * math.nan).sum(1)

    with pytest.raises(NumericsError, match="the gradient of its last 1 steps was NaN"):
        tw.fit(nn.Linear(3, 2), xy(), loss=loss, valid=0.0, budget="1 steps", out=tmp_path / "run", quiet=True)


def test_a_mask_of_infinity_among_the_buffers_is_no_fault(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    net.register_buffer("mask", torch.full((2, 2), -math.inf))
    run = tw.fit(net, xy(), loss="cross_entropy", epochs=1, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"


def test_a_metric_of_zero_is_no_fault(tmp_path: Path) -> None:
    """Every label is the other one's: accuracy 0 is the truth, and the run is healthy."""
    net = nn.Linear(1, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[9.0], [-9.0]]))
        net.bias.zero_()
    x = np.where(np.arange(40) % 2, 1.0, -1.0).astype(np.float32)[:, None]
    run = tw.fit(
        net, (x, (np.arange(40) % 2).astype(np.int64)), loss="cross_entropy", lr=1e-9, epochs=1,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    assert run.state == "finished"
    assert run.metrics["valid/accuracy"] == 0
    assert run.intervals["valid/accuracy"] == (0, 0)


def test_an_undefined_metric_is_no_fault(tmp_path: Path) -> None:
    """A validation part of one class has no ROC curve."""
    file = tmp_path / "data.csv"
    rows = [(i % 2 * 2 + i / 100, f"class {i % 2}", "train") for i in range(40)]
    rows += [(i / 10, "class 0", "valid") for i in range(8)]
    file.write_text("a,target,part\n" + "".join(f"{a},{y},{part}\n" for a, y, part in rows))
    recipe = {**QUICK, "data": {"source": "table", "path": str(file), "part": "part"}}
    run = tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.state == "finished"
    assert math.isnan(run.metrics["valid/auroc"])
    assert "valid/auroc" not in run.intervals
    assert "valid/accuracy" in run.intervals


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A recipe whose model says NaN."""
    name = f"NaN{abs(hash(str(tmp_path)))}"
    (tmp_path / "broken.py").write_text(BROKEN.replace("{name}", name))
    recipe = {**QUICK, "model": name, "plugins": ["broken.py"]}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    return tmp_path


def test_every_command_ends_with_77_on_a_broken_model(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(broken / "run")
    assert main(["train", str(broken / "recipe.json"), "--out", folder, "--quiet"]) == 77
    error = capsys.readouterr().err
    assert error.count("error: the model is broken") == 1
    assert "Traceback" not in error
    assert main(["resume", folder, "--epochs", "6", "--quiet"]) == 77
    assert capsys.readouterr().err.count("error: the model is broken") == 1
    assert main(["evaluate", folder]) == 77
    told = capsys.readouterr()
    assert told.err.count("error: the model is broken") == 1
    assert "nan" in told.out
    assert main(["evaluate", folder, "--json"]) == 77
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["scores"]["test/loss"] == "NaN"
    assert "nan" in evaluated["trouble"]
    assert load_file(checkpoint.newest(Path(folder) / "checkpoints")[0] / "model.safetensors")  # type: ignore[index]


@pytest.mark.parametrize("outcome", ["stopped", "interrupted"])
def test_what_ends_before_anything_was_evaluated_serves_its_newest_weights(outcome: str, tmp_path: Path) -> None:
    """The state in which it began is kept as well then, to go back to: it is not the best there was."""
    x, y = xy()
    net, then = nn.Linear(3, 2), {}

    def stops(event: Event) -> Stop | None:
        if not isinstance(event, StepDone):
            return None
        then.update({name: value.clone() for name, value in net.state_dict().items()})
        return Stop("enough", outcome)

    given: dict[str, Any] = {"loss": "cross_entropy", "epochs": 9, "save_every": "9 epochs", "quiet": True}
    run = tw.fit(net, (x, y), valid=0.0, **given, observers=[stops], out=tmp_path / "run")
    assert run.state == outcome
    assert 0 in checkpoint.steps(run.path / "checkpoints")
    for served in (net, tw.open(run.path, model=nn.Linear(3, 2)).model):
        assert all(torch.equal(value, then[name]) for name, value in served.state_dict().items())


def test_the_doctor_asks_the_weights_that_are_served_what_they_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the best average is not the newest."""
    x, y = xy()
    net, asked = nn.Linear(3, 2), []

    def look(diagnosis: Any, facts: Any, over: bool, samples: Any, reach: Any) -> None:
        if over:
            reach()

    def reached(output: Tensor, target: Tensor, wants: str) -> float:
        asked.append(output)
        return 0.0

    monkeypatch.setattr(doctoring, "second_look", look)
    monkeypatch.setattr(doctoring, "reached", reached)
    given: dict[str, Any] = {"loss": "cross_entropy", "epochs": 6, "ema": 0.9, "lr": 0.1, "quiet": True}
    run = tw.fit(net, (x, y), valid=(x, 1 - y), **given, out=tmp_path / "run")  # the longer the worse
    best, *later = (event.step for event in run.view.evals)
    assert next(e.step for e in reversed(run.view.evals) if e.best) == best < later[-1]
    said = net(torch.from_numpy(x)).detach()
    assert len(asked) == 1
    assert torch.allclose(asked[0].sort(0).values, said.sort(0).values, atol=1e-6)
