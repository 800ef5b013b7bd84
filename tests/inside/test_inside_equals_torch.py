"""Every number that the inside view shows is torch's: forward, gradients and update, for each family of models.

The numbers are computed a second time by the plain model, its autograd and its optimizer, without anything recorded.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import trainwright.explain  # noqa: F401 - fills the registries
from trainwright.core.batch import Batch
from trainwright.core.kinds import models, optimizers
from trainwright.core.task import Loss, Progress
from trainwright.engine.state import TrainState
from trainwright.inside.told import cell_of, numbers_of
from trainwright.runs.inspect.graph import Node, What
from trainwright.runs.inspect.taken import Stand, Taken, take

WHAT: tuple[What, ...] = ("value", "gradient", "change")
CLOSE: dict[str, Any] = {"rtol": 2e-5, "atol": 2e-6}  # float32 sums in another order


class Case(NamedTuple):
    make: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, Tensor]]
    loss: Callable[[Tensor], Tensor]  # of the outputs, summed
    optimizer: str = "adamw"


class Plain:
    """As much of a task as a step needs."""

    def __init__(self, loss: Callable[[Tensor], Tensor]) -> None:
        self.of = loss

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        return Loss(self.of(model(**batch.inputs)))


def tokens(count: int = 9) -> dict[str, Tensor]:
    return {"tokens": torch.arange(count)[None] * 5 % 17}


def classes(outputs: Tensor) -> Tensor:
    flat = outputs.flatten(0, -2)
    return nn.functional.cross_entropy(flat, torch.arange(len(flat)) % flat.shape[1], reduction="none").sum()


def squares(outputs: Tensor) -> Tensor:
    return nn.functional.mse_loss(outputs, torch.ones_like(outputs), reduction="none").flatten(1).mean(1).sum()


def texts() -> dict[str, Tensor]:
    return tokens() | {"lengths": torch.tensor([9]), "letters": torch.tensor([[3, 1, 2, 0]])}


def sentences() -> dict[str, Tensor]:
    return {"source": tokens(6)["tokens"], "lengths": torch.tensor([6]), "written": tokens(4)["tokens"]}


def image(channels: int, side: int) -> Callable[[], dict[str, Tensor]]:
    return lambda: {"x": torch.randn(1, channels, side, side)}


def row() -> dict[str, Tensor]:
    return {"x": torch.randn(1, 5)}


class Odd(nn.Module):
    """Operations that are rare in networks: edges repeated, padding that is no zero, choices, bounds, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(15, 3)
        self.shift = nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = torch.where(x > 0, x, x * self.shift).clamp(-0.9, 0.9)
        wide = nn.functional.pad(x[:, None], (2, 1), mode="replicate")
        wide = nn.functional.avg_pool1d(wide, 3, 1)
        wide = nn.functional.pad(wide, (0, 1), value=0.5).flatten(1)
        both = torch.cat([wide, x.flip(1).roll(2, 1), x.mean(1, keepdim=True)], 1)
        said: Tensor = self.last(both.mul_(2).div(1.5) - both.std(1, keepdim=True))
        return said


CASES = {
    "odd": Case(Odd, row, classes),
    "mlp": Case(lambda: models["mlp"](inputs=5, outputs=3, width=8), row, classes),
    "mlp, sgd": Case(lambda: models["mlp"](inputs=5, outputs=1, width=8, activation="tanh"), row, squares, "nesterov"),
    "cnn": Case(
        lambda: models["cnn"](channels=1, size=(8, 8), outputs=4, filters=(3, 4), dense=(6,)), image(1, 8), classes
    ),
    "resnet": Case(
        lambda: models["resnet"](channels=2, size=(16, 16), outputs=4, depth=8, width=4), image(2, 16), classes, "sgd"
    ),
    "gpt": Case(lambda: models["gpt"](vocab=17, context=9, size="nano", depth=2), tokens, classes),
    "gpt-2": Case(
        lambda: models["gpt"](vocab=17, context=9, size="gpt2-124m", depth=2, width=16, heads=2), tokens, classes
    ),
    "gpt, grouped": Case(
        lambda: models["gpt"](
            vocab=17, context=9, depth=1, width=16, heads=4, groups=2, norm="rms", activation="swiglu", qk_norm=True
        ),
        tokens,
        classes,
    ),
    "lstm": Case(lambda: models["rnn_lm"](vocab=17, width=6, units=5, depth=2), tokens, classes),
    "gru": Case(lambda: models["rnn_lm"](vocab=17, cell="gru", width=6, units=5, depth=1), tokens, classes, "adam"),
    "rnn": Case(lambda: models["rnn_lm"](vocab=17, cell="rnn", width=6, units=5, depth=1), tokens, classes),
    "rnn, both": Case(
        lambda: models["rnn"](vocab=17, padding=0, outputs=3, letters=4, width=6, units=5, layers=2), texts, classes
    ),
    "rnn, last": Case(
        lambda: models["rnn"](vocab=17, padding=0, outputs=3, letters=4, width=6, units=5, pool="last"), texts, classes
    ),
    "encoder": Case(
        lambda: models["transformer_encoder"](
            vocab=17, padding=0, context=12, outputs=3, letters=4, width=8, depth=1, heads=2
        ),
        texts,
        classes,
    ),
    "translation": Case(
        lambda: models["transformer"](vocab=17, source_vocab=17, context=12, shared=False, width=8, depth=1, heads=2),
        sentences,
        classes,
    ),
    "text_cnn": Case(
        lambda: models["text_cnn"](vocab=17, padding=0, outputs=3, letters=4, width=6, filters=4), texts, classes
    ),
}


def made(case: Case) -> tuple[nn.Module, Batch]:
    """The model after two steps of its optimizer, so that this remembers something."""
    torch.manual_seed(0)
    model = case.make().eval()
    inputs = case.inputs()
    return model, Batch(inputs, {}, torch.tensor(3.0), torch.tensor([0]), 1)


def optimizer_of(case: Case, model: nn.Module) -> torch.optim.Optimizer:
    found: torch.optim.Optimizer = optimizers[case.optimizer](model.parameters(), lr=0.01)
    return found


def warmed(case: Case, model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(2):
        optimizer.zero_grad()
        (case.loss(model(**batch.inputs)) / 3).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def looked(case: Case) -> Taken:
    """The step as the inside view takes it."""
    model, batch = made(case)
    optimizer = optimizer_of(case, model)
    warmed(case, model, batch, optimizer)
    task: Any = Plain(case.loss)
    return take(task, batch, Stand(TrainState.of(model, optimizer), 0.5, 10, light=False), clip=0.1)


class Reference(NamedTuple):
    """The same by torch alone."""

    outputs: dict[str, list[Tensor]]  # of each module, call by call
    slopes: dict[str, list[Tensor]]  # the loss by them
    before: dict[str, Tensor]
    gradients: dict[str, Tensor]
    after: dict[str, Tensor]
    loss: float
    moved_loss: float


def reference(case: Case) -> Reference:
    model, batch = made(case)
    optimizer = optimizer_of(case, model)
    warmed(case, model, batch, optimizer)
    outputs: dict[str, list[Tensor]] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: outputs.setdefault(name, []).append(first(out)))
    loss = case.loss(model(**batch.inputs)) / 3
    live = {name: [t for t in found if t.requires_grad] for name, found in outputs.items()}
    for found in live.values():
        for t in found:
            t.retain_grad()
    loss.backward()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradients = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    optimizer.step()
    after = {n: p.detach().clone() for n, p in model.named_parameters()}
    slopes = {n: [t.grad for t in found if t.grad is not None] for n, found in live.items()}
    return Reference(
        {n: [t.detach() for t in found] for n, found in outputs.items()}, slopes, before, gradients, after, loss.item(),
        case.loss(model(**batch.inputs)).item() / 3,
    )  # fmt: skip


def first(out: Any) -> Tensor:
    found = out[0] if isinstance(out, tuple) else out
    return found.data if isinstance(found, nn.utils.rnn.PackedSequence) else found


@pytest.fixture(scope="module", params=list(CASES))
def pair(request: pytest.FixtureRequest) -> tuple[Taken, Reference]:
    return looked(CASES[request.param]), reference(CASES[request.param])


def weights(taken: Taken) -> list[Node]:
    return [n for n in taken.shown if n.kind == "weight"]


def test_weights_gradients_and_changes_are_those_of_autograd_and_the_optimizer(
    pair: tuple[Taken, Reference],
) -> None:
    taken, plain = pair
    assert {n.name for n in weights(taken)} == set(plain.gradients)
    assert taken.finite
    for node in weights(taken):
        torch.testing.assert_close(node.value, plain.before[node.name], rtol=0, atol=0)
        assert node.gradient is not None
        assert node.change is not None
        torch.testing.assert_close(node.gradient, plain.gradients[node.name], **CLOSE)
        felt = plain.gradients[node.name].abs() > 1e-6  # Adam divides by the gradient's size: rounding, where it is 0
        moved = node.value + node.change
        torch.testing.assert_close(moved[felt], plain.after[node.name][felt], rtol=1e-5, atol=1e-6)
    assert sum(float(n.change.abs().sum()) for n in weights(taken) if n.change is not None) > 0


def test_what_each_module_gave_and_how_it_moves_the_loss_are_the_plain_models(pair: tuple[Taken, Reference]) -> None:
    taken, plain = pair
    seen = 0
    for name, found in plain.outputs.items():
        nodes = [n for n in taken.graph.nodes if n.kind == "value" and n.name == name]
        for output in found:
            alike = [n for n in nodes if n.value.numel() == output.numel()]
            same = [n for n in alike if torch.allclose(n.value.reshape(-1), output.reshape(-1), **CLOSE)]
            if not same:
                continue  # a module that only passes on, such as a sequence of others
            seen += 1
            whole = any(n.op.endswith(":state") for n in same)  # torch does not tell what goes through its cells
            for slope in plain.slopes.get(name, ())[:1] if not whole else ():
                assert any(
                    n.gradient is not None and torch.allclose(n.gradient.reshape(-1), slope.reshape(-1), **CLOSE)
                    for n in same
                ), name
    leaves = [n for n in plain.outputs if not any(o.startswith(f"{n}.") for o in plain.outputs) and n]
    assert seen >= 0.6 * len(leaves), (seen, leaves)
    assert taken.loss == pytest.approx(plain.loss, rel=1e-5)
    assert taken.difference <= 1e-5 * max(1.0, abs(plain.loss))
    assert taken.after == pytest.approx(plain.moved_loss, rel=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_the_states_of_a_recurrent_layer_move_the_loss_as_when_torch_takes_one_step_at_a_time(kind: str) -> None:
    case = CASES[kind]._replace(make=lambda: models["rnn_lm"](vocab=17, cell=kind, width=6, units=5, depth=1))
    taken, (model, batch) = looked(case), made(case)
    warmed(case, model, batch, optimizer_of(case, model))
    layer: Any = model.get_submodule("layers.0")
    x, state, states = model.get_submodule("embed")(batch.inputs["tokens"]), None, []
    for step in range(x.shape[1]):
        _, state = layer(x[:, step : step + 1], state)
        states.append(state if kind != "lstm" else state[0])
        states[-1].retain_grad()
    outputs = model.get_submodule("head")(torch.cat(states, 1))
    (case.loss(outputs) / 3).backward()
    node = next(n for n in taken.shown if n.op.endswith(":state"))
    assert node.gradient is not None
    torch.testing.assert_close(node.value, torch.cat(states, 1)[0].detach(), **CLOSE)
    torch.testing.assert_close(node.gradient, torch.cat([s.grad for s in states], 1)[0], **CLOSE)


def test_every_tensor_is_what_its_operation_makes_of_its_operands(pair: tuple[Taken, Reference]) -> None:
    taken, _ = pair
    for node in taken.shown:
        if node.kind != "value":
            continue
        assert node.run is not None
        given = []
        for operand in node.operands:
            value = operand.of(taken.graph.nodes[operand.node].value)
            given.append(value.nan_to_num() if value.is_floating_point() else value)
        again = node.run(*given).reshape(node.value.shape)
        known = node.value.isfinite()
        torch.testing.assert_close(again[known], node.value[known], **CLOSE)
        assert known.any()


def test_every_cell_of_every_gradient_is_what_autograd_passes_back_through_what_reads_it(
    pair: tuple[Taken, Reference],
) -> None:
    """From the loss, whose gradient is 1, on: so each is that of the loss, and not of modules and weights alone."""
    taken, _ = pair
    nodes, told = [n for n in taken.shown if n.name != "probabilities"], 0
    assert nodes[-1].gradient is not None
    assert nodes[-1].gradient.item() == 1
    for node in nodes[:-1]:
        if node.gradient is None:
            continue
        passed = torch.zeros_like(node.value)
        for reader in nodes:
            if reader.gradient is not None and any(o.node == node.number for o in reader.operands):
                passed += passed_back(taken, reader, node)
        known = node.gradient.isfinite() & node.value.isfinite()
        torch.testing.assert_close(node.gradient[known], passed[known], **CLOSE, msg=lambda m, n=node: f"{n.name}: {m}")
        told += int(known.sum())
    assert told > 50


def passed_back(taken: Taken, reader: Node, node: Node) -> Tensor:
    """A reader's gradient, by autograd, at a node that it reads."""
    leaf = node.value.nan_to_num().clone().requires_grad_()
    given = [o.of(leaf if o.node == node.number else taken.graph.nodes[o.node].value) for o in reader.operands]
    given = [x.nan_to_num() if x.is_floating_point() else x for x in given]
    assert reader.run is not None
    assert reader.gradient is not None
    made = reader.run(*given).reshape(reader.value.shape)
    (found,) = torch.autograd.grad(made, leaf, reader.gradient.nan_to_num())
    return found


def test_the_arithmetic_of_every_displayed_cell_comes_to_its_number(pair: tuple[Taken, Reference]) -> None:
    taken, _ = pair
    dice, told = random.Random(0), 0
    for node in taken.shown:
        cells = range(node.value.numel())
        for flat in cells if len(cells) <= 12 else dice.sample(cells, 12):
            for what in WHAT:
                said: Any = cell_of(taken, node.number, flat, what)
                if node.numbers(what) is None or math.isnan(said[what]):
                    continue
                if what == "value" and node.op.startswith("other:"):
                    assert said["agrees"] is None  # no arithmetic is told of it, and so none is called right
                    continue
                assert said["agrees"], (node.op, node.name, flat, what, said)
                told += 1
                if said["terms"] and what == "gradient":
                    assert math.fsum([t["value"] for t in said["terms"]] + [said["rest"]]) == pytest.approx(
                        said["again"], rel=1e-9, abs=1e-12
                    )
    assert told > 100


def test_what_is_sent_to_the_page_is_the_tensors_themselves(pair: tuple[Taken, Reference]) -> None:
    taken, _ = pair
    for what in WHAT:
        for number, cells, scale in numbers_of(taken, what):
            kept = taken.graph.nodes[number].numbers(what)
            assert kept is not None
            assert cells.tobytes() == kept.numpy().astype("<f4").tobytes()
            assert scale >= 0


def test_arithmetic_that_is_wrong_is_not_called_right(pair: tuple[Taken, Reference]) -> None:
    taken, _ = pair
    node = next(n for n in taken.shown if n.op in ("linear", "conv"))
    kept = node.value.clone()
    node.value += 0.01 * (1 + node.value.abs())
    assert not cell_of(taken, node.number, 0, "value")["agrees"]
    node.value.copy_(kept)


def test_a_large_network_has_its_values_and_slopes_without_a_copy_of_its_weights() -> None:
    case = CASES["gpt"]
    plain, (model, batch) = reference(case), made(case)
    warmed(case, model, batch, optimizer_of(case, model))
    for weight in model.parameters():
        weight.requires_grad_(False)
    task: Any = Plain(case.loss)
    state = TrainState.of(model, torch.optim.SGD(model.parameters(), lr=0.0))
    taken = take(task, replace(batch), Stand(state, 0.0, 10, light=True))
    assert taken.loss == pytest.approx(plain.loss, rel=1e-5)
    head = next(n for n in taken.shown if n.name == "head")
    assert head.gradient is not None
    torch.testing.assert_close(head.gradient, plain.slopes["head"][0], **CLOSE)
    for node in weights(taken):
        assert node.value.data_ptr() == model.get_parameter(node.name).data_ptr()
        assert node.change is None
