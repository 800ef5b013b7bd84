"""The readers that are fuzzed: sound files to begin with, how they are changed, and what reads them."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import mutation
from benchmarks.mutation import Mutate, any_of, lines_of, packed, raw, spliced, tree, words, zipped

Act = Callable[[bytes], object]
Make = Callable[[Path], "tuple[Sequence[bytes], Mutate, Act]"]
_HUGE = 32 << 20  # points of a picture that may not fit into the memory of a case
GROUPS: dict[str, Make] = {}

TOML = b"""name = "x"
seed = 3
task = { name = "tabular_classification", target = "kind" }
data = { source = "table", path = "x.csv", valid = 0.2, test = 0.1, missing = ["?"], drop = ["a"] }
model = { name = "mlp", width = 16, dropout = 0.1 }
optimizer = { name = "adamw", lr = 1e-3, betas = [0.9, 0.99] }
schedule = { name = "cosine", warmup = 0.1 }
batch_size = 64
budget = "10 epochs"
rates = { "head.*" = 0.1 }
unfreeze = { "stem.*" = "2 epochs" }
metrics = ["balanced_accuracy"]
observers = [{ name = "goal", metric = "accuracy", above = 0.95 }]

[init_from]
path = "runs/x"
skip = ["head.*"]
"""
RUN: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2},
    "model": {"name": "mlp", "width": 4},
    "ema": 0.9,
    "schedule": "cosine",
    "budget": "2 steps",
}


def group(name: str) -> Callable[[Make], Make]:
    """Add to `GROUPS`."""

    def keep(make: Make) -> Make:
        GROUPS[name] = make
        return make

    return keep


@dataclass(slots=True)
class File:
    """Writes a case under one name and hands its path on."""

    path: Path
    read: Callable[[Path], object]

    def __call__(self, data: bytes) -> object:
        self.path.write_bytes(data)
        return self.read(self.path)


@group("recipe")
def _(place: Path) -> Any:
    import tomllib

    from ruamel.yaml import YAML

    from trainwright.runs.recipe import read

    values = tomllib.loads(TOML.decode())
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(values, text)
    kinds = {".toml": TOML, ".yaml": text.getvalue().encode(), ".json": json.dumps(values).encode()}
    seeds = [suffix.encode() + b"\0" + data for suffix, data in kinds.items()]

    def mutate(data: bytes, dice: Any) -> bytes:
        suffix, _, body = data.partition(b"\0")
        ways = (tree, words, raw) if suffix == b".json" else (words, words, raw)
        return suffix + b"\0" + dice.choice(ways)(body, dice)

    def act(data: bytes) -> object:
        suffix, _, body = data.partition(b"\0")
        return File(place / f"x{suffix.decode()}", read)(body)

    return seeds, mutate, act


def records(source: Any) -> object:
    """What a training would ask a source for."""
    for field in source.fields():
        source.values(field)
    for i in range(min(len(source), 3)):
        source[i]
        source.where(i)
    return source.fingerprint()


ROWS = (b"p%d,%d,%.2f,2024-0%d-11,%s\n" % (i, i, i / 3, i % 9 + 1, (b"a", b"b")[i % 2]) for i in range(12))
CSV = b"name,age,score,when,kind\n" + b"".join(ROWS) + b'"a ""b"", c",,NA,"2024-01-01",b\n'
LINES = b"".join(
    json.dumps({"a": i, "b": [i], "c": "x", "d": i / 3, "e": {"f": None}}).encode() + b"\n" for i in range(8)
)


@group("table text")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    tsv = CSV.replace(b",", b"\t")
    kinds = {".csv": CSV, ".tsv": tsv, ".csv.gz": gzip.compress(CSV, mtime=0)}
    seeds = [s.encode() + b"\0" + d for s, d in kinds.items()]

    def mutate(data: bytes, dice: Any) -> bytes:
        suffix, _, body = data.partition(b"\0")
        way = any_of(packed(words), raw) if suffix == b".csv.gz" else any_of(words, words, raw)
        return suffix + b"\0" + way(body, dice)

    def act(data: bytes) -> object:
        suffix, _, body = data.partition(b"\0")
        lenient = len(body) % 2 == 0
        path = place / f"x{suffix.decode()}"
        return File(path, lambda p: records(sources["table"](path=str(p), broken="record" if lenient else "error")))(
            body
        )

    return seeds, mutate, act


@group("JSON lines")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    read = File(place / "x.jsonl", lambda p: records(sources["table"](path=str(p))))
    return [LINES], any_of(lines_of(tree), lines_of(words), words, raw), read


@group("parquet")
def _(place: Path) -> Any:
    import polars as pl

    from trainwright.core.kinds import sources

    seeds = []
    frame = pl.DataFrame({"a": range(20), "b": [i / 3 for i in range(20)], "c": list("abcd") * 5, "d": [[1, 2]] * 20})
    for compression in ("uncompressed", "snappy", "zstd"):
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression=compression)
        seeds.append(buffer.getvalue())
    return (
        seeds,
        any_of(raw, raw, spliced(seeds)),
        File(place / "x.parquet", lambda p: records(sources["table"](path=str(p)))),
    )


@group("images")
def _(place: Path) -> Any:
    from PIL import Image

    from trainwright.data.images import Form, look, pixels

    array = np.random.default_rng(0).integers(0, 255, (9, 12, 3), np.uint8)
    seeds = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
        for mode in ("RGB", "L", "P"):
            buffer = io.BytesIO()
            image = Image.fromarray(array).convert(mode)
            try:
                image.save(buffer, format=kind)
            except OSError:
                continue
            seeds.append(buffer.getvalue())
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0].astype(np.uint16) * 200).save(buffer, format="PNG")
    seeds.append(buffer.getvalue())
    form = Form(3, 8, 8)

    def act(data: bytes) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = look(data)
            try:
                return pixels(data, form)
            except MemoryError:
                if seen.height * seen.width < _HUGE:
                    raise
                return None  # a picture of up to 178 million points is no mistake, and takes up to a gigabyte

    def mutate(data: bytes, dice: Any) -> bytes:
        if data[:4] == b"\x89PNG" and dice.random() < 0.7:
            return mutation.png(data, dice)
        return any_of(raw, raw, raw, spliced(seeds))(data, dice)

    return seeds, mutate, act


@group("video")
def _(place: Path) -> Any:
    import av

    from trainwright.data.images import Form
    from trainwright.data.video import film

    av.logging.set_level(av.logging.PANIC)
    seeds, form = [], Form(3, 8, 8)
    pictures = np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3), np.uint8)
    for suffix, codec in (("mp4", "mpeg4"), ("avi", "mjpeg"), ("mkv", "mpeg4"), ("gif", "gif")):
        path = place / f"seed.{suffix}"
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=10)
            stream.width = stream.height = 16
            stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
            for picture in pictures:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode())
        seeds.append(path.read_bytes())

    def act(data: bytes) -> object:
        found = film(data)
        return found.look, found.length, found.shown([0.0, found.length / 2], form)

    return seeds, any_of(raw, raw, raw, spliced(seeds)), act


@group("npz and idx")
def _(place: Path) -> Any:
    from trainwright.core.kinds import sources

    buffers = []
    for arrays in (
        {
            "x_train": np.zeros((6, 4, 4), np.uint8),
            "y_train": np.arange(6),
            "x_test": np.ones((2, 4, 4), np.uint8),
            "y_test": np.arange(2),
        },
        {"x": np.arange(12.0).reshape(6, 2), "y": np.array(list("ababab")), "feature_names": np.array(["a", "b"])},
    ):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        buffers.append(buffer.getvalue())
    idx = b"\0\0\x08\x03" + struct.pack(">III", 5, 3, 3) + bytes(45)
    kinds = [(".npz", b) for b in buffers] + [("", idx), (".gz", gzip.compress(idx, mtime=0))]
    seeds = [s.encode() + b"\0" + d for s, d in kinds]

    def mutate(data: bytes, dice: Any) -> bytes:
        suffix, _, body = data.partition(b"\0")
        inner = any_of(raw, words)
        way = {b".npz": any_of(zipped(inner), zipped(inner), raw), b".gz": any_of(packed(raw), raw)}.get(suffix, raw)
        return suffix + b"\0" + way(body, dice)

    def act(data: bytes) -> object:
        suffix, _, body = data.partition(b"\0")
        path = place / f"x{suffix.decode()}"
        if suffix == b".npz":
            rows = ("vector", "columns")[len(body) % 2]
            return File(path, lambda p: records(sources["npz"](path=str(p), rows=rows)))(body)
        return File(path, lambda p: records(sources["idx"](images=str(p))))(body)

    return seeds, mutate, act


@group("archive of images")
def _(place: Path) -> Any:
    import zipfile

    from benchmarks.hostile_files import _png
    from trainwright.core.kinds import sources

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("cat/1.png", "cat/2.png", "dog/1.png", "test/readme.txt"):
            archive.writestr(name, _png(4, 4))
    seeds = [buffer.getvalue()]
    return (
        seeds,
        any_of(zipped(raw), raw, raw),
        File(place / "x.zip", lambda p: records(sources["folder"](path=str(p)))),
    )


@group("safetensors")
def _(place: Path) -> Any:
    import torch
    from safetensors.torch import save

    from trainwright.runs.begin import _weights

    seeds = [save({"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.tensor(1)})]
    return seeds, any_of(mutation.safetensors, raw), File(place / "x.safetensors", lambda p: _weights(str(p)))


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


@group("planted")
def _(place: Path) -> Any:
    """The control: a reader with a mistake that one word in ten thousand reaches."""

    def act(data: bytes) -> object:
        from trainwright.core.errors import DataError

        try:
            age = json.loads(data)["person"]["age"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError("x", str(error)) from None
        return 1 / (age + 1)  # -1 divides by zero; text and lists cannot be added

    return [json.dumps({"person": {"name": "x", "age": 3}, "more": [1, 2]}).encode()], any_of(tree, words, raw), act


from benchmarks import fuzz_signals as _signals  # noqa: E402, F401 - their groups come with these
from benchmarks import fuzz_texts as _texts  # noqa: E402, F401
