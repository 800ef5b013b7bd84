"""A module and arrays of one's own: what targets may be, how the model is called, answers, mistakes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk
from torch import Tensor, nn

from tests.tasks.cases import arrays, whole
from tests.training import measured
from trainwright.core.batch import Batch
from trainwright.core.criterion import Criterion, samples
from trainwright.core.errors import DataError, UserError
from trainwright.core.schema import check
from trainwright.core.task import Progress
from trainwright.tasks.supervised import Supervised


def linear(outputs: int, inputs: int = 5) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs)


def judged(task: Supervised, model: nn.Module, batch: Batch) -> dict[str, float]:
    outputs = task.loss(model, batch, Progress()).outputs
    return {name: measured(m, outputs, batch) for name, m in task.metrics().items()}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.float64(0.5), torch.float32),
        (np.ones(3), torch.float32),
        (np.ones(3, np.float16), torch.float32),
        ([1, 2], torch.int64),
        (np.ones((2, 2), np.uint8), torch.int64),
        (np.ones(3, bool), torch.bool),
        (torch.ones(2, dtype=torch.bfloat16), torch.float32),
        (True, torch.bool),
        (7, torch.int64),
    ],
)
def test_inputs_keep_their_shape_and_come_in_three_types(given: Any, kept: torch.dtype) -> None:
    x = whole([{"x": given, "y": 0.0}, {"x": given, "y": 1.0}], Supervised(loss="mse")).inputs["x"]
    assert x.dtype == kept
    assert x.shape == (2, *np.shape(given))


def test_the_widest_type_of_the_training_records_holds_for_all() -> None:
    records = [{"x": [1, 2], "y": 1}, {"x": [0.5, 2], "y": 2}, {"x": [True, False], "y": 3}]
    batch = whole(records, Supervised(loss="mse"))
    assert batch.inputs["x"].tolist() == [[1, 2], [0.5, 2], [1, 0]]
    assert batch.targets["y"].dtype == torch.float32


@pytest.mark.parametrize(
    ("loss", "y", "dtype", "shape"),
    [
        ("cross_entropy", np.int32(2), torch.int64, ()),
        ("cross_entropy", 2.0, torch.int64, ()),
        ("cross_entropy", np.array([2]), torch.int64, ()),
        ("cross_entropy", np.array([2, 1]), torch.int64, (2,)),
        ("cross_entropy", np.array([0.2, 0.3, 0.5]), torch.float32, (3,)),
        ("binary_cross_entropy", True, torch.float32, ()),
        ("binary_cross_entropy", np.array([0, 1]), torch.float32, (2,)),
        ("mse", 3, torch.float32, ()),
        ("mse", np.zeros((2, 3)), torch.float32, (2, 3)),
        (lambda o, t: (o - t).mean(1), np.array([3]), torch.int64, (1,)),
    ],
)
def test_targets_come_in_the_type_that_the_loss_compares(
    loss: Any, y: Any, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    targets = whole([{"x": [0.0], "y": y}, {"x": [1.0], "y": y}], Supervised(loss=loss)).targets
    assert targets["y"].dtype == dtype
    assert targets["y"].shape == (2, *shape)


@pytest.mark.parametrize(
    ("loss", "record", "said"),
    [
        ("mse", {"x": [1.0, 2.0, 3.0], "y": 1.0}, r"record 2: 'x' has the shape \(3,\), but the first record"),
        ("mse", {"x": [[1.0], [2.0, 3.0]], "y": 1.0}, "training record 2: 'x' has rows of different lengths"),
        ("mse", {"x": [1.0, float("nan")], "y": 1.0}, "training record 2: 'x' holds nan"),
        ("mse", {"x": [1.0, 1.0], "y": float("inf")}, "training record 2: 'y' holds inf"),
        ("mse", {"x": ["a", "b"], "y": 1.0}, "training record 2: 'x' is list .*, no numbers"),
        ("mse", {"x": "text", "y": 1.0}, "training record 2: 'x' is str 'text', no numbers"),
        ("mse", {"x": None, "y": 1.0}, "training record 2: 'x' is missing"),
        ("mse", {"z": [1.0, 2.0], "y": 1.0}, "training record 2: the record has no field 'x'"),
        ("cross_entropy", {"x": [1.0, 2.0], "y": 1.5}, r"'y' is 1\.5, but classes are whole numbers"),
        ("cross_entropy", {"x": [1.0, 2.0], "y": -1}, "the class 'y' is -1"),
        ("binary_cross_entropy", {"x": [1.0, 2.0], "y": 2}, "'y' is 2; a yes or no is 0 or 1"),
    ],
)  # fmt: skip
def test_a_bad_training_record_is_told(loss: str, record: dict[str, Any], said: str) -> None:
    good = [{"x": [1.0, 2.0], "y": 0}, {"x": [3.0, 4.0], "y": 1}]
    with pytest.raises(DataError, match=said):
        Supervised(loss=loss).processor.fit([*good, record])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"x": [1.0], "y": 1}, r"field 'x': 'x' has the shape \(1,\), but every training record has \(2,\)"),
        ({"x": [1.0, float("inf")], "y": 1}, "field 'x': 'x' holds inf"),
        ({"x": [1.0, 1e39], "y": 1}, "beyond the range of float32"),
        ({"x": [1.0, 2.0], "y": 7}, "the class 'y' is 7, the training records have 0 to 2"),
    ],
)
def test_a_bad_record_of_another_part_is_told(record: dict[str, Any], said: str) -> None:
    task = Supervised(loss="cross_entropy")
    task.processor.fit([{"x": [1.0, 2.0], "y": i % 3} for i in range(6)])
    with pytest.raises(DataError, match=said):
        task.processor.encode(record)


def test_whole_numbers_do_not_become_others_silently() -> None:
    task = Supervised(loss="mse")
    task.processor.fit([{"x": [1, 2], "y": 1.0}] * 3)
    assert task.processor.encode({"x": [1.0, 3.0]})["x"].dtype == torch.int64  # type: ignore[union-attr]
    with pytest.raises(DataError, match="but the training records hold whole numbers"):
        task.processor.encode({"x": [1.5, 3.0]})


def test_ignored_classes_may_be_negative_and_weigh_nothing() -> None:
    records = [{"x": [0.0], "y": y} for y in (0, -100, 1)]
    batch = whole(records, Supervised(loss="cross_entropy"))
    assert float(batch.weight) == 2


def test_the_model_is_called_by_position_or_by_name() -> None:
    records = [{"a": [1.0], "b": [2.0, 3.0], "y": 1.0}] * 4

    class Two(nn.Module):
        def forward(self, b: Tensor, a: Tensor) -> Tensor:
            return a + b.sum(1, keepdim=True)

    for call, inputs in (("positional", ("b", "a")), ("keyword", ("a", "b"))):
        task = Supervised(loss="mse", inputs=inputs, call=call)  # type: ignore[arg-type]
        batch = whole(records, task)
        assert list(batch.inputs) == list(inputs)
        assert task.predict(Two(), batch)["value"].tolist() == [[6.0]] * 4


@pytest.mark.parametrize("wrap", [lambda o: (o, None), lambda o: {"out": o, "extra": 3}, lambda o: [o]])
def test_a_loss_by_name_compares_the_first_tensor_that_the_model_returns(wrap: Any) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear(3)

        def forward(self, x: Tensor) -> Any:
            return wrap(self.inner(x))

    task = Supervised(loss="cross_entropy")
    batch = whole(arrays(), task)
    said = task.loss(Wrapped(), batch, Progress()).sum
    assert torch.equal(said, task.loss(linear(3), batch, Progress()).sum)


def test_a_loss_of_ones_own_gets_everything() -> None:
    records = [{"x": [float(i)], "a": i, "b": [i / 2]} for i in range(6)]

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"first": x * self.w, "second": x * 2}

    def both(output: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
        return (output["first"][:, 0] - target["a"]).abs() + (output["second"] - target["b"]).abs().sum(1)

    task = Supervised(loss=both, targets=("a", "b"))
    batch = whole(records, task)
    loss = task.loss(Heads(), batch, Progress())
    assert loss.each is not None
    assert loss.each.tolist() == [1.5 * i for i in range(6)]
    assert float(batch.weight) == 6
    assert task.monitor == "loss"
    assert not task.metrics()


def test_without_targets_the_input_is_compared_with() -> None:
    task = Supervised(loss="mse", targets=())
    batch = whole(arrays(), task)
    assert not batch.targets
    loss = task.loss(nn.Identity(), batch, Progress())
    assert float(loss.sum) == 0
    assert judged(task, nn.Identity(), batch)["r2"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "mse", "targets": ("a", "b")}, r"task\.targets: this loss compares with one target"),
        ({"loss": "cross_entropy", "targets": ()}, r"task\.targets: .* needs a target"),
        ({"loss": "mse", "inputs": ()}, r"task\.inputs: a model needs an input"),
        ({"loss": "mse", "targets": ("x",)}, r"task\.targets: 'x' is an input as well"),
        ({"loss": "mes"}, "did you mean 'mse'"),
        ({"loss": {"name": "huber", "delt": 1.0}}, r"task\.loss\.delt: unknown option; did you mean 'delta'"),
    ],
)
def test_options_that_do_not_fit_together_are_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Supervised(**options)


def test_a_recipe_and_python_may_both_write_the_loss() -> None:
    for loss in ("mse", {"name": "huber", "delta": 2.0}, nn.MSELoss(), F.mse_loss, lambda o, t: o - t):
        assert check(Supervised, {"loss": loss}, "task")["loss"] is loss or isinstance(loss, dict)
    criterion = Criterion(lambda o, t: (o - t)[:, 0], "numbers", samples)
    assert check(Supervised, {"loss": criterion}, "task")["loss"] is criterion
    with pytest.raises(UserError, match=r"task\.loss"):
        check(Supervised, {"loss": 3}, "task")


def test_too_few_outputs_are_told_at_the_first_loss() -> None:
    task = Supervised(loss="cross_entropy")
    batch = whole(arrays(), task)
    with pytest.raises(UserError, match="the model gives 2 outputs, but there are classes up to 2; give it 3 outputs"):
        task.loss(linear(2), batch, Progress())
    with pytest.raises(UserError, match="one output per sample"):
        task.loss(linear(1), batch, Progress())
    assert task.loss(linear(4), batch, Progress()).sum.isfinite()  # more than needed is the person's choice


def test_labels_of_a_foreign_loader_are_checked_as_they_come() -> None:
    task = Supervised(loss="cross_entropy")
    x, y = torch.randn(4, 5), torch.tensor([0, 1, 0, 1])
    task.processor.learn({"x": x}, {"y": y})
    for bad, said in ((5, "classes up to 5"), (-3, "a class is -3")):
        odd = torch.tensor([0, 1, bad, 1])
        batch = Batch({"x": x}, {"y": odd}, task.weigh({"y": odd}), torch.arange(4), 4)
        with pytest.raises(UserError, match=said):
            task.loss(linear(2), batch, Progress())


def test_a_foreign_batch_weighs_what_ours_does() -> None:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 4.0]), ignore_index=1)
    task = Supervised(loss=loss)
    records = arrays()
    batch = whole(records, task)
    y = torch.as_tensor(np.array([r["y"] for r in records]))
    assert float(task.weigh({"y": y})) == float(batch.weight) == float((y == 0).sum() + 4 * (y == 2).sum())
    mean = task.loss(linear(3), batch, Progress()).sum / batch.weight
    torch.testing.assert_close(mean, loss(linear(3)(batch.inputs["x"]), y).double(), check_dtype=False)
    several = Supervised(loss=lambda o, t: o[:, 0], targets=("a", "b"))
    assert float(several.weigh({"a": y, "b": y})) == len(y)


@pytest.mark.parametrize(
    ("loss", "target", "outputs"),
    [("cross_entropy", "class", 3), ("binary_cross_entropy", "yes", 1), (nn.BCELoss(), "yes", 1), ("mse", "number", 1)],
)
def test_metrics_follow_from_what_the_loss_compares(loss: Any, target: str, outputs: int) -> None:
    task, records = Supervised(loss=loss), arrays(target=target)
    batch = whole(records, task)
    model = linear(outputs)
    net: nn.Module = nn.Sequential(model, nn.Sigmoid()) if isinstance(loss, nn.BCELoss) else model
    found, output = judged(task, net, batch), model(batch.inputs["x"]).detach().numpy()
    y = np.array([r["y"] for r in records])
    if target == "class":
        assert found == {"accuracy": pytest.approx(sk.accuracy_score(y, output.argmax(1)))}
    elif target == "yes":
        assert found == {"accuracy": pytest.approx(sk.accuracy_score(y, output[:, 0] > 0))}
    else:
        assert found["rmse"] == pytest.approx(np.sqrt(sk.mean_squared_error(y, output)), rel=1e-5)
        assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, output), rel=1e-5)
        assert found["r2"] == pytest.approx(sk.r2_score(y, output), rel=1e-5)


def test_r2_is_sound_where_targets_have_very_different_offsets() -> None:
    task, records = Supervised(loss="mse"), arrays(target="numbers", n=200)
    batch = whole(records, task)
    y = batch.targets["y"].double()

    class Near(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (y + 0.1 * torch.sin(torch.arange(200.0)).unsqueeze(1)).float()

    found = judged(task, Near(), batch)["r2"]
    assert found == pytest.approx(sk.r2_score(y.numpy(), Near()(y).double().numpy()), rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "target", "output", "answer"),
    [
        ("cross_entropy", "class", [[0.0, 0.0, 200.0]], {"label": 2, "probabilities": [0.0, 0.0, 1.0]}),
        ("binary_cross_entropy", "yes", [[100.0]], {"label": 1, "probability": 1.0}),
        (nn.BCELoss(), "yes", [[0.25]], {"label": 0, "probability": 0.25}),
        ("mse", "number", [[2.5]], {"value": 2.5}),
        ("mse", "numbers", [[2.5, 3.0]], {"value": [2.5, 3.0]}),
    ],
)
def test_answers_are_what_the_loss_makes_of_the_output(
    loss: Any, target: str, output: list[list[float]], answer: dict[str, Any]
) -> None:
    class Says(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor(output).expand(len(x), -1)

    task = Supervised(loss=loss)
    batch = whole(arrays(target=target), task)
    found = task.processor.decode(task.predict(Says(), batch), batch)
    assert len(found) == 40
    assert json.loads(json.dumps(found[0])) == answer


def test_a_run_reopened_without_its_loss_still_answers_in_its_words() -> None:
    task = Supervised(loss=nn.CrossEntropyLoss())
    batch = whole(arrays(), task)
    again = Supervised(loss=lambda o, t: o[:, 0])  # a loss of one's own has no name in a file
    again.processor.load_state_dict(json.loads(json.dumps(task.processor.state_dict())))
    one, two = (t.processor.decode(t.predict(linear(3), batch), batch) for t in (task, again))
    assert one == two


def test_sizes_fit_the_models_we_have() -> None:
    flat, image, pair = (
        Supervised(loss="cross_entropy"),
        Supervised(loss="mse"),
        Supervised(loss="mse", inputs=("a", "b")),
    )
    flat.processor.fit(arrays())
    image.processor.fit([{"x": np.zeros((3, 8, 6)), "y": np.zeros(2)}] * 2)
    pair.processor.fit([{"a": np.zeros((2, 2)), "b": 1.0, "y": 1.0}] * 2)
    assert flat.sizes() == {"inputs": 5, "outputs": 3, "expects": "classes"}
    assert image.sizes() == {"inputs": 144, "channels": 3, "size": [8, 6], "outputs": 2, "expects": "numbers"}
    assert pair.sizes() == {"inputs": 5, "outputs": 1, "expects": "numbers"}


@pytest.mark.parametrize(
    ("loss", "y", "kept"),
    [
        ("cross_entropy", 1, True),
        ("cross_entropy", np.array([0.5, 0.5]), False),
        ("binary_cross_entropy", True, True),
        ("binary_cross_entropy", 0.25, False),
        ("mse", 1, False),
    ],
)
def test_classes_are_kept_in_proportion_by_a_split(loss: str, y: Any, kept: bool) -> None:
    assert Supervised(loss=loss).strata({"x": 0, "y": y}) == ("y" if kept else None)
