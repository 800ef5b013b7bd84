"""Drawing a model's first weights anew: which weights are drawn, with what gain, and what stays."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.models.draw import Drawn, draw
from trainwright.models.inits import constant, kaiming_normal, orthogonal, xavier_uniform, zeros
from trainwright.models.wiring import Behind


def drawn(model: nn.Module, rule: Any, gains: dict[str, float] | None = None, seed: int = 0) -> Drawn:
    found = {name: Behind("", gain) for name, gain in (gains or {}).items()}
    return draw(model, model.state_dict(), rule, found, seed)


def marked(model: nn.Module) -> nn.Module:
    """Every number of it is 7, so that what is drawn can be told from what stays."""
    for p in model.parameters():
        nn.init.constant_(p, 7.0)
    return model


def kept(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if bool((p == 7).all())}


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.dense = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.conv = nn.Conv2d(2, 4, 3)
        self.maps = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 2, 3)
        self.lstm = nn.LSTM(4, 3, num_layers=2, bidirectional=True)
        self.look = nn.MultiheadAttention(4, 2)
        self.own = nn.Parameter(torch.ones(3, 3))
        self.scale = nn.Parameter(torch.ones(3))


def test_weights_are_drawn_biases_become_zero_and_all_else_stays() -> None:
    model = marked(Everything())
    found = drawn(model, orthogonal())
    recurrent = {n for n, _ in model.named_parameters() if n.startswith("lstm.bias")}
    norms = {"norm.weight", "norm.bias", "maps.weight", "maps.bias"}
    assert kept(model) == {"table.weight", "own", "scale", *norms, *recurrent}
    for name in ("dense.bias", "conv.bias", "up.bias", "look.in_proj_bias", "look.out_proj.bias"):
        assert not bool(model.get_parameter(name).any()), name
    assert found.layers == 6
    assert found.left == ("own",)
    assert found.alike == ()


def test_gates_groups_and_queries_are_matrices_of_their_own() -> None:
    model = nn.ModuleDict(
        {"lstm": nn.LSTM(5, 4), "gru": nn.GRUCell(5, 4), "look": nn.MultiheadAttention(4, 2),
         "conv": nn.Conv1d(6, 4, 1, groups=2), "up": nn.ConvTranspose1d(4, 6, 1, groups=2)}
    ).double()  # fmt: skip
    drawn(model, orthogonal())
    parts = [
        *model.get_parameter("lstm.weight_hh_l0").split(4), *model.get_parameter("gru.weight_hh").split(4),
        *model.get_parameter("look.in_proj_weight").split(4),
        *(p.flatten(1) for p in model.get_parameter("conv.weight").split(2)),
        *(p.transpose(0, 1).flatten(1).T for p in model.get_parameter("up.weight").split(2)),
    ]  # fmt: skip
    assert len(parts) == 4 + 3 + 3 + 2 + 2
    for part in parts:
        eye = torch.eye(len(part), dtype=torch.float64)
        torch.testing.assert_close(part @ part.T, eye, rtol=1e-9, atol=1e-9)


def test_the_fans_of_a_transposed_kernel_are_told_apart() -> None:
    seen: list[tuple[int, ...]] = []

    def rule(weight: Tensor, gain: float, dice: torch.Generator) -> None:
        seen.append(tuple(weight.shape))

    drawn(nn.ModuleList([nn.Conv2d(4, 6, (2, 3), groups=2), nn.ConvTranspose2d(4, 6, (2, 3), groups=2)]), rule)
    assert seen == [(3, 2, 2, 3)] * 4  # outputs and inputs of a group, then the window


def test_each_layer_has_its_own_gain_and_gates_have_1() -> None:
    model = nn.ModuleDict({"a": nn.Linear(400, 300), "b": nn.Linear(400, 300), "rnn": nn.RNN(400, 300)})
    drawn(model, kaiming_normal(), {"a": 3.0, "rnn": 5.0})
    for name, gain in (("a.weight", 3.0), ("b.weight", 1.0), ("rnn.weight_ih_l0", 1.0)):
        spread = float(model.get_parameter(name).detach().std())
        # the deviation of n normal numbers is off by its share 1/√(2n); five times that happens once in 10⁶
        assert spread == pytest.approx(gain / math.sqrt(400), rel=5 / math.sqrt(2 * 400 * 300)), name


def test_the_same_seed_gives_the_same_weights_whatever_else_is_there() -> None:
    torch.manual_seed(0)
    one = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Linear(4, 3)})
    torch.manual_seed(1)
    other = nn.ModuleDict({"new": nn.Linear(9, 9), "a": nn.Linear(4, 3), "b": nn.Linear(4, 3)})
    before = torch.get_rng_state()
    drawn(one, xavier_uniform())
    drawn(other, xavier_uniform())
    assert torch.equal(before, torch.get_rng_state())
    for name in ("a.weight", "b.weight"):
        assert torch.equal(one.get_parameter(name), other.get_parameter(name))
    assert not torch.equal(one.get_parameter("a.weight"), one.get_parameter("b.weight"))
    again = one.get_parameter("a.weight").detach().clone()
    drawn(one, xavier_uniform(), seed=1)
    assert not torch.equal(one.get_parameter("a.weight"), again)


def test_shared_weights_are_drawn_once_and_an_embeddings_stay() -> None:
    model = nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4), "table": nn.Embedding(5, 4)})
    model["two"].weight = model["one"].weight
    head = nn.Linear(4, 5, bias=False)
    head.weight = model["table"].weight
    model["head"] = head
    marked(model)
    found = drawn(model, orthogonal())
    assert kept(model) == {"table.weight"}
    assert found.layers == 1


@pytest.mark.parametrize("rule", [zeros(), constant(value=0.1)])
def test_units_that_begin_alike_are_told(rule: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    found = drawn(model, rule)
    assert found.alike == ("0.weight",)  # one unit is alike to nothing
    assert any("0.weight: all units begin alike" in note for note in found.notes("zeros"))
    assert len(drawn(model, orthogonal()).notes("orthogonal")) == 1


def test_a_long_list_of_weights_is_cut() -> None:
    notes = Drawn(9, (), tuple(f"w{i}" for i in range(8))).notes("orthogonal")
    assert notes[0] == "init: orthogonal for the weights of 9 layers"
    assert notes[1].endswith("w0, w1, w2, w3, w4 and 3 more")


def test_a_function_of_ones_own_fills_the_weights() -> None:
    model = nn.Linear(4, 3)
    drawn(model, nn.init.xavier_uniform_)  # torch's rules with a gain fit as they are
    drawn(model, lambda weight, gain, dice: weight.normal_(generator=dice).mul_(gain))
    with pytest.raises(UserError, match=r"init: raised TypeError for a weight \(3, 4\)"):
        drawn(model, lambda weight: weight.zero_())
    with pytest.raises(UserError, match="numbers that are not finite"):
        drawn(model, lambda weight, gain, dice: weight.fill_(torch.inf))


def test_a_model_without_layers_is_told() -> None:
    with pytest.raises(UserError, match="no dense, convolutional or recurrent layer; leave init out"):
        drawn(nn.Embedding(3, 2), orthogonal())
