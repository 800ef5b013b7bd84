"""A trained model as one file for other programs, and beside it what must be known to use it."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from trainwright.core.errors import UserError
from trainwright.core.task import Record
from trainwright.data.encode import encode_records
from trainwright.engine import disk
from trainwright.runs.begin import served, served_weights
from trainwright.runs.gathered import open_source
from trainwright.runs.inputs import items_from
from trainwright.runs.predict import Predictor
from trainwright.runs.recipe import read
from trainwright.runs.run import Run, open_run
from trainwright.tools.graph import Graph, onnx_answers, write_onnx

_CHECKED = 64  # records the file must answer as the run does
# Float32 keeps seven digits; sums in another order lose some of them, a graph that computes something else loses all.
_AGREEMENT = 1e-4  # of the largest output
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how well it agrees with the run.

    Args:
        model: the file with the model.
        about: the JSON file beside it: recipe, preprocessing, labels, inputs and outputs.
        records: how many real records were answered by both.
        difference: the largest one between their outputs.
        largest: the largest output, to compare the difference with.
    """

    model: Path
    about: Path
    records: int
    difference: float
    largest: float


def export(run: Run | str | Path, path: str | Path, *, data: str | Path | None = None) -> Exported:
    """Write a run's model as .onnx or .safetensors, and a .json file beside it; checked on real records.

    Raises `UserError` where the run cannot be written so, a file is there already, or the file answers otherwise than
    the run; nothing is left behind then.

    Args:
        run: a run, or its folder.
        path: the new file; its suffix says the format.
        data: a file or folder with records to check on; records of the run's own data unless given.
    """
    target = Path(path).expanduser()
    about = _free(target)
    opened = run if isinstance(run, Run) else open_run(run)
    if opened.manifest["kind"] == "own":
        what = "this run trained a module of your own, which its files cannot name"
        raise UserError(str(opened.path), what, "call torch.onnx.export, or safetensors, on it in Python")
    if target.suffix == ".onnx" and (missing := [name for name in _NEEDED if find_spec(name) is None]):
        raise UserError(str(target), f"needs the packages {', '.join(missing)}", 'pip install "trainwright[export]"')
    records = _real(opened, data)
    folder = Path(tempfile.mkdtemp(prefix=".export-", dir=target.parent))  # on the same disk, to be renamed
    try:
        facts, records_checked, difference, largest = _written(opened, folder / target.name, records)
        (folder / about.name).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _placed(folder, about, target)
    finally:
        shutil.rmtree(folder)
    return Exported(target, about, records_checked, difference, largest)


def _free(target: Path) -> Path:
    """The JSON file beside the target; both checked before any work is done."""
    if target.suffix not in (".onnx", ".safetensors"):
        raise UserError(str(target), "has no known suffix", "write a name that ends in .onnx or .safetensors")
    about = target.with_suffix(".json")
    for file in (target, about):
        if os.path.lexists(file):
            raise UserError(str(file), "exists", "choose another name; nothing was overwritten")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise UserError(str(target), "its folder is not there or cannot be written", "choose another place")
    return about


def _placed(folder: Path, about: Path, target: Path) -> None:
    """Move both files where they belong, the model last; one that has come there meanwhile is kept."""
    (folder / target.name).chmod((folder / about.name).stat().st_mode)  # safetensors lets only its owner read
    done: list[Path] = []
    try:
        for file in (about, target):
            os.link(folder / file.name, file)  # unlike a rename, refuses to replace
            done.append(file)
    except FileExistsError:
        for file in done:
            file.unlink()
        raise UserError(str(target), "exists", "choose another name; nothing was overwritten") from None


def _real(run: Run, data: str | Path | None) -> list[Record]:
    """Records spread evenly over the run's data, or the first of those given."""
    if data is not None:
        found = [item.read() for item in islice(items_from([str(data)], run.path), _CHECKED)]
    else:
        source = open_source(read(run.path), lambda what, done, total: None)
        bad = set(run.manifest["data"].get("bad_samples", {}).get("records", []))
        good = [i for i in range(len(source)) if i not in bad]
        found = [source[i] for i in good[:: max(1, len(good) // _CHECKED)][:_CHECKED]]
    if not found:
        raise UserError(str(data or run.path), "has no records to check the file on", "name some: --data FILE")
    return found


def _written(run: Run, file: Path, records: list[Record]) -> tuple[dict[str, Any], int, float, float]:
    """The model in ``file``, checked; what is to be known of it, and how well it agrees."""
    predictor = Predictor.of(run.path)
    graph = Graph(predictor.task, predictor.model.float())
    rows = encode_records(records, predictor.task.processor)
    inputs = graph.inputs(rows)
    with torch.no_grad():
        expected = dict(zip(graph.outputs(inputs), graph(*inputs.values()), strict=True))
    facts = _facts(run, predictor, graph, inputs, expected)
    if file.suffix == ".onnx":
        write_onnx(graph, inputs, file, {"trainwright": json.dumps(facts, ensure_ascii=False)})
        got = onnx_answers(file, inputs)
    else:
        weights = {k: v.detach().cpu().contiguous().clone() for k, v in served_weights(served(run.path)).items()}
        disk.write(file, [save(weights, {"format": "pt"})])  # a full disk is an error that we know
        predictor.model.load_state_dict(load_file(file))
        with torch.no_grad():
            got = dict(zip(expected, graph(*inputs.values()), strict=True))
    apart = [(float((got[k].double() - v.double()).abs().max()), float(v.abs().max())) for k, v in expected.items()]
    difference, largest = max(apart, key=lambda pair: math.inf if pair[0] != pair[0] else pair[0] / max(pair[1], 1e-30))
    if not difference <= _AGREEMENT * max(largest, 1e-30):  # written so that NaN is refused too
        what = f"answers {len(records)} records otherwise than the run, by up to {difference:g} where outputs reach "
        raise UserError(file.name, f"{what}{largest:g}", "it was not kept; please report it")
    facts["checked"] = {"records": len(records), "difference": difference, "largest_output": largest}
    return facts, len(records), difference, largest


def _facts(
    run: Run,
    predictor: Predictor,
    graph: Graph,
    inputs: Mapping[str, torch.Tensor],
    outputs: Mapping[str, torch.Tensor],
) -> dict[str, Any]:
    """What a program must know: names, types and shapes, what was learned of the data, and the recipe."""

    def described(
        tensors: Mapping[str, torch.Tensor], axes: Callable[[torch.Tensor], dict[int, str]]
    ) -> dict[str, Any]:
        return {
            name: {
                "dtype": str(t.dtype).removeprefix("torch."),
                "shape": [axes(t).get(i, n) for i, n in enumerate(t.shape)],
            }
            for name, t in tensors.items()
        }

    learned = predictor.task.processor.state_dict()
    labels = learned.get("labels")
    return {
        "format": 1,
        "run": run.path.name,
        "task": run.config["task"]["name"],
        "inputs": described(inputs, graph.axes),
        "outputs": described(outputs, graph.told_axes),
        **({"labels": labels} if labels is not None else {}),
        "preprocessing": {k: v for k, v in learned.items() if k != "labels"},
        "recipe": run.config,
    }
