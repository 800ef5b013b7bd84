"""What the catalogue knows of a public data set: its files, where they are published, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Original:
    """The file as it is published, where it is not yet the one that is read."""

    size: int  # bytes
    sha256: str
    turned: Callable[[bytes], bytes]  # its content -> that of the file that is read


@dataclass(frozen=True, slots=True)
class File:
    """One file of a set; it is used only while it has this size and checksum."""

    name: str  # in the set's folder
    size: int  # bytes
    sha256: str
    addresses: tuple[str, ...] = ()  # where it is published, tried in this order; none where nobody publishes it
    original: Original | None = None


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A public data set: what the factory of a set returns.

    The words about it (what it is, licence, whom to cite) are the factory's docstring.
    """

    source: str  # the kind of source that reads it
    files: tuple[File, ...]
    options: Mapping[str, Any] = field(default_factory=dict)  # of that source; without path, it is the set's folder
    valids: str = ""  # the file of the validation part, where it is one of its own
    tests: str = ""  # the file of the test part, where it is one of its own
    split: Mapping[str, Any] = field(default_factory=dict)  # of the data section, where a recipe says nothing else
    target: str | None = None  # the column to predict, where the recipe's task names none
    folder: str = ""  # below $TRAINWRIGHT_DATA and the cache; the set's name unless given
