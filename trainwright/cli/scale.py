"""``trainwright explain --scale``: what a training would take on many devices, and where each number comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from trainwright.cli.told import print_json, stdout_for_json
from trainwright.core.errors import UserError

if TYPE_CHECKING:
    from trainwright.tools.scale import Cluster, Costs, Forecast


def scaled(recipe: str, devices: int, link: str, speed: str | None, memory: str | None, as_json: bool) -> None:
    """Measure the recipe here, and tell what so many devices would make of it."""
    if devices < 1:
        raise UserError("--devices", f"{devices} devices are none", "write how many there shall be, such as 64")
    with stdout_for_json(as_json):
        from trainwright.tools.scale import Cluster, amount, forecast, measured

        cluster = Cluster(
            devices=devices,
            link=amount(link, "bps", "--link") / 8,
            speed=None if speed is None else amount(speed, "FLOPS", "--speed"),
        )
        room = None if memory is None else amount(memory, "B", "--memory")
        costs = measured(recipe)
        found = [forecast(costs, cluster, mode) for mode in ("ddp", "fsdp")]
    if as_json:
        told = [{**asdict(f), "step": f.step} for f in found]
        print_json({"recipe": recipe, "measured": asdict(costs), "assumed": asdict(cluster), "forecasts": told})
        return
    for line in [*_measured(costs), *_assumed(cluster, costs), "", *_table(costs, found, room)]:
        click.echo(line)


def unasked(flags: Mapping[str, object]) -> None:
    """UserError where one of these is given, and no recipe to which it would belong."""
    if lone := next((flag for flag, given in flags.items() if given is not None), None):
        raise UserError(lone, "belongs to --scale, which names a recipe", "trainwright explain --scale recipe.toml")


def _measured(costs: Costs) -> list[str]:
    from trainwright.runs.figures import aligned

    reached = costs.flops / costs.sample if costs.sample else 0.0
    rows = [
        ("parameters", f"{costs.parameters:,}", "counted"),
        ("weights", _bytes(costs.weights), "counted; as many bytes of gradient"),
        ("moments", _bytes(costs.moments), "counted, after a step of the optimizer"),
        ("activations", f"{_bytes(costs.kept_sample)} a sample", "counted, of what a pass keeps for its gradient"),
        ("arithmetic", f"{costs.flops:.3g} FLOP a sample", "counted, forward and backward"),
        (
            "a pass",
            f"{_seconds(costs.fixed)} and {_seconds(costs.sample)} a sample",
            "a line through three sizes",
        ),
        ("", f"{reached:.3g} FLOP a second", "from the two above"),
        (
            "utilization",
            f"{100 * costs.utilization:.0f} % of {costs.peak:.3g} FLOP a second" if costs.utilization else "not seen",
            "by products of large matrices here" if costs.utilization else "passes of these sizes take equally long",
        ),
        ("optimizer", _seconds(costs.update), "the median of five"),
        ("data", f"{_seconds(costs.prepared)} a sample", "the first batch"),
        *(
            (f"beside, {mode}", f"{_seconds(a)} and {_seconds(b)} a pass", "steps of one rank, less the above")
            for mode, (a, b) in costs.beside.items()
        ),
    ]
    return [f"measured here: {costs.device}", *(f"  {line}" for line in aligned([list(row) for row in rows]))]


def _assumed(cluster: Cluster, costs: Costs) -> list[str]:
    speed = "as this machine" if cluster.speed is None else f"{cluster.speed:.3g} FLOP a second, as you say"
    return [
        "assumed",
        f"  {cluster.devices} devices, each {speed}",
        f"  {_bytes(cluster.link)} a second between them, as you say; {_seconds(cluster.latency)} a message",
        "  exchanges go on while a device computes, but for the last of a step",
        *([] if cluster.speed is None else ["  its memory moves a byte in the time of 100 FLOP"]),
    ]


def _table(costs: Costs, found: list[Forecast], room: float | None) -> list[str]:
    from trainwright.runs.figures import aligned

    first = found[0]
    rows = [["a rank", *(f.mode for f in found)]]
    rows += [[name, *(_bytes(f.memory[name]) for f in found)] for name in first.memory]
    rows.append(["memory", *(_bytes(sum(f.memory.values())) + _fits(f, room) for f in found)])
    rows.append(["sent in a step", *(_bytes(f.sent) for f in found)])
    for name in ("compute", "beside", "exchange", "waited", "update", "step"):
        rows.append([name, *(_seconds(getattr(f, name)) for f in found)])
    rows.append(["samples a second", *(f"{costs.batch / f.step:,.0f}" for f in found)])
    rows.append(["efficiency", *(f"{100 * f.efficiency:.0f} %" for f in found)])
    return [f"predicted, for a batch of {costs.batch:,}", *aligned(rows)]


def _fits(forecast: Forecast, room: float | None) -> str:
    if room is None:
        return ""
    return " (fits)" if sum(forecast.memory.values()) < room else " (does not fit)"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _seconds(number: float) -> str:
    if number >= 1:
        return f"{number:.3g} s"
    return f"{number * 1e3:.3g} ms" if number >= 1e-3 or number == 0 else f"{number * 1e6:.3g} µs"
