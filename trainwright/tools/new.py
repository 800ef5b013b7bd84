"""A first recipe for data that lies there: what is learned from it, how it is divided, and the usual settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import tasks
from trainwright.data.given import own_parts
from trainwright.data.images import look
from trainwright.data.labels import is_missing
from trainwright.data.roles import guess
from trainwright.runs.assemble import build_model
from trainwright.runs.gathered import divided, learn, skipping
from trainwright.runs.recipe import read
from trainwright.runs.usual import USUAL
from trainwright.tools.boxed import in_boxes
from trainwright.tools.found import Found, find, labels
from trainwright.tools.languages import columns
from trainwright.tools.prose import others, text_column, text_columns
from trainwright.tools.target import CLASSIFY, REGRESS, Aim, aim, shares
from trainwright.tools.times import as_series, reach
from trainwright.tools.toml import Line, free, written
from trainwright.tools.unasked import CODES, in_codes

_FEW, _MANY, _ENOUGH = 1_000, 100_000, 10_000  # records: below, a fifth is held out; above, so many and no more
_LEAST = 5_000  # characters, below which no window of a usual length can be held out
_LITTLE = 20_000_000  # characters, below which pieces of words are too rare to be learned
_OFTEN = 60  # epochs of few texts, at most
_LOOKED_AT = 16  # pictures whose shape is told
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_READ = "text_classification"
_SAY = "translation"
_FORECAST = "forecasting"
_HEAR = "speech_recognition"
_STEPS = {_READ: (400, 4), _SAY: (2_000, 8)}  # of few texts: steps at least, where these are more than the usual epochs
_KINDS = {
    "table": (CLASSIFY, REGRESS, _READ, _SAY, CODES),
    "images": ("image_classification", CODES),
    "films": ("video_classification",),
}
_KINDS |= {"boxes": ("object_detection",), "sounds": ("audio_classification",), "speech": (_HEAR,)}
_KINDS |= {"texts": ("generation",), "labelled texts": (_READ,), "pairs": (_SAY,), "series": (_FORECAST, CODES)}
_KINDS |= {"midi": ("music_events", "music"), "piano rolls": ("music", "music_events")}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe that was written, and what was decided on the way.

    Args:
        recipe: the file.
        facts: what was decided and why, label by label.
        unsure: what may be meant otherwise, and how to say so.
    """

    recipe: Path
    facts: tuple[tuple[str, str], ...]
    unsure: tuple[str, ...]


@dataclass(slots=True)
class _Plan:
    """The recipe to be, with a reason for each part."""

    name: str
    values: dict[str, Any]  # the keys of the recipe; paths are Path
    reasons: dict[str, str] = field(default_factory=dict)
    facts: list[tuple[str, str]] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)


def new(
    path: str | Path, *, out: str | Path = "recipe.toml", task: str | None = None, target: str | None = None
) -> Proposal:
    """Look at data, and write a short recipe that trains on it with no edit.

    Args:
        path: a table, a folder with a training and a test table, a folder or .zip with one folder of images, films,
            recordings or texts per class, images with boxes, a table that lists recordings with what they are or what
            is said in them, a folder of IDX files, an .npz file, a text file or a folder of them, one of two files of
            lines in two languages or their folder, MIDI files, piano rolls in JSON, or the name of a public set.
        out: the recipe, which must not be there yet.
        task: what is learned; found by itself unless given.
        target: the column of a table to predict; found by itself unless given.
    """
    file = free(out)
    if task is not None and task not in {t for known in _KINDS.values() for t in known}:
        tasks[task]  # an unknown name is told of with the nearest
        raise UserError(
            "--task", f"'{task}' is not for files", f"known: {', '.join(t for k in _KINDS.values() for t in k)}"
        )
    found = as_series(find(str(path), task), task, target)
    if task is not None and task not in _KINDS[found.kind]:
        raise UserError("--task", f"'{task}' does not go with {found.told}", f"known: {', '.join(_KINDS[found.kind])}")
    if target is not None and found.kind != "table" and task != CODES:
        raise UserError("--target", f"{found.told} have no columns", "leave it out")
    plan = _Plan(_named(path, found), {}, unsure=list(found.unsure))
    if found.kind == "texts":
        _of_texts(plan, found)
    elif found.kind == "pairs" or (found.kind == "table" and _two_texts(found, task, target)):
        _of_pairs(plan, found, target)
    elif task == CODES:
        _divided(plan, found, _training(found), False, None)
        in_codes(plan, found, target)
    elif found.kind == "series":
        _of_series(plan, found)
    elif found.kind == "boxes":
        in_boxes(plan, found)
        _divided(plan, found, _training(found), False, None)
    elif found.kind in ("midi", "piano rolls", "speech"):
        _of_pieces(plan, found, task)
    else:
        (_of_table if found.kind == "table" else _of_pictures)(plan, found, task, target)
    _settings(plan, found)
    text = written(_lines(plan, path), file.parent)
    with file.open("x", encoding="utf-8") as handle:
        handle.write(text)
    return Proposal(file, tuple(plan.facts), tuple(plan.unsure))


def _named(path: str | Path, found: Found) -> str:
    """A label for the runs: the data's name without its suffix."""
    stem = Path(path).expanduser().absolute().name.partition(".")[0] if str(path).strip("./") else "data"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "data"


def _of_table(plan: _Plan, found: Found, task: str | None, target: str | None) -> None:
    source = found.source
    records = _training(found)
    fields = list(source.fields())
    values = {name: _picked(source.values(name), source.parts().get("train")) for name in fields}
    chosen = aim(fields, values, known=found.target, asked=target, task=task, usual=found.task)
    plan.unsure += chosen.unsure
    text = _text_of(plan, chosen, values, task)
    plan.values["task"] = {"name": chosen.task, **({"text": text} if text else {}), "target": chosen.name}
    plan.reasons["task"] = f"Target '{chosen.name}': {chosen.why}. {chosen.task}: {chosen.because}."
    missing = sum(is_missing(v) for v in values[chosen.name])
    columns = f"{records:,} records of {len(fields)} columns"
    plan.facts += [("data", f"{found.told}: {columns}"), ("target", f"{chosen.name}: {chosen.why}")]
    plan.facts += [("task", f"{chosen.task}: {chosen.because}")]
    clock = None if source.parts() or text else _clock(values, chosen.name)
    _divided(plan, found, records, chosen.task != REGRESS, clock)
    if missing:
        if missing > records / 2:
            raise DataError(
                f"column '{chosen.name}'", f"{missing:,} of {records:,} records lack it", "name another target"
            )
        plan.values |= {"on_bad_sample": "skip", "bad_samples": missing}
        plan.reasons["on_bad_sample"] = f"{missing:,} records lack the target; they are passed over and listed."
        plan.unsure.append(f"{missing:,} records lack the target and are passed over")
    _try(plan, found)


def _text_of(plan: _Plan, chosen: Aim, values: Mapping[str, Any], task: str | None) -> str | None:
    """The column of text, where that is what the target is told from; the aim's task is then that of texts."""
    text = text_column(values, chosen.name) if chosen.task in (CLASSIFY, _READ) and task != CLASSIFY else None
    if text is None:
        if task == _READ:
            raise DataError("--task", "no column holds texts of several words", f"leave it out, or write {CLASSIFY}")
        return None
    if (beside := others(values, chosen.name, text)) and task is None:
        said = f"'{text}' holds texts, which a table is not learned from; to learn from them alone: --task {_READ}"
        plan.unsure.append(f"{said} ({len(beside)} other columns are then left out)")
        return None
    chosen.task, chosen.because = _READ, f"'{text}' holds texts; {chosen.because}"
    return text


def _of_pictures(plan: _Plan, found: Found, task: str | None, target: str | None) -> None:
    source = found.source
    name = _KINDS[found.kind][0]
    field = found.target or "label"
    tally = labels(source, field)
    plan.values["task"] = {"name": name, **({} if field == "label" else {"target": field})}
    plan.reasons["task"] = f"{len(tally)} classes: {shares(tally)}."
    records = _training(found)
    plan.facts += [("data", f"{found.told}: {records:,} for training{_shapes(plan, found)}")]
    plan.facts += [("task", f"{name}: {len(tally)} classes, {shares(tally)}")]
    _divided(plan, found, records, True, None)


def _of_texts(plan: _Plan, found: Found) -> None:
    """A language model; characters where there is little text, pieces of words where there is much."""
    size = sum(len(found.source[i]["text"]) for i in range(len(found.source)))
    if size < _LEAST:
        what = f"there are only {size:,} characters to learn from"
        raise DataError("data", what, f"give a text of at least {_LEAST:,}, better a hundred times as long")
    kind = "characters" if size < _LITTLE else "bpe"
    plan.values["task"] = {"name": "generation", "tokenizer": kind}
    plan.reasons["task"] = (
        f"{size:,} characters: tokens are {kind if kind == 'characters' else 'pieces of words (bpe)'}."
    )
    plan.facts += [("data", f"{found.told}: {size:,} characters"), ("task", f"generation, tokens are {kind}")]
    own = found.source.parts()
    plan.values["data"] = {**found.spec, **({} if own else {"valid": 0.1, "test": 0})}
    said = ", ".join(f"{part}: files of its own" for part in own) or "valid: the last tenth of the text"
    plan.reasons["data"] = f"{said}."
    plan.facts.append(("split", said))


def _two_texts(found: Found, task: str | None, target: str | None) -> bool:
    """Whether a table holds pairs of texts: as was said, or because nothing else is in it and nobody says otherwise."""
    if task is None and target is None and found.target is None:
        return columns({name: found.source.values(name) for name in found.source.fields()}) is not None
    return task == _SAY


def _of_pairs(plan: _Plan, found: Found, target: str | None) -> None:
    """A translator; pieces of words, fewer where there are few texts."""
    names = list(found.source.fields())
    texts = text_columns({name: found.source.values(name) for name in names}) if found.kind == "table" else names
    if target is not None and target not in texts:
        raise DataError("--target", f"no column of texts is named '{target}'", did_you_mean(target, texts))
    written = target or (texts[1] if len(texts) > 1 else "")
    read = next((name for name in texts if name != written), None)
    if read is None or not written:
        what = f"translation needs two columns of texts, and there are {len(texts)}"
        raise DataError("--task", what, "name another task, or give a table with both texts")
    fields = {} if found.kind == "pairs" else {"source": read, "target": written}
    records = _training(found)
    plan.values["task"] = {"name": _SAY, **fields}
    plan.reasons["task"] = f"'{read}' is read, '{written}' is written."
    plan.facts += [("data", f"{found.told}: {records:,} pairs for training"), ("task", f"{_SAY}: {read} to {written}")]
    _divided(plan, found, records, False, None)


def _of_pieces(plan: _Plan, found: Found, task: str | None) -> None:
    """Events of MIDI files, keys of a piano on an even grid, or what is said in recordings."""
    name, count = task or _KINDS[found.kind][0], _training(found)
    how = {"music_events": "event by event", "music": "frame by frame of the keys that sound"}
    said = how.get(name, f"'{found.target}' tells what is said")
    unit = "recordings" if name == _HEAR else "pieces"
    plan.values["task"] = {"name": name, **({"target": found.target} if name == _HEAR else {})}
    plan.reasons["task"] = f"{count:,} {unit} for training, {said}."
    plan.facts += [("data", f"{found.told}: {count:,} {unit} for training"), ("task", f"{name}: {said}")]
    if found.kind == "midi":
        plan.values["on_bad_sample"] = "skip"
        plan.reasons["on_bad_sample"] = "Files that are damaged or hold no notes are passed over and listed."
    _divided(plan, found, count, False, None)


def _of_series(plan: _Plan, found: Found) -> None:
    """The newest records are held out."""
    records = len(found.source)
    reads, why = reach(found.source)
    plan.values["task"] = {"name": _FORECAST, **reads}
    plan.reasons["task"] = why
    plan.facts += [("data", f"{found.told}: {records:,} times"), ("task", f"{_FORECAST}: {why}")]
    if "ranges" in found.spec:
        plan.values["data"] = found.spec
        plan.facts.append(("split", "as the set says"))
    else:
        _divided(plan, found, records, False, None)
        plan.reasons["data"] += " The newest times are held out."


def _divided(plan: _Plan, found: Found, records: int, classes: bool, clock: str | None) -> None:
    """The data section: parts of their own are used, others are drawn."""
    own = {p: len(ids) for p, ids in own_parts(found.source, found.spec.get("part")).items()}
    data = dict(found.spec)
    said = [f"{p}: {own[p]:,} records of its own" for p in ("valid", "test") if p in own]
    drawn = [p for p in ("valid", "test") if p not in own and not (p == "test" and "valid" in own)]
    if clock is not None:
        data["time"] = clock
        plan.unsure.append(
            f"the records are in order of '{clock}', so the held-out ones are the last, as in forecasting"
        )
    for part in drawn:
        size = data.get(part, _share(records))  # some sets say how they are divided
        data[part] = size
        count = f"{size:,} records" if isinstance(size, int) else f"{size:.0%} of {records:,}"
        said.append(
            f"{part}: {count}" + (", the last" if clock else ", every class in its proportion" if classes else "")
        )
    if found.unlabelled is not None:
        said.append(f"{found.unlabelled.name} has no '{found.target}': it is for predictions")
    plan.values["data"] = data
    plan.reasons["data"] = "; ".join(said) + "."
    plan.facts.append(("split", "; ".join(said)))


def _share(records: int) -> float | int:
    """Enough to tell scores apart, and no more of the records than that."""
    return _ENOUGH if records >= _MANY else 0.2 if records < _FEW else 0.1


def _settings(plan: _Plan, found: Found) -> None:
    """What the task usually says; options of the task itself stay beside the target."""
    name = plan.values["task"]["name"]
    usual = dict(USUAL.get(name, {}))
    steps, epochs = _STEPS.get(name, (0, 0))
    if steps and (more := -(-steps * usual["batch_size"] // _training(found))) > epochs:
        usual["budget"] = f"{min(more, _OFTEN)} epochs"  # few texts are read more often
    plan.values["task"] = {**plan.values["task"], **usual.pop("task", {})}
    plan.values |= {**usual, **found.options}
    if usual:
        model = usual.get("model", {}).get("name", "the default model")
        plan.reasons[next(iter(usual))] = f"The usual settings for {name}."
        plan.facts.append(("settings", f"{model}, {usual.get('budget', '10 epochs')}; the usual ones for this task"))


def _try(plan: _Plan, found: Found) -> None:
    """Learn the columns from the training records, so that what training would refuse is said now."""
    values = {k: _plain(v) for k, v in plan.values.items()}
    usual = USUAL.get(values["task"]["name"], {})
    recipe = read({**usual, **values, "task": {**usual.get("task", {}), **values["task"]}})
    task = tasks[recipe.config.task["name"]](**recipe.task)
    skipped = skipping(recipe.config, len(found.source))
    division = divided(found.source, task, recipe.split, recipe.config.seed, skipped)
    try:
        learn(task, found.source, division.parts["train"], skipped)
    except DataError as error:
        if "no column is of use" in error.what:
            what = f"{error.what}; learning numbers from text is not there yet"
            instead = (
                f"give columns of numbers or categories beside the target; of a series along time: --task {_FORECAST}"
            )
            raise DataError(error.where, what, instead) from None
        raise
    build_model(recipe, task)
    if plan.values["task"]["name"] == _READ:
        plan.facts.append(
            ("inputs", f"{len(task.processor.reader.tokenizer):,} different words of '{values['task']['text']}'")
        )
        plan.facts += [("", note) for note in task.processor.notes()]
        return
    columns = task.processor.inputs
    numbers, categories = ({column.name for column in found} for found in (columns.numbers, columns.categories))
    if numbers | categories == {plan.values["data"].get("time")}:
        what = "nothing but the time is there to tell the target from"
        raise DataError("data", what, f"to forecast it, write --task {_FORECAST}, or give other columns beside it")
    told = f"{len(numbers)} columns of numbers, {len(categories - numbers)} of categories"
    plan.facts.append(("inputs", told))
    plan.facts += [("", note) for note in task.processor.notes()]


def _clock(values: Mapping[str, Any], target: str) -> str | None:
    """A column of dates that only ever goes up."""
    for name, column in values.items():
        first = next((v for v in column if v is not None), None)
        if name == target or not isinstance(first, str) or not _DATE.match(first):
            continue
        rises = all(a is not None and b is not None and a < b for a, b in pairwise(column))
        if rises and guess(name, column) == "date":
            return name
    return None


def _training(found: Found) -> int:
    train = own_parts(found.source, found.spec.get("part")).get("train")
    return len(found.source) if train is None else len(train)


def _picked(values: Any, ids: Any) -> list[Any]:
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return listed if ids is None else [listed[i] for i in ids]


def _shapes(plan: _Plan, found: Found) -> str:
    """The size of a few pictures, evenly chosen; one that cannot be read is told."""
    if found.kind != "images":
        return ""
    seen: set[tuple[int, int]] = set()
    damaged: list[str] = []
    for i in range(0, len(found.source), max(1, len(found.source) // _LOOKED_AT)):
        try:
            picture = look(found.source[i]["image"])
        except DataError as error:
            damaged.append(f"{found.source.where(i)}: {error.what}")
        else:
            seen.add((picture.width, picture.height))
    if damaged:
        plan.unsure.append(f'{damaged[0]}; with on_bad_sample = "skip" such files are passed over, and listed')
    return f", {'x'.join(map(str, next(iter(seen))))} pixels" if len(seen) == 1 else ", of several sizes"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return str(value) if isinstance(value, Path) else value


def _lines(plan: _Plan, path: str | Path) -> list[Line]:
    """The recipe from top to bottom."""
    head = f"Made by `trainwright new {path}`. Every key, and what it does: trainwright explain recipe"
    lines = [Line("name", plan.name, head)]
    return lines + [Line(key, value, plan.reasons.get(key, "")) for key, value in plan.values.items()]
