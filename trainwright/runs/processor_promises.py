"""What every processor must keep. Each check returns what was seen, or raises `BrokenError` with the evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from trainwright.core.batch import Batch
from trainwright.core.rows import Column
from trainwright.data.encode import encode_records
from trainwright.runs.sameness import dice, near, random_state, same, same_batch, within
from trainwright.runs.subject import COUNT, Subject, blind, must, must_add_up, through_json

Check = Callable[[Subject], str]


def learns(s: Subject) -> str:
    """`fit` reads its records once, and learns the same from the same."""
    again = s.make()
    with dice(1):
        again.processor.fit(iter(s.records))
    fits = same(s.processor.state_dict(), again.processor.state_dict())
    must(fits, "fitted again, on the same records one after the other, it learned something else")
    return f"{len(s.records)} records"


def described(s: Subject) -> str:
    """`encode` returns what `columns` announces."""
    columns, windowed = s.processor.columns(), s.processor.windows is not None
    for sample in s.samples:
        must(set(sample) == set(columns), f"encode() gives {sorted(sample)}, columns() says {sorted(columns)}")
        for name, value in sample.items():
            column = columns[name]
            bytes_fit = isinstance(value, bytes) == (column.kind == "bytes")
            must(bytes_fit, f"'{name}' is {type(value).__name__}, columns() says {column.kind}")
            tensor = s.processor.unpack(name, value) if isinstance(value, bytes) else value
            _describes(name, tensor, column, rows=column.kind in ("ragged", "window") or windowed)
    return ", ".join(f"{n}: {c.kind} {str(c.dtype).removeprefix('torch.')}" for n, c in columns.items())


def _describes(name: str, tensor: torch.Tensor, column: Column, rows: bool) -> None:
    must(tensor.dtype == column.dtype, f"'{name}' is {tensor.dtype}, columns() says {column.dtype}")
    shape = tuple(tensor.shape[1:] if rows else tensor.shape)
    fits = shape == column.shape and not (rows and tensor.ndim == 0)
    must(fits, f"'{name}' has the shape {tuple(tensor.shape)}, columns() says {column.kind} {column.shape}")


def stored(s: Subject) -> str:
    """Every record can be encoded and stored, and they give enough samples."""
    return f"{len(s.part)} samples"


def encodes_again(s: Subject) -> str:
    """A record is encoded to the same, whatever came before and however the dice fall."""
    for i in reversed(range(len(s.samples))):
        with dice(1):
            again = s.processor.encode(s.records[i])
        must(same(s.samples[i], again), f"record {i} was encoded to something else the second time")
    return f"{len(s.samples)} records twice"


def leaves_records(s: Subject) -> str:
    """Records belong to the source: neither `fit` nor `encode` changes them."""
    assert s.samples
    for i, before in enumerate(s.untouched):
        must(same(before, dict(s.records[i])), f"record {i} is not what it was before it was fitted and encoded")
    return f"{len(s.untouched)} records"


def survives_json(s: Subject) -> str:
    """A processor read from its file is the processor that was trained with."""
    again = s.make()
    again.processor.load_state_dict(through_json(s.processor.state_dict()))
    must(same(again.sizes(), s.task.sizes()), f"sizes are {again.sizes()} after loading, {s.task.sizes()} before")
    samples = [again.processor.encode(r) for r in s.records[:COUNT]]
    must(same(samples, s.samples), "the loaded processor encodes a record to something else")
    batch: Batch = again.processor.batch(s.rows(), None).cast(torch.float64)
    must(same(batch.inputs, s.whole.inputs), "the loaded processor makes other inputs")
    must(same(batch.targets, s.whole.targets), "the loaded processor makes other targets")
    return "after state_dict, JSON, load_state_dict"


def batches_again(s: Subject) -> str:
    """The same rows give the same batch, and stay as they are."""
    rows = s.rows()
    first = s.processor.batch(rows, None)
    with dice(1):
        again = s.processor.batch(rows, None)
    must(same_batch(first, again), "two batches of the same rows differ")
    must(same_batch(again, s.processor.batch(s.rows(), None)), "batch() changed the rows it was given")
    return f"{COUNT} samples twice"


def batches_quietly(s: Subject) -> str:
    """Evaluating must not move the training's dice."""
    rows, before = s.rows(), random_state()
    s.processor.batch(rows, None)
    must(same(before, random_state()), "batch(rows, None) moved a global random generator")
    return ""


def augments_alone(s: Subject) -> str:
    """A sample is augmented alike on any rank, in any micro-batch, in any order."""
    alone = {int(b.ids): b for b in s.drawn(1)}
    with dice(1):
        together = s.drawn(5, shuffle=True)
    for batch in together:
        for row, sample in enumerate(batch.ids.tolist()):
            _augmented_alike(alone[sample], batch, row, sample)
    return f"{len(alone)} samples one by one, and in batches of 5 in another order"


def _augmented_alike(alone: Batch, batch: Batch, row: int, sample: int) -> None:
    for kind, single, many in (("inputs", alone.inputs, batch.inputs), ("targets", alone.targets, batch.targets)):
        must(single.keys() == many.keys(), f"sample {sample} has other {kind} in another batch")
        for name in single:
            fits = within(single[name][0], many[name][row])
            must(fits, f"{kind}['{name}'] of sample {sample} depends on the batch in which it is augmented")


def augments_quietly(s: Subject) -> str:
    """All randomness of an augmentation comes from its draw."""
    before = random_state()
    s.drawn(5)
    must(same(before, random_state()), "batch(rows, draw) moved a global random generator")
    return ""


def well_formed(s: Subject) -> str:
    """The weight is one number, and dim 0 counts samples."""
    weight = s.whole.weight
    must(weight.ndim == 0, f"the weight has the shape {tuple(weight.shape)}, not ()")
    must(weight.is_floating_point(), f"the weight is {weight.dtype}, not a floating type")
    must(bool(weight.isfinite() & (weight >= 0)), f"the weight is {weight.item()}")
    for kind, tensors in (("inputs", s.whole.inputs), ("targets", s.whole.targets)):
        for name, tensor in tensors.items():
            shape = tuple(tensor.shape)
            must(
                shape[:1] == (COUNT,),
                f"{kind}['{name}'] has the shape {shape}, not one row for each of {COUNT} samples",
            )
    return f"weight {weight.item():g}"


def ids_travel(s: Subject) -> str:
    """A batch says which samples it holds."""
    for which, batch in s.pieces:
        ids = s.rows(which).ids
        must(torch.equal(batch.ids, ids), f"ids are {batch.ids.tolist()} instead of {ids.tolist()}")
        must(batch.size == len(which), f"size is {batch.size} instead of {len(which)}")
    return ""


def weights_add_up(s: Subject) -> str:
    """A batch weighs as much as its samples do in smaller ones."""
    parts = [b.weight for _, b in s.pieces]
    fits = near(s.whole.weight, torch.stack(parts).sum())
    must_add_up("the weight", s.whole.weight, parts, fits)
    return f"{s.whole.weight.item():g} = " + " + ".join(f"{p.item():g}" for p in parts)


def needs_no_targets(s: Subject) -> str:
    """Inputs are the same with and without labels."""
    columns = s.processor.columns()
    seen = s.processor.batch(blind(s.rows(), s.processor), None).cast(torch.float64)
    must(same(seen.inputs, s.whole.inputs), "inputs change when the target columns are taken away")
    targets = [n for n, c in columns.items() if c.target]
    if s.processor.windows is not None:
        return "a stream; no column is a target"
    for i, sample in enumerate(s.samples):
        try:
            served = s.processor.encode(s.unlabelled(s.records[i]))
        except Exception:  # another promise tells
            continue
        for name in served.keys() - set(targets):
            must(same(served[name], sample[name]), f"the column '{name}' of record {i} changes when it has no label")
    return f"without {', '.join(targets)}" if targets else "no column is a target"


def serves(s: Subject) -> str:
    """Records without labels are answered."""
    records = [s.unlabelled(r) for r in s.records[:COUNT]]
    batch = s.processor.batch(encode_records(records, s.processor), None)
    answers = s.answers(replace(batch.cast(torch.float64), targets={}))
    must(len(answers) == len(records), f"{len(answers)} answers to {len(records)} records")
    return f"{len(records)} records"


def answers_in_json(s: Subject) -> str:
    """One answer for each sample, which can be sent over a wire."""
    answers = s.answers(s.whole)
    must(len(answers) == COUNT, f"{len(answers)} answers for {COUNT} samples")
    for answer in answers:
        must(isinstance(answer, Mapping), f"an answer is {type(answer).__name__}, not a mapping")
        json.dumps(dict(answer), allow_nan=False)
    return json.dumps(dict(answers[0]))[:60]
