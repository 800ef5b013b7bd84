"""Texts while a model writes them: where each ends, and what of it can be shown already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from trainwright.core.decoding import Decoding, Prompts, written
from trainwright.core.errors import UserError
from trainwright.core.model import TokenModel
from trainwright.core.tokenizer import Tokenizer

_BROKEN = "\N{REPLACEMENT CHARACTER}"  # bytes that are no character yet


class Continuation:
    """What is written behind one prompt.

    Args:
        tokenizer: reads the tokens.
        stop: strings of which none is written; the text ends before the first.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, stop
        self.ids: list[int] = []
        self.ended = ""  # "end" or "stop"; empty while it goes on, and where only the number of tokens ended it
        self._longest = max((len(s.encode()) for s in stop), default=0)

    def add(self, token: int) -> None:
        """One more token, unless the text has ended."""
        if self.ended:
            return
        if token == self.tokenizer.end:
            self.ended = "end"
            return
        self.ids.append(token)
        if self.stop:
            tail = self.tokenizer.decode(self.ids[-self._longest - 1 :])
            self.ended = "stop" if any(s in tail for s in self.stop) else ""

    @property
    def text(self) -> str:
        """All of it, up to a stop string."""
        return before(self.tokenizer.decode(self.ids), self.stop)

    @property
    def shown(self) -> str:
        """What will not change any more: no part of a character, and no beginning of a stop string."""
        if self.ended:
            return self.text
        text = self.text.rstrip(_BROKEN)
        held = (n for s in self.stop for n in range(min(len(s) - 1, len(text)), 0, -1) if text.endswith(s[:n]))
        return text[: len(text) - max(held, default=0)]


def before(text: str, stop: Sequence[str]) -> str:
    """A text up to the first stop string in it."""
    return text[: min((i for s in stop if (i := text.find(s)) >= 0), default=len(text))]


def continued(
    model: TokenModel,
    tokenizer: Tokenizer,
    prompts: Prompts,
    limit: int,
    how: Decoding,
    stop: Sequence[str] = (),
    seeds: Tensor | None = None,
) -> Iterator[list[Continuation]]:
    """The same continuations after each token, until all have ended or have ``limit`` tokens.

    Args:
        model: in evaluation mode.
        tokenizer: of its tokens; an unknown piece is never written.
        prompts: what to go on from.
        limit: tokens at most.
        how: the next token is chosen.
        stop: strings that end a text.
        seeds: (N,) of each sequence's choices.
    """
    if not all(stop):
        raise UserError("stop", "an empty string ends every text at once", "leave it out")
    texts = [Continuation(tokenizer, stop) for _ in prompts.longest]
    special = (tokenizer.padding, tokenizer.unknown, tokenizer.begin)
    never = [i for i in special if i is not None]
    yield texts
    for chosen in written(model, prompts, limit, how, seeds=seeds, never=never):
        for text, token in zip(texts, chosen.tolist(), strict=True):  # the wait
            text.add(token)
        yield texts
        if all(text.ended for text in texts):
            return
