"""The readers that are fuzzed: sound files to begin with, how they are changed, and what reads them."""

from __future__ import annotations

import gzip
import io
import json
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


from benchmarks import fuzz_runs as _runs  # noqa: E402, F401 - its groups come before the control


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
