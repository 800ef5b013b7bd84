"""A trained model with the processor it was trained with: the same code reads records in training and in serving."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.task import Answer, Record, Task
from trainwright.data.encode import encode_records
from trainwright.data.source import source_of
from trainwright.runs.assemble import build_model
from trainwright.runs.begin import served, served_weights
from trainwright.runs.directory import PROCESSOR, read_manifest
from trainwright.runs.keras import adapted
from trainwright.runs.recipe import Recipe, read

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_TABLES = {".csv", ".tsv", ".parquet", ".jsonl", ".ndjson"}


class Predictor:
    """Answers for records, in batches, with the weights the run serves."""

    def __init__(self, task: Task[Any], model: nn.Module, batch_size: int = 256) -> None:
        self.task, self.batch_size = task, batch_size
        self.model = model.eval()

    @classmethod
    def of(cls, folder: Path, own: nn.Module | None = None) -> Predictor:
        """The predictor of a run; ``own`` is the module where the run trained the user's."""
        task, model = reopened(folder, own)
        model.load_state_dict(served_weights(served(folder)))
        return cls(task, model)

    @torch.no_grad()
    def __call__(self, records: Any) -> list[Answer]:
        """One answer per record."""
        return list(self.stream(as_records(records, self.task)))

    def stream(self, records: Iterable[Record]) -> Iterator[Answer]:
        """Answers in order, a batch at a time."""
        group: list[Record] = []
        for record in records:
            group.append(record)
            if len(group) == self.batch_size:
                yield from self._answers(group)
                group = []
        if group:
            yield from self._answers(group)

    @torch.no_grad()
    def _answers(self, records: Sequence[Record]) -> list[Answer]:
        weight = next(self.model.parameters())
        rows = encode_records(records, self.task.processor).to(weight.device)
        batch = self.task.processor.batch(rows, None)
        if weight.dtype == torch.float64:
            batch = batch.cast(torch.float64)
        batch = replace(batch, targets={})
        return list(self.task.processor.decode(self.task.predict(self.model, batch), batch))


def reopened(folder: Path, own: nn.Module | None) -> tuple[Task[Any], nn.Module]:
    """The task with its fitted processor, and the model with fresh weights."""
    manifest = read_manifest(folder)
    learned = json.loads((folder / PROCESSOR).read_text(encoding="utf-8"))
    if manifest["kind"] == "own":
        if own is None:
            raise UserError(
                str(folder),
                f"this run trained a module of your own ({manifest['model']['class']}), which its files cannot name",
                f'in Python, write tw.open("{folder}", model=net) with net built as it was',
            )
        options = manifest["supervised"]
        task = tasks["supervised"](**{**options, "loss": options["loss"] or _unknown})
        task.processor.load_state_dict(learned)
        return task, adapted(own)
    recipe = read(folder)
    task = tasks.make(recipe.config.task["name"], recipe.task)
    task.processor.load_state_dict(learned)
    return task, build_model(recipe, task)


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


def records_from(paths: Sequence[str], folder: Path) -> Iterator[Record]:
    """The records of files and folders, read as the run's own data was; each ``path`` must exist."""
    recipe = _readable(folder)
    for name in paths:
        path = Path(name).expanduser()
        if not path.exists():
            raise DataError(name, "no such file or folder")
        if read := tasks.tags(recipe.config.task["name"]).get("records"):  # a task with files of its own kind
            yield from read(path)
        elif path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in _IMAGES)
            if not files:  # a folder that the run's own source understands, such as one of IDX files
                yield from _file(path, recipe)
            for file in files:
                yield _image(file)
        elif path.suffix.lower() in _IMAGES:
            yield _image(path)
        else:
            yield from _file(path, recipe)


def _readable(folder: Path) -> Recipe:
    if read_manifest(folder)["kind"] == "own":
        raise UserError(
            str(folder),
            "this run trained a module of your own, which its files cannot name",
            f'in Python, write tw.open("{folder}", model=net).predict(x)',
        )
    return read(folder)


def _image(path: Path) -> Record:
    return {"image": path.read_bytes(), "path": str(path)}


def _file(path: Path, recipe: Recipe) -> Iterator[Record]:
    """A table, or a file of the kind the run was trained on."""
    own, options = recipe.reader()
    name = "table" if own == "table" or path.suffix.lower() in _TABLES else own
    if "path" not in options and name == own:
        raise DataError(
            str(path), f"the source '{own}' reads no files", "give a table (.csv, .parquet, .jsonl) or images"
        )
    chosen = {**options, "path": str(path)} if name == own else {"path": str(path)}
    source = source_of(name, chosen)
    for i in range(len(source)):
        yield source[i]
