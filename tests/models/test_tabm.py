"""TabM: members that are networks of their own, computed together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.tasks.cases import network, rows, whole
from trainwright.core.criterion import sample_by_sample
from trainwright.core.kinds import models, tasks
from trainwright.core.model import Members
from trainwright.core.schema import check, required
from trainwright.core.task import Progress

EDGES = ((-1.0, 0.0, 1.0), (0.0, 1.0), (-2.0, -1.0, 0.5, 3.0))


def net(**given: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"inputs": 3, "edges": EDGES, "cardinalities": (4, 5), "outputs": 2}
    made = models["tabm"](**{**sizes, "members": 4, "width": 8, "dropout": 0.0, **given}).double()
    for weight in made.parameters():  # away from the zeros some begin with
        torch.nn.init.normal_(weight, std=0.5)
    return made


def small(sizes: Any, members: int) -> Any:
    return network("tabm", members=members, width=8, dropout=0.0)(sizes)


def inputs(n: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"x": torch.randn(n, 3).double(), "categorical": torch.randint(0, 4, (n, 2))}


def test_it_equals_as_many_networks_that_share_their_hidden_layers() -> None:
    made, given = net(depth=3), inputs()
    said = made(**given)
    assert said.shape == (6, 4, 2)
    categories = [e(given["categorical"][:, i]) for i, e in enumerate(made.embeddings)]
    features = torch.cat([made.numbers(given["x"]), *categories], 1)
    linear = [m for m in made.hidden if isinstance(m, torch.nn.Linear)]
    line = made.linear(**given)
    for m in range(4):
        for i in range(6):
            h = features[i] * made.adapter.view(4, -1)[m]
            for layer in linear:
                h = (layer.weight @ h + layer.bias).clamp_min(0)
            alone = made.heads[m].T @ h + made.biases.view(4, 2)[m] + line[i]
            assert torch.allclose(said[i, m], alone, rtol=1e-10)


def test_a_member_learns_as_if_it_were_alone() -> None:
    """Its own weights get the gradient of its own loss, whatever the others' last layers say."""
    task = tasks["tabular_classification"](target="target")
    batch = whole(rows(), task)
    made = small(task.sizes(), 4)
    own = []
    for other in (0.0, 3.0):
        with torch.no_grad():
            made.heads[1:] = other
        made.zero_grad()
        task.loss(made, batch, Progress()).sum.backward()
        own.append((made.heads.grad[0].clone(), made.adapter.grad.view(4, -1)[0].clone()))
    for before, after in zip(*own, strict=True):
        assert torch.equal(before, after)
    made.zero_grad()
    F.cross_entropy(made(**batch.inputs)[:, 0], batch.targets["y"], reduction="sum").backward()
    assert torch.allclose(made.heads.grad[0], 4 * own[1][0], rtol=1e-4, atol=1e-6)  # the loss is the members' mean


@pytest.mark.parametrize("loss", ["cross_entropy", {"name": "cross_entropy", "class_weights": [1.0, 3.0]}])
def test_the_loss_of_classes_is_the_mean_of_the_members_and_the_answer_their_mean_probability(loss: Any) -> None:
    task = tasks["tabular_classification"](target="target", loss=loss)
    batch = whole(rows(), task)
    made = small(task.sizes(), 5)
    torch.nn.init.normal_(made.heads)
    logits, y = made(**batch.inputs), batch.targets["y"]
    each = torch.stack([task.criterion.each(logits[:, m], y) for m in range(5)]).mean(0)
    with sample_by_sample():
        found = task.loss(made, batch, Progress())
    assert found.each is not None
    assert torch.allclose(found.each, each, rtol=1e-5)
    assert torch.allclose(task.loss(made, batch, Progress()).sum, each.sum(), rtol=1e-5)
    said = torch.stack([logits[:, m].softmax(1) for m in range(5)]).mean(0)
    assert torch.allclose(task.predict(made, batch)["probabilities"], said, rtol=1e-5)
    assert torch.allclose(found.outputs["logits"].softmax(1), said, rtol=1e-5)


def test_the_loss_of_values_is_the_mean_of_the_members_and_the_answer_their_mean() -> None:
    task = tasks["tabular_regression"](target="target")
    batch = whole(rows(regression=True), task)
    made = small(task.sizes(), 5)
    torch.nn.init.normal_(made.heads)
    values, y = made(**batch.inputs)[:, :, 0].detach(), batch.targets["y"]
    found = task.loss(made, batch, Progress())
    assert found.sum.item() == pytest.approx(float((values - y.unsqueeze(1)).square().mean(1).sum()), rel=1e-5)
    assert torch.allclose(found.outputs["value"], values.mean(1), rtol=1e-5)
    in_units = task.processor.mean + task.processor.deviation * values.mean(1)
    assert torch.allclose(task.predict(made, batch)["value"], in_units, rtol=1e-6)


def test_members_begin_with_a_random_sign_for_each_column() -> None:
    made = models["tabm"](inputs=3, edges=EDGES, cardinalities=(4, 5), outputs=1, size=7)
    signs = made.adapter.detach().view(made.members, -1)
    widths = [7, 7, 7, *(e.embedding_dim for e in made.embeddings)]
    columns = torch.stack([part[:, 0] for part in signs.split(widths, 1)], 1)
    assert torch.equal(columns.repeat_interleave(torch.tensor(widths), 1), signs)
    assert set(columns.flatten().tolist()) == {-1.0, 1.0}
    assert len({tuple(row) for row in columns.tolist()}) > made.members / 3  # of 32 that are possible


@pytest.mark.parametrize("numbers", ["piecewise", "periodic", "plain"])
def test_numbers_enter_in_three_ways(numbers: str) -> None:
    made = net(numbers=numbers, cardinalities=())
    assert made(inputs()["x"]).shape == (6, 4, 2)


def test_either_kind_of_column_may_be_absent() -> None:
    given = inputs()
    assert net(cardinalities=())(x=given["x"]).shape == (6, 4, 2)
    assert net(inputs=0, edges=())(categorical=given["categorical"]).shape == (6, 4, 2)


def test_fewer_bins_may_be_asked_for() -> None:
    assert net(bins=1).numbers.slopes.shape[1] == 1
    assert net(bins=100).numbers.slopes.shape[1] == 3


def test_the_data_gives_what_it_must_know() -> None:
    assert required(models["tabm"]) == ["inputs", "outputs", "edges"]
    given = {"inputs": 3, "outputs": 2, "edges": EDGES}
    assert check(models["tabm"], given, "model")["numbers"] == "piecewise"


def test_it_speaks_of_members_and_is_the_default_of_tabular_tasks() -> None:
    assert models.tags("tabm")["speaks"] is Members
    assert models.default_for("tabular_classification") == "tabm"
    assert models.default_for("tabular_regression") == "tabm"
    assert models.default_for("supervised") == "mlp"


def test_scalings_and_biases_do_not_decay() -> None:
    flat = {name for name, weight in net().named_parameters() if weight.ndim < 2}
    assert flat == {"adapter", "biases", "numbers.bias", "hidden.0.bias", "hidden.2.bias", "linear.bias"}


def test_the_linear_path_is_shared_begins_at_zero_and_may_be_left_out() -> None:
    torch.manual_seed(0)
    made = models["tabm"](inputs=3, edges=EDGES, cardinalities=(4, 5), outputs=2, members=4, width=8)
    given = {name: value.float() if name == "x" else value for name, value in inputs().items()}
    assert torch.equal(made.linear(**given), torch.zeros(6, 2))
    before = made.eval()(**given)
    with torch.no_grad():
        made.linear.bias += torch.tensor([1.0, -2.0])
    assert torch.allclose(made(**given) - before, torch.tensor([10.0, -20.0]).expand(6, 4, 2), atol=1e-5)
    assert net(linear=0.0).linear is None
