"""Music as events: learn to tell each event of a piece from those before it, and so to compose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from trainwright.core.batch import Batch
from trainwright.core.decoding import Decoding, Prompts, Share, Temperature, written
from trainwright.core.exhibit import Exhibit
from trainwright.core.kinds import tasks
from trainwright.core.model import TokenModel
from trainwright.core.rows import Encoded
from trainwright.core.task import JSON, Baseline, Loss, Metric, Outputs, Progress, Task
from trainwright.data.midi import SUFFIXES
from trainwright.data.music_codes import END, Codes
from trainwright.data.music_events import NOTHING, MusicEvents
from trainwright.data.score import Score, exhibit, score_of
from trainwright.metrics import language
from trainwright.metrics.tallies import ratio, ratios, wide

_SHOWN, _AT_ONCE = 2, 64  # pieces of a log; windows of an evaluation that are judged together
_BAR = 4  # beats that one event may let pass

Count = Annotated[int, Field(ge=1)]


@tasks.add("music_events", composes=True, files=SUFFIXES)
@final
class EventsOfMusic(Task[MusicEvents]):
    """Continue music, event by event: a key goes down, a key goes up, time passes, keys are struck harder or softer.

    The loss is in nats per event. In evaluation each piece is read in windows that do not overlap, and every event
    counts, also those that have little of the window before them.

    Args:
        context: events that the model looks back on; a training sample is so long a stretch of a piece.
        per_beat: steps of time in a beat; 12 tells sixteenths and triplets apart.
        velocities: how many strengths of a key's stroke are told apart; 1 for none.
        transpose: half tones by which training moves pieces up or down, drawn anew in each epoch; 0 leaves them.
        write: events that a prediction adds, at most.
        primer: first events of a piece that a prediction goes on from; 0 begins anew.
        temperature: of predictions: 0 writes the likeliest event, 1 what the model finds likely, more what it does not.
        top_k: write only one of so many of the likeliest events; 0 is all.
        top_p: write only one of the likeliest events that together have this probability.
        seed: of what is written.

    Source: Oore et al. 2018, "This time with feeling: learning expressive musical performance"; Huang et al. 2019,
    "Music Transformer".
    """

    def __init__(
        self,
        *,
        context: Annotated[int, Field(ge=2)] = 256,
        per_beat: Annotated[int, Field(ge=1, le=96)] = 12,
        velocities: Annotated[int, Field(ge=1, le=64)] = 8,
        transpose: Annotated[int, Field(ge=0, le=24)] = 5,
        write: Count = 256,
        primer: Annotated[int, Field(ge=0)] = 64,
        temperature: Temperature = 0.9,
        top_k: Annotated[int, Field(ge=0)] = 0,
        top_p: Share = 1.0,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.processor = MusicEvents(Codes(per_beat, velocities, _BAR * per_beat), context, transpose)
        self.write, self.primer = write, primer
        self.how = Decoding(temperature, top_k, top_p, 1.0, seed)

    @property
    def coarse(self) -> bool:
        """Pieces are compared by their scores."""
        return True

    @property
    def monitor(self) -> str:
        """Nats per event."""
        return "nats_per_event"

    def sizes(self) -> dict[str, JSON]:
        """``vocab``, different events, and ``context``, events of a window."""
        return {"vocab": len(self.processor.codes), "context": self.processor.context}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Nats of every event, (N, T) summed."""
        truth = batch.targets["tokens"]
        nats = _nats_of(model, batch.inputs["tokens"], truth, self.processor.context)
        each, count = nats.detach().sum(1), (truth != NOTHING).sum(1).to(nats.dtype)
        return Loss(nats.sum(), {"nats": each, "tokens": count}, each, weights=lambda: count)

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``tokens`` (N, write) behind the first ``given`` (N,) of each piece, ``written`` (N,) before their end."""
        tokens, lengths = batch.inputs["tokens"], batch.inputs["lengths"]
        last = tokens.gather(1, (lengths - 1)[:, None])[:, 0]
        whole = lengths - ((last == END) & (lengths > 1)).long()  # a piece is gone on with before its end
        given = whole.clamp_max(self.primer + 1)
        more, count = _more(model, tokens, given, self.write, self.how)
        return {"tokens": more, "written": count, "given": given}

    @torch.no_grad()
    def compose(
        self, model: nn.Module, batch: Batch, tempos: Sequence[float | None], limit: int, how: Decoding, seeds: Tensor
    ) -> list[Score]:
        """Pieces that begin as those of a batch, whole, and go on for ``limit`` events; a tempo and a seed for each."""
        tokens, lengths = batch.inputs["tokens"], batch.inputs["lengths"]
        more, count = _more(model, tokens, lengths, limit, how, seeds)
        rows = zip(tokens.tolist(), lengths.tolist(), more.tolist(), count.tolist(), tempos, strict=True)
        return [self.processor.score(given[:n], new[:m], tempo) for given, n, new, m, tempo in rows]

    def metrics(self) -> dict[str, Metric]:
        """Nats per event; and per beat, which compares models of different events."""
        beats = _Beats(torch.tensor(self.processor.codes.steps(), dtype=torch.float64) / self.processor.codes.per_beat)
        return {
            "nats_per_event": Metric(language.nats_of, ratio, "lower", many=ratios),
            "nats_per_beat": Metric(beats, ratio, "lower", many=ratios),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Each event by its frequency, and by its frequency behind the event before it."""
        vocab = len(self.processor.codes)

        def pairs(seconds: float) -> tuple[Tensor, Tensor]:
            return language.read_pairs(train, self.processor, seconds)

        return {
            "constant": lambda seconds: language.unigram(pairs(seconds), vocab),
            "linear": lambda seconds: language.bigram(pairs(seconds), vocab),
        }

    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        """A few pieces: what was given, and what was composed behind it."""
        answers = self.processor.decode(outputs, batch)[:_SHOWN]
        scores = [replace(score_of(a, ""), tempo=self.processor.tempo, primer=a["primer"]) for a in answers]
        return [exhibit(score, f"sample {number}") for number, score in enumerate(scores, 1)]


def _nats_of(model: nn.Module, tokens: Tensor, truth: Tensor, context: int) -> Tensor:
    """(N, T) tokens and those one later -> (N, T') nats of each, read in windows of ``context`` without an overlap."""
    tokens, truth = tokens[:, :-1], truth[:, :-1]  # the last has nothing behind it
    width = max(1, min(context, tokens.shape[1]))
    fill = -tokens.shape[1] % width
    windows = pad(tokens, (0, fill)).reshape(-1, width)
    wanted = pad(truth, (0, fill), value=NOTHING).reshape(-1, width)
    nats = wanted.new_zeros(wanted.shape, dtype=torch.promote_types(next(model.parameters()).dtype, torch.float32))
    if len(windows) == len(tokens):
        nats = _window_nats(model, windows, wanted)
    else:
        read = (wanted != NOTHING).any(1).nonzero()[:, 0]  # the wait; no window of nothing but padding
        found = [_window_nats(model, windows[some], wanted[some]) for some in read.split(_AT_ONCE)]
        nats = nats.index_put((read,), torch.cat(found).to(nats.dtype))
    return nats.view(len(tokens), -1)


def _window_nats(model: nn.Module, tokens: Tensor, truth: Tensor) -> Tensor:
    """(M, T) -> (M, T), 0 where there is no target."""
    logits = model(tokens)  # (M, T, V)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    nats = cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none", ignore_index=NOTHING)
    return nats.view_as(truth)


def _more(
    model: nn.Module, tokens: Tensor, lengths: Tensor, limit: int, how: Decoding, seeds: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(N, limit) events behind the first (N,) of each piece, and (N,) how many come before its end."""
    prompts = Prompts(tokens[:, : int(lengths.max())], lengths)
    more = torch.full((len(tokens), limit), END, device=tokens.device)
    over = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    for place, chosen in enumerate(written(cast(TokenModel, model), prompts, limit, how, seeds=seeds)):
        over = over | (chosen == END)
        more[:, place] = chosen.masked_fill(over, END)
        if bool(over.all()):  # the wait
            break
    return more, (more != END).sum(1)


@final
class _Beats:
    """(N, 2) nats and beats of each piece."""

    def __init__(self, sizes: Tensor) -> None:
        self.sizes = sizes

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        truth = batch.targets["tokens"]
        sizes: Any = self.sizes.to(truth.device)
        passed = torch.where(truth == NOTHING, 0.0, sizes[truth.clamp_min(0)]).sum(1)
        return torch.stack([wide(outputs["nats"]), passed], 1)
