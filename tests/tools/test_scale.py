"""What a training would take on many devices: counted, measured, and worked out by formulas that can be checked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from trainwright.cli import main
from trainwright.core.errors import UserError
from trainwright.engine.peak import matrix_peak
from trainwright.tools.scale import Cluster, Costs, amount, forecast, line, measured

COSTS = Costs(
    device="cpu", batch=64, micro=64, parameters=25_000, weights=100_000, moments=200_000, blocks=4,
    largest=20_000, root=20_000,
    kept=0.0, kept_sample=1_000.0, norms=0, gathered=1.0, flops=1e6, fixed=0.0, sample=1e-3, update=2e-3, prepared=0.0,
    beside={},
)  # fmt: skip
FREE = Cluster(devices=4, link=1e30, latency=0.0)


def test_a_ring_sends_the_gradient_twice_but_for_its_own_part() -> None:
    assert forecast(COSTS, FREE, "ddp").sent == pytest.approx(2 * 3 / 4 * 100_000)


def test_shards_are_gathered_for_both_passes_of_each_micro_batch_and_scattered_once() -> None:
    assert forecast(COSTS, FREE, "fsdp").sent == pytest.approx(3 / 4 * (2 * 80_000 + 20_000 + 100_000))
    cut = replace(COSTS, micro=8)  # two micro-batches of a rank's 16 samples
    assert forecast(cut, FREE, "fsdp").sent == pytest.approx(3 / 4 * (2 * 2 * 80_000 + 2 * 20_000 + 100_000))
    assert forecast(cut, FREE, "ddp").sent == forecast(COSTS, FREE, "ddp").sent
    half = replace(COSTS, gathered=0.5)
    assert forecast(half, FREE, "fsdp").sent == pytest.approx(3 / 4 * (80_000 + 10_000 + 100_000))


def test_one_device_sends_nothing_and_is_the_measure() -> None:
    for mode in ("ddp", "fsdp"):
        alone = forecast(COSTS, replace(FREE, devices=1), mode)
        assert (alone.sent, alone.waited, alone.efficiency) == (0.0, 0.0, pytest.approx(1.0))


def test_copies_repeat_the_optimizer_and_shards_divide_it() -> None:
    assert forecast(COSTS, FREE, "ddp").step == pytest.approx(16e-3 + 2e-3)
    assert forecast(COSTS, FREE, "fsdp").step == pytest.approx(16e-3 + 0.5e-3)
    assert forecast(COSTS, FREE, "fsdp").efficiency == pytest.approx(66e-3 / (4 * 16.5e-3))


def test_shards_divide_weights_gradients_and_moments() -> None:
    copies, shards = forecast(COSTS, FREE, "ddp").memory, forecast(COSTS, FREE, "fsdp").memory
    for name in ("weights", "gradients", "moments"):
        assert shards[name] == copies[name] / 4
    assert copies["activations"] == shards["activations"] == 16 * 1_000


def test_what_cannot_hide_is_waited_for() -> None:
    slow = Cluster(devices=2, link=1e6, latency=0.0)  # 0.1 s of bytes, 0.032 s of compute
    assert forecast(COSTS, slow, "ddp").waited == pytest.approx(0.1)  # all in the last bucket
    large = replace(COSTS, weights=100 * 2**20, blocks=0, largest=0, root=100 * 2**20)
    found = forecast(large, Cluster(devices=2, link=4e9, latency=0.0), "ddp")
    assert found.waited == pytest.approx(max(found.exchange - 2 / 3 * found.compute, found.exchange / 4))
    assert forecast(large, Cluster(devices=2, link=4e9, latency=0.0, hides=False), "ddp").waited == found.exchange


def test_what_the_host_does_beside_counts_for_each_pass_but_not_where_it_drives_another_device() -> None:
    costs = replace(COSTS, micro=8, beside={"single": (1e-3, 1e-4), "fsdp": (5e-3, 2e-3)})
    plain = forecast(replace(COSTS, micro=8), FREE, "fsdp")
    found = forecast(costs, FREE, "fsdp")  # two passes of a rank, eight of one device alone
    assert found.step == pytest.approx(plain.step + 5e-3 + 2 * 2e-3)
    assert found.efficiency == pytest.approx((66e-3 + 1e-3 + 8 * 1e-4) / (4 * found.step))
    assert forecast(costs, replace(FREE, devices=1), "fsdp").efficiency == pytest.approx(1.0)
    assert forecast(costs, replace(FREE, speed=1e12), "fsdp").beside == 0


def test_exchanges_may_cost_differently_by_their_kind() -> None:
    kinds = {"gather": (1e6, 0.0), "scatter": (5e5, 1e-3)}
    cluster = Cluster(devices=2, link=1e30, latency=0.0, hides=False, kinds=kinds)
    found = forecast(COSTS, cluster, "fsdp")
    scattered = 0.5 * 100_000 / 5e5 + 2 * 5 * 1e-3  # four blocks and the rest
    assert found.exchange == pytest.approx(0.5 * (2 * 80_000 + 20_000) / 1e6 + scattered)
    assert forecast(COSTS, cluster, "ddp").exchange < 1e-20


def test_what_sharing_costs_the_host_is_measured_in_one_process() -> None:
    costs = measured("iris")
    assert set(costs.beside) == {"single", "ddp", "fsdp"}
    assert sum(costs.beside["fsdp"]) > sum(costs.beside["single"])  # shards are a good deal of work
    assert not torch.distributed.is_initialized()


def test_a_line_never_starts_below_nothing() -> None:
    assert line([(2, 5.0), (4, 9.0), (8, 17.0)]) == pytest.approx((1.0, 2.0))
    assert line([(2, 1.0), (4, 4.0)]) == pytest.approx((0.0, 2.5 / 3))


@pytest.mark.parametrize(("text", "value"), [("400Gbps", 4e11), ("1.5 tbps", 1.5e12), ("800bps", 800.0)])
def test_amounts_have_a_unit(text: str, value: float) -> None:
    assert amount(text, "bps", "--link") == value


@pytest.mark.parametrize("text", ["400", "fast", "-1Gbps", "Gbps", "nanbps", "infbps"])
def test_what_is_no_amount_is_told(text: str) -> None:
    with pytest.raises(UserError, match="such as 400Gbps"):
        amount(text, "bps", "--link")


def test_utilization_is_by_the_best_that_the_device_was_seen_to_reach() -> None:
    assert replace(COSTS, peak=4e9).utilization == pytest.approx(1e6 / 1e-3 / 4e9)
    assert replace(COSTS, peak=4e9, sample=0.0).utilization == 0.0  # not told by passes of these sizes
    assert COSTS.utilization == 0.0


def test_the_peak_is_the_best_of_several_products() -> None:
    took = iter([0.0, 4.0, 4.0, 6.0, 6.0, 10.0, 10.0, 14.0, 14.0, 17.0])
    peak = matrix_peak(torch.device("cpu"), torch.float32, lambda: next(took), side=16)
    assert peak == 2 * 16**3 * 2 / 2.0


def test_the_command_counts_what_can_be_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--scale", "iris", "--devices", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    measured = told["measured"]
    assert measured["parameters"] == 4 * 64 + 64 + 64 * 64 + 64 + 64 * 3 + 3
    assert measured["weights"] == 4 * measured["parameters"]
    assert measured["moments"] == 2 * measured["weights"]  # AdamW
    assert measured["flops"] == pytest.approx(2 * (3 * (64 * 64 + 64 * 3) + 2 * 4 * 64))  # no gradient for the inputs
    assert measured["peak"] > 0
    assert [f["mode"] for f in told["forecasts"]] == ["ddp", "fsdp"]
    assert main(["explain", "--scale", "iris", "--memory", "1kB"]) == 0
    said = capsys.readouterr().out
    assert "does not fit" in said
    assert "utilization" in said
    assert "  utilization     0 %" not in said


@pytest.mark.parametrize(
    "given", [["--devices", "4"], ["--link", "1Gbps"], ["--speed", "1TFLOPS"], ["--memory", "1GB"]]
)
def test_what_belongs_to_scale_is_not_ignored_without_it(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "optimizer", *given]) == 2
    assert f"{given[0]}: belongs to --scale" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "what"),
    [(["--devices", "0"], "--devices"), (["--link", "5"], "--link"), (["--speed", "x"], "--speed")],
)
def test_a_mistake_is_one_message(given: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--scale", "iris", *given]) == 2
    assert what in capsys.readouterr().err
