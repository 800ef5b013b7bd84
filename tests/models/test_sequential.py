"""A declared list of layers: what it builds, what it says of its outputs, how mistakes are placed, and learning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.kinds import layers, models
from trainwright.core.schema import check
from trainwright.explain import as_text, explain
from trainwright.optim.losses import criterion_of

CLASSIC = ({"name": "conv", "filters": 32, "padding": "none"}, "relu", "max_pool", "flatten")
CLASSIC_TOP = ({"name": "dense", "units": 128}, "relu")
DIGITS: dict[str, Any] = {
    "task": "image_classification",
    "data": {"source": "embedded", "set": "digits", "valid": 0.1, "test": 0.2},
    "optimizer": {"name": "adamw", "lr": 1e-2},
    "schedule": "cosine",
    "batch_size": 64,
    "budget": "160 steps",
}


def sequential(*listed: Any, **sizes: Any) -> Any:
    factory = models["sequential"]
    return factory(**check(factory, {"outputs": 10, "layers": list(listed), **sizes}, "model"))


def pictures(*listed: Any, channels: int = 1, side: int = 28, **more: Any) -> Any:
    return sequential(*listed, channels=channels, size=[side, side], **more)


def shapes(net: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in net.parameters() if p.ndim > 1]


def test_the_classic_is_expressed_exactly() -> None:
    net = pictures(*CLASSIC, *CLASSIC_TOP)
    found = [type(m) for m in net.modules() if not list(m.children())]
    assert found[1:] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]
    assert shapes(net) == [(32, 1, 3, 3), (128, 32 * 13 * 13), (10, 128)]
    assert net(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert net.notes == ()


def test_a_simple_rnn_of_50_units_reads_digits_row_by_row() -> None:
    net = pictures({"name": "simple_rnn", "units": 50})
    assert shapes(net) == [(50, 28), (50, 50), (10, 50)]
    assert net(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_recurrent_layers_stand_on_each_other() -> None:
    net = pictures({"name": "lstm", "units": 6, "give": "all"}, "layer_norm", {"name": "gru", "units": 5})
    assert net(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_rows_of_a_table_go_in_with_categories_beside_the_numbers() -> None:
    net = sequential({"name": "dense", "units": 8}, "batch_norm", "gelu", inputs=3, cardinalities=[4, 9])
    x, ids = torch.randn(5, 3), torch.randint(0, 4, (5, 2))
    assert net(x, ids).shape == (5, 10)
    only = sequential("relu", inputs=0, cardinalities=[4, 9])
    assert only(categorical=ids).shape == (5, 10)
    assert sequential("relu", inputs=12)(torch.randint(0, 9, (5, 2, 6))).shape == (5, 10)


def test_residual_layers_nest() -> None:
    block = {"name": "residual", "layers": ["relu", {"name": "conv", "filters": 4}]}
    outer = {"name": "residual", "layers": [block, "batch_norm", block]}
    net = pictures({"name": "conv", "filters": 4}, outer, "global_pool", side=8)
    x = net.hidden[0](torch.randn(2, 1, 8, 8))
    assert torch.equal(net.hidden[1](x), x + net.hidden[1].inner(x))
    assert net(torch.randn(2, 1, 8, 8)).shape == (2, 10)


def test_weights_fit_the_activation_behind_what_lies_between() -> None:
    torch.manual_seed(0)
    dense = {"name": "dense", "units": 400}
    net = sequential(dense, "batch_norm", {"name": "dropout", "rate": 0.1}, "relu", dense, dense, "selu", inputs=400)
    spreads = [float(m.weight.detach().std()) * 20 for m in net.hidden if isinstance(m, nn.Linear)]
    assert spreads == pytest.approx([2**0.5, 1.0, 1.0], rel=0.02)


def test_layers_are_left_in_training_and_their_statistics_untouched() -> None:
    net = sequential("batch_norm", {"name": "dropout", "rate": 0.5}, inputs=4)
    assert all(m.training for m in net.modules())
    assert int(net.hidden[0].num_batches_tracked) == 0


@pytest.mark.parametrize("end", [[], ["softmax"]])
def test_a_declared_output_layer_is_the_output_layer_and_a_softmax_is_left_to_the_loss(end: list[str]) -> None:
    torch.manual_seed(0)
    plain = pictures("flatten", *CLASSIC_TOP)
    torch.manual_seed(0)
    net = pictures("flatten", *CLASSIC_TOP, {"name": "dense", "units": 10}, *end)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), net.parameters(), strict=True))
    x = torch.randn(4, 1, 28, 28)
    assert torch.equal(net(x), plain(x))
    assert [note.partition(":")[0] for note in net.notes] == ["layer 5, softmax"] * len(end) + ["layer 4, dense"]


@pytest.mark.parametrize("end", ["relu", "sigmoid", "tanh"])
def test_what_looks_like_outputs_behind_an_activation_is_told_to_be_hidden(end: str) -> None:
    net = pictures("flatten", {"name": "dense", "units": 10}, end)
    assert net.notes == (f"layer 3, {end}: is hidden, as the output layer, a dense of 10 units, is added behind it",)
    assert not pictures("flatten", {"name": "dense", "units": 11}, end).notes


def test_a_softmax_behind_other_layers_is_left_to_the_loss() -> None:
    net = pictures("flatten", "softmax")
    assert net.notes == ("layer 2, softmax: left to the loss, which applies it once",)
    assert float(net(torch.randn(4, 1, 28, 28)).detach().sum(1).abs().max()) < 0.9  # no probabilities


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([], r"model\.layers: there are no layers; write layers = "),
        (["flaten"], r"model\.layers, layer 1: no layer is named 'flaten'; did you mean 'flatten'\?"),
        ([{"name": "Linear", "units": 3}], r"layer 1: no layer is named 'Linear'; it is called 'dense' here"),
        (["relu", "geru"], r"layer 2: no layer is named 'geru'; did you mean '(gru|gelu)'"),
        ([{"units": 3}], r"model\.layers, layer 1: names no layer; write \{ name"),
        (["flatten", {"name": "dense", "unit": 3}], r"layer 2, dense\.unit: unknown option; did you mean 'units'\?"),
        (["flatten", "dense"], r"layer 2, dense\.units: required, but missing"),
        (["flatten", {"name": "dense", "units": 0}], r"layer 2, dense\.units: 0 is out of range"),
        ([{"name": "dense", "units": 3, "activation": "relu"}], r"dense\.activation: .*; write 'relu' behind"),
        ([{"name": "relu", "slope": 1}], r"layer 1, relu\.slope: unknown option; there are none"),
        (
            [{"name": "dense", "units": 3}],
            r"layer 1, dense: takes features, not maps, and was given maps of channels, height, width \[1, 28, 28\]; "
            r"write 'flatten'",
        ),
        (["flatten", "max_pool"], r"layer 2, max_pool: takes images .*was given features \[784\]; use it before"),
        (["max_pool"] * 5, r"layer 5, max_pool: .*does not fit into 1x1 pixels"),
        ([{"name": "conv", "filters": 4}], r"outputs need features, but the last layer gives \[4, 28, 28\]; write 'fl"),
        (["softmax", "flatten"], r"layer 1, softmax: stands within the network"),
        (["flatten", {"name": "dense", "units": 7}, "softmax"], r"layer 2, dense: 7 units .* 10 classes; write units"),
        (
            ["flatten", {"name": "residual", "layers": ["relu", {"name": "conv", "filters": 2}]}],
            r"model\.layers, layer 2, residual, layer 2, conv: takes images .*features \[784\]",
        ),
        (
            [{"name": "residual", "layers": ["relu", "relo"]}],
            r"layer 1, residual, layer 2: no layer is named 'relo'; did you mean 'relu'",
        ),
        (["flatten", {"name": "residual", "layers": [{"name": "dense", "units": 3}]}], r"give features \[3\]"),
        ([3], r"model\.layers: 3 \(at position 0\) is not valid"),
    ],
)
def test_a_mistake_names_the_layer_its_input_and_what_to_write(listed: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pictures(*listed)


def test_a_softmax_of_one_output_and_a_table_without_columns_are_told() -> None:
    with pytest.raises(UserError, match="of one output is always 1"):
        sequential({"name": "dense", "units": 1}, "softmax", inputs=3, outputs=1)
    with pytest.raises(UserError, match="there are no inputs"):
        sequential("relu", inputs=0)


def table(*listed: Any, outputs: int = 10, expects: str | None = None) -> Any:
    torch.manual_seed(0)
    return sequential(*listed, inputs=6, outputs=outputs, expects=expects)


DENSE_10, DENSE_1 = {"name": "dense", "units": 10}, {"name": "dense", "units": 1}


def test_a_log_softmax_is_kept_and_a_loss_that_applies_another_changes_nothing() -> None:
    net, plain, x = table("relu", DENSE_10, "log_softmax"), table("relu"), torch.randn(4, 6)
    assert torch.equal(net(x), plain(x).log_softmax(1))
    assert net.notes[0] == "layer 3, log_softmax: kept; a softmax in the loss changes nothing more"
    y = torch.tensor([1, 2, 3, 4])
    losses = [criterion_of(name).each(net(x), y) for name in ("nll", "cross_entropy")]
    torch.testing.assert_close(*losses)


def test_a_sigmoid_is_left_to_a_loss_of_yes_or_no_and_else_an_activation() -> None:
    net, plain, x = (
        table("relu", DENSE_1, "sigmoid", outputs=1, expects="binary"),
        table("relu", outputs=1),
        torch.randn(4, 6),
    )
    assert torch.equal(net(x), plain(x))
    assert net.notes == (
        "layer 3, sigmoid: left to the loss, which applies it once",
        "layer 2, dense: has as many units as there are outputs, so it is the output layer",
    )
    hidden = table(DENSE_10, "sigmoid", expects="numbers")
    assert [type(m) for m in hidden.hidden] == [nn.Linear, nn.Sigmoid]
    assert hidden.notes == (
        "layer 2, sigmoid: is hidden, as the output layer, a dense of 10 units, is added behind it",
    )


@pytest.mark.parametrize(
    ("listed", "outputs", "expects", "message"),
    [
        (["softmax"], 3, "numbers", "layer 1, softmax: is for classes, but the loss compares numbers; leave it out"),
        (["log_softmax"], 3, "binary", "is for classes, but the loss compares yes or no"),
        (
            [DENSE_1, "sigmoid"],
            2,
            "classes",
            r"layer 1, dense: one unit and a sigmoid.* 2 classes.*write units = 2 and",
        ),
        ([DENSE_10, "sigmoid"], 1, "binary", r"10 units before a sigmoid, but the data has 1 outputs; write units = 1"),
        ([DENSE_1, "log_softmax"], 3, "classes", r"1 units before a log_softmax, but the data has 3 classes"),
    ],
)
def test_an_activation_that_does_not_fit_the_loss_is_told(
    listed: list[Any], outputs: int, expects: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        table(*listed, outputs=outputs, expects=expects)


@pytest.mark.parametrize(("end", "loss"), [("softmax", "cross_entropy"), ("log_softmax", "nll")])
def test_declared_probabilities_never_change_what_is_learned(end: str, loss: str, tmp_path: Path) -> None:
    def trained(listed: list[Any], name: str) -> Any:
        task = {"name": "image_classification", "loss": loss if listed[1:] else "cross_entropy"}
        model = {"name": "sequential", "layers": listed}
        recipe = {**DIGITS, "task": task, "model": model, "budget": "5 steps"}
        return tw.train(recipe, out=tmp_path / name, quiet=True)

    plain, declared = trained(["flatten"], "plain"), trained(["flatten", DENSE_10, end], "declared")
    assert declared.metrics["test/loss"] == pytest.approx(plain.metrics["test/loss"], rel=1e-4)
    assert any(end in note for note in declared.manifest["data"]["notes"])
    image = {"image": torch.zeros(8, 8, dtype=torch.uint8).numpy()}
    one, two = (run.predict([image])[0]["probabilities"] for run in (plain, declared))
    assert one == pytest.approx(two, rel=1e-3)


def test_rows_of_ids_become_vectors_and_are_read_step_by_step() -> None:
    net = sequential({"name": "embedding", "ids": 50, "units": 8}, {"name": "gru", "units": 5}, inputs=7)
    assert shapes(net)[0] == (50, 8)
    assert net(torch.randint(0, 50, (2, 7))).shape == (2, 10)


def test_images_of_another_shape_are_told() -> None:
    with pytest.raises(UserError, match=r"built for images \(1, 28, 28\), but was given \(3, 28, 28\)"):
        pictures("flatten")(torch.randn(1, 3, 28, 28))


def test_every_layer_is_explained() -> None:
    page = as_text(explain("layer"))
    assert all(re.search(rf"^ +{name} ", page, re.MULTILINE) for name in layers.names())
    assert "units" in as_text(explain("layer.dense"))
    with pytest.raises(UserError, match=r"did you mean 'units'"):
        explain("layer.dense.unit")


@pytest.mark.parametrize(
    "listed",
    [
        [{"name": "conv", "filters": 16}, "batch_norm", "relu", "max_pool", "flatten", "softmax"],
        [{"name": "simple_rnn", "units": 50}],
    ],
    ids=["conv", "rnn"],
)
def test_a_list_in_a_recipe_learns_the_digits_and_its_config_repeats_it(listed: list[Any], tmp_path: Path) -> None:
    recipe = {**DIGITS, "model": {"name": "sequential", "layers": listed}}
    run = tw.train(recipe, out=tmp_path / "one", quiet=True)
    assert run.metrics["test/accuracy"] > 0.8
    again = tw.train(run.path / "config.toml", out=tmp_path / "two", quiet=True)
    assert again.metrics["test/accuracy"] == run.metrics["test/accuracy"]


def test_a_list_learns_from_a_table(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
        "model": {"name": "sequential", "layers": [{"name": "dense", "units": 32}, "silu"]},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "batch_size": 16,
        "budget": "60 steps",
    }
    assert tw.train(recipe, out=tmp_path / "run", quiet=True).metrics["test/accuracy"] > 0.8
