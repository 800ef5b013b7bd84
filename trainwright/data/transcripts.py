"""What is said in a recording, as a recogniser writes it: which characters count, and the words with their times."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from trainwright.core.errors import DataError
from trainwright.core.task import Record
from trainwright.core.tokenizer import Tokenizer
from trainwright.data.tokenizing import text_of

FIELDS = ("text", "transcript", "transcription", "normalized_text", "sentence")
Spelling: TypeAlias = Literal["plain", "written"]
_KEPT = {"'"}
_QUOTES = {"\u2019": "'", "\u02bc": "'"}


def plain(text: str) -> str:
    """Lower case without punctuation: letters with their marks, digits and apostrophes, one blank between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (_QUOTES.get(c, c) for c in unicodedata.normalize("NFC", folded))
    return " ".join("".join(c if c in _KEPT or unicodedata.category(c)[0] in "LMN" else " " for c in kept).split())


def spelled(text: str, spelling: Spelling) -> str:
    """A transcript as it is learned and compared; blanks are one each, and none at the ends."""
    return plain(text) if spelling == "plain" else " ".join(text.split())


def transcript(record: Record, name: str, spelling: Spelling, alphabet: str | None, where: str) -> str:
    """The transcript of a record; `DataError` where it is missing, has nothing to say, or other characters."""
    text = spelled(text_of(record, name, where), spelling)
    if not text:
        what = f"the transcript {record[name]!r} has no letter and no digit"
        raise DataError(where, what, 'leave the record out, or write task.spelling = "written"')
    if alphabet is not None and (others := sorted(set(text) - set(alphabet) - {" "})):
        what = f"the transcript has the character {others[0]!r}, which task.alphabet has not"
        raise DataError(where, what, "spell it otherwise, or add the character")
    return text


def words_of(
    tokenizer: Tokenizer, pieces: Sequence[int], spans: Sequence[Sequence[int]], seconds: float
) -> list[dict[str, Any]]:
    """``{"word", "start", "end"}`` of each word of a text, in seconds.

    Args:
        tokenizer: of the pieces.
        pieces: of the text.
        spans: the first frame of each, and the one behind its last.
        seconds: of a frame.
    """
    words: list[dict[str, Any]] = []
    begun, known = False, ""
    for k, (first, behind) in enumerate(spans):
        text = tokenizer.decode(pieces[: k + 1])
        for c in text[len(known) :]:
            if c.isspace():
                begun = False
                continue
            if not begun:
                words.append({"word": "", "start": round(first * seconds, 3), "end": 0.0})
            words[-1]["word"] += c
            words[-1]["end"] = round(behind * seconds, 3)
            begun = True
        known = text
    return words
