"""The examination before the first step: what data, model, loss and optimizer are, and whether they fit each other."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.facts import Facts, LayerFacts, LossFacts, OptimizerFacts, Output, Target, Values
from trainwright.engine.nature import Measure, facts_of
from trainwright.engine.trace import Call, first_tensor_of, last_operation, traced, without_dropout

_COLUMNS = 4096  # that are looked at one by one
_FEW = 8  # names that are listed
_RANGES = {
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "log_softmax": (-math.inf, 0.0),
    "logsigmoid": (-math.inf, 0.0),
    "elu": (-1.0, math.inf),
    "selu": (-1.7581, math.inf),
    "hardsigmoid": (0.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}
_ADDING = {"linear", "conv1d", "conv2d", "conv3d"}
_BOTH = {"dropout", "batchnorm1d", "batchnorm2d", "batchnorm3d"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined, on a few hundred training samples.

    Args:
        model: as its author wrote it.
        say: runs the model on inputs like ``inputs``; gives whatever the model gives.
        lose: the mean loss (0-d) of what the model said of ``inputs``, with its graph.
        loss: the mean loss of other outputs (N, …) in the place of the model's; None where outputs are no one tensor.
        inputs: (N, …) each, as the model gets them.
        target: (N, …); None where there is not one.
        optimizer: over the model's weights.
        place: where sample n of these is in the data, in words.
        wide: more targets (M, …), and the mean loss of outputs (M, …) against them.
        more: what is known already: sizes, budget, the loss's name.
        guess: the loss of the best constant answer, where the task knows it.
    """

    model: nn.Module
    say: Callable[[Mapping[str, Tensor]], object]
    lose: Callable[[], Tensor]
    inputs: Mapping[str, Tensor]
    target: Tensor | None = None
    loss: Measure | None = None
    optimizer: Optimizer | None = None
    place: Callable[[int], str] = lambda sample: f"sample {sample}"
    wide: tuple[Tensor, Measure] | None = None
    more: Facts = field(default_factory=Facts)
    guess: float | None = None


def examine(subject: Subject) -> Facts:
    """Measure; the caller protects randomness, buffers and modes (`TrainState.aside`), and gradients are left alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of it, the training itself says as well
        return _examined(subject)


def _examined(subject: Subject) -> Facts:
    began = time.perf_counter()
    facts = replace(
        subject.more,
        inputs={name: values_of(x, subject.place) for name, x in subject.inputs.items()},
        target=_target(subject),
        optimizer=optimizer_of(subject.model, subject.optimizer),
    )
    back = without_dropout(subject.model)
    try:
        facts = _through(subject, facts)
    finally:
        back()
    with torch.no_grad():
        facts = replace(facts, mixed=_mixed(subject), bent=_bent(subject, facts.layers))
    return replace(facts, seconds=time.perf_counter() - began)


def _target(subject: Subject) -> Target:
    if subject.target is None:
        return subject.more.target
    many = subject.target if subject.wide is None else subject.wide[0]
    return target_of(many, subject.place)


def _through(subject: Subject, facts: Facts) -> Facts:
    """One pass forward and one backward."""
    said: list[Tensor] = []
    hook = subject.model.register_forward_hook(lambda _m, _i, made: said.append(_tensor(made)))
    try:
        with torch.enable_grad(), traced(subject.model) as calls:
            loss = subject.lose()
    finally:
        hook.remove()
    named = subject.model.named_parameters()
    weights = {n: p for n, p in named if p.requires_grad and p.numel()}  # for a table without categories some are empty
    slopes: Sequence[Tensor | None] = [None] * len(weights)
    if loss.requires_grad and weights:
        slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    output = said[-1] if said and len(said) == 1 else None
    last, axis = last_operation(calls, output) if output is not None else ("", 1)
    start = float(loss.detach())
    nature = LossFacts(name=subject.more.loss.name, wants=subject.more.loss.wants, start=start)
    if output is not None and output.numel() and subject.loss is not None:
        found = _nature(subject, output.detach(), start)
        nature = nature if found is None else found
    if subject.guess is not None:
        nature = replace(nature, guess=subject.guess)
    gradients = dict(zip(weights, slopes, strict=True))
    layers = layers_of(subject.model, calls, gradients)
    called = {call.module for call in calls}
    return replace(
        facts,
        output=facts.output if output is None else output_of(output.detach(), last, axis, subject.target),
        loss=nature,
        layers=layers,
        unused=tuple(_unused(subject.model, called, gradients)),
        unreached=tuple(name for name, g in gradients.items() if g is None)[:_FEW],
    )


def _nature(subject: Subject, output: Tensor, start: float) -> LossFacts | None:
    """What the loss is, if other outputs can be put in the place of the model's: the same must then give the same."""
    assert subject.loss is not None
    try:
        with torch.no_grad():
            again = float(subject.loss(output))
        if not math.isclose(again, start, rel_tol=1e-3, abs_tol=1e-6) and math.isfinite(start):
            return None
        return facts_of(
            subject.loss, output, subject.target, start, subject.more.loss.name, subject.wide, subject.guess
        )
    except Exception:  # outputs of another form; the loss is then not looked into
        return None


def _tensor(made: object) -> Tensor:
    found = first_tensor_of(made)
    return torch.empty(0) if found is None else found


def values_of(x: Tensor, place: Callable[[int], str] = lambda sample: f"sample {sample}") -> Values:
    """Of (N, …) numbers; columns are those of a sample in a row, as long as they are not too many."""
    shape, dtype = tuple(x.shape[1:]), str(x.dtype).removeprefix("torch.")
    if not x.numel() or x.is_complex():
        return Values(shape, dtype, len(x))
    flat = x.detach().reshape(len(x), -1).double().cpu()
    sound = torch.isfinite(flat)
    bad, bad_at = int((~sound).sum()), ""
    if bad:
        row, column = (~sound).nonzero()[0].tolist()
        bad_at = f"{place(row)}, column {column}" if flat.shape[1] > 1 else place(row)
    known = flat[sound]
    if not len(known):
        return Values(shape, dtype, len(x), bad=bad, bad_at=bad_at)
    told = Values(
        shape,
        dtype,
        len(x),
        float(known.mean()),
        float(known.std(correction=0)),
        float(known.min()),
        float(known.max()),
        bad,
        bad_at,
    )
    return _by_column(told, torch.where(sound, flat, torch.nan), place) if flat.shape[1] <= _COLUMNS else told


def _by_column(told: Values, flat: Tensor, place: Callable[[int], str]) -> Values:
    """How far columns (N, F) differ in scale, and how far one number lies from the rest of its column."""
    centre = flat.nanmedian(0).values
    middle = torch.nan_to_num(flat - flat.nanmean(0)).square().mean(0).sqrt()
    varying = middle > 1e-12 * (1 + flat.nanmean(0).abs().nan_to_num())
    if not bool(varying.any()):
        return replace(told, constant=flat.shape[1])
    away = (flat - centre).abs()
    spread = 1.4826 * away.nanmedian(0).values
    usual = torch.where(spread > 0.01 * middle, spread, middle)  # most numbers of a column may be the same
    torn = (spread > 0) & (usual != spread)  # or a few so large that they are all of its deviation
    if bool(torn.any()):
        usual[torn] = _without_the_largest(away[:, torn].nan_to_num(), spread[torn], middle[torn])
    far = torch.nan_to_num(away / usual.clamp_min(1e-300)) * varying
    at = int(far.argmax())
    row, column = divmod(at, flat.shape[1])
    return replace(
        told,
        columns=(float(middle[varying].median()), float(middle[varying].max())),
        widest=int(middle.argmax()),
        constant=int((~varying).sum()),
        outlying=float(far.flatten()[at]),
        outlier_at=f"{place(row)}, column {column}" if flat.shape[1] > 1 else place(row),
    )


def _without_the_largest(away: Tensor, spread: Tensor, middle: Tensor) -> Tensor:
    """What is usual in columns, judged without the hundredth of their numbers (one at least) that is furthest away."""
    kept = away.sort(0).values[: min(len(away) - 1, math.ceil(0.99 * len(away)))]
    return torch.where(spread > 0.01 * kept.square().mean(0).sqrt(), spread, middle)


def target_of(y: Tensor, place: Callable[[int], str] = lambda sample: f"sample {sample}") -> Target:
    """What the targets (N, …) are, by their values alone."""
    values = values_of(y, place)
    flat = y.detach().reshape(len(y), -1).double().cpu()
    distinct = torch.unique(flat[:100_000])
    whole = bool((distinct == distinct.round()).all())
    yes_or_no = whole and float(distinct.min()) >= 0 and float(distinct.max()) <= 1
    if flat.shape[1] > 1 and yes_or_no and y.ndim == 2:
        sums = flat.sum(1)
        if bool((sums == 1).all()):
            counts = flat.sum(0).long()
            return Target(values, "one_hot", int((counts > 0).sum()), 0, tuple(counts[:100].tolist()), 2)
        return Target(values, "several", flat.shape[1], 0, tuple(flat.sum(0).long()[:100].tolist()), 2)
    if not y.is_floating_point() and whole:
        labels = flat.flatten().long()
        labels = labels[labels >= 0]  # those below 0 do not count, by convention
        counts = torch.bincount(labels, minlength=1)[:100] if len(labels) and int(labels.max()) < 10**7 else labels[:0]
        lowest = int(labels.min()) if len(labels) else 0
        return Target(values, "classes", len(torch.unique(labels)), lowest, tuple(counts.tolist()), len(distinct))
    if yes_or_no and flat.shape[1] == 1:
        ones = int(flat.sum())
        return Target(values, "binary", len(distinct), 0, (len(flat) - ones, ones), len(distinct))
    return Target(values, "numbers", 0, 0, (), min(1000, len(distinct)))


def output_of(output: Tensor, last: str, axis: int, target: Tensor | None = None) -> Output:
    """(N, …) that the untrained model said, and whether it can come to what the targets (N, …) are."""
    flat = output.reshape(len(output), -1).float() if output.ndim > 1 else output.reshape(-1, 1).float()
    spread = float(flat.std(0, correction=0).square().mean().sqrt()) if len(flat) > 1 else 1.0
    reach = _RANGES.get(last, (-math.inf, math.inf))
    missed = 0.0
    if target is not None and target.is_floating_point() and target.numel():
        missed = float(((target < reach[0] - 1e-6) | (target > reach[1] + 1e-6)).float().mean())
    return Output(replace(values_of(output), shape=tuple(output.shape[1:])), last, axis, spread, reach, missed)


def layers_of(
    model: nn.Module, calls: Sequence[Call], gradients: Mapping[str, Tensor | None]
) -> tuple[LayerFacts, ...]:
    """What samples go through, each module or activation once, by its first call."""
    if not calls:
        return ()
    figures = torch.stack([call.figures.to(torch.float64) for call in calls]).cpu().tolist()
    paths = {module: name for name, module in model.named_modules()}
    seen: dict[str, LayerFacts] = {}
    for call, (mean, deviation, zeros, dead, pinned) in zip(calls, figures, strict=True):
        if call.name in seen:
            seen[call.name] = replace(seen[call.name], calls=seen[call.name].calls + 1)
            continue
        layer = LayerFacts(
            call.name, call.kind, 0, 0, 1, tuple(call.made.shape[1:]), mean, deviation, zeros, dead, pinned
        )
        if call.module is not None:
            layer = _with_weights(layer, call.module, paths.get(call.module, ""), gradients)
        seen[call.name] = layer
    return tuple(seen.values())


def _with_weights(
    layer: LayerFacts, module: nn.Module, path: str, gradients: Mapping[str, Tensor | None]
) -> LayerFacts:
    own = [(n, p) for n, p in module.named_parameters(recurse=False) if p.numel()]
    learned = [(n, p) for n, p in own if p.requires_grad]
    slopes = [gradients.get(f"{path}.{n}".lstrip(".")) for n, _ in learned]
    known = [g.detach() for g in slopes if g is not None]
    matrix = next((p.detach() for _, p in own if p.ndim >= 2), None)
    size = math.nan if matrix is None else _usual([matrix])
    option = getattr(module, "p", math.nan)
    return replace(
        layer,
        weights=sum(p.numel() for _, p in learned),
        frozen=sum(p.numel() for _, p in own if not p.requires_grad),
        gradient=_usual(known) if known else math.nan,
        alike=0.0 if matrix is None else _alike(matrix),
        scale=size,
        gain=size * math.sqrt(matrix[0].numel()) if matrix is not None and layer.kind in _ADDING else math.nan,
        option=float(option) if isinstance(option, int | float) else math.nan,
    )


def _usual(tensors: Sequence[Tensor]) -> float:
    """The root mean square of all their numbers, in float64, of which only some are held at a time."""
    parts = [part.double().square().sum() for x in tensors for part in x.reshape(-1).split(2**18)]
    return math.sqrt(float(sum(parts)) / sum(x.numel() for x in tensors))


def _alike(weight: Tensor) -> float:
    """The share of units (rows of the first axis) whose weights are another's, to the last bit."""
    rows = weight.detach().reshape(weight.shape[0], -1)[:512].cpu()
    return 1 - len(torch.unique(rows, dim=0)) / len(rows) if len(rows) > 1 and rows.shape[1] else 0.0


def _unused(model: nn.Module, called: set[nn.Module | None], gradients: Mapping[str, Tensor | None]) -> list[str]:
    """Modules with weights that the pass did not call, the outermost; what a parent reads of them counts as called."""
    idle: list[str] = []
    for name, module in model.named_modules():
        inner = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
        read = any(g is not None for n, g in gradients.items() if n.startswith(name + "."))
        if name and inner and not read and not any(m in called for m in inner):
            idle += [] if any(name.startswith(i + ".") for i in idle) else [name]
    return idle[:_FEW]


def optimizer_of(model: nn.Module, optimizer: Optimizer | None) -> OptimizerFacts:
    """The rule, and which of the model's weights it does not know."""
    learn = {n: p for n, p in model.named_parameters() if p.requires_grad}
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    count = sum(p.numel() for p in learn.values())
    if optimizer is None:
        return OptimizerFacts(weights=count, frozen=frozen)
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [n for n, p in learn.items() if id(p) not in known]
    first = optimizer.param_groups[0]
    betas = first.get("betas", (first.get("momentum", 0.0),))
    return OptimizerFacts(
        name=type(optimizer).__name__.lower(),
        lr=max(float(g["lr"]) for g in optimizer.param_groups),
        missing=tuple(missing[:_FEW]),
        absent=sum(learn[n].numel() for n in missing),
        weights=count,
        frozen=frozen,
        decay=float(first.get("weight_decay", 0.0)),
        momentum=float(betas[0]),
    )


def _mixed(subject: Subject) -> float:
    """How far the first sample's answer changes when the others are exchanged, in deviations of the answers."""
    if min((len(x) for x in subject.inputs.values()), default=0) < 4:
        return 0.0
    modes = {m: m.training for m in subject.model.modules()}
    subject.model.eval()
    try:
        one = _tensor(subject.say(subject.inputs))
        half = len(next(iter(subject.inputs.values()))) // 2
        others = {n: _repeated(x, half) for n, x in subject.inputs.items()}  # a permutation leaves sums as they are
        two = _tensor(subject.say(others))
    except Exception:  # inputs that belong together in ways we do not know
        return 0.0
    finally:
        for module, training in modes.items():
            module.training = training
    if one.shape != two.shape or one.ndim < 1 or len(one) < half or not one.is_floating_point():
        return 0.0
    a, b = one[:half].double(), two[:half].double()
    scale = float(one.double().std()) if one.numel() > 1 else 0.0
    apart = float((a - b).abs().max())
    return apart / scale if scale > 0 and math.isfinite(apart) else 0.0


def _repeated(x: Tensor, half: int) -> Tensor:
    """(N, …) with the sample behind the first half in the place of all that follow."""
    return torch.cat([x[:half], x[half : half + 1].expand(len(x) - half, *x.shape[1:])])


def _bent(subject: Subject, layers: Sequence[LayerFacts]) -> float:
    """How far the last layer is from a linear map of the one input: the usual relative residue of f(x + y)."""
    heavy = [x for x in layers if x.weights and x.kind not in _BOTH]
    inputs = list(subject.inputs.values())
    if len(heavy) < 2 or len(inputs) != 1 or not inputs[0].is_floating_point() or len(inputs[0]) < 4:
        return math.nan
    name, (label, x) = heavy[-1].name, next(iter(subject.inputs.items()))
    a, b = x, x.roll(1, 0)

    def reached(given: Tensor) -> Tensor:
        with traced(subject.model) as calls:
            subject.say({label: given})
        return next(c.made for c in reversed(calls) if c.name == name).double()

    modes = {m: m.training for m in subject.model.modules()}
    subject.model.eval()
    try:
        fa, fb, both, none = (reached(v) for v in (a, b, a + b, torch.zeros_like(a)))
    except Exception:
        return math.nan
    finally:
        for module, training in modes.items():
            module.training = training
    size, residue = (v.reshape(len(v), -1).norm(dim=1) for v in (both - none, fa + fb - both - none))
    share = float((residue / size)[size > 0].median()) if bool((size > 0).any()) else math.nan
    return share if math.isfinite(share) else math.nan  # of the usual sample: one that is huge hides every bend
