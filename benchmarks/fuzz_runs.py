"""The readers of run folders and their checkpoints that are fuzzed, beside those of `fuzz_readers`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import mutation
from benchmarks.fuzz_readers import File, group
from benchmarks.mutation import Mutate, any_of, lines_of, raw, tree, words

RUN: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2},
    "model": {"name": "mlp", "width": 4},
    "ema": 0.9,
    "schedule": "cosine",
    "budget": "2 steps",
}


def _trained(place: Path) -> Path:
    import trainwright as tw

    return tw.train(RUN, out=place / "run", quiet=True).path


@group("events.jsonl")
def _(place: Path) -> Any:
    from trainwright.cli.commands import _described
    from trainwright.runs.run import Run

    run = Run(_trained(place))

    def read(path: Path) -> object:
        view = run.view
        return view.history(), run.metrics, run.baselines, run.findings, run.state, view.step, _described(run)

    data = (run.path / "events.jsonl").read_bytes()
    return (
        [data],
        any_of(lines_of(tree), lines_of(tree), lines_of(words), words, raw),
        File(run.path / "events.jsonl", read),
    )


@group("run manifest")
def _(place: Path) -> Any:
    import trainwright as tw
    from trainwright.cli.commands import _described
    from trainwright.runs.likeness import likeness
    from trainwright.runs.predict import reopened
    from trainwright.runs.run import Run

    path = _trained(place)
    sound = Run(path).manifest

    def read(file: Path) -> object:
        manifest = tw.open(path).manifest
        return likeness(manifest, sound), _described(Run(path)), reopened(path, None)

    return (
        [(path / "manifest.json").read_bytes()],
        any_of(tree, tree, tree, words, raw),
        File(path / "manifest.json", read),
    )


@group("processor.json")
def _(place: Path) -> Any:
    import trainwright as tw

    path = _trained(place)
    names = [f"{part} {side} (cm)" for part in ("sepal", "petal") for side in ("length", "width")]

    def read(file: Path) -> object:
        return tw.open(path).predict([dict.fromkeys(names, 1.0)])

    sealed = (path / "processor.json").read_bytes()
    content = {k: v for k, v in json.loads(sealed).items() if k != "$seal"}  # else none but the seal would be tried
    return (
        [sealed, *[json.dumps(content).encode()] * 4],
        any_of(tree, tree, tree, words, raw),
        File(path / "processor.json", read),
    )


@group("config.toml")
def _(place: Path) -> Any:
    from trainwright.runs.recipe import read
    from trainwright.runs.run import Run

    path = _trained(place)
    sound = (path / "config.toml").read_bytes()
    return [sound], any_of(words, words, raw), File(path / "config.toml", lambda p: (Run(path).config, read(path)))


@dataclass(slots=True)
class _Checkpoint:
    """A checkpoint with one file changed, restored into the run's state."""

    path: Path
    name: str
    restore: Callable[[], object]

    def __call__(self, data: bytes) -> object:
        from trainwright.engine import checkpoint

        (self.path / self.name).write_bytes(data)
        try:
            content = json.loads((self.path / "manifest.json").read_bytes())
            if self.name == "manifest.json":
                content.pop("seal", None)
            else:
                told = {"size": len(data), "sha256": checkpoint._digest(self.path / self.name)}
                content = {**content, "files": {**content["files"], self.name: told}}
                content.pop("seal")
            (self.path / "manifest.json").write_text(json.dumps({**content, "seal": checkpoint._seal(content)}))
        except (ValueError, AttributeError, TypeError, RecursionError):
            pass  # no manifest to write a seal into: it is read as it is
        return self.restore()


def _restoring(place: Path, name: str, way: Mutate) -> Any:
    from trainwright.engine import checkpoint
    from trainwright.engine.runtime import Runtime
    from trainwright.runs.assemble import assemble
    from trainwright.runs.attempt import restore
    from trainwright.runs.recipe import read
    from trainwright.runs.train import silent

    run = _trained(place)
    for step in checkpoint.steps(run / "checkpoints")[:-1]:
        shutil.rmtree(checkpoint.at(run / "checkpoints", step))
    path = checkpoint.at(run / "checkpoints", checkpoint.steps(run / "checkpoints")[-1])
    pieces = assemble(read(run), Runtime.start("cpu", "float32", "ddp"), silent)

    def again() -> object:
        pieces.facts.pop("damaged", None)
        return restore(pieces, run)

    return [(path / name).read_bytes()], way, _Checkpoint(path, name, again)


@group("state.json")
def _(place: Path) -> Any:
    return _restoring(place, "state.json", any_of(tree, tree, tree, words, raw))


@group("checkpoint manifest")
def _(place: Path) -> Any:
    return _restoring(place, "manifest.json", any_of(tree, tree, tree, words, raw))


@group("checkpoint tensors")
def _(place: Path) -> Any:
    return _restoring(place, "optimizer.safetensors", any_of(mutation.safetensors, raw))
