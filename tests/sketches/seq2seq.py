"""Translation in small: words of a made-up language with another order, a GRU with attention, and a search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from trainwright.core.batch import Batch, Draw
from trainwright.core.model import TokenModel
from trainwright.core.rows import Column, Encoded, Ragged, Rows
from trainwright.core.searching import Marks, beam_search
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

# letters of shapes: N sentences, S source and L target tokens, V target vocabulary, H width
PAD, START, END, UNKNOWN, FIRST = 0, 1, 2, 3, 4  # ids; known words start at FIRST


@final
class PairProcessor(Processor):
    """Words of both languages as ids, most frequent first."""

    def __init__(self, forget: float) -> None:
        self.forget = forget
        self.source: list[str] = []
        self.target: list[str] = []

    def fit(self, records: Iterable[Record]) -> None:
        known = list(records)
        self.source = _vocabulary(r["source"] for r in known)
        self.target = _vocabulary(r["target"] for r in known)

    def columns(self) -> Mapping[str, Column]:
        return {"source": Column("ragged", torch.int64), "target": Column("ragged", torch.int64, target=True)}

    def encode(self, record: Record) -> Sample:
        sample = {"source": _ids(record["source"], self.source)}
        if "target" in record:
            sample["target"] = _ids(record["target"], self.target)
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        source, lengths = rows.ragged("source").padded(PAD), rows.ragged("source").lengths
        if draw is not None:  # the model must guess some words from their places
            lost = (draw.uniform("forget", source.shape[1]) < self.forget) & (source >= FIRST)
            source = source.masked_fill(lost, UNKNOWN)
        targets, weight = {}, torch.zeros((), device=source.device)
        if "target" in rows.columns:
            target = rows.ragged("target")
            targets, weight = {"target": target.padded(PAD)}, target.lengths.sum().float()
        return Batch({"source": source, "lengths": lengths}, targets, weight, rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        words = ["", "", "", "?", *self.target]
        return [{"target": " ".join(words[i] for i in _until_end(row))} for row in outputs["target"].tolist()]

    def state_dict(self) -> dict[str, JSON]:
        return {"source": [*self.source], "target": [*self.target]}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None:
        self.source, self.target = cast("list[str]", state["source"]), cast("list[str]", state["target"])


def _vocabulary(texts: Iterable[str]) -> list[str]:
    counts = Counter(word for text in texts for word in text.split())
    return sorted(counts, key=lambda w: (-counts[w], w))


def _ids(text: str, vocabulary: Sequence[str]) -> Tensor:
    known = {w: i for i, w in enumerate(vocabulary, FIRST)}
    return torch.tensor([*(known.get(w, UNKNOWN) for w in text.split()), END], dtype=torch.int64)


def _until_end(row: Sequence[int]) -> list[int]:
    return list(row[: row.index(END)] if END in row else row)


@final
class Translation(Task[PairProcessor]):
    """Say the same in the other language.

    Args:
        beams: sentences kept while searching.
        penalty: power of the length that divides a sentence's log probability; 0 favours short ones.
        forget: share of source words hidden while training.
    """

    monitor = "exact"

    def __init__(
        self,
        *,
        beams: Annotated[int, Field(ge=1)] = 3,
        penalty: Annotated[float, Field(ge=0)] = 0.6,
        forget: Annotated[float, Field(ge=0, lt=1)] = 0.02,
    ) -> None:
        self.processor = PairProcessor(forget)
        self.beams, self.penalty = beams, penalty

    def sizes(self) -> dict[str, JSON]:
        return {"source": FIRST + len(self.processor.source), "target": FIRST + len(self.processor.target)}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        target = batch.targets["target"]
        written = pad(target, (1, 0), value=START)[:, :-1]
        logits = model(**batch.inputs, written=written)
        nats = cross_entropy(logits.transpose(1, 2), target, ignore_index=PAD, reduction="none")  # (N, L)
        right = (logits.argmax(-1) == target) & (target != PAD)
        return Loss(nats.sum(), {"right": right.sum(1)}, nats.detach().sum(1))

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        limit = batch.inputs["lengths"] * 2 + 2  # tokens, END among them
        marks = Marks(START, END, PAD)
        found = beam_search(cast(TokenModel, model), batch.inputs, limit, marks, self.beams, self.penalty)
        return {"target": found.tokens}

    def metrics(self) -> dict[str, Metric]:
        def ratio(total: Tensor) -> float:
            return float(total[0] / total[1])

        return {
            "exact": Metric(_exact, ratio, "higher", source="predict"),
            "token_accuracy": Metric(_right, ratio, "higher"),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Always the most frequent sentence of the training part."""
        seen = Counter(tuple(t.tolist()) for t in _pieces(train.rows(0, len(train)).ragged("target")))
        best = torch.tensor(max(seen, key=lambda t: seen[t]))

        def said(batch: Batch) -> Outputs:
            true = batch.targets["target"]
            width = min(len(best), true.shape[1])
            right = (true[:, :width] == best[:width]) & (true[:, :width] != PAD)
            return {"target": best.expand(batch.size, -1), "right": right.sum(1)}

        return {"constant": lambda seconds: said}


def _pieces(column: Ragged) -> Sequence[Tensor]:
    return torch.split(column.values, column.lengths.tolist())


def _exact(outputs: Outputs, batch: Batch) -> Tensor:
    """(N, 2) whether a sentence is right word for word, and 1."""
    pairs = zip(outputs["target"].tolist(), batch.targets["target"].tolist(), strict=True)
    return torch.tensor([[_until_end(said) == _until_end(meant), 1] for said, meant in pairs], dtype=torch.float64)


def _right(outputs: Outputs, batch: Batch) -> Tensor:
    """(N, 2) tokens that are guessed right after the true ones before them, and tokens."""
    return torch.stack([outputs["right"], (batch.targets["target"] != PAD).sum(1)], 1).to(batch.weight.dtype)


class State(NamedTuple):
    """What the decoder remembers of N sentences."""

    memory: Tensor  # (N, S, H) encoded source
    hidden: Tensor  # (N, S) bool, behind the source's end
    thought: Tensor  # (N, H)


@final
class Attentive(nn.Module):
    """GRU encoder and decoder with attention (Luong et al. 2015); speaks `core.model.TokenModel`."""

    def __init__(self, source: int, target: int, width: int = 48) -> None:
        super().__init__()
        self.read = nn.Embedding(source, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.back = nn.GRU(width, width, batch_first=True)
        self.write = nn.Embedding(target, width)
        self.decoder = nn.GRUCell(2 * width, width)
        self.query = nn.Linear(width, width)
        self.head = nn.Linear(2 * width, target)

    def forward(self, source: Tensor, lengths: Tensor, written: Tensor) -> Tensor:
        """(N, S), (N,), (N, L) the tokens before each target -> (N, L, V)."""
        state, logits = self.start(source, lengths), []
        for token in written.unbind(1):
            out, state = self.step(token, state)
            logits.append(out)
        return torch.stack(logits, 1)

    def start(self, source: Tensor, lengths: Tensor) -> State:
        at = torch.arange(source.shape[1], device=source.device)
        end = lengths[:, None]
        mirror = torch.where(at < end, end - 1 - at, at)  # turns each sentence, not its padding
        words = self.read(source)
        along, _ = self.encoder(words)
        against, _ = self.back(words.gather(1, mirror[..., None].expand_as(words)))
        memory = along + against.gather(1, mirror[..., None].expand_as(against))
        thought = along.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, along.shape[2]))[:, 0]
        return State(memory, at >= lengths[:, None], thought)

    def step(self, token: Tensor, cache: State) -> tuple[Tensor, State]:
        seen = self._look(cache, cache.thought)
        thought = self.decoder(torch.cat([self.write(token), seen], -1), cache.thought)
        return self.head(torch.cat([thought, self._look(cache, thought)], -1)), cache._replace(thought=thought)

    def _look(self, cache: State, thought: Tensor) -> Tensor:
        score = (cache.memory @ self.query(thought)[..., None])[..., 0].masked_fill(cache.hidden, -torch.inf)
        seen: Tensor = score.softmax(-1)[:, None] @ cache.memory
        return seen[:, 0]

    def reorder(self, cache: State, rows: Tensor) -> State:
        return State(*(part[rows] for part in cache))


def model_for(sizes: Mapping[str, Any]) -> nn.Module:
    return Attentive(sizes["source"], sizes["target"])


NOUNS = {"dog": "hund", "cat": "katze", "house": "haus", "tree": "baum"}
ADJECTIVES = {"big": "gross", "old": "alt", "red": "rot"}


def records(n: int = 256, seed: int = 0) -> list[Record]:
    """One to three nouns with zero or one adjective, which the other language puts behind, before a sign."""
    rng = torch.Generator().manual_seed(seed)
    out: list[Record] = []
    for _ in range(n):
        source: list[str] = []
        target: list[str] = []
        for _ in range(_whole(1, 4, rng)):
            noun = sorted(NOUNS)[_whole(0, len(NOUNS), rng)]
            adjective = ["", *sorted(ADJECTIVES)][_whole(0, 4, rng)]
            source += [adjective, noun] if adjective else [noun]
            target += [NOUNS[noun], "+", ADJECTIVES[adjective]] if adjective else [NOUNS[noun]]
        out.append({"source": " ".join(source), "target": " ".join(target)})
    return out


def _whole(low: int, high: int, rng: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=rng))


def unlabelled(record: Record) -> Record:
    return {"source": record["source"]}
