"""A network that does worse than a straight line."""

from __future__ import annotations

import math

from trainwright.core.events import Difference, RunEnded, advance
from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Patch, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import LITTLE, number, percent, standing
from trainwright.rules.remedies import Fix, general
from trainwright.rules.upstream import ALL

_MUCH = 0.1  # of what the linear model gains over guessing


def check(evidence: Evidence) -> Finding | None:
    """The loss beside that of the linear baseline on the same records, by the interval of their difference."""
    ended = evidence.view.ended
    apart = ended.differences.get("linear", {}).get("loss") if ended else None
    if ended is None or apart is None or not apart.low > 0:
        return None
    linear, constant = (ended.baselines.get(name, {}).get("loss", math.nan) for name in ("linear", "constant"))
    gain = constant - linear
    if apart.value < _MUCH * gain:  # beside what there is to gain, that is little
        return None
    # a line that fits to the last digit leaves any network behind it beyond doubt, and some records leave much doubt
    well = apart.value < LITTLE * gain or apart.low < _MUCH * gain
    now = standing(evidence)
    falling = now is not None and now.falling
    longer = Patch({"budget": f"{3 * max(1, evidence.facts.steps)} steps"})
    short: tuple[Fix, ...] = (longer, *general(evidence))
    return Finding(
        rule="below_linear",
        severity="note" if well else "warning",
        what=f"a linear model, fitted in a second, does better on the same records: its loss is {number(linear)}, the "
        f"network's {number(linear + apart.value)}"
        + (f", which is {percent(1 - apart.value / gain)} of the way from guessing to it" if gain > apart.value else "")
        + (", and still fell when the budget ended" if falling else ""),
        where="the training",
        evidence={
            "difference": apart.value,
            "low": apart.low,
            "high": apart.high,
            "linear": linear,
            **({"guessing": constant} if math.isfinite(constant) else {}),
        },
        why="The network has learned most of what there is, or too few records tell. Where the targets are a straight "
        "line, no network that bends meets it exactly, and the linear model may be all that is needed."
        if well
        else "There is something to learn that the network did not learn.",
        fixes=(longer, Advice("take the linear model, if it is good enough: it is smaller and easier to explain"))
        if well
        else short,
    )


@rules.add("below_linear")
def below_linear() -> Rule:
    """The final loss is worse than the linear baseline's, and the 95 % interval of the difference leaves no doubt.

    A warning where the network lacks more than a fifth of what the linear model gains over the constant one, and the
    interval lies above a tenth of it; else a note, as a network that has learned is not ill because the targets are a
    straight line. A difference of less than a tenth is let pass.
    """

    def ended(low: float, high: float) -> Evidence:
        evidence = patient(Facts(loss=LossFacts(guess=1.0, start=1.0)), [0.5] * 200, over=True)
        apart = {"linear": {"loss": Difference((low + high) / 2, low, high)}}
        simple = {"linear": {"loss": 0.3}, "constant": {"loss": 1.0}}
        scores = {"test/loss": 0.5}
        told = RunEnded(200, "finished", "", 1.0, scores, simple, differences=apart)
        advance(evidence.view, told)
        return evidence

    return Rule("below_linear", check, lambda: ended(0.1, 0.3), lambda: ended(0.08, 0.18), causes=ALL)
