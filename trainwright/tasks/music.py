"""Music: learn to tell each frame of a piece, the keys that sound in it, from those before it, and so to compose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.decoding import Decoding, Share, Temperature, composed
from trainwright.core.exhibit import Exhibit
from trainwright.core.kinds import tasks
from trainwright.core.model import FrameWriter
from trainwright.core.rows import Encoded
from trainwright.core.task import JSON, Baseline, Loss, Metric, Outputs, Progress, Task
from trainwright.data.midi import SUFFIXES
from trainwright.data.music_frames import MusicFrames
from trainwright.data.score import Score, chords, exhibit
from trainwright.metrics.music import Keys
from trainwright.metrics.tallies import ratio, ratios, wide

_SHOWN = 2  # pieces of a log

Count = Annotated[int, Field(ge=1)]


@tasks.add("music", composes=True, files=SUFFIXES)
@final
class Music(Task[MusicFrames]):
    """Continue music, frame by frame: which of the 88 keys of a piano sound in each step of an even grid.

    The loss is the negative log-likelihood in nats per frame, of all frames of whole pieces, each told from those of
    its own piece before it; the first is told from nothing. That it knows no notes but only keys, held or struck again,
    is what the published figures of this kind share.

    Args:
        per_beat: frames of a beat; "auto" is the grid of the data's own steps, and 4 for notes of MIDI files.
        length: frames of a training sample; of longer pieces another stretch is learned in each epoch.
        transpose: half tones by which training moves pieces up or down, drawn anew in each epoch; 0 leaves them.
        write: frames that a prediction adds.
        primer: first frames of a piece that a prediction goes on from; 0 begins anew.
        temperature: of predictions: 0 writes the likeliest, 1 what the model finds likely, more what it does not.
        top_k: take a key only from so many of the likeliest; 0 is all. For models that tell keys in turn.
        top_p: take a key only from the likeliest that together have this probability. For models that tell keys in
            turn.
        seed: of what is written.

    Source: Boulanger-Lewandowski, Bengio & Vincent 2012, "Modeling temporal dependencies in high-dimensional sequences:
    application to polyphonic music generation and transcription".
    """

    def __init__(
        self,
        *,
        per_beat: Literal["auto"] | Annotated[int, Field(ge=1, le=96)] = "auto",
        length: Count = 256,
        transpose: Annotated[int, Field(ge=0, le=24)] = 5,
        write: Count = 64,
        primer: Annotated[int, Field(ge=0)] = 8,
        temperature: Temperature = 0.9,
        top_k: Annotated[int, Field(ge=0)] = 0,
        top_p: Share = 1.0,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.processor = MusicFrames(per_beat, length, transpose)
        self.write, self.primer = write, primer
        self.how = Decoding(temperature, top_k, top_p, 1.0, seed)

    @property
    def monitor(self) -> str:
        """Nats per frame."""
        return "nats_per_frame"

    def sizes(self) -> dict[str, JSON]:
        """``keys`` of a frame."""
        return {"keys": self.processor.columns()["frames"].shape[0]}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Nats of every frame, (N, T) summed."""
        frames, lengths = batch.inputs["frames"], batch.inputs["lengths"]
        nats = model(frames, lengths)  # (N, T)
        nats = nats.masked_fill(torch.arange(frames.shape[1], device=nats.device) >= lengths[:, None], 0.0)
        each, count = nats.detach().sum(1), lengths.to(nats.dtype)
        return Loss(
            nats.sum(), {"nats": each, "first": nats.detach()[:, 0], "frames": count}, each, weights=lambda: count
        )

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``frames`` (N, write, K) behind the first ``given`` (N,) of each piece."""
        given = batch.inputs["lengths"].clamp_max(self.primer)
        primers = batch.inputs["frames"][:, : self.primer]
        written = composed(cast(FrameWriter, model), primers, given, self.write, self.how)
        return {"frames": torch.stack(list(written), 1).to(torch.uint8), "given": given}

    @torch.no_grad()
    def compose(
        self, model: nn.Module, batch: Batch, tempos: Sequence[float | None], limit: int, how: Decoding, seeds: Tensor
    ) -> list[Score]:
        """Pieces that begin as those of a batch, whole, and go on for ``limit`` frames; a tempo and a seed for each."""
        frames, lengths = batch.inputs["frames"], batch.inputs["lengths"]
        written = torch.stack(list(composed(cast(FrameWriter, model), frames, lengths, limit, how, seeds=seeds)), 1)
        given = zip(frames, lengths.tolist(), written, tempos, strict=True)
        return [
            self.processor.score([*chords(primer[:count]), *chords(more)], count, tempo)
            for primer, count, more, tempo in given
        ]

    def metrics(self) -> dict[str, Metric]:
        """Nats per frame, of all frames, and of all but the first of each piece, as some papers count."""
        return {
            "nats_per_frame": Metric(_nats, ratio, "lower", many=ratios),
            "nats_per_later_frame": Metric(_later, ratio, "lower", many=ratios),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Each key by how often it sounds, and by how often it does so behind itself, or behind silence."""
        return {
            "constant": lambda seconds: Keys(train, self.processor, seconds, back=False),
            "linear": lambda seconds: Keys(train, self.processor, seconds, back=True),
        }

    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        """A few pieces: what was given, and what was composed behind it."""
        found = []
        for number, answer in enumerate(self.processor.decode(outputs, batch)[:_SHOWN], 1):
            given = len(answer["primer"])
            score = self.processor.score([*answer["primer"], *answer["steps"]], given)
            found.append(exhibit(score, f"sample {number}"))
        return found


def _nats(outputs: Outputs, batch: Batch) -> Tensor:
    """(N, 2) nats and frames of each piece."""
    return wide(torch.stack([outputs["nats"], outputs["frames"].to(outputs["nats"].dtype)], 1))


def _later(outputs: Outputs, batch: Batch) -> Tensor:
    """(N, 2) the same without the first frame."""
    nats, frames = outputs["nats"] - outputs["first"], outputs["frames"].to(outputs["nats"].dtype) - 1
    return wide(torch.stack([nats, frames], 1))
