"""Cases become programs: layers, losses and data with the semantics that the files of cases state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.doctor import losses
from benchmarks.doctor.case import CannotBuildError, Case
from benchmarks.doctor.causes import ACCEPTED, ROWS, accepted, rows_of
from benchmarks.doctor.described import described
from benchmarks.doctor.formula import worked_out
from benchmarks.doctor.inits import fill
from benchmarks.doctor.optimizers import groups_of
from benchmarks.doctor.prepare import arrays
from benchmarks.doctor.programs import program, programs

XOR = {"fn": "inline", "X": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [[0], [1], [1], [0]]}


def case(**facts: Any) -> Case:
    """A small program in the words of the files."""
    dataset = {"gen": XOR, "preprocess": "none", "split": "all rows train", "target": "as listed"}
    told = {
        "id": "a-case",
        "status": "buggy",
        "framework": "keras",
        "task": "binary classification",
        "dataset": {**dataset, **facts.pop("dataset", {})},
        "input_shape": [2],
        "layers": [
            {"type": "dense", "units": 3, "activation": "relu", "kernel_init": "he_uniform", "bias_init": "zeros"},
            {"type": "dense", "units": 1, "activation": "sigmoid"},
        ],
        "loss": "binary_crossentropy",
        "optimizer": {"name": "adam", "lr": 0.001},
        "batch_size": 2,
        "epochs": 3,
        "known_problem": ["DYING_RELU"],
    }
    return Case("a-case", {**told, **facts})


def rows(how: str, **gen: Any) -> tuple[Any, Any]:
    made = described({"how": how, **gen}, np.random.default_rng(0))
    return made.x, made.y


def test_layers_and_activations_are_modules_of_their_own() -> None:
    built = program(case())
    assert [type(layer) for layer in built.module(0)] == [nn.Linear, nn.ReLU, nn.Linear, nn.Sigmoid]  # type: ignore[arg-type]
    assert isinstance(built.loss, nn.BCELoss)
    assert (built.batch_size, built.epochs, built.metric, built.accepted) == (2, 3, "accuracy", frozenset({10}))


def test_a_seed_decides_the_weights_and_leaves_the_random_state_alone() -> None:
    built, state = program(case()), torch.get_rng_state()
    first, again, other = (built.module(seed)[0].weight for seed in (0, 0, 1))  # type: ignore[index]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"layers": [{"type": "capsule", "units": 3}]}, "capsule"),
        ({"loss": "wishful_thinking"}, "wishful_thinking"),
        ({"optimizer": {"name": "hope"}}, "hope"),
        ({"dataset": {"gen": {"fn": "pima"}}}, "pima"),
        ({"dataset": {"gen": {"fn": "described", "how": "the weather of last year"}}}, "weather"),
        ({"layers": [{"type": "dense", "units": 1, "activation": "wiggle"}]}, "wiggle"),
        ({"layers": [{"type": "dense", "units": 1, "kernel_init": "by hand"}]}, "by hand"),
        ({"layers": [{"type": "conv2d", "filters": 3, "kernel": 3}]}, "does not fit"),
        ({"training_bug": "the cat walked over the keyboard"}, "cat"),
        ({"optimizer": "adam"}, "AttributeError"),
    ],
)
def test_what_cannot_be_built_is_told_with_its_reason(facts: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text(json.dumps({"cases": [case(**facts).facts, {**case().facts, "id": "b"}]}))
    built, skipped = programs(tmp_path)
    assert [p.id for p in built] == ["b"]
    assert [s.id for s in skipped] == ["a-case"]
    assert says in skipped[0].reason


def test_a_repaired_program_knows_the_one_it_comes_from_and_back(tmp_path: Path) -> None:
    both = [{**case().facts, "id": "bug"}, {**case().facts, "id": "fix", "pair_of": "bug"}]
    (tmp_path / "cases.json").write_text(json.dumps(both))
    assert [p.twins for p in programs(tmp_path)[0]] == [("fix",), ("bug",)]


def test_pictures_come_with_their_channels_first_and_may_be_pooled_and_flattened() -> None:
    pictures = {"fn": "inline", "X": np.zeros((4, 6, 5, 3)).tolist(), "y": [0, 1, 2, 0]}
    layers = [
        {"type": "conv2d", "filters": 4, "kernel": 3, "padding": "same", "activation": "relu"},
        {"type": "batchnorm"},
        {"type": "maxpool2d", "size": 2},
        {"type": "flatten"},
        {"type": "dense", "units": 3, "activation": "softmax"},
    ]
    built = program(
        case(
            dataset={"gen": pictures, "target": "one-hot 3"},
            input_shape=[6, 5, 3],
            layers=layers,
            loss="categorical_crossentropy",
        )
    )
    data = built.arrays()
    assert data.x.shape == (4, 3, 6, 5)
    assert data.y.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert built.module(0)(data.x).sum(-1).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize("kind", ["lstm", "gru", "simplernn", "lstmcell"])
def test_recurrent_layers_are_built_over_series(kind: str) -> None:
    series = {"fn": "inline", "X": np.zeros((4, 5, 2)).tolist(), "y": [0, 1, 1, 0]}
    layers = [{"type": kind, "units": 3}, {"type": "dense", "units": 1}]
    built = program(case(dataset={"gen": series}, input_shape=[5, 2], layers=layers, loss="mse"))
    assert built.module(0)(built.arrays().x).shape == ((4, 5, 1) if kind == "lstmcell" else (4, 1))


def test_words_are_looked_up_by_number() -> None:
    words = {"fn": "inline", "X": [[1, 2, 3], [4, 5, 6]], "y": [0, 1]}
    layers = [
        {"type": "embedding", "input_dim": 10, "output_dim": 4},
        {"type": "globalaveragepooling1d"},
        {"type": "dense", "units": 1, "activation": "sigmoid"},
    ]
    built = program(case(dataset={"gen": words}, input_shape=[3], layers=layers))
    assert built.arrays().x.dtype == torch.int64
    assert built.module(0)(built.arrays().x).shape == (2, 1)


def test_an_l2_penalty_becomes_twice_as_much_weight_decay_of_its_kernel() -> None:
    model = nn.Sequential(nn.Linear(2, 1))
    groups = groups_of(model, {"0.weight": 0.1})
    decayed = torch.optim.SGD(groups, lr=1.0)
    model(torch.zeros(1, 2)).sum().backward()
    before = model[0].weight.detach().clone()
    decayed.step()
    torch.testing.assert_close(model[0].weight.detach(), before - 2 * 0.1 * before)


def test_targets_follow_the_loss() -> None:
    integers = arrays(case(), losses.named("sparse_categorical_crossentropy")).y
    columns = arrays(case(), losses.named("mse")).y
    assert (integers.dtype, tuple(integers.shape)) == (torch.int64, (4,))
    assert (columns.dtype, tuple(columns.shape)) == (torch.float32, (4, 1))


@pytest.mark.parametrize(
    ("told", "changed"),
    [
        ("none", [0, 0.5, 2]),
        ("raw 0-255", [0, 0.5, 2]),
        ("/255", [0, 0.5 / 255, 2 / 255]),
        ("flatten 784, /2", [0, 0.25, 1]),
        ("/255 then (x-.1)/.2", [-0.5, (0.5 / 255 - 0.1) / 0.2, (2 / 255 - 0.1) / 0.2]),
        ("min-max", [0, 0.25, 1]),
        ("min-max to [-1.92, 1.92]", [-1.92, -0.96, 1.92]),
        ("none (x100 then /100)", [0, 0.5, 2]),
        ("standardise", ((np.array([0, 0.5, 2]) - 2.5 / 3) / np.std([0, 0.5, 2])).tolist()),
    ],
)
def test_preprocessing_is_read_clause_by_clause(told: str, changed: list[float]) -> None:
    gen = {"fn": "inline", "X": [[0], [0.5], [2]], "y": [0, 1, 1]}
    made = arrays(case(dataset={"gen": gen, "preprocess": told}, input_shape=[1]), losses.named("mse"))
    assert made.x.flatten().tolist() == pytest.approx(changed)
    assert made.doubts == ()


def test_what_of_the_data_is_not_understood_is_a_doubt() -> None:
    made = arrays(case(dataset={"preprocess": "whitened by moonlight"}), losses.named("mse"))
    assert "moonlight" in made.doubts[0]


@pytest.mark.parametrize(
    ("split", "train", "valid"),
    [
        ("all rows train", 10, 0),
        ("first 7 rows train, last 3 validation", 7, 3),
        ("first 80 % train", 8, 2),
        ("test 20 %, random_state=42", 8, 2),
        ("validation_split .2; 10000 test", 8, 2),
        ("10-fold cross-validation", 9, 1),
        ("validation = first 4 training rows", 10, 4),
    ],
)
def test_splits_are_read(split: str, train: int, valid: int) -> None:
    gen = {"fn": "inline", "X": [[i] for i in range(10)], "y": list(range(10))}
    made = arrays(case(dataset={"gen": gen, "split": split}, input_shape=[1]), losses.named("mse"))
    assert (len(made.x), 0 if made.x_valid is None else len(made.x_valid)) == (train, valid)


def test_sentences_about_data_are_read() -> None:
    x, y = rows("x from -100 to 100 step 0.5 (400 rows), y = x^4")
    assert (len(x), x[0], y[0]) == (400, -100, 1e8)
    x, y = rows("x: 100 points from 1 to 2; y = 5x")
    assert (len(x), x[-1], y[-1]) == (100, 2, 10)
    x, y = rows("60x28x28 U(0,1)/255, labels uniform random over 10")
    assert x.shape == (60, 28, 28)
    assert x.max() <= 1 / 255
    assert set(y) == set(range(10))
    x, y = rows("x ~ U(0,1) shape (30,5,1); y ~ U(0,1) shape (30,5,1), independent of x")
    assert x.shape == y.shape == (30, 5, 1)
    x, y = rows("x from 0 to 10 step .05; y = .05*(15.7x - 7.2x^2 + 1.4x^3)")
    np.testing.assert_allclose(y, 0.05 * (15.7 * x - 7.2 * x**2 + 1.4 * x**3))
    x, y = rows("x ~ U(-10,10) 50 rows sorted; y = sin(x); both min-max scaled to [0,1]")
    assert (x.min(), x.max(), y.min(), y.max()) == (0, 1, 0, 1)
    x, y = rows("100 rows, 30 features U(-1,1); y = column 1")
    np.testing.assert_array_equal(y, x[:, 1])
    x, y = rows("200 rows of 4 features U(0,1); label 1 if x0 + x1 > 1")
    np.testing.assert_array_equal(y, x[:, 0] + x[:, 1] > 1)
    x, y = rows("integers from 1 to 10, y = 2x + 1")
    assert y.tolist() == (2 * x + 1).tolist() == list(range(3, 22, 2))


@pytest.mark.parametrize(
    ("how", "shape", "says"),
    [
        ("x: 0,1,2,...,99; y = 2x", (100,), lambda x: 2 * x),
        ("x from 1 to 100; y = 3x + 5", (100,), lambda x: 3 * x + 5),
        ("y = sin(x), x from 0 to 6.28, 1000 points", (1000,), np.sin),
        ("x = linspace(-1, 1, 200); y = x^3", (200,), lambda x: x**3),
        ("x from -5 to 5 in 100 steps; y = x^2 + 3", (100,), lambda x: x**2 + 3),
        ("10000 rows of 2 integers 0..9; y = x0 + x1", (10000, 2), lambda x: x.sum(1)),
        ("500 rows N(0,1) with 10 features; y = sum of features", (500, 10), lambda x: x.sum(1)),
        ("100 samples of 3 features U(0,1); target is the mean", (100, 3), lambda x: x.mean(1)),
        ("1000 rows of 8 random bits; y = parity", (1000, 8), lambda x: x.sum(1) % 2),
        ("XOR of two random bits, 1000 rows", (1000, 2), lambda x: x[:, 0] != x[:, 1]),
        ("labels = argmax of the row; 1000 rows, 4 features U(0,1)", (1000, 4), lambda x: x.argmax(1)),
        ("integers 0..99; label 1 if even", (100,), lambda x: x % 2 == 0),
        ("x ~ N(0,1) shape (50,10); y = 1 if sum > 0", (50, 10), lambda x: x.sum(1) > 0),
    ],
)
def test_sentences_of_other_forms_are_read_too(how: str, shape: tuple[int, ...], says: Any) -> None:
    x, y = rows(how)
    assert x.shape == shape
    np.testing.assert_allclose(y, says(x))


def test_two_classes_have_ranges_or_bells_of_their_own() -> None:
    x, y = rows("class A N(0,1), class B N(30,1), 2 features, 50 rows each")
    assert x.shape == (100, 2)
    assert (x[y == 0].max(), x[y == 1].min()) == (pytest.approx(0, abs=5), pytest.approx(30, abs=5))
    x, y = rows("200 rows: class A both features U(.2,.4), class B both features U(.5,.7), alternating")
    assert y[:4].tolist() == [0, 1, 0, 1]
    assert x[y == 0].max() <= 0.4 < 0.5 <= x[y == 1].min()


def test_pictures_may_be_counted_apart_from_their_size() -> None:
    assert rows("6 images 32x32x3 U(0,1), labels uniform random over 5")[0].shape == (6, 32, 32, 3)


def test_rows_for_judging_may_come_from_another_range() -> None:
    made = described(
        {"how": "x: 10 points 0..10; y = x^2; test x: 5 points 8..12"},
        np.random.default_rng(0),
    )
    assert made.x_test is not None
    assert made.y_test is not None
    assert made.y_test.tolist() == [64, 81, 100, 121, 144]


@pytest.mark.parametrize("text", ["__import__('os')", "x.real", "(lambda: 1)()", "open(x)", "y + 1", ""])
def test_a_formula_is_arithmetic_and_nothing_else(text: str) -> None:
    with pytest.raises(CannotBuildError):
        worked_out(text, {"x": np.ones(2)})


def test_binary_crossentropy_has_no_gradient_outside_the_unit_interval() -> None:
    output = torch.tensor([[2.0], [-1.0], [0.3]], requires_grad=True)
    losses.binary_crossentropy(output, torch.tensor([[0.0], [1.0], [1.0]])).backward()
    assert output.grad is not None
    assert output.grad.flatten().tolist() == pytest.approx([0, 0, -1 / 0.3 / 3])


def test_categorical_crossentropy_divides_the_rows_by_their_sums() -> None:
    output = torch.tensor([[2.0, 6.0]])
    value = losses.categorical_crossentropy(output, torch.tensor([[0.0, 1.0]]))
    assert float(value) == pytest.approx(-np.log(0.75))


def test_categorical_crossentropy_over_one_unit_is_nothing() -> None:
    output = torch.tensor([[0.3], [0.9]], requires_grad=True)
    value = losses.categorical_crossentropy(output, torch.ones(2, 1))
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    assert output.grad is not None
    assert output.grad.abs().max() == 0


def test_sparse_crossentropy_clamps_raw_outputs() -> None:
    output = torch.tensor([[5.0, -3.0, 0.5]])
    value = losses.sparse_categorical_crossentropy(output, torch.tensor([2]))
    assert float(value) == pytest.approx(-np.log(0.5 / 1.5), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "last", "kind"),
    [
        ("cross_entropy (logits)", "linear", nn.CrossEntropyLoss),
        ("sparse_categorical_crossentropy(from_logits=True)", "linear", nn.CrossEntropyLoss),
        ("nll", "log_softmax", nn.NLLLoss),
        ("binary_crossentropy", "sigmoid", nn.BCELoss),
        ("binary_crossentropy(from_logits=True)", "linear", nn.BCEWithLogitsLoss),
        ("mse", "linear", nn.MSELoss),
    ],
)
def test_pytorchs_own_loss_is_taken_where_it_means_the_same(text: str, last: str, kind: type[nn.Module]) -> None:
    assert isinstance(losses.loss_of(text, last, torch.zeros(1)), kind)


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("sparse_categorical_crossentropy (on probabilities)", "linear"),
        ("binary_crossentropy", "linear"),
        ("binary_crossentropy", "relu"),
        ("categorical_crossentropy", "softmax"),
    ],
)
def test_keras_arithmetic_is_kept_where_pytorch_has_none(text: str, last: str) -> None:
    assert losses.loss_of(text, last, torch.zeros(1)) is losses.FUNCTIONS[losses.named(text).name]


def test_targets_that_pytorchs_binary_loss_refuses_are_compared_as_keras_does() -> None:
    assert losses.loss_of("binary_crossentropy", "sigmoid", torch.tensor([3.0])) is losses.binary_crossentropy


def test_initializers_are_found_under_their_many_names() -> None:
    for name in ("glorot_uniform", "HeNormal", "constant 0.1", "normal(0, 0.01)", "U(-1, 1)", {"name": "he_uniform"}):
        how = fill(name)
        assert how is not None
        how(torch.empty(3, 3))
    assert fill("torch default") is None


def test_every_problem_has_rows_of_the_table() -> None:
    assert set(ROWS) == set(range(1, 39))
    for name, numbers in ACCEPTED.items():
        assert numbers, name
        assert numbers <= set(ROWS), name
    assert rows_of("gradients exploding") == rows_of("EXPLODING_GRADIENT")
    assert rows_of("UNNORMALIZED_INPUT") == {18}
    assert accepted(["NO_SIGNAL", "MISSING_ZERO_GRAD"]) == {23, 25}
    assert accepted(["something never seen"]) == frozenset()
