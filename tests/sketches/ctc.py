"""Speech recognition in small: every letter sounds for a few frames; CTC finds out which, without alignment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss, relu

from trainwright.core.batch import Batch, Draw
from trainwright.core.rows import Column, Encoded, Rows
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

# letters of shapes: N utterances, T frames, F bins of a frame, U frames after subsampling, L letters
BINS, BLANK, UNKNOWN = 6, 0, 1


@final
class SpeechProcessor(Processor):
    """Frames scaled bin by bin; letters as 2, 3, … (0 is CTC's blank, 1 a letter unseen in training)."""

    def __init__(self) -> None:
        self.letters, self.mean, self.scale = "", [0.0] * BINS, [1.0] * BINS

    def fit(self, records: Iterable[Record]) -> None:
        known = list(records)
        self.letters = "".join(sorted({c for r in known for c in r["text"]}))
        frames = torch.cat([torch.as_tensor(r["frames"], dtype=torch.float64) for r in known])
        self.mean, self.scale = frames.mean(0).tolist(), frames.std(0).clamp_min(1e-6).tolist()

    def columns(self) -> Mapping[str, Column]:
        return {
            "frames": Column("ragged", torch.float32, (BINS,)),
            "text": Column("ragged", torch.int64, target=True),
        }

    def encode(self, record: Record) -> Sample:
        sample = {"frames": torch.as_tensor(record["frames"], dtype=torch.float32).view(-1, BINS)}
        if "text" in record:
            sample["text"] = torch.tensor([self.letters.find(c) + 2 for c in record["text"]], dtype=torch.int64)
        return sample

    def batch(self, rows: Rows, draw: Draw | None) -> Batch:
        lengths = rows.ragged("frames").lengths
        frames = rows.ragged("frames").padded()
        frames = (frames - frames.new_tensor(self.mean)) / frames.new_tensor(self.scale)
        at = torch.arange(frames.shape[1], device=frames.device)
        heard = at < lengths[:, None]
        if draw is not None:  # noise, and two frames of silence somewhere (SpecAugment, Park et al. 2019)
            frames = frames + 0.1 * draw.normal("noise", BINS * frames.shape[1]).view_as(frames)
            start = (draw.uniform("silence") * lengths[:, None]).long()
            frames = frames.masked_fill(((at >= start) & (at < start + 2))[..., None], 0.0)
        inputs = {"frames": frames * heard[..., None], "lengths": lengths}
        targets: dict[str, Tensor] = {}
        if "text" in rows.columns:
            text = rows.ragged("text")
            targets = {"text": text.padded(), "lengths": text.lengths}
        return Batch(inputs, targets, torch.tensor(float(len(rows)), device=frames.device), rows.ids, len(rows))

    def decode(self, outputs: Outputs, batch: Batch) -> list[Answer]:
        columns = zip(outputs["text"].tolist(), outputs["lengths"].tolist(), strict=True)
        return [{"text": self.written(row[:n])} for row, n in columns]

    def written(self, ids: Sequence[int]) -> str:
        """Ids as text; the unknown letter is written as a question mark."""
        return "".join("?" if i == UNKNOWN else self.letters[i - 2] for i in ids)

    def state_dict(self) -> dict[str, JSON]:
        return {"letters": self.letters, "mean": [*self.mean], "scale": [*self.scale]}

    def load_state_dict(self, state: Mapping[str, JSON]) -> None:
        self.letters = cast(str, state["letters"])
        self.mean, self.scale = cast("list[float]", state["mean"]), cast("list[float]", state["scale"])


def edits(a: Sequence[object], b: Sequence[object]) -> int:
    """Fewest insertions, deletions and replacements that turn ``a`` into ``b`` (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


@final
class Recognition(Task[SpeechProcessor]):
    """Write down what is heard."""

    monitor = "wer"

    def __init__(self) -> None:
        self.processor = SpeechProcessor()

    def sizes(self) -> dict[str, JSON]:
        return {"bins": BINS, "letters": len(self.processor.letters) + 2}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        logits, lengths = model(**batch.inputs)
        spoken = logits.log_softmax(-1).transpose(0, 1)  # (U, N, letters)
        text, written = batch.targets["text"], batch.targets["lengths"]
        each = ctc_loss(spoken, text, lengths, written, blank=BLANK, reduction="none")
        return Loss(each.sum(), {}, each.detach())

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        logits, lengths = model(**batch.inputs)
        path = logits.argmax(-1)  # (N, U)
        before = nn.functional.pad(path, (1, 0), value=BLANK)[:, :-1]
        heard = torch.arange(path.shape[1], device=path.device) < lengths[:, None]
        kept = (path != BLANK) & (path != before) & heard
        order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)  # what is kept moves to the front
        return {"text": path.gather(1, order) * kept.gather(1, order), "lengths": kept.sum(1)}

    def metrics(self) -> dict[str, Metric]:
        def ratio(total: Tensor) -> float:
            return float(total[0] / total[1])

        return {
            "wer": Metric(self._wrong_words, ratio, "lower", source="predict"),
            "cer": Metric(self._wrong_letters, ratio, "lower", source="predict"),
        }

    def _texts(self, outputs: Outputs, batch: Batch) -> list[tuple[str, str]]:
        said, meant = self.processor.decode(outputs, batch), self.processor.decode(batch.targets, batch)
        return [(s["text"], m["text"]) for s, m in zip(said, meant, strict=True)]

    def _wrong_words(self, outputs: Outputs, batch: Batch) -> Tensor:
        """(N, 2) edits, and words that were meant."""
        pairs = [(s.split(), m.split()) for s, m in self._texts(outputs, batch)]
        return torch.tensor([[edits(s, m), len(m)] for s, m in pairs], dtype=torch.float64)

    def _wrong_letters(self, outputs: Outputs, batch: Batch) -> Tensor:
        pairs = self._texts(outputs, batch)
        return torch.tensor([[edits(s, m), len(m)] for s, m in pairs], dtype=torch.float64)

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Always the first text of the training part."""
        text = train.rows(0, 1).ragged("text").values

        def said(batch: Batch) -> Outputs:
            return {"text": text.expand(batch.size, -1), "lengths": torch.full((batch.size,), len(text))}

        return {"constant": lambda seconds: said}


@final
class ShortConv(nn.Module):
    """Convolutions that halve the number of frames; speaks `core.model.FrameModel`."""

    def __init__(self, bins: int, letters: int, width: int = 24) -> None:
        super().__init__()
        self.first = nn.Conv1d(bins, width, 3, padding=1)
        self.short = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.last = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Linear(width, letters)

    def lengths(self, lengths: Tensor) -> Tensor:
        """(N,) frames -> (N,) frames after subsampling."""
        return (lengths + 1) // 2

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, F), (N,) -> logits (N, U, letters) and (N,) lengths; what lies behind an utterance's end stays silent.

        The lengths come with the logits because a model copied over ranks answers to nothing but its call.
        """
        x = _silenced(relu(self.first(_silenced(frames.transpose(1, 2), lengths))), lengths)
        short = self.lengths(lengths)
        x = _silenced(relu(self.short(x)), short)
        return self.head(relu(self.last(x)).transpose(1, 2)), short


def _silenced(x: Tensor, lengths: Tensor) -> Tensor:
    """(N, width, T) with zeros behind each length."""
    return x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]


def model_for(sizes: Mapping[str, Any]) -> nn.Module:
    return ShortConv(sizes["bins"], sizes["letters"])


def records(n: int = 96, seed: int = 0) -> list[Record]:
    """One to three words of one to three letters; a letter is 4 to 6 frames of its own pattern, then a short gap."""
    rng = torch.Generator().manual_seed(seed)
    patterns = {c: torch.randn(BINS, generator=torch.Generator().manual_seed(i)) for i, c in enumerate("abcd ")}
    out: list[Record] = []
    for _ in range(n):
        words = ["".join("abcd"[_whole(0, 4, rng)] for _ in range(_whole(1, 4, rng))) for _ in range(_whole(1, 4, rng))]
        text, frames = " ".join(words), []
        for c in text:
            frames += [patterns[c]] * _whole(4, 7, rng) + [torch.zeros(BINS)] * 2
        heard = torch.stack(frames) + 0.2 * torch.randn(len(frames), BINS, generator=rng)
        out.append({"frames": heard.numpy(), "text": text})
    return out


def _whole(low: int, high: int, rng: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=rng))


def unlabelled(record: Record) -> Record:
    return {"frames": record["frames"]}
