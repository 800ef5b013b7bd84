"""A tokenizer as a person asks for it: by its name, or as a table of its options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from trainwright.core.config import split_spec
from trainwright.core.errors import DataError, did_you_mean
from trainwright.core.kinds import tokenizers
from trainwright.core.schema import check
from trainwright.core.task import Record
from trainwright.core.tokenizer import Tokenizer

TokenizerSpec: TypeAlias = str | dict[str, Any]
"""A name, or {name, options}."""


def tokenizer_of(spec: TokenizerSpec, special: Iterable[str], where: str = "task.tokenizer") -> Tokenizer:
    """The tokenizer that a person asks for, with those special pieces.

    Args:
        spec: ``"bpe"``, or ``{name = "bpe", pieces = 4000}``.
        special: names out of `core.tokenizer.SPECIAL`, which the task needs.
        where: the key, for messages.
    """
    name, options = split_spec({"name": spec} if isinstance(spec, str) else spec, where)
    made: Tokenizer = tokenizers.make(name, check(tokenizers[name], options, where), tuple(special))
    return made


def text_of(record: Record, field: str, where: str) -> str:
    """The text in a field of a record; `DataError` where there is none, or nothing in it."""
    if field not in record:
        raise DataError(where, f"the record has no field '{field}'", did_you_mean(field, record))
    return checked_text(record[field], field, where)


def checked_text(value: Any, field: str, where: str) -> str:
    """A value as text: not missing, not empty, not bytes."""
    if isinstance(value, str) and value.strip():
        return value
    if value is None or isinstance(value, str) or value != value:
        raise DataError(where, f"'{field}' is empty", "give every record a text")
    what = f"'{field}' is {type(value).__name__}, not text"
    raise DataError(where, what, "decode it first" if isinstance(value, bytes) else "give text")
