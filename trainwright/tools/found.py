"""What lies at a path: a table, pictures or films, and the source that reads it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainwright.core.errors import DataError, UserError, did_you_mean
from trainwright.core.kinds import sets, sources
from trainwright.data import archive, audio, box_files, box_formats, documents, folder, midi, paths, piano_rolls, video
from trainwright.data.layout import hidden
from trainwright.data.source import Source
from trainwright.runs.examples import EXAMPLES
from trainwright.tools import languages, listed, named
from trainwright.tools.tables import TABLES, in_folder, is_table, of_file

IMAGES = tuple(folder.SUFFIXES)
_FILMS = tuple(s for s in video.SUFFIXES if s not in IMAGES)
_IDX = re.compile(r".*-idx[134]-ubyte(\.gz)?")
_LOOKED_AT = 64 << 20  # bytes of a JSON file
_LISTED = 8  # names shown of a folder that nothing is made of
READS = (
    "it reads tables (.csv, .tsv, .parquet, .jsonl, also a train and a test table in one folder, or one with a column "
    "of even times, whose series are forecast), a folder or .zip "
    "with one folder of images, films, recordings or texts per class, recordings whose names say their class, "
    "images with boxes in the form of COCO, "
    "Pascal VOC or YOLO, tables that list recordings with their label "
    "or text, IDX files, .npz files, texts to be continued, two files of lines in two languages (train.de and "
    "train.en), MIDI files, piano rolls in JSON, and the public sets that `trainwright explain set` lists"
)


@dataclass(slots=True)
class Found:
    """Data that can be trained on."""

    kind: str  # "table", "images", "films", "sounds", "speech", "texts", "labelled texts", "pairs", "midi", …
    spec: dict[str, Any]  # of the recipe's data section; paths are Path
    source: Source
    told: str  # what it is, in words
    target: str | None = None  # where the data themselves say it
    unlabelled: Path | None = None  # a test file without the target
    task: str | None = None  # where the data can be meant in one way only
    unsure: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)  # of the recipe beside data and task, where a set knows them


def find(text: str, task: str | None = None) -> Found:
    """The data at a path, or of a name; `UserError` where there is none that is understood.

    Args:
        text: a file, a folder, the name of a public set or of a built-in example.
        task: the one asked for, where pictures may be films.
    """
    path = _place(text)
    if path is None:
        return _public(text) if text in sets else _embedded(text)
    found = _in_file(path) if paths.find(str(path), "PATH").is_file() else _in_folder(path, task)
    if found is None:
        raise UserError(str(text), f"holds nothing that `new` understands ({_held(path)})", READS)
    return found


def _place(text: str) -> Path | None:
    """Where a file or folder is; None for a name of the catalogue or of an example that no path is."""
    if not text.strip():
        raise UserError("PATH", "is empty", "name a file or a folder with data")
    path = Path(text).expanduser()
    try:
        if path.exists():
            return path
    except (OSError, ValueError) as error:
        raise UserError(repr(text), f"cannot be looked at ({error})", "check the path") from None
    if text in sets or text in EXAMPLES:
        return None
    try:
        paths.find(text, "PATH")
    except DataError as error:
        near = did_you_mean(text, [*sets.names(), *EXAMPLES])
        raise UserError(text, error.what, near if near.startswith("did") else error.instead) from None
    return path  # relative to $TRAINWRIGHT_DATA, and written as it was typed


def _public(name: str) -> Found:
    from trainwright.data.catalogue import known, opened

    public, source = known(name), opened(name)
    kind = {"table": "table", "texts": "labelled texts", "piano_rolls": "piano rolls", "series": "series"}.get(
        public.source, "images"
    )
    spec = {"source": "catalogue", "set": name, **public.split}
    if public.source == "audio":
        kind, target = ("speech", "text") if "text" in source.fields() else ("sounds", "label")
        return Found(kind, spec, source, f"the public set '{name}'", target=target)
    if public.source == "boxes":
        return Found("boxes", spec, source, f"the public set '{name}'")
    return Found(kind, spec, source, f"the public set '{name}'", target=public.target)


def _embedded(name: str) -> Found:
    data = dict(EXAMPLES[name]["data"])
    task = EXAMPLES[name]["task"]["name"]
    if data["source"] == "topics":
        return Found("texts", data, sources["topics"](), "the text that comes with Python", task=task)
    source: Source = sources["embedded"](set=data["set"])
    kind = "images" if "image" in source.fields() else "table"
    return Found(kind, data, source, f"the set '{name}' that comes with scikit-learn", task=task)


def _in_file(path: Path) -> Found | None:
    real = paths.find(str(path), "PATH")
    name = real.name.lower()
    if (pair := languages.in_file(path)) is not None:
        return _pairs(pair)
    if is_table(path):
        table = of_file(path)
        return _listed(path, table.source) or _table(table, str(path))
    if name.endswith(".npz"):
        return _npz(path)
    if name.endswith(".zip"):
        members = {m.name: m for m in archive.members(real)}
        suffixes = Counter(Path(n).suffix.lower() for n in members if not hidden(Path(n).name))
        if found := _boxes(path, members, lambda n: archive.read(real, members[n])):
            return found
        if any(suffixes[s] for s in IMAGES):
            return _images(path)
        if any(suffixes[s] for s in midi.SUFFIXES):
            return _music(path, "midi")
        if any(suffixes[s] for s in audio.SUFFIXES):
            return _sounds(path)
        return _labelled(path) if suffixes[".txt"] else None
    if name.endswith(midi.SUFFIXES):
        return _music(path, "midi")
    if name.endswith(".json"):
        if real.stat().st_size <= _LOOKED_AT and box_formats.looks_like_coco(real.read_bytes()):
            source = sources["boxes"](path=str(path))
            return Found("boxes", {"source": "boxes", "path": path}, source, "pictures with boxes, in the form coco")
        return _music(path, "piano_rolls") if _is_rolls(real) else None
    if name.endswith(documents.SUFFIXES):
        return _texts(path, "a text")
    if _IDX.fullmatch(name):
        raise UserError(str(path), "is one of several IDX files", f"name their folder: trainwright new {path.parent}")
    if name.endswith(IMAGES):
        raise UserError(str(path), "is a single picture", "name a folder with one folder of pictures per class")
    return None


def _in_folder(path: Path, task: str | None) -> Found | None:
    real = paths.find(str(path), "PATH")
    names = sorted(p.name for p in real.iterdir() if not hidden(p.name))
    files = [n for n in names if (real / n).is_file()]
    if any(_IDX.fullmatch(n.lower()) for n in files):
        source = sources["idx"](path=str(path))
        return Found("images", {"source": "idx", "path": path}, source, "images and labels in IDX files")
    if tables := [n for n in files if n.lower().endswith(TABLES)]:
        if len(tables) == 1 and (found := _listed(path / tables[0], of_file(path / tables[0]).source)):
            return found
        return _table(in_folder(path, tables), str(path))
    if (pair := languages.in_folder(path, files)) is not None:
        return _pairs(pair)
    inside = Counter(p.suffix.lower() for p in real.rglob("*") if p.is_file() and not hidden(p.name))
    names = [p.relative_to(real).as_posix() for p in real.rglob("*") if p.is_file()]
    if boxed := _boxes(path, names, lambda n: (real / n).read_bytes()):
        return boxed
    if any(inside[s] for s in _FILMS) or (task == "video_classification" and any(inside[s] for s in IMAGES)):
        return _films(path)
    if any(inside[s] for s in IMAGES):
        return _images(path, deep=_deep(real))
    if any(inside[s] for s in midi.SUFFIXES):
        return _music(path, "midi")
    if any(inside[s] for s in audio.SUFFIXES):
        return _sounds(path)
    if task != "generation" and inside[".txt"] and (found := _labelled(path)):
        return found
    if any(n.lower().endswith(documents.SUFFIXES) for n in files) or (task == "generation" and _holds_texts(inside)):
        return _texts(path, "texts")
    packed = [n for n in files if n.lower().endswith((".npz", ".zip")) or (n.endswith(".json") and _is_rolls(real / n))]
    if len(packed) > 1:
        others = f"name one of them: trainwright new {path / packed[0]}"
        raise UserError(str(path), f"holds {len(packed)} files of data: {', '.join(packed)}", others)
    return _in_file(path / packed[0]) if packed else None


def _table(read: Any, place: str) -> Found:
    return Found("table", read.spec, read.source, read.told, read.target, read.unlabelled, unsure=list(read.unsure))


def _pairs(pair: languages.Pair) -> Found:
    return Found("pairs", pair.spec, pair.source, pair.told, task="translation", unsure=list(pair.unsure))


def _npz(path: Path) -> Found:
    source = sources["npz"](path=str(path))
    spec: dict[str, Any] = {"source": "npz", "path": path}
    if "image" in source.fields():
        if "label" not in source.fields():
            raise UserError(str(path), "has images but no labels", "save the labels beside them, as y")
        return Found("images", spec, source, "images in an NPZ file")
    if "y" not in source.fields():
        raise UserError(str(path), "has inputs but no labels", "save the labels beside them, as y")
    columns = sources["npz"](path=str(path), rows="columns")
    return Found("table", {**spec, "rows": "columns"}, columns, "a table of numbers in an NPZ file", target="y")


def _images(path: Path, deep: bool = False) -> Found:
    source = sources["folder"](path=str(path))
    found = Found("images", {"source": "folder", "path": path}, source, "images in one folder per class")
    if deep:
        how = f"trainwright new {path} --task video_classification"
        found.unsure.append(f"pictures lie in folders within the classes; if each such folder is a film: {how}")
    return found


def _films(path: Path) -> Found:
    source = sources["videos"](path=str(path))
    task = "video_classification"
    return Found("films", {"source": "videos", "path": path}, source, "films in one folder per class", task=task)


def _sounds(path: Path) -> Found:
    spec: dict[str, Any] = {"source": "audio", "path": path}
    try:
        return Found("sounds", spec, sources["audio"](path=str(path)), "recordings in one folder per class")
    except DataError:
        stems = sources["audio"](path=str(path), pattern="{stem}").values("stem")
        pattern = named.label_pattern(stems)
        if pattern is None:
            raise
    source = sources["audio"](path=str(path), pattern=pattern)
    found = Found("sounds", {**spec, "pattern": pattern}, source, "recordings whose names say their class")
    found.unsure.append(f"of '{stems[0]}' the class is taken to be '{source.values('label')[0]}'; data.pattern says so")
    return found


def _listed(path: Path, table: Source) -> Found | None:
    """Recordings that a table lists; None for other tables."""
    found = listed.recordings(path, table)
    if found is None:
        return None
    return Found("speech" if found.spoken else "sounds", found.spec, found.source, "recordings in a table", found.told)


def _labelled(path: Path) -> Found | None:
    """Texts in one folder per class; None where there are no such folders."""
    source = sources["texts"](path=str(path))
    spec = {"source": "texts", "path": path}
    return Found("labelled texts", spec, source, "texts in one folder per class") if source.labelled else None


def _texts(path: Path, told: str) -> Found:
    """What is to be continued."""
    source = sources["documents"](path=str(path))
    return Found("texts", {"source": "documents", "path": path}, source, told, task="generation")


def _music(path: Path, reader: str) -> Found:
    """Pieces that are composed on."""
    source = sources[reader](path=str(path))
    kind, told = ("midi", "MIDI files") if reader == "midi" else ("piano rolls", "piano rolls")
    return Found(kind, {"source": reader, "path": path}, source, told)


def _is_rolls(real: Path) -> bool:
    """Whether a JSON file, not too large to look at, holds piano rolls."""
    try:
        return real.stat().st_size <= _LOOKED_AT and piano_rolls.looks_like(json.loads(real.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return False


def _holds_texts(inside: Counter[str]) -> bool:
    return any(inside[s] for s in documents.SUFFIXES)


def _deep(real: Path) -> bool:
    """Whether all pictures lie at least two folders down, in folders of several."""
    depths: Counter[Path] = Counter(p.parent for p in real.rglob("*") if p.suffix.lower() in IMAGES)
    return (
        bool(depths)
        and all(len(p.relative_to(real).parts) >= 2 and n > 1 for p, n in depths.items())
        and not any(
            part in {"train", "valid", "val", "validation", "test"}
            for p in depths
            for part in p.relative_to(real).parts[:-1]
        )
    )


def _boxes(path: Path, names: Iterable[str], read: Callable[[str], bytes]) -> Found | None:
    """Pictures beside files that say where things are in them; None where there are no such files."""
    names = [n for n in names if not any(hidden(part) for part in Path(n).parts)]
    if not any(n.lower().endswith(IMAGES) for n in names):
        return None
    form = box_files.found_form(names, read)
    if form is None:
        if {part.lower() for n in names for part in Path(n).parts} & {"annotations", "annotations.json", "data.yaml"}:
            what = "holds pictures with annotations, in none of the forms of boxes that are read"
            raise UserError(str(path), what, "write boxes as COCO (.json), Pascal VOC (.xml) or YOLO (.txt)")
        return None
    source = sources["boxes"](path=str(path))
    return Found("boxes", {"source": "boxes", "path": path}, source, f"pictures with boxes, in the form {form}")


def _held(path: Path) -> str:
    """What is there, for whoever wonders."""
    try:
        real = paths.find(str(path), "PATH")
        if real.is_file():
            return f"a file of {real.stat().st_size:,} bytes"
        names = sorted(p.name for p in real.iterdir() if not hidden(p.name))
    except OSError as error:
        return str(error)
    return (", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")) or "it is empty"


def labels(source: Source, field: str = "label") -> Mapping[Any, int]:
    """How many training records have each label."""
    train = source.parts().get("train")
    values = source.values(field)
    return Counter(values if train is None else [values[i] for i in train])
