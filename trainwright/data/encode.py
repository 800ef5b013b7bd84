"""Encoding: every record through the processor once, into a store, with worker processes, progress and a cache."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from trainwright.core.errors import DataError
from trainwright.core.rows import Ragged, Rows
from trainwright.core.task import Processor, Record
from trainwright.data.bad import Bad, Skipped
from trainwright.data.borrowed import borrowed
from trainwright.data.cache import (
    discard,
    key_of,
    mapped,
    new_folder,
    prune,
    publish,
    read_index,
    unwritable,
    write_durably,
    write_index,
)
from trainwright.data.columns import Growing, Packed, absence, shaped, unpacked
from trainwright.data.encoder import Chunk, Encoder
from trainwright.data.pool import TIMEOUT, Workers
from trainwright.data.source import Source
from trainwright.data.store import Kept, Store

_FIRST, _CHUNK = 64, 512  # records packed at once: before their size is known, and at most
_CHUNK_SECONDS = 0.5
_CHUNK_BYTES = 8 << 20  # each chunk is copied once, by workers through a pipe
_WORTH_WORKERS = 10.0  # seconds of encoding below which starting processes does not pay
_PROBES = 4  # records encoded again to see whether a cache still tells the truth

Progress = Callable[[int, int], None]
_Workers = tuple[int | Literal["auto"], float]  # how many, and their timeout


def encode(
    source: Source,
    processor: Processor,
    *,
    workers: int | Literal["auto"] = "auto",
    where: Literal["auto", "memory", "device", "file"] = "auto",
    device: torch.device | None = None,
    cache: Path | None = None,
    on_progress: Progress | None = None,
    key: str = "",
    skipped: Skipped | None = None,
    timeout: float = TIMEOUT,
) -> Store:
    """Encode every record once, in record order.

    Args:
        source: the records.
        processor: fitted.
        workers: processes; 0 is this one; "auto" starts some when more than about 10 s remain after the first chunk.
        where: RAM, ``device``, or mapped files; "auto" is the memory in which arrays lie already, where that can be
            used as it is, else RAM when that takes under a quarter of what is free.
        device: for ``where="device"``.
        cache: folder that keeps encoded data between runs; None keeps nothing. With one, "auto" maps its files.
        on_progress: called with (records done, records in all); not called when the cache is used.
        key: whatever else decides how records are encoded (the task's options), as text; part of the cache's key.
        skipped: passes over bad records and keeps them, within its budget; without it the first one raises.
        timeout: seconds without a word of a worker, which is then replaced.

    Raises DataError naming the place of a record that cannot be used, UserError for a folder that cannot be written.
    """
    if not len(source):
        raise DataError("data", "the source holds no record", "check its path and options")
    assert where != "device" or device is not None
    encoder = Encoder(source, processor, skipped)
    report = on_progress or (lambda done, total: None)
    if where == "auto" and (theirs := borrowed(encoder, lambda: _free_memory() / 4, report)) is not None:
        return theirs
    name = "" if cache is None else key_of(source, processor, key if skipped is None else f"{key} skip")
    store = None if cache is None else _from_cache(cache / name, name, encoder)
    if store is None:
        store = _encoded(encoder, (workers, timeout), where, None if cache is None else cache / name, on_progress)
    if where == "device" and device is not None:
        return store.on(device)
    return store.on(torch.device("cpu")) if where == "memory" and cache is not None else store


def encode_records(records: Source | Sequence[Record], processor: Processor) -> Rows:
    """A few records as rows, to be served; on the CPU, ids counting from 0, bytes unpacked, absent targets absent.

    A processor with windows gets each record whole, as context of what is to be predicted: a window column is
    (N, longest + length, *shape), and its `Rows.lengths` are the rows of each record. Behind them comes only padding,
    ``length`` rows or more of it, where the rows to predict would stand: a window none of whose target rows is there,
    so that a mask made of the lengths gives weight 0. A language model goes on after its prompt, the first
    ``lengths[i]`` rows. A forecaster's context is the ``lead`` rows before row ``lengths[i]``; in training it is the
    rows before row ``lead``. (Widths tell the two apart, except when all records are ``lead`` rows long: then they are
    the same.) Records shorter than ``lead`` raise DataError. Dense columns of such a processor belong to the first
    target row, which is not there: they are left out.
    """
    if not len(records):
        raise DataError("records", "there is none to predict", "give at least one")
    encoder = Encoder(records, processor)
    _, chunk, _ = encoder.span(0, len(records), seconds=float("inf"))
    kept = {
        name: Kept(encoder.columns[name], unpacked(p, encoder.columns[name], len(records)), _offsets(p))
        for name, p in chunk.items()
    }
    ids = torch.arange(len(records))
    if processor.windows is None:
        return Store(kept, len(records), unpack=processor.unpack).gather(ids)
    columns, lengths = {}, {}
    for name, k in kept.items():
        if k.column.kind == "window":
            assert k.offsets is not None
            lengths[name] = torch.from_numpy(np.diff(k.offsets))
            if int(lengths[name].min()) < processor.windows.lead:
                short = int(lengths[name].argmin())
                what = f"has {int(lengths[name][short])} rows of '{name}', too few to continue"
                raise DataError(encoder.where(short), what, f"give at least {processor.windows.lead}")
            width = int(lengths[name].max()) + processor.windows.length
            columns[name] = Ragged(k.tensor, lengths[name]).padded(k.column.padding, width)
    return Rows(columns, ids, lengths)


def _encoded(
    encoder: Encoder, workers: _Workers, where: str, target: Path | None, on_progress: Progress | None
) -> Store:
    total, done = len(encoder), 0
    found: list[Bad] = []
    chunks = _chunks(encoder, *workers)
    folder: Path | None = None
    growing: dict[str, Growing] = {}
    try:
        for stop, chunk, bad in chunks:
            for each in bad:
                assert encoder.skipped is not None
                encoder.skipped.add(each)
            found += bad
            if not done:
                folder = _folder(chunk, stop, total, where, target)
                paths = {name: None if folder is None else folder / f"{k}.values" for k, name in enumerate(chunk)}
                growing = {n: Growing(encoder.columns[n], total, p, paths[n]) for n, p in chunk.items()}
            for name in sorted(growing.keys() ^ chunk.keys()):
                raise DataError(encoder.where(done), absence(name, name in chunk))
            for name, packed in chunk.items():
                growing[name].add(packed)
            done = stop
            if on_progress is not None:
                on_progress(done, total)
        return _finished(encoder, growing, folder, target, found)
    except BaseException as error:
        for column in growing.values():
            column.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and folder is not None:
            raise unwritable(folder.parent, error) from error
        raise
    finally:
        chunks.close()


def _finished(
    encoder: Encoder, growing: dict[str, Growing], folder: Path | None, target: Path | None, bad: list[Bad]
) -> Store:
    windows, unpack, gaps = encoder.processor.windows, encoder.processor.unpack, [b.record for b in bad]
    if folder is None:
        kept = {n: Kept(g.column, shaped(g.data(), g.column, g.rows()), g.offsets()) for n, g in growing.items()}
        return Store(kept, len(encoder), windows=windows, unpack=unpack, gaps=gaps)
    files: dict[str, tuple[int, Path, Path | None]] = {}
    for name, column in growing.items():
        column.close()
        offsets, path = column.offsets(), column.path
        assert path is not None
        if offsets is not None:
            write_durably(path.with_suffix(".offsets"), offsets.tobytes())
        files[name] = (column.rows(), path, None if offsets is None else path.with_suffix(".offsets"))
    content = write_index(folder, "" if target is None else target.name, len(encoder), files, [astuple(b) for b in bad])
    if target is not None:  # by now, perhaps of another process with the same key
        publish(folder, target)
        prune(target.parent)
        content = read_index(target) or {}
    kept = mapped(folder if target is None else target, content, encoder.columns)
    store = Store(kept, len(encoder), windows=windows, unpack=unpack, gaps=gaps, mapped=True)
    if target is None:
        store.release = weakref.finalize(store, shutil.rmtree, folder, True)
    return store


def _folder(chunk: Chunk, records: int, total: int, where: str, target: Path | None) -> Path | None:
    """Where files are written to; None for memory."""
    if target is not None:
        return new_folder(target.parent, target.name)
    estimate = sum(p.data.nbytes for p in chunk.values()) / records * total
    if where == "file" or (where == "auto" and estimate > _free_memory() / 4):
        return new_folder(Path(tempfile.gettempdir()), "trainwright")
    return None


def _chunks(
    encoder: Encoder, workers: int | Literal["auto"], timeout: float
) -> Generator[tuple[int, Chunk, list[Bad]], None, None]:
    """(first record not done, columns, passed over) in record order; the first two chunks tell how to go on."""
    total, stop, each, size = len(encoder), 0, 0.0, 0.0
    for _ in range(2 if workers == "auto" else 1):  # the first of all pays for imports, so it is not the one to time
        if stop < total:
            start, began = stop, time.perf_counter()
            stop, chunk, bad = encoder.span(start, min(start + _FIRST, total), _CHUNK_SECONDS)
            each = (time.perf_counter() - began) / (stop - start)
            size = sum(p.data.nbytes for p in chunk.values()) / (stop - start)
            yield stop, chunk, bad
    if workers == "auto":
        workers = _cores() if _cores() > 1 and each * (total - stop) > _WORTH_WORKERS else 0
    step = max(1, min(_CHUNK, int(_CHUNK_BYTES / max(1.0, size))))
    if workers and stop < total:
        yield from _by_workers(
            encoder, stop, max(1, min(step, int(_CHUNK_SECONDS / max(each, 1e-6)))), workers, timeout
        )
        return
    while stop < total:
        stop, chunk, bad = encoder.span(stop, min(stop + step, total), _CHUNK_SECONDS)
        yield stop, chunk, bad


def _by_workers(
    encoder: Encoder, start: int, step: int, workers: int, timeout: float
) -> Iterator[tuple[int, Chunk, list[Bad]]]:
    total = len(encoder)
    spans = [(a, min(a + step, total)) for a in range(start, total, step)]

    def encoded(span: tuple[int, int]) -> tuple[Chunk, list[Bad]]:
        return encoder.span(*span, seconds=float("inf"))[1:]

    def told(span: tuple[int, int]) -> str:
        return f"{encoder.where(span[0])} to {encoder.where(span[1] - 1)}"

    pool = Workers(encoded, min(workers, len(spans)), timeout=timeout, told=told)
    with closing(pool.results(iter(spans))) as answers:
        for (_, stop), answer in zip(spans, answers, strict=True):
            yield stop, *answer


def _from_cache(folder: Path, key: str, encoder: Encoder) -> Store | None:
    """The stored columns when they are whole and a few records still encode to the same bytes."""
    content = read_index(folder, key)
    if content is None or content["records"] != len(encoder) or not content["columns"].keys() <= encoder.columns.keys():
        return None
    bad = [Bad(*told) for told in content["skipped"]]
    kept, processor, gaps = mapped(folder, content, encoder.columns), encoder.processor, [b.record for b in bad]
    windows, unpack = processor.windows, processor.unpack
    store = Store(kept, len(encoder), windows=windows, unpack=unpack, gaps=gaps, mapped=True)
    for each in bad:
        assert encoder.skipped is not None
        encoder.skipped.add(each)
    for record in sorted({len(encoder) * k // _PROBES for k in range(_PROBES)} - set(gaps)):
        _, chunk, _ = encoder.span(record, record + 1, seconds=float("inf"))
        same = (n in kept and np.array_equal(p.data, store.raw(n, record)) for n, p in chunk.items())
        if len(chunk) != len(kept) or not all(same):  # something decides the samples that the key does not know
            discard(folder)
            return None
    return store


def _offsets(packed: Packed) -> Any:
    return None if packed.lengths is None else np.concatenate([[0], np.cumsum(packed.lengths)])


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_memory() -> float:
    """Bytes of RAM that can be had, within the container's limit where there is one; infinity when nothing says."""
    free = float("inf")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            used = float((group / "memory.current").read_text())
            lines = (group / "memory.stat").read_text().splitlines()
            used -= next(float(line.split()[1]) for line in lines if line.startswith("inactive_file"))  # file cache
            free = min(free, float(limit) - used)
    except (OSError, StopIteration, ValueError):
        pass
    return free
