"""What every task must keep, ours, a plugin's or your own: one list of promises, checked on a few records."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from math import isclose, isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.rows import Rows
from trainwright.core.task import Loss, Outputs, Processor, Progress, Record, Sample, Task
from trainwright.data.encode import encode, encode_records
from trainwright.data.loader import Loader
from trainwright.data.part import Part
from trainwright.data.source import Source

COUNT = 8  # samples looked at
_EXACT, _ROUGH = 1e-9, 1e-5  # relative: of float64 sums, of float32 ones


class Promise(NamedTuple):
    """One promise, whether the task keeps it, and what was seen."""

    name: str
    kept: bool
    evidence: str


class _BrokenError(Exception):
    """A promise that is not kept; the message is the evidence."""


def check_task(
    make: Callable[[], Task[Any]],
    model_for: Callable[[dict[str, Any]], nn.Module],
    records: Sequence[Record],
    unlabelled: Callable[[Record], Record],
) -> Iterator[Promise]:
    """Check every promise of `PROMISES`, in order; nothing is raised, and the caller's random state is left alone.

    Where the task cannot even be set up, only the promises that say why are yielded.

    Args:
        make: a fresh task.
        model_for: a model for the task's sizes, without dropout and batch statistics.
        records: labelled ones, which give at least eight samples.
        unlabelled: what would be served of a record: the same without its labels. With windows: one that is long
            enough to be continued.
    """
    subject = _Subject(make, model_for, records, unlabelled)
    for number, (name, check) in enumerate(_CHECKS):
        promise = _kept(name, check, subject)
        yield promise
        if not promise.kept and number < _FOUNDATION:
            return


def report(promises: Sequence[Promise]) -> str:
    """The promises as text, the broken ones first."""
    broken = [p for p in promises if not p.kept]
    lines = [f"BROKEN  {p.name}: {p.evidence}" for p in broken]
    lines += [f"kept    {p.name}" + (f" ({p.evidence})" if p.evidence else "") for p in promises if p.kept]
    return "\n".join([*lines, f"{len(promises) - len(broken)} promises kept, {len(broken)} broken"])


def _kept(name: str, check: Callable[[_Subject], str], subject: _Subject) -> Promise:
    try:
        with _dice(0):
            return Promise(name, True, check(subject))
    except _BrokenError as broken:
        return Promise(name, False, str(broken))
    except Exception as error:  # a check that cannot be run is a promise that is not kept
        return Promise(name, False, f"{type(error).__name__}: {error}")


class _Records(Source):
    """Records in memory."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    def fingerprint(self) -> str:
        return ""


class _Subject:
    """The task under test, set up once, in float64."""

    def __init__(
        self,
        make: Callable[[], Task[Any]],
        model_for: Callable[[dict[str, Any]], nn.Module],
        records: Sequence[Record],
        unlabelled: Callable[[Record], Record],
    ) -> None:
        self.make, self.model_for, self.records, self.unlabelled = make, model_for, records, unlabelled

    @cached_property
    def task(self) -> Task[Any]:
        task = self.make()
        task.processor.fit(self.records)
        return task

    @property
    def processor(self) -> Processor:
        processor: Processor = self.task.processor
        return processor

    @cached_property
    def samples(self) -> list[Sample]:
        """The first records, encoded for the first time."""
        return [self.processor.encode(r) for r in self.records[:COUNT]]

    @cached_property
    def part(self) -> Part:
        store = encode(_Records(self.records), self.processor, workers=0, where="memory")
        part = Part(store, torch.arange(len(store)), self.processor.windows, self.processor, name="records")
        _must(len(part) >= COUNT, f"{len(part)} samples are too few to check a task; give more records")
        return part

    @cached_property
    def model(self) -> nn.Module:
        return self.model_for(_json(self.task.sizes())).double().eval()

    def rows(self, which: Sequence[int]) -> Rows:
        """Samples by number, freshly gathered."""
        return self.part.gather(self.part.positions()[torch.tensor(which)])

    def batch(self, which: Sequence[int]) -> Batch:
        return self.processor.batch(self.rows(which), None).cast(torch.float64)

    @cached_property
    def whole(self) -> Batch:
        return self.batch(range(COUNT))

    @cached_property
    def pieces(self) -> list[tuple[list[int], Batch]]:
        """The same samples in another order, in batches of 1, 2, 3 and the rest."""
        order = list(range(COUNT))[::-1]
        cuts = [order[:1], order[1:3], order[3:6], order[6:]]
        return [(cut, self.batch(cut)) for cut in cuts]

    def loss(self, batch: Batch) -> Loss:
        return self.task.loss(self.model, batch, Progress())

    @torch.no_grad()
    def judged(self, batch: Batch) -> Loss:
        return self.loss(batch)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Outputs:
        with _dice(0):  # a prediction may sample
            return self.task.predict(self.model, batch)

    def served(self, records: Sequence[Record]) -> Batch:
        """What a server makes of records: without labels, where they can do without."""
        try:
            rows = encode_records([self.unlabelled(r) for r in records], self.processor)
        except Exception:  # another promise tells
            rows = _blind(encode_records(records, self.processor), self.processor)
        return replace(self.processor.batch(rows, None).cast(torch.float64), targets={})

    def answers(self, batch: Batch) -> list[Any]:
        return list(self.processor.decode(self.predict(batch), batch))


def _fits(s: _Subject) -> str:
    state = s.task.processor.state_dict()
    again = s.make()
    with _dice(1):
        again.processor.fit(s.records)
    _must(_same(state, again.processor.state_dict()), "fitted twice on the same records, it learned different things")
    return f"{len(s.records)} records"


def _columns(s: _Subject) -> str:
    columns = s.processor.columns()
    windowed = s.processor.windows is not None
    for sample in s.samples:
        _must(set(sample) == set(columns), f"encoded {sorted(sample)}, but columns() says {sorted(columns)}")
        for name, value in sample.items():
            column = columns[name]
            if isinstance(value, bytes) or column.kind == "bytes":
                _must(isinstance(value, bytes) and column.kind == "bytes", f"'{name}': only bytes columns hold bytes")
                value = s.processor.unpack(name, value)  # type: ignore[arg-type]
            rows = column.kind in ("ragged", "window") or (windowed and column.kind == "dense")
            shape = tuple(value.shape[1:] if rows else value.shape)
            _must(value.dtype == column.dtype, f"'{name}' is {value.dtype}, but columns() says {column.dtype}")
            _must(
                shape == column.shape and (not rows or value.ndim > 0),
                f"'{name}' has the shape {tuple(value.shape)}, but columns() says {column.kind} {column.shape}",
            )
    return ", ".join(f"{n}: {c.kind} {c.dtype}" for n, c in columns.items())


def _sizes(s: _Subject) -> str:
    sizes = s.task.sizes()
    _must(_same(_json(sizes), sizes), f"sizes() does not survive JSON: {sizes!r}")
    return str(sizes)


def _enough(s: _Subject) -> str:
    return f"{sum(p.numel() for p in s.model.parameters())} weights"


def _stored(s: _Subject) -> str:
    return f"{len(s.part)} samples"


def _encode_again(s: _Subject) -> str:
    for i in reversed(range(len(s.samples))):
        with _dice(1):
            again = s.processor.encode(s.records[i])
        _must(_same(s.samples[i], again), f"record {i} was encoded to something else the second time")
    return ""


def _encode_harmless(s: _Subject) -> str:
    for i, record in enumerate(s.records[:COUNT]):
        before = deepcopy(dict(record))
        s.processor.encode(record)
        _must(_same(before, dict(record)), f"record {i} is no longer what it was before it was encoded")
    return ""


def _json_state(s: _Subject) -> str:
    again = s.make()
    again.processor.load_state_dict(_json(s.processor.state_dict()))
    _must(_same(again.sizes(), s.task.sizes()), f"sizes are {again.sizes()} after loading, {s.task.sizes()} before")
    samples = [again.processor.encode(r) for r in s.records[:COUNT]]
    _must(_same(samples, s.samples), "the loaded processor encodes a record to something else")
    batch = again.processor.batch(s.rows(range(COUNT)), None).cast(torch.float64)
    _must(_same(batch.inputs, s.whole.inputs), "the loaded processor makes other inputs")
    _must(_same(batch.targets, s.whole.targets), "the loaded processor makes other targets")
    return ""


def _batch_again(s: _Subject) -> str:
    rows = s.rows(range(COUNT))
    first = deepcopy(s.processor.batch(rows, None))
    with _dice(1):
        again = s.processor.batch(rows, None)
    _must(_same_batch(first, again), "two batches of the same rows differ")
    return ""


def _batch_quiet(s: _Subject) -> str:
    rows = s.rows(range(COUNT))
    before = _state()
    s.processor.batch(rows, None)
    _must(_same(before, _state()), "batch(rows, None) moved a global random generator")
    return ""


def _drawn(s: _Subject, micro: int, shuffle: bool = False) -> list[Batch]:
    """Augmented batches of the first epoch, as the loader makes them."""
    loader = Loader(s.part, s.processor, batch_size="all", micro=micro, seed=7, shuffle=shuffle)
    try:
        return next(loader)
    finally:
        loader.close()


def _draw_alone(s: _Subject) -> str:
    alone = {int(b.ids): b for b in _drawn(s, 1)}
    with _dice(1):
        together = _drawn(s, 5, shuffle=True)
    for batch in together:
        for row, name in enumerate(batch.ids.tolist()):
            for kind in ("inputs", "targets"):
                single, many = getattr(alone[name], kind), getattr(batch, kind)
                _must(single.keys() == many.keys(), f"sample {name} has other {kind} in another batch")
                for key in single:
                    fits = _within(single[key][0], many[key][row])
                    _must(fits, f"{kind}['{key}'] of sample {name} depends on the batch it is augmented in")
    return f"{len(alone)} samples alone and in batches of 5, in another order"


def _draw_quiet(s: _Subject) -> str:
    before = _state()
    _drawn(s, 5)
    _must(_same(before, _state()), "batch(rows, draw) moved a global random generator")
    return ""


def _well_formed(s: _Subject) -> str:
    weight = s.whole.weight
    _must(weight.ndim == 0, f"the weight has the shape {tuple(weight.shape)}, not ()")
    _must(weight.is_floating_point(), f"the weight is {weight.dtype}, not a floating type")
    _must(bool(weight.isfinite() & (weight >= 0)), f"the weight is {weight.item()}")
    for kind in ("inputs", "targets"):
        for name, tensor in getattr(s.whole, kind).items():
            shape = tuple(tensor.shape)
            _must(shape[:1] == (COUNT,), f"{kind}['{name}'] has the shape {shape}; dim 0 must count {COUNT} samples")
    return f"weight {weight.item():g}"


def _ids_travel(s: _Subject) -> str:
    for which, batch in s.pieces:
        ids = s.rows(which).ids
        _must(torch.equal(batch.ids, ids), f"ids are {batch.ids.tolist()} instead of {ids.tolist()}")
        _must(batch.size == len(which), f"size is {batch.size} instead of {len(which)}")
    return ""


def _loss_finite(s: _Subject) -> str:
    loss = s.judged(s.whole).sum
    _must(loss.ndim == 0, f"the loss has the shape {tuple(loss.shape)}, not ()")
    _must(bool(loss.isfinite()), f"the loss is {loss.item()}")
    return f"{loss.item():.6g}"


def _loss_sums(s: _Subject) -> str:
    whole = s.judged(s.whole).sum
    parts = [s.judged(b).sum for _, b in s.pieces]
    _must(_near(whole, torch.stack(parts).sum()), _not_a_sum("the loss of a batch", whole, parts))
    return f"{whole.item():.6g} = " + " + ".join(f"{p.item():.6g}" for p in parts)


def _shares_sum(s: _Subject) -> str:
    whole = s.judged(s.whole)
    if whole.each is None:
        return "not given"
    for which, batch in [(list(range(COUNT)), s.whole), *s.pieces]:
        loss = s.judged(batch)
        _must(loss.each is not None and loss.each.shape == (len(which),), "each is not one number per sample")
        assert loss.each is not None
        _must(_near(loss.sum, loss.each.sum()), f"each sums to {loss.each.sum().item()}, the loss is {loss.sum.item()}")
        _must(_near(whole.each[which], loss.each), "a sample's share depends on the batch it is in")
    return ""


def _parts_sum(s: _Subject) -> str:
    whole = s.judged(s.whole).parts
    for name in whole:
        parts = [s.judged(b).parts[name] for _, b in s.pieces]
        _must(_near(whole[name], torch.stack(parts).sum()), _not_a_sum(f"the part '{name}'", whole[name], parts))
    return ", ".join(whole) or "none"


def _weights_sum(s: _Subject) -> str:
    parts = [b.weight for _, b in s.pieces]
    _must(_near(s.whole.weight, torch.stack(parts).sum()), _not_a_sum("the weight", s.whole.weight, parts))
    return f"{s.whole.weight.item():g} = " + " + ".join(f"{p.item():g}" for p in parts)


def _detached(s: _Subject) -> str:
    loss = s.loss(s.whole)
    _must(loss.sum.requires_grad, "the loss has no gradient")
    kept = {
        **{f"outputs['{n}']": v for n, v in loss.outputs.items()},
        **{f"parts['{n}']": v for n, v in loss.parts.items()},
    }
    for name, tensor in [*kept.items(), ("each", loss.each)]:
        _must(tensor is None or not tensor.requires_grad, f"{name} holds the graph of its batch in memory")
    return ""


def _gradient(s: _Subject) -> str:
    s.model.zero_grad()
    s.loss(s.whole).sum.backward()  # type: ignore[no-untyped-call]
    for name, weight in s.model.named_parameters():
        fine = weight.grad is None or bool(weight.grad.isfinite().all())
        _must(fine, f"the gradient of {name} is not finite, though the loss is {s.judged(s.whole).sum.item():.6g}")
    return ""


def _reaches(s: _Subject) -> str:
    """Ranks exchange gradients: none of them may lack one that another has."""
    batches = [s.whole, *(s.batch([i]) for i in range(COUNT)), s.whole.filler()]
    for batch in batches:
        s.model.zero_grad()
        s.loss(batch).sum.backward()  # type: ignore[no-untyped-call]
        left = [n for n, w in s.model.named_parameters() if w.requires_grad and w.grad is None]
        _must(not left, f"a batch of {batch.size} samples gives {', '.join(left)} no gradient, not even 0")
    s.model.zero_grad()
    return ""


def _filler(s: _Subject) -> str:
    filler = s.whole.filler()
    loss = s.judged(filler)
    _must(bool(loss.sum.isfinite()), f"the loss of a batch that counts nothing is {loss.sum.item()}")
    _must(_near(loss.sum, s.judged(s.whole).sum), "the loss of the same tensors depends on weight or size")
    s.predict(replace(filler, targets={}))
    return ""


def _counts(s: _Subject, name: str, batch: Batch) -> Tensor:
    metric = s.task.metrics()[name]
    outputs = s.judged(batch).outputs if metric.source == "loss" else s.predict(replace(batch, targets={}))
    return metric.count(outputs, batch)


def _added(s: _Subject) -> str:
    names = [n for n, m in s.task.metrics().items() if m.combine == "add"]
    for name in names:
        whole, parts = _counts(s, name, s.whole), [_counts(s, name, b) for _, b in s.pieces]
        _must(all(p.shape == whole.shape for p in parts), f"the statistics of '{name}' change their shape")
        _must(_near(whole, torch.stack(parts).sum(0)), f"the statistics of '{name}' do not add up over batches")
    return ", ".join(names) or "none"


def _kept_rows(s: _Subject) -> str:
    names = [n for n, m in s.task.metrics().items() if m.combine == "rows"]
    for name in names:
        whole = _counts(s, name, s.whole)
        _must(len(whole) == COUNT, f"'{name}' gives {len(whole)} rows for {COUNT} samples")
        for which, batch in s.pieces:
            rows = _counts(s, name, batch)
            fits = len(rows) == len(which) and all(_row_fits(whole[i], r) for i, r in zip(which, rows, strict=True))
            _must(fits, f"the row of a sample for '{name}' depends on the batch it is in")
    return ", ".join(names) or "none"


def _row_fits(a: Tensor, b: Tensor) -> bool:
    """Whether two rows agree where both have a number; the wider one may only have padding or zeros behind."""
    shared = min(len(a), len(b)) if a.ndim else 0
    return _near(a, b) if a.shape == b.shape else _near(a[:shared], b[:shared])


def _numbers(s: _Subject) -> str:
    metrics = s.task.metrics()
    _must("loss" not in metrics, "'loss' is always measured; name the metric otherwise")
    for name, metric in metrics.items():
        value = metric.value(_counts(s, name, s.whole).double())
        _must(isinstance(value, float | int), f"'{name}' is {value!r}, not a number")
        _must(metric.better in ("higher", "lower"), f"'{name}': better must be higher or lower")
    return ", ".join(metrics) or "none"


def _monitored(s: _Subject) -> str:
    name, metrics = s.task.monitor, s.task.metrics()
    _must(name == "loss" or name in metrics, f"'{name}' is not one of loss, {', '.join(metrics)}")
    _must(name == "loss" or metrics[name].when == "each", f"'{name}' is measured only at the end")
    return name


def _baselines(s: _Subject) -> str:
    found = s.task.baselines(s.part, s.part)
    for name, scores in found.items():
        _must(s.task.monitor in scores, f"'{name}' says nothing about '{s.task.monitor}'")
        for metric, value in scores.items():
            fine = isinstance(value, float | int) and isfinite(value)
            _must(fine and (metric == "loss" or metric in s.task.metrics()), f"{name}: {metric} = {value!r}")
    return str(found) if found else "none"


def _blindfold(s: _Subject) -> str:
    seeing, blind = s.predict(s.whole), s.predict(replace(s.whole, targets={}))
    _must(_same(seeing, blind), "the prediction changes when the targets are taken away")
    return ""


def _inputs_alone(s: _Subject) -> str:
    blind = s.processor.batch(_blind(s.rows(range(COUNT)), s.processor), None).cast(torch.float64)
    _must(_same(blind.inputs, s.whole.inputs), "inputs change when the target columns are taken away")
    targets = [n for n, c in s.processor.columns().items() if c.target]
    return f"without {', '.join(targets)}" if targets else "no column is a target"


def _serves(s: _Subject) -> str:
    records = [s.unlabelled(r) for r in s.records[:COUNT]]
    batch = s.processor.batch(encode_records(records, s.processor), None)
    answers = s.answers(replace(batch.cast(torch.float64), targets={}))
    _must(len(answers) == len(records), f"{len(answers)} answers to {len(records)} records")
    return ""


def _neighbours(s: _Subject) -> str:
    together = s.answers(s.served(s.records[:COUNT]))
    for i, record in enumerate(s.records[:COUNT]):
        (alone,) = s.answers(s.served([record]))
        _must(_alike(alone, together[i]), f"record {i}: {alone} alone, {together[i]} beside others")
    return ""


def _answers_json(s: _Subject) -> str:
    answers = s.answers(s.whole)
    _must(len(answers) == COUNT, f"{len(answers)} answers for {COUNT} samples")
    for answer in answers:
        _must(isinstance(answer, Mapping), f"an answer is {type(answer).__name__}, not a mapping")
        json.dumps(dict(answer), allow_nan=False)
    return json.dumps(dict(answers[0]))[:80]


def _shown(s: _Subject) -> str:
    exhibits = s.task.show(s.whole, s.predict(s.whole))
    for exhibit in exhibits:
        json.dumps([exhibit.kind, exhibit.title, dict(exhibit.data)], allow_nan=False)
    return f"{len(exhibits)} exhibits"


def _harmless(s: _Subject) -> str:
    before = deepcopy(_tensors(s.model))
    s.judged(s.whole)
    s.predict(s.whole)
    _must(_same(before, _tensors(s.model)), "judging the model changed its weights or buffers")
    s.model.train()
    s.predict(s.whole)
    training = all(m.training for m in s.model.modules())
    s.model.eval()
    _must(training, "predict() switches the model between training and evaluation")
    return f"{len(before)} tensors"


_CHECKS: tuple[tuple[str, Callable[[_Subject], str]], ...] = (
    ("the processor learns, and the same from the same records", _fits),
    ("columns() describes what encode() returns", _columns),
    ("every record can be stored", _stored),
    ("sizes() is JSON", _sizes),
    ("sizes() is enough for a model", _enough),
    ("the loss is finite", _loss_finite),
    ("encode() is deterministic", _encode_again),
    ("encode() leaves the record as it is", _encode_harmless),
    ("the processor survives JSON", _json_state),
    ("batch() without a draw is deterministic", _batch_again),
    ("batch() without a draw leaves global randomness alone", _batch_quiet),
    ("augmentation depends on the draw and the sample alone", _draw_alone),
    ("augmentation leaves global randomness alone", _draw_quiet),
    ("a batch is well formed", _well_formed),
    ("ids travel", _ids_travel),
    ("the loss is a sum", _loss_sums),
    ("each sample's share of the loss adds up", _shares_sum),
    ("the parts of the loss add up", _parts_sum),
    ("weights add up", _weights_sum),
    ("what a loss hands on is detached", _detached),
    ("the gradient is finite", _gradient),
    ("the loss reaches every weight, whatever is in the batch", _reaches),
    ("a filler runs", _filler),
    ("statistics of metrics add up", _added),
    ("rows of metrics belong to their samples", _kept_rows),
    ("metrics are numbers", _numbers),
    ("the monitor is the loss or a metric", _monitored),
    ("baselines speak of the monitor", _baselines),
    ("predictions do not peek at targets", _blindfold),
    ("inputs do not need targets", _inputs_alone),
    ("unlabelled records can be served", _serves),
    ("an answer does not depend on its neighbours", _neighbours),
    ("answers are JSON, one per sample", _answers_json),
    ("exhibits are JSON", _shown),
    ("judging leaves the model as it is", _harmless),
)
_FOUNDATION = 6  # without these, nothing else can be looked at
PROMISES = tuple(name for name, _ in _CHECKS)


def _must(kept: bool, evidence: str) -> None:
    if not kept:
        raise _BrokenError(evidence)


def _not_a_sum(what: str, whole: Tensor, parts: Sequence[Tensor]) -> str:
    pieces = " + ".join(f"{p.item():.9g}" for p in parts)
    return f"{what} is {whole.item():.9g} for all samples at once, but {pieces} = {sum(p.item() for p in parts):.9g}"


def _blind(rows: Rows, processor: Processor) -> Rows:
    """Rows without the columns that only training knows."""
    columns = processor.columns()
    return replace(rows, columns={n: v for n, v in rows.columns.items() if not columns[n].target})


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _near(a: Tensor, b: Tensor) -> bool:
    wide = a.dtype == b.dtype == torch.float64 or not a.is_floating_point()
    tolerance = _EXACT if wide else _ROUGH
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True)


def _within(alone: Tensor, padded: Tensor) -> bool:
    """Whether ``alone`` is the corner of ``padded``, which may be longer in every dimension."""
    if alone.ndim != padded.ndim or any(a > b for a, b in zip(alone.shape, padded.shape, strict=True)):
        return False
    return _near(alone, padded[tuple(slice(n) for n in alone.shape)])


def _same(a: Any, b: Any) -> bool:
    """Equal in every bit, whatever is nested."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        both = isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return both and torch.allclose(a, b, rtol=0, atol=0, equal_nan=a.is_floating_point())
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b or (a != a and b != b))


def _same_batch(a: Batch, b: Batch) -> bool:
    return _same([a.inputs, a.targets, a.weight, a.ids, a.size], [b.inputs, b.targets, b.weight, b.ids, b.size])


def _alike(a: Any, b: Any) -> bool:
    """Equal answers, up to rounding."""
    if isinstance(a, float) and isinstance(b, float | int):
        return isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return all(_alike(x, y) for x, y in zip_longest(a, b))
    return bool(a == b)


def _state() -> list[Any]:
    """Of all global random generators of this process."""
    return [random.getstate(), list(np.random.get_state()), torch.get_rng_state()]


@contextmanager
def _dice(seed: int) -> Iterator[None]:
    """Global randomness from ``seed`` on, and put back behind."""
    python, array, tensor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(tensor)
