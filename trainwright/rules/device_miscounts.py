"""A device that computes something else than the CPU does."""

from __future__ import annotations

from trainwright.core.facts import Facts
from trainwright.core.finding import Advice, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.core.trial_facts import DeviceTest
from trainwright.rules.patients import patient
from trainwright.rules.reading import number


def check(evidence: Evidence) -> Finding | None:
    """An operation is further from float64 than its precision explains."""
    test = evidence.facts.device
    if test.error <= test.allowed:
        return None
    return Finding(
        rule="device_miscounts",
        severity="error",
        what=f"{test.worst} on {test.device} in {test.precision} is off by {number(test.error)} of its size; rounding "
        f"explains {number(test.allowed)}",
        where=test.worst,
        evidence={"error": test.error, "allowed": test.allowed},
        why="A kernel, a driver or the memory of the device is at fault, or a library computes in less precision than "
        "it says. Whatever is trained on it is not what the recipe says.",
        fixes=(
            Patch({"device": "cpu"}),
            Advice("update driver and torch; if it stays, try another device: memory that fails does so by itself"),
        ),
    )


@rules.add("device_miscounts")
def device_miscounts() -> Rule:
    """Operations of the chosen device and precision, and their slopes, that are not what float64 on the CPU gives.

    Asked by ``trainwright doctor recipe.toml``, in a second: products, convolutions, softmax, norms, long sums,
    attention. Allowed are 64 units in the last place, as a root mean square.
    """
    return Rule(
        "device_miscounts",
        check,
        sick=lambda: patient(Facts(device=DeviceTest("cuda", "float32", "matrix product", 3e-3, 7.6e-6))),
        healthy=lambda: patient(Facts(device=DeviceTest("cuda", "float32", "sum of many", 4e-7, 7.6e-6))),
    )
