"""What a loss computes: recognized by its values, whoever wrote it, and what it does at its limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from trainwright.core.facts import LossFacts, Wants

_LARGE = 2**22  # numbers of all outputs
Measure = Callable[[Tensor], Tensor]  # outputs (N, …) -> the mean loss, 0-d
_TRIES = 3
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Known:
    """A loss of the textbooks."""

    name: str
    wants: Wants
    value: Callable[[Tensor, Tensor], Tensor]  # (output, target) -> any multiple of the mean loss
    minus: bool = False  # the loss is this times a number below 0


def recognized(loss: Measure, output: Tensor, target: Tensor) -> Known | None:
    """Which known loss this is, up to a constant factor: by its value for a few random outputs within (0, 1).

    One that is minus a known loss is said to be that only where it is no known one itself.

    Args:
        loss: of outputs, against these targets.
        output: (N, …) that the model gave, for its shape and type.
        target: (N, …).
    """
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.rand(output.shape, generator=generator) * 0.9 + 0.05 for _ in range(_TRIES)]
    tries = [d.to(output.device, output.dtype) for d in drawn]
    try:
        with torch.no_grad():
            values = torch.stack([loss(o).double().reshape(()) for o in tries]).cpu()
    except Exception:  # it may refuse such outputs; then it is not known
        return None
    minus: Known | None = None
    for known in _fitting(output, target):
        with torch.no_grad():
            theirs = torch.stack([known.value(o.double(), target).double().reshape(()) for o in tries]).cpu()
        if _proportional(values, theirs):
            return known
        if minus is None and _proportional(-values, theirs):
            minus = replace(known, minus=True)
    return minus


def _proportional(a: Tensor, b: Tensor) -> bool:
    """Whether two rows of numbers differ by a factor above 0 alone; a constant is proportional to nothing."""
    if not bool(torch.isfinite(a).all() & torch.isfinite(b).all()) or bool((b.abs() < _TINY).any()):
        return False
    ratio = a / b
    return bool(ratio[0] > 0) and float((ratio / ratio[0] - 1).abs().max()) < 1e-4


def _fitting(output: Tensor, target: Tensor) -> Iterator[Known]:
    """Known losses that can compare these, the most usual first."""
    if _are_classes(output, target):
        yield Known("cross_entropy", "logits", F.cross_entropy)
        yield Known("nll", "log_probabilities", F.nll_loss)
        yield Known("cross_entropy", "probabilities", _of_class)
        yield Known("cross_entropy", "probabilities", _of_share)
    if output.ndim >= 2 and target.shape == output.shape and target.is_floating_point():
        yield Known("cross_entropy", "logits", lambda o, t: F.cross_entropy(o, t.double()))
        yield Known("cross_entropy", "probabilities", lambda o, t: -(t * (o / o.sum(1, keepdim=True)).log()).sum())
        yield Known("cross_entropy", "probabilities", lambda o, t: -(t * o.log()).sum())
        yield Known("nll", "log_probabilities", lambda o, t: -(t * o).sum())
    try:
        torch.broadcast_shapes(output.shape, target.shape)
    except RuntimeError:
        return
    yield Known("binary_cross_entropy", "logits", lambda o, t: (F.softplus(o) - t * o).mean())
    yield Known("binary_cross_entropy", "probabilities", lambda o, t: -(t * o.log() + (1 - t) * (1 - o).log()).mean())
    yield Known("mse", "numbers", lambda o, t: (o - t).square().mean())
    yield Known("mae", "numbers", lambda o, t: (o - t).abs().mean())
    yield Known("huber", "numbers", lambda o, t: _huber(o - t).mean())
    yield Known("log_cosh", "numbers", lambda o, t: (o - t).cosh().log().mean())


def _are_classes(output: Tensor, target: Tensor) -> bool:
    """(N, …) numbers of the classes of (N, C, …)."""
    if target.is_floating_point() or output.ndim < 2 or target.shape != (output.shape[0], *output.shape[2:]):
        return False
    return bool(target.numel()) and int(target.min()) >= 0 and int(target.max()) < output.shape[1]


def _of_class(output: Tensor, target: Tensor) -> Tensor:
    return -output.gather(1, target.long().unsqueeze(1)).log().mean()


def _of_share(output: Tensor, target: Tensor) -> Tensor:
    return _of_class(output / output.sum(1, keepdim=True), target)


def _huber(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 1, 0.5 * x.square(), x.abs() - 0.5)


def guess_of(loss: Measure, output: Tensor, target: Tensor, wants: Wants) -> float:
    """The lowest mean loss that one and the same output for every sample reaches; NaN where that cannot be found.

    Searched by descent from several starts, as the loss may be anybody's; from one, and not for long, where the outputs
    are millions of numbers, as those of language models are.

    Args:
        loss: of outputs (N, …).
        output: (N, …) that the model gave.
        target: (N, …).
        wants: what the loss takes its outputs for.
    """
    if output.ndim < 1 or not output.is_floating_point():
        return math.nan
    shape = output.shape[1:]
    inside, outside = _between(wants, len(shape))
    best, agreed, large = math.nan, 0, output.numel() > _LARGE
    for start in _starts(output, target, wants):
        free = outside(start.double()).detach().requires_grad_()
        mover = torch.optim.LBFGS(
            [free], max_iter=10 if large else 40, line_search_fn="strong_wolfe", tolerance_grad=1e-9
        )

        def value(free: Tensor = free, mover: torch.optim.Optimizer = mover) -> Tensor:
            mover.zero_grad()
            found = loss(inside(free).to(output.dtype).expand(output.shape)).double().mean()
            if found.requires_grad:
                found.backward()
            return found

        try:
            with torch.enable_grad():
                tried = [float(value().detach())]
                mover.step(value)
                tried.append(float(value().detach()))
        except Exception:  # a loss that refuses such an output tells nothing of it
            continue
        low = min((v for v in tried if math.isfinite(v)), default=math.nan)
        agreed += abs(low - best) <= 1e-4 * abs(best)
        best = low if math.isnan(best) or low < best else best
        if agreed or large:  # another start came to the same: most losses have one valley
            break
    return best


def _between(wants: Wants, axes: int) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """From free numbers to outputs that the loss can take, and back."""
    match wants:
        case "probabilities":
            return torch.sigmoid, lambda o: torch.logit(o.clamp(1e-4, 1 - 1e-4))
        case "log_probabilities" if axes:
            return (lambda x: x.log_softmax(0)), lambda o: o
        case _:
            return (lambda x: x), lambda o: o


def _starts(output: Tensor, target: Tensor, wants: Wants) -> Iterator[Tensor]:
    """Outputs of one sample to begin with: the targets' mean and median, the model's own mean, nothing."""
    shape = output.shape[1:]
    if target.is_floating_point() and target.shape[1:] == shape:
        yield target.mean(0)
        yield target.median(0).values
    elif target.is_floating_point() and target[0].numel() == output[0].numel():
        yield target.mean(0).reshape(shape)
    elif not target.is_floating_point() and target.ndim == 1 and len(shape) == 1 and wants != "numbers":
        share = torch.bincount(target.clamp(0, shape[0] - 1), minlength=shape[0])[: shape[0]].float() + 0.5
        share = share / share.sum()
        yield share if wants == "probabilities" else share.log()
    finite = torch.where(torch.isfinite(output), output, 0.0)
    yield finite.detach().float().mean(0)
    yield torch.full(shape, 0.5 if wants == "probabilities" else 0.0, device=output.device)


def deaf_of(loss: Measure, output: Tensor) -> float:
    """The share of samples (of N) for whose outputs (N, …) the slope of the loss is exactly 0."""
    with torch.enable_grad():
        free = output.detach().clone().requires_grad_()
        found = loss(free)
        if not found.requires_grad:
            return 1.0
        (slope,) = torch.autograd.grad(found.sum(), free, allow_unused=True)
    if slope is None:
        return 1.0
    return float((slope.reshape(len(slope), -1) == 0).all(1).float().mean())


def facts_of(
    loss: Measure,
    output: Tensor,
    target: Tensor | None,
    start: float,
    name: str = "",
    wide: tuple[Tensor, Measure] | None = None,
    guess: float | None = None,
) -> LossFacts:
    """All that is known of a loss.

    Args:
        loss: of outputs (N, …), against the targets.
        output: (N, …) of the untrained model.
        target: (N, …); None where there is not one tensor of them.
        start: of the untrained model.
        name: as the recipe calls it.
        wide: more targets (M, …), and the loss of outputs against them: a guess is then made for these.
        guess: the loss of the best constant answer, where that is known: looking for it can take long.
    """
    if target is None:
        return LossFacts(name=name, start=start, deaf=deaf_of(loss, output))
    known = recognized(loss, output, target)
    if known is not None and known.minus:  # it has no lowest value
        return LossFacts(name=known.name, start=start, deaf=deaf_of(loss, output), minus=True)
    wants: Wants = known.wants if known else ""
    targets, many = (target, loss) if wide is None else wide
    if guess is None:
        guess = guess_of(many, output[:1].expand(len(targets), *output.shape[1:]), targets, wants)
    return LossFacts(
        name=known.name if known else name,
        wants=wants,
        start=start,
        guess=guess,
        deaf=deaf_of(loss, output),
        reach=(0.0, 1.0) if wants == "probabilities" else (-math.inf, math.inf),
        broadcast=_broadcast(output, target, known),
    )


def _broadcast(output: Tensor, target: Tensor, known: Known | None) -> str:
    """Shapes that an element-wise loss spreads over each other."""
    same = output.shape == target.shape
    elements = known is not None and (known.name in ("mse", "mae", "huber", "log_cosh", "binary_cross_entropy"))
    if same or not elements:
        return ""
    spread = tuple(torch.broadcast_shapes(output.shape, target.shape))
    return f"{tuple(output.shape)} and {tuple(target.shape)} became {spread}"
