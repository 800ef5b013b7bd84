"""Writing token by token: how the next one is chosen, and how a text may grow past what the model can look back on.

Letters in shapes: N sequences, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from trainwright.core.batch import Draw
from trainwright.core.errors import UserError
from trainwright.core.model import FrameWriter, TokenModel
from trainwright.core.schema import check

Temperature: TypeAlias = Annotated[float, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the next token is chosen among those that the model finds likely."""

    temperature: float = 1.0  # 0: always the likeliest; below 1 more so, above 1 less
    top_k: int = 0  # only among so many; 0: all
    top_p: float = 1.0  # only among the likeliest that together have this probability
    repetition: float = 1.0  # above 1: what was written is written again less readily
    seed: int = 0  # of the choice


def decoding(
    *,
    temperature: Temperature = 1.0,
    top_k: Annotated[int, Field(ge=0)] = 0,
    top_p: Share = 1.0,
    repetition: Annotated[float, Field(gt=0)] = 1.0,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> Decoding:
    """How the next token is chosen.

    Args:
        temperature: 0 takes the likeliest token; between 0 and 1 likely ones are chosen more often than the model says,
            above 1 less often.
        top_k: only among so many of the likeliest; 0 is all.
        top_p: only among the likeliest that together have this probability.
        repetition: above 1, tokens that stand in the text already become less likely; 1 leaves them.
        seed: of the choice; the same seed writes the same text.

    Source: Fan, Lewis & Dauphin 2018, "Hierarchical neural story generation", for top_k; Holtzman et al. 2020, "The
    curious case of neural text degeneration", for top_p; Keskar et al. 2019, "CTRL", section 4.1, for repetition.
    """
    return Decoding(temperature, top_k, top_p, repetition, seed)


def decoding_of(given: dict[str, Any], where: str) -> Decoding:
    """Checked options by name; UserError where one is unknown or out of range."""
    return decoding(**check(decoding, given, where))


class Prompts:
    """Prompts of different lengths, padded behind.

    Args:
        tokens: (N, T).
        lengths: (N,) real tokens of each, one at least.
    """

    def __init__(self, tokens: Tensor, lengths: Tensor) -> None:
        self.tokens, self.lengths = tokens, lengths
        self.longest = [int(n) for n in lengths.tolist()]  # the wait
        if min(self.longest) < 1:
            raise UserError("prompt", "has no token to go on from", "give one that is not empty")


@torch.no_grad()
def written(
    model: TokenModel, prompts: Prompts, limit: int, how: Decoding, *, seeds: Tensor | None = None, never: Any = ()
) -> Iterator[Tensor]:
    """The next token (N,) of every sequence, ``limit`` times; each sequence goes on as if it were alone.

    Where a sequence has filled the model's context, its last half is read again as if the text began there, and so on.

    Args:
        model: in evaluation mode.
        prompts: what to go on from; of a longer one than the context the end is read.
        limit: tokens to write.
        how: the next one is chosen.
        seeds: (N,) of each sequence's choices; all have that of ``how`` unless given.
        never: ids that are not written.
    """
    device, count = prompts.tokens.device, len(prompts.longest)
    dice = _dice(seeds, how, count, limit).to(device)
    room = prompts.tokens.new_zeros(count, limit)
    text = _Text(torch.cat([prompts.tokens, room], 1), prompts.lengths.clone(), model.context)
    banned = torch.tensor(list(never), dtype=torch.int64, device=device)
    cache = text.read(model)
    for step in range(limit):
        logits, cache = model.step(text.newest, cache)
        if len(banned):
            logits = logits.index_fill(1, banned, -torch.inf)
        if how.repetition != 1:
            logits = repeated_less(logits, text.there(), how.repetition)
        chosen = choose(logits, how, dice[:, step])
        text.add(chosen)
        yield chosen
        if text.full:
            cache = text.read(model)


@torch.no_grad()
def composed(
    model: FrameWriter, frames: Tensor, lengths: Tensor, limit: int, how: Decoding, *, seeds: Tensor | None = None
) -> Iterator[Tensor]:
    """The next frame (N, K) of every sequence, ``limit`` times; each sequence goes on as if it were alone.

    Args:
        model: in evaluation mode.
        frames: (N, T, K) what to go on from, padded behind.
        lengths: (N,) real frames of each; 0 begins anew.
        limit: frames to write.
        how: the next one is chosen.
        seeds: (N,) of each sequence's choices; all have that of ``how`` unless given.
    """
    count, keys = frames.shape[0], frames.shape[2]
    dice = _dice(seeds, how, count, limit * keys).view(count, -1, keys).to(frames.device)
    cache = model.start(frames=frames, lengths=lengths)
    for step in range(limit):
        frame = model.write(cache, how, dice[:, step])
        yield frame
        cache = model.read(frame, cache)


def choose(logits: Tensor, how: Decoding, dice: Tensor) -> Tensor:
    """(N, V) logits and (N,) numbers in [0, 1) -> (N,) tokens."""
    if how.temperature == 0:
        return logits.argmax(1)
    shares, ids = _shares(logits, how)
    sums = shares.cumsum(1)
    place = (sums <= dice.double()[:, None] * sums[:, -1:]).sum(1, keepdim=True)
    at = torch.arange(shares.shape[1], device=shares.device)
    last = torch.where(shares > 0, at, 0).amax(1, keepdim=True)  # rounding must not choose what has no probability
    place = torch.minimum(place, last)
    return (place if ids is None else ids.gather(1, place)).flatten()


def chances(logits: Tensor, how: Decoding) -> Tensor:
    """(N, V) logits -> (N, V) how probable it is that `choose` takes each token, float64."""
    if how.temperature == 0:
        return torch.zeros_like(logits, dtype=torch.float64).scatter(1, logits.argmax(1, keepdim=True), 1.0)
    shares, ids = _shares(logits, how)
    shares = shares / shares.sum(1, keepdim=True)
    return shares if ids is None else torch.zeros_like(logits, dtype=torch.float64).scatter(1, ids, shares)


def _shares(logits: Tensor, how: Decoding) -> tuple[Tensor, Tensor | None]:
    """Of the tokens that may come, 0 for what is cut off; and which they are, None for all (N, V) in order."""
    scores, ids = logits.double() / how.temperature, None
    if how.top_k or how.top_p < 1:
        scores, ids = scores.sort(dim=1, descending=True, stable=True)
        scores = scores[:, : how.top_k or None]
        ids = ids[:, : how.top_k or None]
    shares = scores.softmax(1)
    if how.top_p < 1:  # the one that reaches the probability still belongs
        shares = shares.masked_fill(shares.cumsum(1) - shares >= how.top_p, 0.0)
    return shares, ids


def repeated_less(logits: Tensor, there: Tensor, penalty: float) -> Tensor:
    """(N, V) logits of which those of tokens (N, T) that stand in the text are divided, below 0 multiplied."""
    picked = logits.gather(1, there)
    return logits.scatter(1, there, torch.where(picked > 0, picked / penalty, picked * penalty))


@torch.no_grad()
def following(model: TokenModel, prompts: Prompts, how: Decoding) -> Tensor:
    """(N, V) logits of the token behind each prompt, as `written` sees them; of a longer one its end is read."""
    text = _Text(prompts.tokens, prompts.lengths.clone(), model.context)
    logits, _ = model.step(text.newest, text.read(model))
    return logits if how.repetition == 1 else repeated_less(logits, text.there(), how.repetition)


def _dice(seeds: Tensor | None, how: Decoding, count: int, limit: int) -> Tensor:
    """(N, limit) in [0, 1), each row by its seed alone."""
    seeds = torch.full((count,), how.seed, dtype=torch.int64) if seeds is None else seeds
    return Draw(0, 0, seeds).uniform("written", max(1, limit))


class _Text:
    """All that stands there, and from where on the model sees it."""

    def __init__(self, tokens: Tensor, lengths: Tensor, context: int | None) -> None:
        self.tokens, self.lengths, self.context = tokens, lengths, context
        self.rows = torch.arange(len(tokens), device=tokens.device)
        self.newest = tokens[self.rows, lengths - 1]  # (N,)
        self.ends = [int(n) for n in lengths.tolist()]
        self.starts = [0 if context is None else max(0, end - context) for end in self.ends]

    @property
    def full(self) -> bool:
        """Whether some sequence has more tokens than the model can look back on."""
        return self.context is not None and any(
            end - start > self.context for end, start in zip(self.ends, self.starts, strict=True)
        )

    def add(self, chosen: Tensor) -> None:
        self.newest = chosen
        self.tokens[self.rows, self.lengths] = chosen
        self.lengths = self.lengths + 1
        self.ends = [end + 1 for end in self.ends]

    def read(self, model: TokenModel) -> Any:
        """A cache that knows all but the newest token of what is seen."""
        if self.context is not None:
            half = max(1, self.context // 2)
            pairs = zip(self.ends, self.starts, strict=True)
            self.starts = [end - half if end - start > self.context else start for end, start in pairs]
        known = [end - start - 1 for end, start in zip(self.ends, self.starts, strict=True)]
        at = torch.arange(max(known), device=self.tokens.device)
        lengths = torch.tensor(known, device=self.tokens.device)
        starts = torch.tensor(self.starts, device=self.tokens.device)
        places = torch.minimum(at, (lengths - 1).clamp_min(0)[:, None]) + starts[:, None]
        return model.start(tokens=self.tokens.gather(1, places), lengths=lengths)

    def there(self) -> Tensor:
        """(N, T) every token that stands in a sequence; where it is shorter, its newest again."""
        at = torch.arange(max(self.ends), device=self.tokens.device)
        return self.tokens.gather(1, torch.minimum(at, self.lengths[:, None] - 1))
