"""What made a step fail is found: the first tensor that was not finite, its operation, module and line; the records."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import NumericsError, UserError
from trainwright.core.events import StepSkipped
from trainwright.engine import checkpoint
from trainwright.engine.origins import Origins
from trainwright.runs.directory import INCIDENTS

NAN = math.nan
QUICK: dict[str, Any] = {"budget": "12 steps", "batch_size": 16, "log_every": 3, "quiet": True, "valid": None}


class Items(Dataset[Any]):
    """Positive numbers and their sums; some are spoilt."""

    def __init__(self, spoilt: dict[int, float] | None = None, n: int = 96) -> None:
        g = torch.Generator().manual_seed(0)
        self.x = torch.rand(n, 4, generator=g) + 0.1
        self.y = self.x.sum(1, keepdim=True)
        for index, value in (spoilt or {}).items():
            self.x[index] = value

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def net(end: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), *([end] if end else []))


def failed(out: Path, model: Callable[[], nn.Module] = net, data: Any = None, **more: Any) -> tw.Run:
    """A run that may have ended by it."""
    try:
        return tw.fit(model(), data or Items(), out=out, **{**QUICK, "loss": "mse", **more})
    except NumericsError:
        return tw.open(out, model=model())


def test_nan_in_one_records_data(tmp_path: Path) -> None:
    run = failed(tmp_path / "run", data=Items({80: NAN}))
    skipped = run.view.skipped[0]
    assert skipped.incident == "incidents/0001"
    found = tw.replay(run.path / "incidents/0001", net())
    assert (found.repeats, found.same_state) == (True, True)
    assert found.rows == (80,)
    assert found.how == "their own numbers are not finite"
    assert (found.passes[0].op, found.passes[0].module) == ("addmm", "0 (Linear)")
    assert found.step == skipped.step
    lines = "\n".join(found.lines())
    assert "rows     record 80" in lines
    assert "the weights are those of the step" in lines


def logarithm(output: Tensor, target: Tensor) -> Tensor:
    return ((output * 0 + target - target.round()).abs().log() * target * 0 + (output - target) ** 2).mean(1)


def test_the_logarithm_of_zero_in_a_users_loss(tmp_path: Path) -> None:
    """One target is a whole number: log(0) is -inf, and 0 times that is NaN."""
    data = Items()
    data.y[80] = 2.0
    run = failed(tmp_path / "run", data=data, loss=logarithm)
    found = tw.replay(run.path / "incidents/0001", net(), loss=logarithm)
    first, then = found.passes[0].first
    assert first.startswith("log made infinity of numbers from 0 to ")
    assert "test_replay.py, line" in first
    assert ".log() * target * 0" in first
    assert then.startswith("mul made NaN of")
    assert found.passes[0].op == "log"
    assert found.passes[0].module == ""
    assert found.rows == (80,)
    assert "ever smaller parts of the batch alone" in found.how
    assert all(layer.output.finite == 1 for layer in found.passes[0].layers)
    with pytest.raises(UserError, match=r"loss is a function of yours.*tw\.replay"):
        tw.replay(run.path / "incidents/0001", net())


def test_an_exploding_learning_rate(tmp_path: Path) -> None:
    run = failed(tmp_path / "run", optimizer="sgd", lr=1e6, on_nan="stop")
    found = tw.replay(run.path / "incidents/0001", net())
    assert found.repeats
    assert not found.weights  # they are finite, and huge
    assert max(abs(layer.output.high) for layer in found.passes[0].layers) > 1e6
    assert "16 records fail alone, so the cause is hardly one of them" in found.how


class Large(nn.Module):
    """Grows beyond what float16 can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 3e4 * 10 / 3e5


def large() -> nn.Sequential:
    return net(Large())


def test_overflow_in_float16_is_cured_by_float32(tmp_path: Path) -> None:
    def hot() -> nn.Sequential:
        model = large()
        with torch.no_grad():
            model[2].bias.fill_(4.0)  # type: ignore[operator, union-attr]
        return model

    run = failed(tmp_path / "run", hot, precision="float16", on_nan="stop")
    found = tw.replay(run.path / "incidents/0001", hot())
    assert [p.precision for p in found.passes] == ["float16", "float32"]
    assert found.cured is True
    assert (found.passes[0].op, found.passes[0].module) == ("mul", "3 (Large)")
    assert "return x * 3e4 * 10 / 3e5" in found.passes[0].first[0]
    assert found.passes[1].failed == ""
    assert "float32  cures it" in found.lines()


class Root(nn.Module):
    """The square root of what is 0 for some."""

    def forward(self, x: Tensor) -> Tensor:
        kept = (x - 1) * 0
        return kept.sqrt() + x


def test_the_gradient_of_the_square_root_of_zero(tmp_path: Path) -> None:
    run = failed(tmp_path / "run", lambda: net(Root()), on_nan="stop")
    assert "the gradient was" in run.view.skipped[0].what
    found = tw.replay(run.path / "incidents/0001", net(Root()))
    assert "the gradient of" in found.passes[0].failed
    assert (found.passes[0].op, found.passes[0].module) == ("sqrt", "3 (Root)")
    assert found.passes[0].first[0].startswith("the gradient of sqrt made infinity")
    assert "return kept.sqrt() + x" in found.passes[0].first[0]
    assert found.passes[0].first[1].startswith("the gradient of mul made NaN")


def test_weights_that_begin_badly(tmp_path: Path) -> None:
    def bad() -> nn.Sequential:
        model = net()
        with torch.no_grad():
            model[2].weight[0, 3] = math.inf  # type: ignore[index, union-attr, operator]
        return model

    run = failed(tmp_path / "run", bad)
    found = tw.replay(run.path / "incidents/0001", bad())
    assert found.weights == {"2.weight": "holds infinity"}
    assert "weight   2.weight holds infinity" in found.lines()
    assert found.rows == ()


def test_a_failure_that_does_not_repeat_is_called_so_and_another_state_is_known(tmp_path: Path) -> None:
    run = failed(tmp_path / "run", data=Items({80: NAN}))
    path = run.path / "incidents/0001"
    content = checkpoint.load(path)
    from trainwright.engine.packing import pack

    content["model"] = {k: v + 1 for k, v in content["model"].items()}
    content["batch"]["ranks"][0][0]["inputs/x"].nan_to_num_()
    checkpoint.put(pack(content), path, 1)
    found = tw.replay(path, net())
    assert (found.repeats, found.same_state) == (False, False)
    lines = "\n".join(found.lines())
    assert "the weights are NOT those of the step" in lines
    assert "no: in float32 loss and gradient are finite" in lines


class Shaky(nn.Module):
    """Fails by chance: by what dropout draws."""

    def forward(self, x: Tensor) -> Tensor:
        drawn = torch.rand(())
        return x * (NAN if self.training and 0.45 < float(drawn) < 0.6 else 1.0)


def test_what_failed_by_chance_fails_again_by_the_same_chance(tmp_path: Path) -> None:
    run = failed(tmp_path / "run", lambda: net(Shaky()), budget="60 steps", nan_skips=60)
    assert run.view.skipped
    torch.manual_seed(99)
    found = tw.replay(run.path / "incidents/0001", net(Shaky()))
    assert found.repeats
    assert found.passes[0].module == "3 (Shaky)"


def test_masks_of_infinity_are_not_taken_for_the_cause(tmp_path: Path) -> None:
    model = nn.Linear(3, 3)
    origins = Origins(model)
    x = torch.randn(2, 3)
    with origins.watching():
        masked = model(x).masked_fill(torch.tensor([True, False, False]), -math.inf).softmax(1)
        loss = (masked * torch.tensor([1.0, 1.0, NAN])).sum()
    made = origins.of(loss)
    assert made is not None
    assert [m.op for m in made.chain()] == ["constant"]


def huge() -> nn.Sequential:
    """Its weights are large, its outputs are not."""
    made = net()
    with torch.no_grad():
        made[2].weight.fill_(0.0)
        made[2].weight[0, 0] = -1e19
        made[0].weight[0], made[0].bias[0] = -1.0, -1.0  # the unit in front of the large one is silent
    return made


def test_what_the_penalties_alone_break_is_taken_again_with_them(tmp_path: Path) -> None:
    run = failed(tmp_path / "run", model=huge, l2=10.0, on_nan="stop")
    assert run.view.skipped[0].what == "the gradient was infinite"
    found = tw.replay(run.path / "incidents/0001", huge())
    assert (found.repeats, found.same_state, found.rows) == (True, True, ())
    said = "\n".join(found.lines())
    assert "but their norm overflows, by the penalties l1 and l2; without them all is finite" in said
    assert "the largest gradient is 2e+20, in 2.weight" in said
    assert not failed(tmp_path / "plain", model=huge, on_nan="stop").view.skipped, "the control has no penalty"


def test_at_most_three_incidents_are_kept_and_one_for_steps_in_a_row(tmp_path: Path) -> None:
    run = failed(tmp_path / "run", data=Items(dict.fromkeys(range(64, 96, 4), NAN)), budget="24 steps", nan_skips=24)
    assert len(run.view.skipped) > 4
    named = [e.incident for e in run.view.skipped if e.incident]
    assert named == [f"incidents/{n:04d}" for n in range(1, len(named) + 1)]
    assert len(named) <= 3
    assert sorted(p.name for p in (run.path / INCIDENTS).iterdir()) == [n[-4:] for n in named]


def test_what_is_damaged_or_no_incident_is_one_message(tmp_path: Path) -> None:
    run = failed(tmp_path / "run", data=Items({80: NAN}))
    path = run.path / "incidents/0001"
    with pytest.raises(UserError, match=r"is no incident; there are: 0001"):
        tw.replay(run.path / "incidents/0007", net())
    with pytest.raises(UserError, match="cannot be read"):
        tw.replay(run.path, net())
    with pytest.raises(UserError, match=r"tw\.open"):
        tw.replay(path)
    file = path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"cannot be read.*model\.safetensors is not what was written"):
        tw.replay(path, net())
    shutil.rmtree(path)


PLUGIN = '''
"""A loss that fails for one record."""

import torch

from trainwright.core.criterion import Criterion
from trainwright.core.kinds import losses


@losses.add("brittle")
def brittle() -> Criterion:
    """Squares; the logarithm of 0 for one target.

    Source: made up.
    """
    return Criterion(lambda o, t: (o.squeeze(-1) - t) ** 2 + 0 * (t - t.min()).log(), "numbers")
'''


def test_the_command_line_replays_a_recipe_and_says_the_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 11 + i / 100}\n" for i in range(90)))
    plugin = tmp_path / "brittle.py"
    plugin.write_text(PLUGIN)
    recipe = {
        "plugins": [str(plugin)],
        "task": {"name": "tabular_regression", "target": "y", "loss": "brittle"},
        "data": {"source": "table", "path": str(table)},
        "model": {"name": "mlp", "width": 8},
        "budget": "6 steps",
        "on_nan": "stop",
    }
    with pytest.raises(NumericsError, match=r"trainwright replay .*run/incidents/0001"):
        tw.train(recipe, out=tmp_path / "run", quiet=True)
    skipped = next(e for e in tw.open(tmp_path / "run").view.skipped)
    assert isinstance(skipped, StepSkipped)
    assert main(["replay", str(tmp_path / "run/incidents/0001")]) == 0
    out = capsys.readouterr().out
    assert "first    log made infinity of" in out
    assert "(brittle.py, line 16: return Criterion(" in out
    assert "repeats  yes: the loss is NaN" in out
    assert main(["replay", str(tmp_path / "run/incidents/0001"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["same_state"] is True
    assert told["rows"]
    assert all("t.csv, line" in place for place in told["places"])
