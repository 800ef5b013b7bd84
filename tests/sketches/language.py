"""Text generation in small: windows over one stream of characters, a GPT with a key-value cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from trainwright.core.batch import Batch, Draw
from trainwright.core.model import TokenModel
from trainwright.core.rows import Column, Encoded, Rows, Windows
from trainwright.core.task import (
    JSON,
    Answer,
    Baseline,
    Loss,
    Metric,
    Outputs,
    Processor,
    Progress,
    Record,
    Sample,
    Task,
)

# letters of shapes: N windows, T characters of a window, V vocabulary, H width
PAD, UNSEEN, FIRST = 0, 1, 2  # ids; known characters start at FIRST


@final
class CharacterProcessor(Processor):
    """All records are one stream; a window is T characters, each to be guessed from those before it."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.windows = Windows(lead=1, length=length, stride=length, partial=True, shift=True)
        self.known = ""

    def fit(self, records: Iterable[Record]) -> None:
        self.known = "".join(sorted({c for r in records for c in r["text"]}))

    def columns(self) -> Mapping[str, Column]:
        return {"text": Column("window", torch.int64, padding=PAD)}

    def encode(self, record: Record) -> Sample:
        ids = {c: i for i, c in enumerate(self.known, FIRST)}
        return {"text": torch.tensor([ids.get(c, UNSEEN) for c in record["text"]], dtype=torch.int64)}

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        """What is served is a prompt: its last T characters are read."""
        text, there = rows.dense("text"), rows.lengths["text"]
        if text.shape[1] != self.length + 1:  # served: as long as the longest prompt, with padding behind
            start = (there - self.length).clamp_min(0)
            text = text.gather(1, start[:, None] + torch.arange(self.length + 1, device=text.device))
            there = there.clamp_max(self.length)
        at = torch.arange(self.length, device=text.device)
        asked = at + 1 < there[:, None]  # the character behind is known
        inputs = {"text": text[:, : self.length], "lengths": there.clamp_max(self.length)}
        targets = {"text": text[:, 1:], "real": asked}
        return Batch(inputs, targets, asked.sum().float(), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        characters = ["", "?", *self.known]
        return [{"text": "".join(characters[i] for i in row)} for row in outputs["text"].tolist()]

    def state_dict(self) -> dict[str, JSON]:
        return {"known": self.known}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None:
        self.known = cast(str, state["known"])


@final
class Language(Task[CharacterProcessor]):
    """Learn to continue text.

    Args:
        length: characters of a window.
        write: characters that a prediction adds to its prompt.
    """

    monitor = "bits"

    def __init__(self, *, length: Annotated[int, Field(ge=2)] = 24, write: Annotated[int, Field(ge=1)] = 12) -> None:
        self.processor = CharacterProcessor(length)
        self.write = write

    def sizes(self) -> dict[str, JSON]:
        return {"vocab": FIRST + len(self.processor.known), "context": self.processor.length + self.write}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        real = batch.targets["real"]
        logits = model(text=batch.inputs["text"])
        nats = cross_entropy(logits.transpose(1, 2), batch.targets["text"], reduction="none") * real  # (N, T)
        each = nats.detach().sum(1)
        return Loss(nats.sum(), {"nats": each, "characters": real.sum(1)}, each)

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """The most likely next ``write`` characters, through the cache; each row reads its prompt to the end first."""
        text, lengths = batch.inputs["text"], batch.inputs["lengths"]
        writer = cast(TokenModel, model)
        cache = writer.start(text=text)
        newest, spoken = text[:, 0], []
        for step in range(int(lengths.max()) + self.write - 1):  # the wait
            logits, cache = writer.step(newest, cache)
            logits[:, :FIRST] = -torch.inf  # neither padding nor an unseen character can be written
            guess = logits.argmax(-1)
            spoken.append(guess)
            prompted = text[:, min(step + 1, text.shape[1] - 1)]
            newest = torch.where(step + 1 < lengths, prompted, guess)
        said = torch.stack(spoken, 1)
        start = (lengths - 1)[:, None] + torch.arange(self.write, device=text.device)
        return {"text": said.gather(1, start)}

    def metrics(self) -> dict[str, Metric]:
        def count(outputs: Outputs, batch: Batch) -> Tensor:
            return torch.stack([outputs["nats"], outputs["characters"].to(outputs["nats"].dtype)], 1)

        return {"bits": Metric(count, lambda total: float(total[0] / total[1] / math.log(2)), "lower")}

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Each character by its own frequency in the training part, one added to every count."""
        return {"frequency": lambda seconds: Frequency(self._targets(train), cast(int, self.sizes()["vocab"]))}

    def _targets(self, part: Encoded) -> Tensor:
        targets = self.processor.batch(part.rows(0, len(part)), None).targets
        return targets["text"][targets["real"]]


@final
class Frequency(nn.Module):
    """Each character by its own frequency, one added to every count."""

    def __init__(self, characters: Tensor, vocab: int) -> None:
        super().__init__()
        counts = torch.bincount(characters, minlength=vocab).double() + 1
        self.logits = nn.Parameter((counts / counts.sum()).log())

    def forward(self, text: Tensor) -> Tensor:
        """(N, T) -> (N, T, V)."""
        return self.logits.expand(*text.shape, -1)


class Cache(NamedTuple):
    """What was read so far: keys and values (N, heads, T, H / heads) of each layer."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@final
class Layer(nn.Module):
    """Attention and a feed-forward part, normed before (Radford et al. 2019)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, keys: Tensor | None, values: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """(N, T, H), with what was read before, or None -> (N, T, H) and the keys and values of all."""
        n, length, width = x.shape
        parts = self.mix(self.before(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        if keys is not None and values is not None:
            key, value = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        seen = scaled_dot_product_attention(query, key, value, is_causal=keys is None)
        x = x + self.out(seen.transpose(1, 2).reshape(n, length, width))
        return x + self.down(gelu(self.up(self.between(x)))), key, value


@final
class SmallGPT(nn.Module):
    """A decoder of learned positions; speaks `core.model.TokenModel`."""

    def __init__(self, vocab: int, context: int, width: int = 32, heads: int = 2, depth: int = 2) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab)

    def forward(self, text: Tensor) -> Tensor:
        """(N, T) -> (N, T, V)."""
        x = self.characters(text) + self.places(torch.arange(text.shape[1], device=text.device))
        for layer in self.layers:
            x, _, _ = layer(x, None, None)
        return cast(Tensor, self.head(self.norm(x)))

    def start(self, text: Tensor) -> Cache:
        """Nothing was read yet; the prompt comes step by step, because the rows' prompts differ in length."""
        return Cache((), ())

    def step(self, token: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        place = cache.keys[0].shape[2] if cache.keys else 0
        x = (self.characters(token) + self.places(torch.tensor(place, device=token.device)))[:, None]
        keys, values = [], []
        for i, layer in enumerate(self.layers):
            x, key, value = layer(x, cache.keys[i], cache.values[i]) if cache.keys else layer(x, None, None)
            keys.append(key)
            values.append(value)
        return self.head(self.norm(x))[:, 0], Cache(tuple(keys), tuple(values))

    def reorder(self, cache: Cache, rows: Tensor) -> Cache:
        return Cache(tuple(k[rows] for k in cache.keys), tuple(v[rows] for v in cache.values))


def model_for(sizes: Mapping[str, Any]) -> nn.Module:
    return SmallGPT(sizes["vocab"], sizes["context"])


def records(n: int = 160, seed: int = 0) -> list[Record]:
    """Lines that count from one number to another in words: what follows is told by what was written."""
    rng = torch.Generator().manual_seed(seed)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    out: list[Record] = []
    for _ in range(n):
        start = int(torch.randint(0, 7, (), generator=rng))
        length = int(torch.randint(2, 5, (), generator=rng))
        out.append({"text": ", ".join(words[start : start + length]) + ".\n"})
    return out


def unlabelled(record: Record) -> Record:
    return {"text": record["text"]}
