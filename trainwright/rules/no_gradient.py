"""The loss does not answer to the weights."""

from __future__ import annotations

from trainwright.core.facts import Facts, LayerFacts, LossFacts
from trainwright.core.finding import Advice, Evidence, Finding, Rule
from trainwright.core.kinds import rules
from trainwright.rules.patients import patient
from trainwright.rules.reading import heavy, norms, number
from trainwright.rules.remedies import drawn_anew, other_activations, other_rates, scaled_inputs

_STEPS = 3


def check(evidence: Evidence) -> Finding | None:
    """Gradients that are exactly 0 before the first step or for several steps, while there is a loss to lower."""
    facts = evidence.facts
    layers = heavy(evidence)
    slopes = [layer.gradient for layer in layers]
    known = [g for g in slopes if g == g]
    flat = bool(known) and not any(known) and facts.loss.start > 0.05 * max(facts.loss.guess, 0.0)
    latest = norms(evidence)[-_STEPS:]
    still = len(latest) == _STEPS and not latest.any()
    losses = list(evidence.view.losses.values())[-_STEPS:]
    solved = bool(losses) and max(losses) < 0.05 * facts.loss.guess
    if not flat and (not still or solved):
        return None
    dead = next((x.name for x in facts.layers if x.dead == 1.0), "")
    zero = f" (all units of {dead} give 0)" if dead else ""
    anew = (drawn_anew(), other_activations(facts, "leaky_relu"), scaled_inputs(facts)) if dead else ()
    ended = still and not flat and any(known)  # there was one: steps that were too long have silenced the network
    since = ", and was not at the start" if ended else ""
    why = (
        "A step that was too long has pushed all units of a layer to where they have no slope, and nothing brings them "
        "back."
        if ended
        else "An operation without a slope (argmax, rounding, a comparison, detach) stands between, the loss is cut "
        "off beyond its range, or a whole layer is silent."
    )
    return Finding(
        rule="no_gradient",
        severity="error",
        what=f"the gradient of the loss is exactly 0 in every weight{since}{zero}",
        where=dead or "the loss",
        evidence={"loss": facts.loss.start, "deaf share of the samples": facts.loss.deaf, "layers": len(layers)},
        why=f"No weight can learn. The loss is {number(facts.loss.start)} at the start and does not answer to any of "
        f"them now. {why}",
        fixes=(
            *(other_rates(evidence, 0.1, 0.01) if ended else ()),
            *anew,
            *([drawn_anew()] if ended and not anew else []),
            Advice("look at what stands between the weights and the loss, from the loss backwards"),
        ),
    )


@rules.add("no_gradient")
def no_gradient() -> Rule:
    """The whole gradient is exactly 0.

    Measured before the first step for each layer, and by the gradient's norm of three steps in a row. A solved problem
    (a loss near 0) does not count.
    """
    loss = LossFacts("mse", "numbers", 1.0, 1.0)
    return Rule(
        "no_gradient",
        check,
        sick=lambda: patient(Facts(layers=(LayerFacts("a", "linear", 9, gradient=0.0),), loss=loss)),
        healthy=lambda: patient(Facts(layers=(LayerFacts("a", "linear", 9, gradient=0.1),), loss=loss)),
        causes=("softmax_axis", "output_contradicts_loss", "not_finite_data", "constant_target"),
    )
