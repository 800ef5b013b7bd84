"""Tokenizers whose pieces are parts of words, learned by the library tokenizers: byte pair encoding and unigram."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, final

from pydantic import Field
from torch import Tensor

from trainwright.core.errors import CheckpointError, DataError, UserError
from trainwright.core.kinds import tokenizers
from trainwright.core.task import JSON
from trainwright.core.tokenizer import Tokenizer, enough, listed, numbered, utf8

AUTO = 8192  # pieces, at most
ALPHABET = 256  # every byte is a piece, so that nothing is unknown


@final
class Subwords(Tokenizer):
    """Pieces of bytes that occur often, words cut as GPT-2 does before; nothing is unknown, and every text comes back.

    Args:
        special: names out of `SPECIAL`.
        kind: how pieces are found.
        pieces: so many, or "auto".
        least: how often two pieces must meet to be joined; of no use to unigram.
        lower: capital letters are read as small ones.
    """

    _KEYS: ClassVar = {"bpe": ("pieces", "merges"), "unigram": ("pieces", "scores")}

    def __init__(
        self,
        special: Iterable[str],
        *,
        kind: Literal["bpe", "unigram"],
        pieces: Literal["auto"] | int,
        least: int,
        lower: bool,
    ) -> None:
        super().__init__(special)
        self.kind, self.wanted, self.least, self.lower = kind, pieces, least, lower
        if isinstance(pieces, int) and pieces < ALPHABET + len(self.special):
            what = f"{pieces} are fewer than the {ALPHABET} bytes and {len(self.special)} special pieces"
            raise UserError("task.tokenizer.pieces", what, f"write at least {ALPHABET + len(self.special)}")
        self._known: list[str] = []  # in the letters that stand for bytes
        self._joins: list[Any] = []  # merges of bpe, scores of unigram
        self._machine: Any = None

    def fit(self, texts: Iterable[str]) -> None:
        """Learn the pieces; `DataError` where they are fewer than asked for."""
        library = _library()
        most = (AUTO if self.wanted == "auto" else self.wanted) - len(self.special)
        machine = self._empty(library)
        stream = _Told(self._lowered(t) for t in texts)
        machine.train_from_iterator(stream, self._trainer(library, most))
        if not stream.some:
            raise DataError("data", "the training texts are empty", "give texts")
        self._keep(*self._learned(machine))
        enough(len(self), self.wanted, "task.tokenizer")

    def encode(self, text: str) -> Tensor:
        """(T,) int64."""
        first = len(self.special)
        return numbered([i + first for i in self._machine.encode(self._lowered(text)).ids])

    def pieces(self, ids: Tensor | Sequence[int]) -> list[str]:
        """What each stands for; bytes that are no text by themselves become "\N{REPLACEMENT CHARACTER}"."""
        first = len(self.special)
        return [f"<{self.special[i]}>" if i < first else _read([self._known[i - first]]) for i in listed(ids)]

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """The text."""
        first = len(self.special)
        return _read([self._known[i - first] for i in listed(ids) if i >= first])

    def __len__(self) -> int:
        return len(self._known) + len(self.special)

    def sizes(self) -> list[int]:
        """Each letter of a piece stands for a byte."""
        return [0] * len(self.special) + [len(piece) for piece in self._known]

    def state_dict(self) -> dict[str, JSON]:
        """The pieces in the letters that stand for bytes, with the merges of bpe or the scores of unigram."""
        names = self._KEYS[self.kind]
        return {names[0]: list(self._known), names[1]: list(self._joins)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        pieces, joins = (list(state[name]) for name in self._KEYS[self.kind])
        try:
            self._keep(pieces, joins)
        except Exception as error:  # the library raises bare ones, of whatever a file holds
            raise CheckpointError(f"the tokenizer in the run cannot be built ({error})") from None

    def _lowered(self, text: str) -> str:
        utf8(text)
        return text.lower() if self.lower else text

    def _empty(self, library: ModuleType) -> Any:
        model = library.models.BPE() if self.kind == "bpe" else library.models.Unigram()
        return _machine(library, model)

    def _trainer(self, library: ModuleType, most: int) -> Any:
        letters = sorted(library.pre_tokenizers.ByteLevel.alphabet())
        trainers = library.trainers
        if self.kind == "bpe":
            return trainers.BpeTrainer(
                vocab_size=most, min_frequency=self.least, initial_alphabet=letters, show_progress=False
            )
        return trainers.UnigramTrainer(vocab_size=most, initial_alphabet=letters, show_progress=False)

    def _learned(self, machine: Any) -> tuple[list[str], list[Any]]:
        """Pieces in the order of their numbers, and merges or scores, out of a trained machine."""
        import json

        model = json.loads(machine.to_str())["model"]
        if self.kind == "bpe":
            return sorted(model["vocab"], key=model["vocab"].__getitem__), [list(m) for m in model["merges"]]
        return _settled(model["vocab"])

    def _keep(self, known: list[str], joins: list[Any]) -> None:
        library = _library()
        if self.kind == "bpe":
            vocabulary = {piece: i for i, piece in enumerate(known)}
            model = library.models.BPE(vocab=vocabulary, merges=[(a, b) for a, b in joins])
        else:
            model = library.models.Unigram([(p, float(s)) for p, s in zip(known, joins, strict=True)])
        self._known, self._joins, self._machine = known, joins, _machine(library, model)


@tokenizers.add("bpe")
def bpe(
    special: Iterable[str] = (),
    *,
    pieces: Literal["auto"] | Annotated[int, Field(ge=ALPHABET)] = "auto",
    least: Annotated[int, Field(ge=1)] = 2,
    lower: bool = False,
) -> Subwords:
    """Byte pair encoding: bytes that meet most often are joined to pieces, and those again.

    Every byte is a piece, so nothing is unknown, and every text comes back to the letter.

    Args:
        pieces: so many; "auto" joins as long as there is something to join, up to 8,192.
        least: how often two pieces must meet to be joined.
        lower: capital letters are read as small ones; the text that comes back is then in small letters.

    Source: Sennrich, Haddow & Birch 2016, "Neural machine translation of rare words with subword units"; over bytes as
    in Radford et al. 2019, "Language models are unsupervised multitask learners".
    """
    return Subwords(special, kind="bpe", pieces=pieces, least=least, lower=lower)


@tokenizers.add("unigram")
def unigram(
    special: Iterable[str] = (),
    *,
    pieces: Literal["auto"] | Annotated[int, Field(ge=ALPHABET)] = "auto",
    lower: bool = False,
) -> Subwords:
    """Pieces with a probability each, so chosen that the training texts are likely; a text is cut in the likeliest way.

    Every byte is a piece, so nothing is unknown, and every text comes back to the letter.

    Args:
        pieces: so many; "auto" keeps as many as there are, up to 8,192.
        lower: capital letters are read as small ones; the text that comes back is then in small letters.

    Source: Kudo 2018, "Subword regularization".
    """
    return Subwords(special, kind="unigram", pieces=pieces, least=1, lower=lower)


class _Told(Iterator[str]):
    """Texts for the library, which does not mind if there are none."""

    def __init__(self, texts: Iterator[str]) -> None:
        self.texts, self.some = texts, False

    def __next__(self) -> str:
        text = next(self.texts)
        self.some = self.some or bool(text)
        return text


def _library() -> ModuleType:
    """The library, in one thread: several add up the numbers of unigram in an order of their own, and forks warn."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import tokenizers

    return tokenizers


def _settled(found: Sequence[tuple[str, float]]) -> tuple[list[str], list[float]]:
    """Pieces and scores that are the same each time.

    The library gives the letters that its texts hardly have the lowest score and 0.0001 more each, in an order that is
    another in every process; and it adds up in such an order, which shows in the last digits.
    """
    lowest = min(score for _, score in found)
    rare = lowest + 1e-4 * ALPHABET
    scores = {piece: lowest if len(piece) == 1 and score <= rare else score for piece, score in found}
    rounded = {piece: round(score, 6) for piece, score in scores.items()}
    known = sorted(rounded, key=lambda piece: (-rounded[piece], piece))
    return known, [rounded[piece] for piece in known]


def _machine(library: ModuleType, model: Any) -> Any:
    machine = library.Tokenizer(model)
    machine.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return machine


def _read(pieces: Sequence[str]) -> str:
    """The text of pieces in the letters that stand for bytes."""
    decode: Callable[[list[str]], str] = _library().decoders.ByteLevel().decode
    return decode(list(pieces))
