"""The data of a run: records opened, divided into parts, learned from, and encoded once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.core.config import RunConfig
from trainwright.core.data_facts import DataFacts
from trainwright.core.errors import BadSamplesError, DataError, UserError
from trainwright.core.finding import Finding
from trainwright.core.task import Record, Task
from trainwright.data import catalogue, paths
from trainwright.data.absent import absent
from trainwright.data.bad import Bad, Skipped
from trainwright.data.copies import copies, finding
from trainwright.data.encode import encode
from trainwright.data.encoder import read_record
from trainwright.data.joined import Joined
from trainwright.data.part import Part
from trainwright.data.source import Source, source_of
from trainwright.data.split import Split, split, split_options
from trainwright.engine.runtime import Runtime
from trainwright.runs.directory import BAD
from trainwright.runs.learned import put_back
from trainwright.runs.private import must_be_given
from trainwright.runs.recipe import Recipe

_BLOCK, _BYTES = 4096, 2**23  # records that are looked at together, and about as many bytes of them
_FEW = 50  # records, from which on classes must repeat

Report = Callable[[str, int, int], None]  # (what, done, of how many)


@dataclass(frozen=True, slots=True)
class Data:
    """Records, split and encoded."""

    source: Source
    split: Split
    parts: Mapping[str, Part]
    findings: list[Finding]
    bad: Mapping[str, Sequence[Bad]] = field(default_factory=dict)  # by part, where bad samples are skipped
    surveyed: list[DataFacts] = field(default_factory=list)  # what the doctor asked them, once it did

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the data."""
        told = {
            "fingerprint": self.source.fingerprint(),
            "records": len(self.source),
            "split": self.split.how,
            "samples": {name: len(part) for name, part in self.parts.items()},
            "parts": {name: _digest(part.ids) for name, part in self.parts.items()},
        }
        if self.bad:
            counts = {part: len(bad) for part, bad in self.bad.items()}
            told["bad_samples"] = {**counts, "records": sorted(b.record for bad in self.bad.values() for b in bad)}
        return told

    def notes(self) -> list[str]:
        """What a person should know of it."""
        counts = [f"{len(bad):,} of {part}" for part, bad in self.bad.items() if bad]
        said = f"bad samples are skipped, {' and '.join(counts)}: {BAD} lists them"
        return [said] if counts else []


def open_source(recipe: Recipe, report: Report) -> Source:
    """The source a recipe names; files named as ``valid`` or ``test`` are further sources of the same kind."""
    must_be_given({"data": {**recipe.config.data, **recipe.source}}, "the run")
    name = recipe.config.data["source"]
    others = {part: recipe.split[part] for part in ("valid", "test") if isinstance(recipe.split[part], str)}
    if not others:
        if name == catalogue.NAME:
            return catalogue.opened(recipe.source["set"], report)
        return source_of(name, recipe.source)
    if "path" not in recipe.source:
        key = next(iter(others))
        raise UserError(f"data.{key}", f"{others[key]!r} is text, but this source reads no files", "write a share: 0.1")
    places = {"train": recipe.source["path"], **others}
    return Joined({part: source_of(name, {**recipe.source, "path": path}) for part, path in places.items()})


def same_data(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """A run goes on, and its parts are judged, only with the data it began with, divided as they were."""
    if before["fingerprint"] != now["fingerprint"] and before["fingerprint"]:
        raise _other_data(str(folder))
    was, here = before.get("parts"), now.get("parts")
    if was and here and was != here:
        what = "the data is not divided as it was when this run began: samples would change from one part to another"
        raise UserError(str(folder), what, "give seed, valid, test and split again as they were, or start a new run")


def _digest(ids: Tensor) -> str:
    """Of the records of a part."""
    return hashlib.sha256(ids.cpu().contiguous().numpy().tobytes()).hexdigest()[:32]


def _other_data(where: str) -> UserError:
    return UserError(
        where,
        "the data is not what this run began with (its content or the options that read it changed)",
        "put the data back, or start a new run with `trainwright train`",
    )


def gather_data(
    recipe: Recipe,
    task: Task[Any],
    runtime: Runtime,
    report: Report,
    learned: Mapping[str, Any] | None = None,
    known: Sequence[int] | None = None,
) -> Data:
    """Read, split, learn from the training part, encode once, and look for copies.

    Args:
        recipe: its data section and seed.
        task: its processor is fitted here.
        runtime: where a store "device" is.
        report: told about progress.
        learned: the processor's state of an earlier attempt, instead of fitting it.
        known: the records that an earlier attempt passed over.
    """
    source, config = open_source(recipe, report), recipe.config
    if not len(source):
        raise DataError("data", "there are no records")
    skipped = skipping(config, len(source), known)
    division = divided(source, task, recipe.split, config.seed, skipped)
    data = encoded(source, division, task, config, runtime, report, learned, skipped)
    if (field := task.strata(_any_record(source, skipped))) and (classes := _strata(source, field)):
        data.findings.extend(absent(classes, {name: part.ids for name, part in data.parts.items()}))
    return data


def skipping(config: RunConfig, records: int, known: Sequence[int] | None = None) -> Skipped | None:
    """Where the recipe asks to pass over bad samples, those of one source; else None."""
    if known and max(known) >= records:
        raise _other_data("data")
    return Skipped(config.bad_samples, records, known=known) if config.on_bad_sample == "skip" else None


def encoded(
    source: Source,
    division: Split,
    task: Task[Any],
    config: RunConfig,
    runtime: Runtime,
    report: Report,
    learned: Mapping[str, Any] | None = None,
    skipped: Skipped | None = None,
) -> Data:
    """Learn from the training part, encode every record once, and look for copies across the parts."""
    if learned is None:
        learn(task, source, division.parts["train"], skipped)
    else:
        put_back(task.processor, learned)
    if skipped is not None:
        skipped.like = division.parts["train"].tolist()
    with runtime.ranks.first_then_others():  # who comes later finds the cache
        store = encode(
            source,
            task.processor,
            workers=config.workers,
            timeout=config.worker_timeout,
            where=config.store,
            device=runtime.device,
            cache=cache_folder(),
            on_progress=lambda done, total: report("encoding", done, total),
            key=json.dumps(config.task, sort_keys=True, default=str),
            skipped=skipped,
        )
    windows = task.processor.windows
    kept = {n: sound(ids, skipped) for n, ids in division.parts.items() if len(ids)}
    parts = {n: Part(store, ids, windows, task.processor, name=n) for n, ids in kept.items()}
    found = finding(copies(store, kept)) if windows is None and len(parts) > 1 else None
    return Data(source, division, parts, [found] if found else [], _by_part(division, source, skipped))


def sound(ids: Tensor, skipped: Skipped | None) -> Tensor:
    """The records of a part that are not passed over."""
    bad = [] if skipped is None else skipped.ids()
    return ids[~torch.isin(ids, torch.tensor(bad, dtype=ids.dtype))] if bad else ids


def _by_part(division: Split, source: Source, skipped: Skipped | None) -> dict[str, list[Bad]]:
    """What was passed over, by part; what no part uses is not listed."""
    if skipped is None:
        return {}
    before = "passed over as by the attempt before"
    every = {i: skipped.found.get(i) or Bad(i, source.where(i), before) for i in skipped.ids()}
    return {name: [every[i] for i in ids.tolist() if i in every] for name, ids in division.parts.items()}


def learn(task: Task[Any], source: Source, ids: Tensor, skipped: Skipped | None = None) -> None:
    """Fit the processor on the training records; a bad one is told by its place in the source, or passed over."""
    if skipped is None and task.processor.fit_blocks(_blocks(source, ids)):
        return
    bad = _learned(task, source, ids.tolist(), skipped)
    while bad is not None:  # a processor that has met a bad record must begin again
        bad = _learned(task, source, ids.tolist(), skipped)


def _blocks(source: Source, ids: Tensor) -> Iterator[Mapping[str, Any]]:
    """Records that lie in arrays, up to some thousands at a time; an empty one where they do not."""
    one = source.block(ids[:1].tolist()) or {}
    for some in ids.split(max(1, min(_BLOCK, _BYTES // max(1, sum(x.nbytes for x in one.values()))))):
        block = source.block(some.tolist())
        yield {} if block is None else block


def _learned(task: Task[Any], source: Source, ids: Sequence[int], skipped: Skipped | None) -> Bad | None:
    """One fit; the bad record that broke it off where such records may be passed over."""
    given: list[int] = []
    whole, unread = False, None

    def records() -> Iterator[Record]:
        nonlocal whole, unread
        for index in ids:
            if skipped is not None and index in skipped:
                continue
            try:
                record = read_record(source, index)
            except DataError as error:
                if skipped is None:
                    unread = error
                    raise
                skipped.add(Bad.of(index, error))
                continue
            given.append(index)
            yield record
        whole = True

    try:
        task.processor.fit(records())
    except BadSamplesError:
        raise
    except DataError as error:
        number = re.match(r"training record (\d+)(?:, )?", error.where)
        if error is unread or not given or (number is None and whole):  # it names its place, or is no record's fault
            raise
        index = given[int(number[1])] if number else given[-1]
        field = error.where[number.end() :] if number else error.where
        place = ", ".join(p for p in (source.where(index), field) if p)
        told = DataError(place, error.what, error.instead)
        if skipped is None:
            raise told from None
        skipped.add(bad := Bad.of(index, told))
        return bad
    return None


def divided(
    source: Source, task: Task[Any], how: Mapping[str, Any], seed: int, skipped: Skipped | None = None
) -> Split:
    """The split a recipe asks for; by itself stratified for classes, and in stretches for windows over a stream."""
    asked = split_options(**how)
    streams = task.processor.windows is not None
    if streams and asked["how"] == "auto" and asked["ranges"] is None:
        asked["how"] = "chronological"
    classes = task.strata(_any_record(source, skipped))
    division = split(source, seed=seed, strata=None if classes is None else _strata(source, classes), **asked)
    if streams and not division.contiguous:
        raise UserError("data.split", "windows over a stream need parts in one piece", 'write split = "chronological"')
    return division


def _any_record(source: Source, skipped: Skipped | None) -> Record:
    """The first record that can be read."""
    for index in range(len(source)):
        try:
            return read_record(source, index)
        except DataError as error:
            if skipped is None:
                raise
            skipped.add(Bad.of(index, error))
    raise DataError("data", "no record can be read", "give data that can be read")


def _strata(source: Source, field: str) -> list[Any] | None:
    """The class of every record; None where a record has several at once, or where they are quantities or ids.

    The task then says so of its target: that classes cannot be drawn in proportion would be beside the point.
    """
    values: Sequence[Any] = source.values(field)
    if set(map(type, values)) <= {int, bool, str}:  # as almost always: nothing to be unpacked, nothing between classes
        return None if len(values) >= _FEW and len(set(values)) > len(values) / 2 else list(values)
    values = [v.tolist() if isinstance(v, np.ndarray | Tensor) else v for v in values]
    single = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in values]
    if any(isinstance(v, list) or (isinstance(v, float) and v % 1 > 0) for v in single):
        return None
    return None if len(single) >= _FEW and len(set(single)) > len(single) / 2 else single


def cache_folder() -> Path:
    """Where encoded data is kept between runs."""
    return paths.cache("encoded")
