"""Files of lines that belong together, told by their names: train.de and train.en, perhaps with val and test beside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainwright.core.errors import UserError
from trainwright.core.kinds import sources
from trainwright.data import documents, paths
from trainwright.data.joined import Joined
from trainwright.data.source import Source
from trainwright.data.unpacked import OPENED
from trainwright.tools.prose import text_columns
from trainwright.tools.tables import TABLES

# a language's code of two letters, perhaps with a country or a script; src and tgt are as good
_NAME = re.compile(r"(?P<stem>.+)\.(?P<language>(?:[a-z]{2}|src|tgt)(?:[-_][A-Za-z]{2,4})?)")
_OTHERS = {s.strip(".") for name in (*documents.SUFFIXES, *TABLES, *OPENED) for s in name.split(".")}
_OTHERS |= {"js", "ts", "sh", "rs", "go", "cc", "hh", "ps", "db"}
_PARTS = (("valid", ("val", "valid", "validation", "dev")), ("test", ("test", "tst", "eval")))


@dataclass(slots=True)
class Pair:
    """Two files of lines, and those of other parts beside them."""

    spec: dict[str, Any]  # of the recipe's data section; paths are Path
    source: Source
    told: str
    unsure: list[str] = field(default_factory=list)


def in_file(path: Path) -> Pair | None:
    """The pair of a file that is named by its language; None where there is no other beside it."""
    real = paths.find(str(path), "PATH")
    stem, language = _read(real.name)
    if not language:
        return None
    beside = _languages(p.name for p in real.parent.iterdir() if p.is_file())
    others = sorted(beside.get(stem, {}).keys() - {language})
    if not others:
        return None
    pair = _pair(path.parent, beside, stem, language, others[0])
    if len(others) > 1:
        pair.unsure.append(f"it is translated to {others[0]}; {', '.join(others[1:])} lie beside it as well")
    return pair


def in_folder(path: Path, names: Sequence[str]) -> Pair | None:
    """The pair of a folder in which two languages have all files in common; None where it holds something else."""
    named = {name: _read(name) for name in names}
    if not named or not all(language for _, language in named.values()):
        return None
    beside = _languages(names)
    every = sorted({language for found in beside.values() for language in found})
    if len(every) != 2 or any(len(found) != 2 for found in beside.values()):
        return None
    training = [stem for stem in beside if stem.lower().startswith("train")] or list(beside)
    if len(training) != 1:
        first = next(iter(sorted(names)))
        what = f"holds several pairs of files, and none is called train: {', '.join(sorted(beside))}"
        raise UserError(str(path), what, f"name the file to learn from: trainwright new {path / first}")
    pair = _pair(path, beside, training[0], *every)
    turned = path / beside[training[0]][every[1]]
    pair.unsure.append(f"{every[0]} is translated to {every[1]}; the other way: trainwright new {turned}")
    return pair


def columns(values: Mapping[str, Sequence[Any]]) -> tuple[str, str] | None:
    """The two columns of a table that holds two texts in each row and nothing else."""
    texts = text_columns(values)
    return (texts[0], texts[1]) if len(values) == len(texts) == 2 else None


def _pair(folder: Path, beside: Mapping[str, Mapping[str, str]], stem: str, source: str, target: str) -> Pair:
    spec: dict[str, Any] = {
        "source": "parallel",
        "path": folder / beside[stem][source],
        "languages": [source, target],
    }
    both = {other: found[source] for other, found in beside.items() if {source, target} <= found.keys()}
    parts: dict[str, Path] = {}
    unsure = []
    for part, words in _PARTS if stem.lower().startswith("train") else ():
        found = [other for other in sorted(both) if re.split(r"[^a-z]", other.lower())[0] in words]
        if found:
            parts[part] = folder / both[found[0]]
        if len(found) > 1:
            unsure.append(f"{found[0]} is the {part} part; {', '.join(found[1:])} are left out")
    train = sources["parallel"](path=str(spec["path"]), languages=(source, target))
    made: dict[str, Source] = {
        part: sources["parallel"](path=str(file), languages=(source, target)) for part, file in parts.items()
    }
    told = f"lines of {spec['path'].name} beside those of {beside[stem][target]}"
    return Pair({**spec, **parts}, Joined({"train": train, **made}) if made else train, told, unsure)


def _languages(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Stem -> language -> name of the file."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted(names):
        stem, language = _read(name)
        if language:
            found.setdefault(stem, {})[language] = name
    return found


def _read(name: str) -> tuple[str, str]:
    """``train.de.gz`` -> train, de; no language where the name has none."""
    bare = name.removesuffix(Path(name).suffix) if Path(name).suffix.lower() in OPENED else name
    found = _NAME.fullmatch(bare)
    if found is None or found["language"].lower() in _OTHERS:
        return bare, ""
    return found["stem"], found["language"]
