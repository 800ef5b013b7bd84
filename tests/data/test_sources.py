"""What every source of records promises, whatever it reads."""

from __future__ import annotations

import gzip
import multiprocessing
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from trainwright.core.kinds import sources
from trainwright.core.schema import check, options
from trainwright.data.arrays import Arrays, Records, frame
from trainwright.data.embedded import Embedded
from trainwright.data.fingerprint import digest
from trainwright.data.folder import Folder
from trainwright.data.idx import Idx
from trainwright.data.joined import Joined
from trainwright.data.npz import Npz
from trainwright.data.source import Source
from trainwright.data.table import Table

OURS = ("table", "idx", "npz", "folder", "embedded")


def csv(at: Path) -> Source:
    path = at / "a.csv"
    path.write_text("x,c,y\n1,red,0.5\n2,?,1.5\n,blue,\n")
    return Table(path=str(path))


def lines(at: Path) -> Source:
    path = at / "a.jsonl"
    path.write_text('{"x": 1, "tags": ["a"]}\n{"x": 2.5}\n')
    return Table(path=str(path))


def parquet(at: Path) -> Source:
    path = at / "a.parquet"
    pl.DataFrame({"x": [1, None, 3], "c": ["a", "b", None], "b": [True, None, False]}).write_parquet(path)
    return Table(path=str(path))


def idx(at: Path) -> Source:
    for part, n in (("train", 5), ("t10k", 2)):
        images, labels = bytes(range(n * 6)), bytes(range(n))
        (at / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + struct.pack(">3I", n, 2, 3) + images)
        with gzip.open(at / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(b"\0\0\x08\x01" + struct.pack(">I", n) + labels)
    return Idx(path=str(at))


def npz(at: Path) -> Source:
    images = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
    path = at / "a.npz"
    np.savez(path, x_train=images[:4], y_train=[0, 1, 0, 1], x_test=images[4:], y_test=[1, 0], class_names=["a", "b"])
    return Npz(path=str(path))


def folder(at: Path) -> Source:
    for name in ("cat/1.png", "cat/2.jpg", "dog/1.png"):
        (at / name).parent.mkdir(exist_ok=True)
        (at / name).write_bytes(name.encode())
    return Folder(path=str(at))


def archive(at: Path) -> Source:
    with zipfile.ZipFile(at / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("pets/train/cat/1.png", "pets/train/dog/2.jpg", "pets/test/dog/1.png"):
            file.writestr(name, name * 100)
    return Folder(path=str(at / "a.zip"))


def embedded(at: Path) -> Source:
    return Embedded(set="iris")


def arrays(at: Path) -> Source:
    return Arrays({"x": torch.arange(6.0).reshape(3, 2), "y": np.array([0, 1, 0]), "t": ["a", "b", "c"]})


def polars_frame(at: Path) -> Source:
    return frame(pl.DataFrame({"x": [1.5, None], "t": ["a", "b"]}))


def records(at: Path) -> Source:
    return Records([{"x": 1, "image": b"12"}, {"x": 2, "image": b"34"}])


def joined(at: Path) -> Source:
    return Joined({"train": csv(at), "test": csv(at)})


SOURCES = [csv, lines, parquet, idx, npz, folder, archive, embedded, arrays, polars_frame, records, joined]
each = pytest.mark.parametrize("make", SOURCES)
Make = Callable[[Path], Source]


def plain(source: Source) -> str:
    """All records as one short text that comparing does not trip over."""
    return digest([dict(source[i]) for i in range(len(source))])


@each
def test_records_have_the_fields_and_values_that_are_announced(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    assert len(source) > 1
    assert all(list(source[i]) == list(source.fields()) for i in range(len(source)))
    for field in source.fields():
        assert digest(list(source.values(field))) == digest([source[i][field] for i in range(len(source))])


@each
def test_numbers_outside_of_the_records_raise(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    for outside in (-1, len(source)):
        with pytest.raises(IndexError):
            source[outside]


@each
def test_an_unknown_field_is_named(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    if not isinstance(source, Joined):
        with pytest.raises(ValueError, match="'colour'"):
            source.values("colour")


@each
def test_the_same_data_have_the_same_fingerprint(make: Make, tmp_path: Path) -> None:
    assert make(tmp_path).fingerprint() == make(tmp_path).fingerprint()


@each
def test_parts_cover_every_record_once(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    ids = [i for part in source.parts().values() for i in part]
    assert ids == (list(range(len(source))) if source.parts() else [])


@each
def test_every_record_has_a_place_of_its_own(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    spans = source.parts().values() if isinstance(source, Joined) else [range(len(source))]
    assert all(len({source.where(i) for i in span}) == len(span) for span in spans)


@each
def test_threads_read_what_one_thread_reads(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    ids = list(range(len(source))) * 20
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: digest(dict(source[i])), ids))
    assert read == [digest(dict(source[i])) for i in ids]


def told(source: Source, pipe: Any) -> None:
    pipe.send(plain(source))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@each
def test_a_forked_process_reads_what_its_parent_reads(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    before = plain(source)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=told, args=(source, there))
    child.start()
    assert here.poll(30), "the child hangs"
    assert here.recv() == before == plain(source)
    child.join()


@pytest.mark.parametrize("name", OURS)
def test_every_option_of_a_source_is_described(name: str) -> None:
    described = options(sources[name])
    assert described
    assert all(o.doc for o in described.values()), name


def test_recipes_may_write_lists(tmp_path: Path) -> None:
    csv(tmp_path)
    given = check(sources["table"], {"path": str(tmp_path / "a.csv"), "drop": ["y"]}, "data")
    assert Table(**given).fields() == ["x", "c"]


def test_a_changed_value_changes_the_fingerprint(tmp_path: Path) -> None:
    first = csv(tmp_path).fingerprint()
    path = tmp_path / "a.csv"
    path.write_text(path.read_text().replace("red", "rex"))
    assert Table(path=str(path)).fingerprint() != first
    a, b = Arrays({"x": np.zeros(3)}), Arrays({"x": np.zeros(3, np.float32)})
    assert len({a.fingerprint(), b.fingerprint(), Arrays({"y": np.zeros(3)}).fingerprint()}) == 3


def test_an_option_changes_the_fingerprint(tmp_path: Path) -> None:
    csv(tmp_path)
    path = str(tmp_path / "a.csv")
    assert len({Table(path=path, drop=d).fingerprint() for d in ((), ("x",), ("c",))}) == 3


def test_digests_tell_nestings_apart() -> None:
    values: list[object] = [["a", "b"], ["ab", ""], [["a"], "b"], {"a": "b"}, "ab", b"ab", 1, 1.0, True, None, "1"]
    values += [np.zeros(2), np.zeros((2, 1)), torch.zeros(2, dtype=torch.float64), np.array(["0.0", "0.0"])]
    assert len({digest(v) for v in values}) == len(values)


def test_digests_do_not_know_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_a_digest_of_an_unknown_object_raises() -> None:
    with pytest.raises(TypeError, match="object"):
        digest([object()])
