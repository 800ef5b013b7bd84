"""What every task must keep. Each check returns what was seen, or raises `BrokenError` with the evidence."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.task import Classes, Metric, Numbers
from trainwright.runs.baselines import judged_baseline
from trainwright.runs.sameness import alike, near, same, within
from trainwright.runs.subject import COUNT, Subject, must, must_add_up, through_json


def sizes_in_json(s: Subject) -> str:
    """What a model must know is written into the run's files."""
    sizes = s.task.sizes()
    must(same(through_json(sizes), sizes), f"sizes() comes back from JSON as something else: {sizes!r}")
    return str(sizes)


def sizes_suffice(s: Subject) -> str:
    """A model can be made of them."""
    return f"{sum(p.numel() for p in s.model.parameters())} weights"


def loss_finite(s: Subject) -> str:
    """A fresh model has a loss, one number."""
    loss = s.judged(s.whole).sum
    must(loss.ndim == 0, f"the loss has the shape {tuple(loss.shape)}, not ()")
    must(bool(loss.isfinite()), f"the loss is {loss.item()}")
    return f"{loss.item():.6g}"


def loss_adds_up(s: Subject) -> str:
    """The law of sums: micro-batches and ranks agree with one big batch."""
    whole, parts = s.judged(s.whole).sum, [s.judged(b).sum for _, b in s.pieces]
    must_add_up("the loss", whole, parts, near(whole, torch.stack(parts).sum()))
    return f"{whole.item():.6g} = " + " + ".join(f"{p.item():.6g}" for p in parts)


def shares_add_up(s: Subject) -> str:
    """`each` is every sample's own share of the sum, and `weights` of the weight."""
    whole, weights = s.judged(s.whole).each, s.judged(s.whole).weights
    if weights is not None:
        must(
            near(weights().sum(), s.whole.weight),
            f"weights sum to {weights().sum().item()}, not {s.whole.weight.item()}",
        )
    if whole is None:
        return "not given"
    for which, batch in [(list(range(COUNT)), s.whole), *s.pieces]:
        loss = s.judged(batch)
        must(loss.each is not None and loss.each.shape == (len(which),), "each is not one number per sample")
        assert loss.each is not None
        must(near(loss.sum, loss.each.sum()), f"each sums to {loss.each.sum().item()}, the loss is {loss.sum.item()}")
        must(near(whole[which], loss.each), "a sample's share depends on the batch it is in")
    return f"{COUNT} samples"


def parts_add_up(s: Subject) -> str:
    """Named summands are sums as well."""
    whole = s.judged(s.whole).parts
    for name, part in whole.items():
        parts = [s.judged(b).parts[name] for _, b in s.pieces]
        must_add_up(f"the part '{name}'", part, parts, near(part, torch.stack(parts).sum()))
    return ", ".join(whole) or "none"


def detached(s: Subject) -> str:
    """Only the sum holds the graph; the rest would keep every batch in memory."""
    loss = s.loss(s.whole)
    must(loss.sum.requires_grad, "the loss has no gradient")
    kept: dict[str, Tensor | None] = {f"outputs['{n}']": v for n, v in loss.outputs.items()}
    kept |= {f"parts['{n}']": v for n, v in loss.parts.items()} | {"each": loss.each}
    for name, tensor in kept.items():
        must(tensor is None or not tensor.requires_grad, f"{name} holds the graph of its batch in memory")
    return ""


def gradient_finite(s: Subject) -> str:
    """A fresh model can be trained."""
    s.model.zero_grad()
    s.loss(s.whole).sum.backward()
    for name, weight in s.model.named_parameters():
        fine = weight.grad is None or bool(weight.grad.isfinite().all())
        must(fine, f"the gradient of {name} is not finite, though the loss is {s.judged(s.whole).sum.item():.6g}")
    return ""


def reaches_every_weight(s: Subject) -> str:
    """Ranks wait for one another's gradients: none may lack one that another has."""
    for batch in (s.whole, *(s.batch([i]) for i in range(COUNT))):
        s.model.zero_grad()
        s.loss(batch).sum.backward()
        left = [n for n, w in s.model.named_parameters() if w.requires_grad and w.grad is None]
        must(not left, f"the batch of samples {batch.ids.tolist()} gives {', '.join(left)} no gradient, not even 0")
    s.model.zero_grad()
    return f"{COUNT} samples one by one"


def filler_runs(s: Subject) -> str:
    """A rank without samples runs others' for nothing: no size, no weight."""
    filler = s.whole.filler()
    loss, whole = s.judged(filler).sum, s.judged(s.whole).sum
    must(
        near(loss, whole),
        f"the loss of the same tensors is {loss.item():.6g} without size and weight, {whole.item():.6g} with",
    )
    s.predict(replace(filler, targets={}))
    return ""


def _counted(s: Subject, name: str, batch: Batch) -> Tensor:
    """What a metric counts of a batch, asked as the engine asks."""
    metric = s.task.metrics()[name]
    outputs = s.judged(batch).outputs if metric.source == "loss" else s.predict(replace(batch, targets={}))
    return metric.count(outputs, batch)


def rows_belong(s: Subject) -> str:
    """A metric's row of a sample is the same in any batch, so that rows add up; only padding may make it longer."""
    metrics = s.task.metrics()
    for name, metric in metrics.items():
        whole = _counted(s, name, s.whole)
        for which, batch in [(list(range(COUNT)), s.whole), *s.pieces]:
            rows = _counted(s, name, batch)
            must(
                rows.ndim > 0 and len(rows) == len(which),
                f"'{name}' counts {tuple(rows.shape)} of {len(which)} samples",
            )
            same_shape = metric.combine == "rows" or rows.shape[1:] == whole.shape[1:]
            must(same_shape, f"the statistics of '{name}' change their shape")
            width = min(whole.shape[1], rows.shape[1]) if rows.ndim > 1 else None
            fits = near(
                whole[which] if width is None else whole[which, :width], rows if width is None else rows[:, :width]
            )
            must(fits, f"the row of a sample for '{name}' depends on the batch it is in")
    return ", ".join(metrics) or "none"


def resamples_agree(s: Subject) -> str:
    """Many weighted resamples at once say what each says alone."""
    metrics = {n: m for n, m in s.task.metrics().items() if m.many is not None}
    weights = torch.arange(3 * COUNT).reshape(3, COUNT).remainder(5) % 3
    for name, metric in metrics.items():
        rows = _counted(s, name, s.whole).double()
        alone = [_value(metric, rows.repeat_interleave(w, 0)) for w in weights]
        assert metric.many is not None
        found = metric.many(rows, weights.double()).double()
        must(
            near(found, torch.tensor(alone, dtype=torch.float64)),
            f"'{name}' is {found.tolist()} at once, {alone} one by one",
        )
    return ", ".join(metrics) or "none"


def _value(metric: Metric, rows: Tensor) -> float:
    return float(metric.value(rows.sum(0) if metric.combine == "add" else rows))


def metrics_are_numbers(s: Subject) -> str:
    """Every metric can be told."""
    metrics = s.task.metrics()
    must("loss" not in metrics, "'loss' is always measured; name the metric otherwise")
    for name, metric in metrics.items():
        rows = _counted(s, name, s.whole).double()
        value = metric.value(rows.sum(0) if metric.combine == "add" else rows)
        must(isinstance(value, float | int), f"'{name}' is {value!r}, not a number")
    return ", ".join(metrics) or "none"


def comparable(s: Subject) -> str:
    """What metrics by name compare fits together: logits beside class numbers, or numbers beside numbers."""
    of, batch = s.task.compared(), s.whole
    outputs = s.judged(batch).outputs
    match of:
        case Classes():
            logits, truth = of.logits(outputs), of.truth(batch)
            fits = logits.ndim > 1 and logits.shape[:1] + logits.shape[2:] == truth.shape
            must(fits, f"logits {tuple(logits.shape)} do not go with class numbers {tuple(truth.shape)}")
            must(not truth.is_floating_point(), "class numbers are not whole")
            return f"classes {tuple(logits.shape)}"
        case Numbers():
            said, truth = of.value(outputs), of.truth(batch)
            must(said.shape == truth.shape, f"{tuple(said.shape)} said against {tuple(truth.shape)} true numbers")
            return f"numbers {tuple(said.shape)}"
    return "nothing"


def monitored(s: Subject) -> str:
    """What decides is measured at each evaluation."""
    name, metrics = s.task.monitor, s.task.metrics()
    must(name == "loss" or name in metrics, f"'{name}' is not one of loss, {', '.join(metrics)}")
    must(name == "loss" or metrics[name].when == "each", f"'{name}' is measured only at the end")
    return name


def strata_exist(s: Subject) -> str:
    """A split is stratified by a field that records have."""
    field = s.task.strata(s.untouched[0])
    lacking = [] if field is None else [i for i, r in enumerate(s.untouched) if field not in r]
    must(not lacking, f"record {min(lacking, default=0)} has no field '{field}'")
    return field or "none"


def baselines_compare(s: Subject) -> str:
    """Baselines say the monitor, so that a run can be held against them."""
    told, monitor = [], s.task.monitor
    deciding = {n: m for n, m in s.task.metrics().items() if n == monitor}
    for name, fit in s.task.baselines(s.part).items():
        scores = judged_baseline(fit(60.0), s.task, s.part, deciding).values
        must(monitor in scores, f"'{name}' says nothing about '{monitor}'")
        for metric, value in scores.items():
            must(isinstance(value, float | int) and isfinite(value), f"'{name}' has {metric} = {value!r}")
        told.append(name)
    return ", ".join(told) or "none"


def does_not_peek(s: Subject) -> str:
    """A prediction is the same with and without targets."""
    seeing, blind = s.predict(s.whole), s.predict(replace(s.whole, targets={}))
    must(same(seeing, blind), "the prediction changes when the targets are taken away")
    return ""


def ignores_neighbours(s: Subject) -> str:
    """What is said of a record is the same alone and beside others, whatever padding they bring."""
    batch = s.served(s.records[:COUNT])
    together, outputs = s.answers(batch), s.predict(batch)
    for i, record in enumerate(s.records[:COUNT]):
        single = s.served([record])
        alone = s.answers(single)[0]
        must(alike(alone, together[i]), f"record {i}: {alone} alone, {together[i]} beside others")
        for name, tensor in s.predict(single).items():
            must(within(tensor[0], outputs[name][i]), f"the output '{name}' for record {i} changes beside others")
    return f"{len(together)} records"


def exhibits_in_json(s: Subject) -> str:
    """What is shown can be sent over a wire."""
    exhibits = s.task.show(s.whole, s.predict(s.whole))
    for exhibit in exhibits:
        json.dumps([exhibit.kind, exhibit.title, dict(exhibit.data)], allow_nan=False)
    return f"{len(exhibits)} exhibits"


def leaves_the_model(s: Subject) -> str:
    """Judging changes neither weights, buffers nor the mode of a module."""
    before = deepcopy(_tensors(s.model))
    s.judged(s.whole)
    s.predict(s.whole)
    must(same(before, _tensors(s.model)), "judging the model changed its weights or buffers")
    s.model.train()
    s.predict(s.whole)
    training = all(m.training for m in s.model.modules())
    s.model.eval()
    must(training, "predict() switches the model from training to evaluation; that is the caller's to do")
    return f"{len(before)} tensors"


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
