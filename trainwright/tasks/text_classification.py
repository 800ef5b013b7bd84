"""Text classification: texts to one of a few classes, or to any number of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.batch import Batch, Draw
from trainwright.core.criterion import Criterion, samples
from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import tasks
from trainwright.core.rows import Column, Encoded, Rows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Classes,
    Loss,
    Metric,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)
from trainwright.data.label_sets import LabelSets, labels_of
from trainwright.data.labels import Labels, is_missing, label_of
from trainwright.data.letters import Letters
from trainwright.data.reading import Reader, served_text
from trainwright.data.table import SUFFIXES
from trainwright.data.tokenizing import TokenizerSpec, tokenizer_of
from trainwright.metrics import bag, baselines, classes, probabilities, sets
from trainwright.optim.losses import criterion_of

BUCKETS = 50_000  # groups of letters that are told apart: fewer meet than what short words have in common anyway
TARGETS = ("label", "labels", "target", "class", "sentiment", "category")

Group = Annotated[int, Field(ge=1, le=10)]


@final
class TextLabels(Processor):
    """Texts as numbers, and the number of their class, or a row of 0 and 1 for several labels.

    Args:
        reader: of the text.
        target: the field of the labels; None finds it in the first record.
        several: whether a record may have any number of labels.
        criterion: says how much each label weighs.
    """

    bucketed = "tokens"

    def __init__(self, reader: Reader, target: str | None, *, several: bool, criterion: Criterion) -> None:
        self.reader, self.target, self.several = reader, target, several
        self.labels, self.sets = Labels(), LabelSets()
        self._criterion = criterion

    def fit(self, records: Iterable[Record]) -> None:
        """Learn labels and pieces. A bad record is told of as soon as it is read."""
        found: list[Any] = []

        def texts() -> Iterator[str]:
            for index, record in enumerate(records):
                where = f"training record {index}"
                if index == 0:
                    self.target = target_field(self.target, record)
                    self.reader.choose(record, self.target)
                text = self.reader.text(record, where)
                found.append(self._label(record, where))
                yield text

        self.reader.fit(texts())
        place = f"field '{self.target}'"
        if self.several:
            self.sets = LabelSets(found).checked(place)
            self.labels = self.sets.labels
        else:
            self.labels = Labels(found).checked(place)
        self._criterion.learn(self.labels.counts)

    def notes(self) -> Sequence[str]:
        """Texts that lose their end; labels that look alike."""
        return [*self.reader.notes(), *self.labels.notes(f"field '{self.target}'")]

    def columns(self) -> Mapping[str, Column]:
        """``tokens`` (T,) and ``letters`` (G,), ragged, and ``y``: the class, or (L,) labels."""
        several = Column("dense", torch.float32, (len(self.labels),), target=True)
        y = several if self.several else Column("dense", torch.int64, target=True)
        return {**self.reader.columns(), "y": y}

    def served(self, record: Record) -> Record:
        """Without the labels; bare text, and a field 'text' where there is no other, stand for the text."""
        record = served_text(record, self.reader.field)
        return {name: value for name, value in record.items() if name != self.target}

    def encode(self, record: Record) -> Sample:
        """One text; without ``y`` where the record has no label."""
        sample = dict(self.reader.encode(record))
        value = record.get(self.target) if self.target else None
        place = f"field '{self.target}'"
        if not is_missing(value):
            sample["y"] = self.sets.row(value, place) if self.several else torch.tensor(self.labels.index(value, place))
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """``tokens`` (N, T) int64, ``lengths`` (N,), ``letters`` (N, G); target ``y`` (N,) int64 or (N, L) float32."""
        inputs = self.reader.batch(rows, draw)
        targets = {"y": rows.dense("y")} if "y" in rows.columns else {}
        weight = self._criterion.weight(targets["y"]) if targets else samples(rows.ids)
        return Batch(inputs, targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        """``{"label": …, "probability": p, "probabilities": {label: p, …}}``; of several, ``{"labels": […], …}``."""
        said = self.sets if self.several else self.labels
        return list(said.answers(outputs["probabilities"]))

    def state_dict(self) -> dict[str, JSON]:
        """Everything `fit` learned."""
        labels = {"sets": self.sets.state_dict()} if self.several else {"labels": self.labels.state_dict()}
        return {"target": self.target, "text": self.reader.state_dict(), **labels}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.target = state["target"]
        self.reader.load_state_dict(state["text"])
        if self.several:
            self.sets.load_state_dict(state["sets"])
            self.labels = self.sets.labels
        else:
            self.labels.load_state_dict(state["labels"])
        self._criterion.learn(self.labels.counts)

    def _label(self, record: Record, where: str) -> Any:
        value = record.get(self.target or "")
        if is_missing(value):
            what = f"the label '{self.target}' is missing"
            raise DataError(where, what, "fill it in, or leave the record out")
        return labels_of(value, where) if self.several else label_of(value, where)


@tasks.add("text_classification", reads_text=True, files=(".txt", *SUFFIXES))
@final
class TextClassification(Task[TextLabels]):
    """Tell the class of a text, or which of several labels it has.

    Records have a field of text and one of labels, such as ``{"text": …, "label": …}``. Texts are cut into pieces that
    are learned from the training part; batches are of texts about as long as each other, padded to the longest.

    Args:
        text: the field of the text; left out, one with a usual name (text, sentence, review, …), else the longest.
        target: the field of the labels; left out, one with a usual name (label, target, class, …), else the last.
        classes: "one" for each text; "several" for any number of labels, given as a list, or as text with ``;``, ``|``
            or ``,`` between them.
        tokenizer: how texts are cut, by name or as a table {name, options}: `explain tokenizer` lists them.
        length: pieces of a text at most; longer ones lose their end, and a note says how many did.
        letters: the shortest and the longest group of letters that models are given beside the pieces, so that words
            which training did not have still say something; or "none".
        silenced: share of the pieces and letters that training leaves out, so that no single word decides.
        loss: by name or as a table {name, options}; "auto" is cross_entropy for one class, and binary_cross_entropy
            for several labels.
    """

    def __init__(
        self,
        *,
        text: str | None = None,
        target: str | None = None,
        classes: Literal["one", "several"] = "one",
        tokenizer: TokenizerSpec = "words",
        length: Annotated[int, Field(ge=1)] = 512,
        letters: tuple[Group, Group] | Literal["none"] = (2, 5),
        silenced: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        loss: str | dict[str, Any] = "auto",
    ) -> None:
        self.several = classes == "several"
        usual = "binary_cross_entropy" if self.several else "cross_entropy"
        self.criterion = criterion_of(usual if loss == "auto" else loss, "task.loss")
        if self.criterion.expects != ("binary" if self.several else "classes"):
            what = f"{loss!r} does not compare {'several labels' if self.several else 'classes'}"
            raise UserError("task.loss", what, f"use '{usual}'")
        if text is not None and text == target:
            raise UserError("task.target", f"'{target}' is the text already", "name the field of the labels")
        groups = None if letters == "none" else Letters(letters[0], letters[1], BUCKETS)
        if groups is not None and not len(groups.sizes):
            raise UserError("task.letters", f"{letters} ends before it begins", "write the shorter first: [2, 5]")
        pieces = tokenizer_of(tokenizer, ("padding", "unknown"))
        reader = Reader(pieces, text, most=length, silenced=silenced, letters=groups)
        self.processor = TextLabels(reader, target, several=self.several, criterion=self.criterion)

    @property
    def monitor(self) -> str:
        """Accuracy; of several labels, macro F1."""
        return "macro_f1" if self.several else "accuracy"

    def strata(self, record: Record) -> str | None:
        """The field of the labels, where each text has one."""
        return None if self.several else target_field(self.processor.target, record)

    def sizes(self) -> dict[str, JSON]:
        """``vocab``, ``padding``, ``context`` (longest text), ``letters`` (groups) and ``outputs`` (classes)."""
        return {**self.processor.reader.sizes(), "outputs": len(self.processor.labels)}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Logits (N, C) compared with the classes, or with 0 and 1 for each label."""
        logits = model(**batch.inputs)
        total, each = self.criterion.summed(logits, batch.targets["y"])
        weights = self.criterion.weights(batch.targets["y"])
        return Loss(total, {"logits": logits.detach()}, each, weights=weights)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``probabilities`` (N, C)."""
        logits = model(**batch.inputs)
        return {"probabilities": logits.sigmoid() if self.several else logits.softmax(1)}

    def compared(self) -> Classes | None:
        """Logits with the true class; several labels have no metrics by name."""
        if self.several:
            return None
        names = tuple(str(v) for v in self.processor.labels.values)
        return Classes(lambda outputs: outputs["logits"], lambda batch: batch.targets["y"], names)

    def metrics(self) -> dict[str, Metric]:
        """Accuracy, macro F1, log loss in nats; of several labels, macro F1, micro F1 and exact matches."""
        if self.several:
            return {
                "macro_f1": sets.macro_f1(_said_and_true),
                "micro_f1": sets.micro_f1(_said_and_true),
                "exact_match": sets.exact_match(_said_and_true),
            }
        of = Classes(lambda outputs: outputs["logits"], lambda batch: batch.targets["y"])
        top = {"top5": classes.top_k_accuracy(of, k=5)} if len(self.processor.labels) > 5 else {}
        more = {"macro_f1": classes.macro_f1(of), "log_loss": probabilities.log_loss(of)}
        return {"accuracy": classes.accuracy(of), **top, **more}

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The training frequencies, and logistic regression on TF-IDF of the pieces, at most two million of them."""
        return {"constant": lambda seconds: self._constant(), "linear": lambda seconds: self._linear(train)}

    def _constant(self) -> Baseline:
        counts = self.processor.labels.counts
        if not self.several:
            return baselines.Constant(baselines.log_frequencies(counts))
        shares = torch.tensor(counts, dtype=torch.float64) / self.processor.sets.records
        return baselines.Constant(shares.clamp(1e-6, 1 - 1e-6).logit())

    def _linear(self, train: Encoded) -> Baseline:
        texts, y = bag.read_part(train, "tokens", "y")
        sizes = self.processor.reader.sizes()
        return bag.fitted(texts, y, len(self.processor.labels), int(str(sizes["vocab"])), int(str(sizes["padding"])))


def target_field(asked: str | None, record: Record) -> str:
    """The field of the labels: the one asked for, else a usual name, else the last one."""
    name = asked or next((f for f in TARGETS if f in record), None) or next(reversed(list(record)), "")
    if name not in record:
        raise DataError("task.target", f"no field is named '{name}'", did_you_mean(name, record))
    return name


def _said_and_true(outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
    """(N, L) each: which labels are likelier than not, and which are true."""
    return outputs["logits"] >= 0, batch.targets["y"] > 0.5
