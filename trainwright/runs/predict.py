"""A trained model with the processor it was trained with: the same code reads records in training and in serving."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainwright.core.errors import CheckpointError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.schema import check
from trainwright.core.task import Answer, Record, Task
from trainwright.data.encode import encode_records
from trainwright.data.source import Source
from trainwright.runs.assemble import build_model
from trainwright.runs.begin import served, served_weights
from trainwright.runs.directory import CONFIG, MANIFEST, PROCESSOR, owner, read_manifest
from trainwright.runs.keras import adapted
from trainwright.runs.learned import put_back, read_learned
from trainwright.runs.mended import mend
from trainwright.runs.recipe import read
from trainwright.runs.stored import damaged, stored_config


class Predictor:
    """Answers for records, in batches, with the weights the run serves."""

    def __init__(self, task: Task[Any], model: nn.Module, batch_size: int = 256) -> None:
        self.task, self.batch_size = task, batch_size
        self.model = model.eval()

    @classmethod
    def of(cls, folder: Path, own: nn.Module | None = None) -> Predictor:
        """The predictor of a run; ``own`` is the module where the run trained the user's."""
        task, model = reopened(folder, own)
        weights = served_weights(served(folder), owner(folder))
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            why = " ".join(str(error).split())[:300]
            instead = (
                "give the module as it was trained" if own is not None else "put its files back as they were written"
            )
            raise CheckpointError(f"{folder}: its weights do not fit the model ({why}); {instead}") from None
        return cls(task, model)

    @torch.no_grad()
    def __call__(self, records: Any) -> list[Answer]:
        """One answer per record."""
        return list(self.stream(as_records(records, self.task)))

    def stream(self, records: Iterable[Record]) -> Iterator[Answer]:
        """Answers in order, a batch at a time."""
        group: list[Record] = []
        for record in records:
            group.append(self.task.processor.served(record))
            if len(group) == self.batch_size:
                yield from self.answers(group)
                group = []
        if group:
            yield from self.answers(group)

    @torch.no_grad()
    def answers(self, records: Source | Sequence[Record]) -> list[Answer]:
        """One answer per record of a single batch; the records are as `Processor.served` gives them."""
        weight = next(self.model.parameters())
        rows = encode_records(records, self.task.processor).to(weight.device)
        batch = self.task.processor.batch(rows, None)
        if weight.dtype == torch.float64:
            batch = batch.cast(torch.float64)
        batch = replace(batch, targets={})
        return list(self.task.processor.decode(self.task.predict(self.model, batch), batch))


def does(folder: Path, tag: str) -> bool:
    """Whether the task of the run in a folder has a tag, such as ``composes``; a module of the user's own has none."""
    return read_manifest(folder)["kind"] != "own" and bool(tasks.tags(read(folder).config.task["name"]).get(tag))


def reopened(folder: Path, own: nn.Module | None, loss: Any = None) -> tuple[Task[Any], nn.Module]:
    """The task with its fitted processor, and the model with fresh weights; ``loss`` where it was a function."""
    manifest = read_manifest(folder)
    learned = read_learned(folder / PROCESSOR)
    if manifest["kind"] == "own":
        if own is None:
            raise UserError(
                str(folder),
                f"this run trained a module of your own ({manifest['model']['class']}), which its files cannot name",
                f'in Python, write tw.open("{folder}", model=net) with net built as it was',
            )
        task = _supervised(manifest, folder, loss)
        put_back(task.processor, learned)
        return task, mend(adapted(own), stored_config(folder / CONFIG))
    recipe = read(folder)
    task = tasks.make(recipe.config.task["name"], recipe.task)
    put_back(task.processor, learned)
    return task, build_model(recipe, task)


def _supervised(manifest: Mapping[str, Any], folder: Path, loss: Any) -> Task[Any]:
    options = manifest.get("supervised")
    if not isinstance(options, dict):
        raise damaged(folder / MANIFEST, ValueError("it does not say how the module was called"))
    checked = check(tasks["supervised"], {k: v for k, v in options.items() if k != "loss"}, "supervised", ("loss",))
    return tasks["supervised"](**checked, loss=options.get("loss") or loss or _unknown)


def _unknown(output: Any, target: Any) -> Any:
    """Stands for a loss that no file can name; predictions do not need it."""
    raise UserError("loss", "the loss this run was trained with is your own", "evaluate it in your own code")


def as_records(data: Any, task: Task[Any]) -> Iterable[Record]:
    """Records from whatever a person passes to ``run.predict``."""
    inputs = getattr(task, "inputs", ("x",))
    if isinstance(data, np.ndarray | torch.Tensor):
        data = {inputs[0]: data}
    elif isinstance(data, tuple):
        if len(data) != len(inputs):
            raise UserError("predict", f"got {len(data)} inputs, the model takes {len(inputs)}: {', '.join(inputs)}")
        data = dict(zip(inputs, data, strict=True))
    if isinstance(data, Mapping):
        columns = {k: v for k, v in data.items() if isinstance(v, np.ndarray | torch.Tensor | list)}
        if len(columns) != len(data):
            return [data]
        lengths = {len(v) for v in columns.values()}
        if len(lengths) != 1:
            raise UserError("predict", f"the inputs have different lengths: {sorted(lengths)}")
        return [{k: v[i] for k, v in columns.items()} for i in range(lengths.pop())]
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise UserError(
            "predict", f"cannot read records from {type(data).__name__}", "pass a list of mappings or arrays"
        )
    return data
