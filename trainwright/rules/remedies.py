"""What rules propose that can be done without a person: repairs of the model by name, and settings that usually do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trainwright.core.facts import Facts
from trainwright.core.finding import Advice, Edit, Evidence, Finding, Patch
from trainwright.rules.reading import BURSTING, FLAT_ENDED, HEAVY, SILENCING, rate_of, rounded

Fix = Patch | Edit | Advice
_RATES = {"sgd": 0.01, "adagrad": 0.01, "lion": 1e-4, "muon": 0.02}
_ADAPTIVE = 1e-3  # Adam and its kin: Kingma & Ba 2015
_SHORT, _SHORT_RATE = 2000, 0.01  # steps of a budget that is short, and the rate at which it may suffice
_FEW, _MANY = 8, 256  # samples of a step
_BATCH = 32
_HALF = 0.5  # of the units: dropouts above it
_LARGE, _RATIO = 3.0, 5.0  # of inputs and targets: beyond, scaling them is worth a trial


def last_activation(facts: Facts, by: str = "none") -> dict[str, Any]:
    """The activation at the model's end, exchanged."""
    last = facts.output.last
    layer = facts.layers[-1] if facts.layers else None
    name = layer.name if layer is not None and layer.kind in (last, last.replace("_", "")) else ""
    return {"name": "last_activation", "was": "none" if last in ("linear", "") else last, "layer": name, "by": by}


def another_end(facts: Facts, what: str, by: str = "none", loss: str = "", answers: int = 0) -> Edit:
    """Another activation at the end, and another loss or number of answers where these are named."""
    chosen = [last_activation(facts, by)] if facts.output.last not in ("linear", "") or by != "none" else []
    chosen += [{"name": "answers", "count": answers}] if answers else []
    if by != "none" and answers:  # first the layer, then what comes behind it
        chosen = [last_activation(facts), {"name": "answers", "count": answers}, {**last_activation(facts, by)}]
        chosen = [c for c in chosen if c["name"] == "answers" or c["was"] != "none" or c["by"] != "none"]
        chosen[-1] = {**chosen[-1], "was": "none", "layer": ""}
    return Edit(what, tuple(chosen), {"task.loss": loss} if loss else {})


def scaled_inputs(facts: Facts) -> Edit:
    """Mean 0 and deviation 1 for what the first layer is given."""
    what = "subtract each column's mean and divide by its deviation, both of the training part"
    first = next((x for x in facts.layers if x.weights or x.frozen), None)
    if first is None or first.kind not in HEAVY - {"bilinear", "multiheadattention"}:
        return Edit(what)
    return Edit(what, ({"name": "standard_inputs", "layer": first.name},))


def scaled_targets(facts: Facts) -> Edit:
    """Mean 0 and deviation 1 for what the network says."""
    shape = facts.target.values.shape
    repair = {"name": "standard_targets", "columns": max(1, shape[-1] if len(shape) == 1 else 1)}
    repair |= {"power": 1} if facts.loss.name in ("mae", "huber") else {}
    return Edit("learn (y - mean) / deviation, and undo that when predicting", (repair,))


def other_activations(facts: Facts, by: str = "relu") -> Edit:
    """Activations between the layers that pass slopes on; what is at the end stays."""
    old = (*sorted(SILENCING - {"threshold"}),) if by not in ("relu", "gelu") else (*sorted(FLAT_ENDED),)
    last = facts.layers[-1].name if facts.layers and facts.layers[-1].kind in (FLAT_ENDED | SILENCING) else ""
    names = {"relu": "ReLU", "gelu": "GELU", "leaky_relu": "leaky ReLU"}
    bursting = [] if by == "leaky_relu" else [x for x in facts.layers[:-1] if x.kind in BURSTING and "." in x.name]
    kinds = (*(x.kind for x in facts.layers if x.kind in old and x.name != last), *(x.kind for x in bursting))
    instead = " and ".join(dict.fromkeys(kinds))
    what = f"use {names.get(by, by)} in place of {instead or 'the activations there are'}"
    repair: dict[str, Any] = {"name": "activations", "of": list(old), "by": by, "last": last}
    repair |= {"layers": [x.name.rpartition(".")[0] for x in bursting]} if bursting else {}
    if by == "leaky_relu":  # the weights that fit a ReLU fit it too
        return Edit(what, (repair,))
    return Edit(f"{what}, with weights that fit it", (repair,), {"init": {"name": "kaiming_normal"}})


def less_dropout(most: float = 0.2) -> Edit:
    """Dropouts that leave out no more than a share."""
    return Edit("leave out no more than a fifth", ({"name": "dropout", "most": most},))


def drawn_anew(rule: str = "kaiming_normal") -> Patch:
    """First weights of the size that keeps signals."""
    return Patch({"init": {"name": rule}})


def usual_rate(optimizer: str) -> float:
    """At which most networks learn something."""
    return _RATES.get(optimizer, _ADAPTIVE)


def other_rates(evidence: Evidence, *factors: float) -> list[Fix]:
    """The rate times each factor, and the usual one where that is another."""
    rate = rate_of(evidence)
    if not rate > 0:
        return []
    usual = usual_rate(evidence.facts.optimizer.name)
    values = dict.fromkeys(rounded(rate * f) for f in factors)
    near = any(0.5 < v / usual < 2 for v in [*values, rate])
    return [Patch({"optimizer.lr": v}) for v in [*values, *([] if near else [usual])]]


def general(evidence: Evidence) -> tuple[Fix, ...]:
    """What is worth a trial where nothing is learned and no cause is known: the likeliest first."""
    facts = evidence.facts
    adam: Mapping[str, Any] = {"optimizer": {"name": "adam", "lr": _ADAPTIVE}}
    fixes = [Patch(adam)] if usual_rate(facts.optimizer.name) != _ADAPTIVE or rate_of(evidence) > 0.005 else []
    fixes += [f for f in other_rates(evidence, 0.1, 10.0) if isinstance(f, Patch)]
    fixes.append(drawn_anew())
    size = facts.batch_size
    if 0 < size < _FEW or (size > _MANY and facts.per_epoch < 10):
        fixes.append(Patch({"batch_size": _BATCH}))
    found: list[Fix] = [*fixes]
    inputs = scaled_inputs(facts) if _wide_inputs(facts) else None
    found += [inputs] if inputs and inputs.repairs else []
    targets = scaled_targets(facts) if _wide_targets(facts) else None
    found += [targets] if targets else []
    if ill_bent(facts):
        found.append(other_activations(facts))
    return (*found, *usual(facts))


def ill_bent(facts: Facts) -> bool:
    """Whether activations between the layers are flat at their ends, or grow without bound."""
    return any(x.kind in FLAT_ENDED | BURSTING for x in facts.layers[:-1])


def usual(facts: Facts, more: Sequence[Edit | Patch] = ()) -> tuple[Edit, ...]:
    """Everything at once, where it is several things that are wrong: an optimizer, weights and data as they usually do.

    Args:
        facts: what there is.
        more: changes that are made with it.
    """
    edits = [fix for fix in more if isinstance(fix, Edit)]
    known = {r["name"] for fix in edits for r in fix.repairs}
    scaled = [scaled_inputs(facts)] if _wide_inputs(facts) else []
    scaled += [scaled_targets(facts)] if _wide_targets(facts) else []
    mends = [r for fix in scaled for r in fix.repairs if r["name"] not in known]
    keys: dict[str, Any] = {"init": {"name": "kaiming_normal"}}
    for fix in more:
        keys |= fix.keys if isinstance(fix, Edit) else fix.changes
    words = "".join(f"{_short(fix)}, " for fix in more)
    repairs = (*(r for fix in edits for r in fix.repairs), *mends)
    rates = (_ADAPTIVE, *([_SHORT_RATE] if 0 < facts.steps < _SHORT else []))
    end = "fresh weights" + (" and scaled data" if mends else "")
    return tuple(
        Edit(
            f"{words}{'and ' if words else ''}the usual settings: Adam at {rate:g}, {end}",
            repairs,
            {**keys, "optimizer": {"name": "adam", "lr": rate}},
        )
        for rate in rates
    )


def _short(fix: Edit | Patch) -> str:
    if isinstance(fix, Edit):
        return fix.what.removesuffix(", with weights that fit it")
    return ", ".join(f"{key} = {value}" for key, value in fix.changes.items())


def together(facts: Facts, findings: Iterable[Finding]) -> list[Edit | Patch]:
    """What all findings propose for model, loss and budget, one fix of each, as far as they do not exclude each other.

    Args:
        facts: what there is.
        findings: of a run, the most upstream first; notes count, where something is wrong.
    """
    chosen: list[Edit | Patch] = []
    taken: set[str] = set()
    for fix in _first_ones(facts, findings):
        touched = {r["name"] for r in fix.repairs} | set(fix.keys) if isinstance(fix, Edit) else set(fix.changes)
        if not touched & (taken - {"init"}):
            chosen.append(fix)
            taken |= touched
    return chosen


def _first_ones(facts: Facts, findings: Iterable[Finding]) -> Iterator[Edit | Patch]:
    for finding in findings:
        able = [fix for fix in finding.fixes if isinstance(fix, Edit) and (fix.repairs or fix.keys)]
        able = [fix for fix in able if "optimizer" not in fix.keys]  # the usual settings come with it anyway
        if able:
            yield able[0]
        if finding.rule == "stopped_early" and finding.severity != "note":
            yield from (fix for fix in finding.fixes if isinstance(fix, Patch) and "budget" in fix.changes)
    if any("dropout" in x.kind and x.option > _HALF for x in facts.layers):
        yield less_dropout()
    if ill_bent(facts):
        yield other_activations(facts)


def _wide_inputs(facts: Facts) -> bool:
    floats = [v for v in facts.inputs.values() if v.dtype.startswith(("float", "bfloat"))]
    return any(
        max(abs(v.low), abs(v.high)) > _LARGE
        or (v.columns[0] > 0 and v.columns[1] / v.columns[0] > _RATIO)
        or abs(v.mean) > _LARGE * v.deviation
        for v in floats
    )


def _wide_targets(facts: Facts) -> bool:
    values = facts.target.values
    numbers = facts.target.coding == "numbers" and values.deviation > 0 and facts.loss.wants in ("numbers", "")
    return numbers and (max(abs(values.mean), values.deviation) > _LARGE or values.deviation < 1 / _LARGE)
