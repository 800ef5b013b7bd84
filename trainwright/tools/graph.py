"""A task and its model as one function of plain tensors, written as ONNX and run by onnxruntime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from trainwright.core.errors import UserError
from trainwright.core.rows import Rows
from trainwright.core.task import Task


@final
class Graph(nn.Module):
    """Encoded columns (N, …) to what the task predicts (N, …): normalization and softmax are inside.

    Args:
        task: with its fitted processor.
        model: in evaluation mode.
    """

    def __init__(self, task: Task[Any], model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval().cpu()
        self._task = task
        self._columns = {n: c for n, c in task.processor.columns().items() if not c.target}
        if odd := [n for n, c in self._columns.items() if c.kind not in ("dense", "bytes")]:
            what = f"takes '{odd[0]}', of which every sample has another length"
            raise UserError("export", what, "only inputs of one shape can be exported so far")

    def inputs(self, rows: Rows) -> dict[str, Tensor]:
        """The columns by name, in the order in which `forward` takes them."""
        return {name: rows.dense(name) for name in self._columns}

    def outputs(self, inputs: Mapping[str, Tensor]) -> list[str]:
        """The names of what `forward` returns, in order."""
        with torch.no_grad():
            return list(self._predicted(tuple(inputs.values())))

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        """Every output, in the order of `outputs`."""
        return tuple(self._predicted(columns).values())

    def _predicted(self, columns: tuple[Tensor, ...]) -> dict[str, Tensor]:
        # The ids do not depend on the inputs, else the length of a batch would be written into the graph as a number.
        rows = Rows(dict(zip(self._columns, columns, strict=True)), torch.arange(2))
        batch = self._task.processor.batch(rows, None)
        return dict(self._task.predict(self.model, batch))


def write_onnx(graph: Graph, inputs: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """One ONNX file, weights and ``metadata`` inside, for any length of batch; `UserError` where it has no words."""
    names, results = list(inputs), graph.outputs(inputs)
    batch = torch.export.Dim("batch")
    example = tuple(t[:2] if len(t) > 1 else torch.cat([t, t]) for t in inputs.values())  # of one, 1 would be fixed
    try:
        with _silence():
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                input_names=names,
                output_names=results,
                dynamic_shapes=(tuple({0: batch} for _ in names),),  # one tuple: forward takes *columns
                verbose=False,
                external_data=False,
            )
            assert program is not None
            program.model.metadata_props.update(metadata)
            program.save(str(file), external_data=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            file.name, f"the model cannot be written as ONNX ({reason})", "export it as .safetensors instead"
        ) from error


def onnx_answers(file: Path, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What onnxruntime computes, for all records at once and for the first alone, which must be the same."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
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
