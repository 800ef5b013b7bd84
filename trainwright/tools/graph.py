"""A task and its model as one function of plain tensors, written as ONNX and run by onnxruntime."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.rows import Rows
from trainwright.core.task import Task

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of terminals, in the exporter's messages


@final
class Graph(nn.Module):
    """What is encoded (N, …) to what the task tells other programs (N, …): normalization and softmax are inside.

    Columns are what goes in. Where samples differ in length, it is what a batch is made of: features, padded behind.

    Args:
        task: with its fitted processor.
        model: in evaluation mode.
    """

    def __init__(self, task: Task[Any], model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval().cpu()
        self._task = task
        self._columns = {n: c for n, c in task.processor.columns().items() if not c.target}
        if odd := [n for n, c in self._columns.items() if c.kind == "window"]:
            what = f"takes '{odd[0]}', which is read as it comes"
            raise UserError("export", what, "records of their own can be exported so far, streams and series cannot")
        self.ragged = any(c.kind == "ragged" for c in self._columns.values())
        self._names = list(self._columns)

    def inputs(self, rows: Rows) -> dict[str, Tensor]:
        """What goes in by name, in the order in which `forward` takes it."""
        if not self.ragged:
            return {name: rows.dense(name) for name in self._columns}
        found = dict(self._task.processor.batch(rows, None).inputs)
        self._names = list(found)
        return found

    def axes(self, tensor: Tensor) -> dict[int, str]:
        """The axes of an input whose length is free, and what they are."""
        return {0: "batch", **({1: "length"} if self.ragged and tensor.ndim > 1 else {})}

    def told_axes(self, tensor: Tensor) -> dict[int, str]:
        """The same of an output: what has a vector for each frame is as long as follows from the input."""
        return {0: "batch", **({1: "frames"} if self.ragged and tensor.ndim > 2 else {})}

    def outputs(self, inputs: Mapping[str, Tensor]) -> list[str]:
        """The names of what `forward` returns, in order."""
        with torch.no_grad():
            return list(self._predicted(tuple(inputs.values())))

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        """Every output, in the order of `outputs`."""
        return tuple(self._predicted(columns).values())

    def _predicted(self, columns: tuple[Tensor, ...]) -> dict[str, Tensor]:
        # The ids do not depend on the inputs, else the length of a batch would be written into the graph as a number.
        given, ids = dict(zip(self._names, columns, strict=True)), torch.arange(2)
        if self.ragged:
            batch = Batch(given, {}, torch.tensor(1.0), ids, 2)
        else:
            batch = self._task.processor.batch(Rows(given, ids), None)
        return dict(self._task.exported(self.model, batch))


def write_onnx(graph: Graph, inputs: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """One ONNX file, weights and ``metadata`` inside, for any length of batch; `UserError` where it has no words."""
    names, results = list(inputs), graph.outputs(inputs)
    free = {"batch": torch.export.Dim("batch"), "length": torch.export.Dim("length")}
    example = tuple(t[:2] if len(t) > 1 else torch.cat([t, t]) for t in inputs.values())  # of one, 1 would be fixed
    try:
        with _silence():
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                input_names=names,
                output_names=results,
                dynamic_shapes=(  # one tuple: forward takes *columns
                    tuple({i: free[word] for i, word in graph.axes(t).items()} for t in inputs.values()),
                ),
                verbose=False,
                external_data=False,
            )
            assert program is not None
            program.model.metadata_props.update(metadata)
            program.save(str(file), external_data=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        lines = [_COLOURS.sub("", line).partition(" This is step")[0].strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line), type(error).__name__)
        raise UserError(
            file.name, f"the model cannot be written as ONNX ({reason})", "export it as .safetensors instead"
        ) from error


def onnx_answers(file: Path, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What onnxruntime computes, for all records at once and for the first alone, which must be the same."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is an exception too
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has a class of its own for each trouble
        what = f"onnxruntime cannot load what was written ({str(error)[:200]})"
        raise UserError(file.name, what, "export it as .safetensors instead") from error
    names = [output.name for output in session.get_outputs()]

    def run(n: int | None) -> list[Tensor]:
        return [torch.from_numpy(a) for a in session.run(names, {k: v[:n].numpy() for k, v in inputs.items()})]

    whole, alone = run(None), run(1)
    return {name: torch.cat([first, rest[1:]]) for name, first, rest in zip(names, alone, whole, strict=True)}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter reports its progress and its own use of what is deprecated; neither is a user's to mend."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
