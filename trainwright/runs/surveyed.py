"""What the doctor asks the records of a run before its first step, where they are encoded and can be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainwright.core.data_facts import Code, Conflict, DataFacts, Kin, Order, Teller, Twins
from trainwright.core.task import Processor
from trainwright.data.look import look
from trainwright.data.part import Part
from trainwright.data.survey.alone import alone, repeated
from trainwright.data.survey.cells import code, conflicts
from trainwright.data.survey.kinship import groups, names_group, names_time, times
from trainwright.data.survey.near import near
from trainwright.data.survey.sequence import order_of
from trainwright.engine.signal import signal_of
from trainwright.runs.assemble import Pieces, spread
from trainwright.runs.gathered import Data

_TRAIN, _HELD, _READ = 10_000, 500, 4096  # samples: to be near to, compared with them, asked for the rest
_BYTES = 2**25  # of inputs
_NEARLY_ALL = 0.98  # of the way, by which a column tells the answer
_SHOWN = 3
_ORDERED = 100_000  # targets that are read in their order
Values = npt.NDArray[np.float64]


def survey(pieces: Pieces) -> DataFacts:
    """All of it; what cannot be asked keeps its default. Records are asked once, whatever is trained on them."""
    data = pieces.data
    if data is None or pieces.task.processor.windows is not None:
        return DataFacts()
    if not data.surveyed:
        data.surveyed.append(_surveyed(pieces, data))
    return data.surveyed[0]


def _surveyed(pieces: Pieces, data: Data) -> DataFacts:
    processor, train = pieces.task.processor, data.parts["train"]
    names = processor.column_names()
    targets = _targets(data)
    group, time = _kin(data, targets, names)
    order = _order(pieces, train, targets)
    if pieces.unpacked:
        return DataFacts(group=group, time=time, order=order)
    some = processor.batch(spread(train, _fitting(processor, train, _READ)), None)
    columns = {n: x for n, x in some.inputs.items() if x.ndim == 2 and (x.is_floating_point() or n in names)}
    target = next(iter(some.targets.values())) if len(some.targets) == 1 else None
    return DataFacts(
        twins=_twins(data, processor),
        teller=_teller(columns, target, names),
        group=group,
        time=time,
        order=order,
        conflict=_conflict(train, targets),
        code=_code(data, names),
        repeated=repeated(columns["x"], list(names["x"])) if "x" in names and "x" in columns else (),
    )


def _fitting(processor: Processor, part: Part, most: int) -> int:
    """As many samples as their inputs leave room for."""
    one = processor.batch(part.rows(0, 1), None)
    each = sum(x.numel() * x.element_size() for x in one.inputs.values()) or 1
    return max(1, min(most, len(part), _BYTES // each))


def _targets(data: Data) -> Values:
    """(R,) of every record, NaN where it is not one number or not known."""
    store = data.parts["train"].store
    out = np.full(len(store), np.nan)
    aims = [n for n, c in store.columns.items() if c.target and c.kind == "dense" and c.shape in ((), (1,))]
    if len(aims) != 1 or len(store) > _ORDERED or any(c.kind == "bytes" for c in store.columns.values()):
        return out
    for part in data.parts.values():
        rows = store.gather(part.ids, torch.device("cpu"))
        out[part.ids.numpy()] = rows.dense(aims[0]).double().reshape(-1).numpy()
    return out


def _kin(data: Data, targets: Values, names: Mapping[str, Sequence[str]]) -> tuple[Kin, Kin]:
    """The strongest field of groups, and of time, that nobody named in the recipe."""
    parts = {name: part.ids.numpy() for name, part in data.parts.items()}
    how = data.split.how
    fields = [] if "grouped" in how or "chronological" in how or "ranges" in how else data.source.fields()
    fed = {name for columns in names.values() for name in columns}
    found: dict[str, list[Kin]] = {"group": [Kin()], "time": [Kin()]}
    for field in fields:
        if names_group(field):
            found["group"].append(groups(field, _plain(data.source.values(field)), targets, parts, field in fed))
        elif names_time(field):
            found["time"].append(times(field, _plain(data.source.values(field)), targets, parts, field in fed))
    return tuple(max(kins, key=_strength) for kins in found.values())  # type: ignore[return-value]


def _strength(kin: Kin) -> float:
    return (kin.alike - kin.chance) / kin.error if kin.error > 0 else 0.0


def _plain(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray | Tensor) else list(values)


def _order(pieces: Pieces, train: Part, targets: Values) -> Order:
    """Where nothing shuffles."""
    if pieces.config.shuffle:
        return Order()
    whole = pieces.config.batch_size == "all"
    return Order() if whole else order_of(targets[train.ids.numpy()], int(pieces.config.batch_size))


def _twins(data: Data, processor: Processor) -> Twins:
    train, place = data.parts["train"], data.source.where
    for name in ("test", "valid"):
        if name not in data.parts:
            continue
        mine = processor.batch(spread(data.parts[name], _HELD), None)
        theirs = processor.batch(spread(train, _fitting(processor, train, _TRAIN)), None)
        floats = [n for n, x in mine.inputs.items() if x.is_floating_point()]
        if (
            len(mine.inputs) != 1
            or len(floats) != 1
            or mine.inputs[floats[0]].shape[1:] != theirs.inputs[floats[0]].shape[1:]
        ):
            return Twins()
        found = near(theirs.inputs[floats[0]], mine.inputs[floats[0]])
        if found is None:
            return Twins()
        agree = torch.ones(len(found.which), dtype=torch.bool)
        if len(mine.targets) == len(theirs.targets) == 1:
            a, b = (next(iter(x.targets.values())) for x in (mine, theirs))
            agree = _agreeing(a[found.which], b[found.to], b)
        pairs = [
            (place(int(mine.ids[i])), place(int(theirs.ids[j])))
            for i, j in zip(found.which[:_SHOWN].tolist(), found.to[:_SHOWN].tolist(), strict=True)
        ]
        return Twins(name, mine.size, len(found.which), int(agree.sum()), found.within, tuple(pairs))
    return Twins()


def _agreeing(a: Tensor, b: Tensor, among: Tensor) -> Tensor:
    """(K,) whether targets (K, …) are the same, or of numbers nearer than a tenth of their deviation."""
    if not a.is_floating_point():
        return (a == b).flatten(1).all(1) if a.ndim > 1 else a == b
    close = (a - b).abs() <= 0.1 * among.float().std()
    return close.flatten(1).all(1) if close.ndim > 1 else close


def _teller(columns: Mapping[str, Tensor], target: Tensor | None, names: Mapping[str, Sequence[str]]) -> Teller:
    y = None if target is None or target.numel() != len(target) else target.reshape(-1)
    if y is None or not columns:
        return Teller()
    best, leaders = Teller(), []
    for name, x in columns.items():
        shares = alone(x, y)
        if shares is None:
            return Teller()
        called = list(names.get(name, ())) or [f"column {i} of {name}" for i in range(x.shape[1])]
        leaders += [(name, i) for i, share in enumerate(shares) if share > _NEARLY_ALL]
        i = int(shares.argmax())
        if not best.share >= shares[i]:
            best = Teller(called[i], bool(names), 0, len(x), float(shares[i]))
    others = torch.cat(
        [x[:, [i for i in range(x.shape[1]) if (name, i) not in leaders]].float() for name, x in columns.items()],
        1,
    )
    count = sum(x.shape[1] for x in columns.values())
    rest = error = float("nan")
    if leaders and others.shape[1]:
        rest, error = (float(v) for v in signal_of(others, y))
    return Teller(best.column, best.named, count, best.rows, best.share, rest, error)


def _conflict(train: Part, targets: Values) -> Conflict:
    mine = targets[train.ids.numpy()]
    known = np.isfinite(mine)
    if len(mine) > _ORDERED or not known.any() or len(np.unique(mine[known])) > 0.1 * len(mine):
        return Conflict()  # numbers are seldom twice the same, even where nothing is wrong
    return conflicts(look(train.store).hashes(train.ids.numpy()[known]), mine[known])


def _code(data: Data, names: Mapping[str, Sequence[str]]) -> Code:
    """The first column of a table with a number that looks like a code."""
    fields = set(data.source.fields())
    for name in names.get("x", ()):
        if name not in fields or len(data.source) > _ORDERED:
            continue
        values = _plain(data.source.values(name))
        numbers = np.array([v if isinstance(v, int | float) else np.nan for v in values], dtype=np.float64)
        if (found := code(name, numbers)) is not None:
            return found
    return Code()
