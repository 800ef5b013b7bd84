"""Records without a target: pictures or rows of a table as numbers, and a label that only scores read.

Letters in shapes: N samples, C channels, H height, W width, F numbers of a row, K numbers of a code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import samples
from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.rows import Column, Rows
from trainwright.core.task import JSON, Answer, Outputs, Processor, Record, Sample
from trainwright.data.images import Fit, Form, common_size, look, pixels
from trainwright.data.labels import is_missing, label_of
from trainwright.data.tabular import Inputs

IMAGE = "image"


@final
class Unlabelled(Processor):
    """Pictures as numbers from 0 to 1, or rows as scaled numbers beside 0 and 1 for each level of each category.

    Args:
        inputs: how columns of a table become numbers.
        label: the field that is never learned from; None for none.
        size: height and width of pictures, or "auto".
        channels: of pictures: 1, 3 or "auto".
        fit: how pictures of other shapes are brought to that one.
        noise: deviation of what is added to the inputs in training.
        masked: share of the inputs that is set to 0 in training.
        codes: numbers of a code, K.
    """

    def __init__(
        self,
        inputs: Inputs,
        label: str | None,
        *,
        size: int | tuple[int, int] | Literal["auto"],
        channels: Literal["auto", 1, 3],
        fit: Fit,
        noise: float,
        masked: float,
        codes: int,
    ) -> None:
        self.inputs, self.label = inputs, label
        self.size, self.channels, self.kind = size, channels, fit
        self.noise, self.masked, self.codes = noise, masked, codes
        self.form: Form | None = None  # of pictures
        self.labels: list[str] = []  # of the training part, sorted

    def fit(self, records: Iterable[Record]) -> None:
        """The shape of pictures, or the roles and scales of columns; the names of the labels."""
        found: set[str] = set()
        looks: list[Any] = []
        tables: list[Record] = []
        for i, record in enumerate(records):
            where = f"training record {i}"
            if self.label is not None:
                if self.label not in record:
                    what = f"no field is named '{self.label}', which task.label names"
                    raise DataError(where, what, did_you_mean(self.label, record))
                if not is_missing(record[self.label]):
                    found.add(str(label_of(record[self.label], where)))
            if IMAGE in record:
                try:
                    looks.append(look(record[IMAGE]))
                except DataError as error:
                    raise DataError(where, error.what, error.instead) from None
            else:
                tables.append(record)
        if looks and tables:
            raise DataError("data", f"{len(tables):,} of the training records have no '{IMAGE}'", "leave them out")
        if looks:
            self.form = self._formed(looks)
        else:
            self.inputs.fit(tables, lambda index, record: self.label or "")
        self.labels = sorted(found)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample's numbers."""
        if self.form is not None:
            return self.form.shape
        return (self.inputs.width + sum(self.inputs.cardinalities),)

    def columns(self) -> Mapping[str, Column]:
        """``image`` (C, H, W) bytes, or the columns of a table; ``y``, the number of the label."""
        own = self.inputs.columns() if self.form is None else {IMAGE: Column("dense", torch.uint8, self.form.shape)}
        return own if self.label is None else {**own, "y": Column("dense", torch.int64, target=True)}

    def served(self, record: Record) -> Record:
        """Without the label."""
        return {name: value for name, value in record.items() if name != self.label}

    def encode(self, record: Record) -> Sample:
        """One sample; ``y`` is -1 for a label that is missing, or that training did not have."""
        if self.form is not None:
            if IMAGE not in record:
                raise DataError(
                    "record", f"has no field '{IMAGE}', only {', '.join(map(repr, record))}", "give a picture"
                )
            sample: dict[str, Tensor | bytes] = {IMAGE: torch.from_numpy(pixels(record[IMAGE], self.form))}
        else:
            sample = dict(self.inputs.encode(record))
        if self.label is not None and self.label in record:
            value = record[self.label]
            name = "" if is_missing(value) else str(label_of(value, f"field '{self.label}'"))
            sample["y"] = torch.tensor(self.labels.index(name) if name in self.labels else -1)
        return sample

    def notes(self) -> Sequence[str]:
        """Columns that were left out, and why; the labels."""
        told = [] if self.label is None else [f"'{self.label}' has {len(self.labels):,} values, read for scores alone"]
        return [*(self.inputs.notes if self.form is None else ()), *told]

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """Input ``x`` (N, C, H, W) or (N, F), with noise where there is a draw, and ``dice`` (N, K) for codes that are
        drawn; targets ``x`` without noise, and ``y`` (N,)."""
        x = self._numbers(rows)
        inputs = {"x": x}
        if draw is not None:
            inputs = {"x": disturbed(x, draw, self.noise, self.masked), "dice": draw.normal("code", self.codes)}
        targets = {"x": x, **({"y": rows.dense("y")} if "y" in rows.columns else {})}
        return Batch(inputs, targets, samples(rows.ids), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"anomaly_score": …, "code_1": …, …}``."""
        pairs = zip(outputs["score"].tolist(), outputs["code"].tolist(), strict=True)
        return [{"anomaly_score": s, **{f"code_{i}": c for i, c in enumerate(code, 1)}} for s, code in pairs]

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        shape: list[JSON] | None = None if self.form is None else [*self.form.shape]
        return {"shape": shape, "labels": [*self.labels], "inputs": self.inputs.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.form = None
        if state["shape"] is not None:
            channels, height, width = state["shape"]
            self.form = Form(channels, height, width, self.kind)
        self.labels = list(state["labels"])
        self.inputs.load_state_dict(state["inputs"])

    def _numbers(self, rows: Rows) -> Tensor:
        if self.form is not None:
            return rows.dense(IMAGE).float() / 255
        given = self.inputs.batch(rows)
        parts = [given["x"]] if "x" in given else []
        for i, levels in enumerate(self.inputs.cardinalities):
            parts.append(one_hot(given["categorical"][:, i], levels).float())
        return torch.cat(parts, 1)

    def _formed(self, looks: Sequence[Any]) -> Form:
        channels = self.channels
        if channels == "auto":
            channels = 1 if all(x.grey for x in looks) else 3
        size = common_size(looks) if self.size == "auto" else self.size
        height, width = (size, size) if isinstance(size, int) else size
        return Form(channels, height, width, self.kind)


def disturbed(x: Tensor, draw: Draw, noise: float, masked: float) -> Tensor:
    """(N, …) with normal noise of that deviation, and that share of all numbers set to 0."""
    if noise:
        x = x + noise * draw.normal("noise", x[0].numel()).view_as(x).to(x.dtype)
    if masked:
        x = x * (draw.uniform("masked", x[0].numel()).view_as(x) >= masked)
    return x


def anomaly_among(labels: Sequence[str], asked: str | int | bool) -> int:
    """The number of the label that marks anomalies; UserError where no training record has it."""
    name = str(asked)
    if name not in labels:
        what = f"no training record has the label {name!r}"
        raise UserError("task.anomaly", what, f"the labels are {', '.join(labels[:10])}")
    return labels.index(name)
