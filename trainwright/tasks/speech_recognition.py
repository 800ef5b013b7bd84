"""Speech recognition: write down what is said in a recording, and when each word is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from trainwright.core import ctc
from trainwright.core.batch import Batch
from trainwright.core.exhibit import Exhibit
from trainwright.core.kinds import tasks
from trainwright.core.rows import Encoded
from trainwright.core.task import JSON, Baseline, Loss, Metric, Outputs, Progress, Task
from trainwright.data.audio import SUFFIXES
from trainwright.data.audio_files import records_in
from trainwright.data.recordings import (
    Bands,
    Decibels,
    Hearing,
    Longest,
    Normal,
    Rate,
    Reach,
    Recordings,
    Seconds,
    Share,
    Stripes,
)
from trainwright.data.sound_changes import Changes
from trainwright.data.speech import SPECIAL, Speech
from trainwright.data.tokenizing import TokenizerSpec, tokenizer_of
from trainwright.data.transcripts import Spelling
from trainwright.metrics import utterances, words
from trainwright.metrics.translations import references

_SHOWN = 2  # recordings of a log
_UNKNOWN = SPECIAL.index("unknown")


@tasks.add("speech_recognition", records=records_in, files=SUFFIXES)
@final
class SpeechRecognition(Task[Speech]):
    """Write down what is said in recordings, from recordings and their transcripts, without any alignment.

    Records are ``{"audio": …, "text": …}``: the path of a file, its bytes, or (samples, rate), and what is said. The
    loss is connectionist temporal classification: nats of all ways to spell the transcript along the frames, summed
    over recordings. Word and character error rates sum edits and words over a part. Evaluations during the training
    write greedily; the final scores and predictions are those of a beam search. A prediction tells when each word is
    said, by the likeliest path that spells it.

    Args:
        audio: the field of the recordings; left out, one with a usual name (audio, sound, …).
        target: the field of the transcripts; left out, one with a usual name (text, transcript, …).
        spelling: "plain" learns and compares transcripts in lower case without punctuation; "written" as they stand.
        alphabet: the characters that transcripts may have, blanks aside; a transcript with others is a bad sample. Left
            out, those of the training part; others count as wrong in the parts held out.
        tokenizer: how transcripts are cut, by name or as a table {name, options}: "characters", or "bpe" for pieces of
            words.
        shorten: frames of features that become one before a piece is told: 1, 2 or 4. A transcript needs a frame for
            each piece.
        beams: beginnings that a prediction keeps while it searches; 1 writes greedily.
        rate: samples a second that all recordings are brought to; "auto" is what most have, at most 16,000.
        bands: of the features.
        window: seconds that a frame of the features sees.
        hop: seconds from frame to frame.
        normalize: what mean and deviation of each band are taken over: each "recording", or the whole "training" part.
        longest: seconds; a longer recording is a bad sample.
        speed: in training, faster or slower by up to this share, and so higher or lower.
        shift: in training, earlier or later by up to so many seconds; what is moved out is lost.
        noise: in training, white noise so many decibels fainter than the recording, or up to 20 more; 0 is none.
        gain: in training, louder or fainter by up to so many decibels.
        masks: in training, stripes of time and as many of bands that are hidden.
        mask_time: share of the frames that a stripe of time hides at most.
        mask_bands: share of the bands that a stripe of bands hides at most.

    Source: Graves et al. 2006, "Connectionist temporal classification"; Park et al. 2019, "SpecAugment"; Ko et al.
    2015, "Audio augmentation for speech recognition", for the speed.
    """

    def __init__(
        self,
        *,
        audio: str | None = None,
        target: str | None = None,
        spelling: Spelling = "plain",
        alphabet: str | None = None,
        tokenizer: TokenizerSpec = "characters",
        shorten: Literal[1, 2, 4] = 4,
        beams: Annotated[int, Field(ge=1, le=1000)] = 8,
        rate: Rate = "auto",
        bands: Bands = 64,
        window: Seconds = 0.025,
        hop: Seconds = 0.01,
        normalize: Normal = "recording",
        longest: Longest = 60.0,
        speed: Share = 0.1,
        shift: Reach = 0.0,
        noise: Decibels = 0.0,
        gain: Decibels = 0.0,
        masks: Stripes = 2,
        mask_time: Share = 0.05,
        mask_bands: Share = 0.2,
    ) -> None:
        changes = Changes(speed, shift, noise, gain, masks, mask_time, mask_bands)
        how = Hearing(rate, bands, window, hop, normalize, longest, changes)
        self.processor = Speech(
            Recordings(how, audio),
            tokenizer_of(tokenizer, SPECIAL),
            target,
            spelling=spelling,
            alphabet=alphabet,
            shorten=shorten,
        )
        self.bands, self.beams = bands, beams

    @property
    def monitor(self) -> str:
        """The character error rate: finer than that of words, of which a small part has few."""
        return "cer"

    def sizes(self) -> dict[str, JSON]:
        """``bands`` of a frame, ``outputs`` (pieces and the blank), ``shorten``."""
        return {"bands": self.bands, "outputs": len(self.processor.tokenizer), "shorten": self.processor.shorten}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Nats of the transcripts, over all their paths, summed over recordings."""
        logits, lengths = model(**batch.inputs)
        logs = _logs(logits).transpose(0, 1)  # (U, N, V)
        text, letters = batch.targets["text"], batch.targets["letters"]
        each = ctc_loss(logs, text, lengths, letters, blank=ctc.BLANK, reduction="none")
        return Loss(each.sum(), {}, each.detach())

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``tokens`` (N, L), their ``lengths`` (N,), ``spans`` (N, L, 2) in frames, ``nats`` (N,) of the text.

        Spans are the first frame of each piece and the one behind its last.
        """
        logits, lengths = model(**batch.inputs)
        return self._told(logits, lengths, self.beams)

    def exported(self, model: nn.Module, batch: Batch) -> Outputs:
        """``logs`` (N, U, V), log probabilities of the pieces in each frame, of which ``real`` (N,) are no padding."""
        logits, lengths = model(**batch.inputs)
        return {"logs": _logs(logits), "real": lengths}

    def draft(self, model: nn.Module, batch: Batch) -> Outputs:
        """The text of the likeliest path."""
        logits, lengths = model(**batch.inputs)
        tokens, count = ctc.greedy(_known(logits), lengths)
        return {"tokens": tokens, "lengths": count}

    def metrics(self) -> dict[str, Metric]:
        """Word and character error rates."""

        def texts(outputs: Outputs, batch: Batch) -> tuple[Sequence[str], Sequence[str]]:
            return self._texts(outputs), references(batch)

        return {"wer": words.word_errors(texts), "cer": words.character_errors(texts)}

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The training transcript most like the others, and that of the training recording that sounds most alike."""
        return {
            "constant": lambda seconds: utterances.constant(train),
            "memory": lambda seconds: utterances.memory(train, self.processor, seconds),
        }

    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        """What was written of a few recordings, what was said, and when each word is."""
        answers = self.processor.decode(outputs, batch)[:_SHOWN]
        true = references(batch) if "reference" in batch.targets else [""] * len(answers)
        return [
            Exhibit("text", f"recording {i}", {"text": said["text"], "true": wanted, "words": said["words"]})
            for i, (said, wanted) in enumerate(zip(answers, true, strict=False), 1)
        ]

    def _texts(self, outputs: Outputs) -> list[str]:
        rows = zip(outputs["tokens"].tolist(), outputs["lengths"].tolist(), strict=True)
        return [self.processor.written(pieces[:count]) for pieces, count in rows]

    def _told(self, logits: Tensor, lengths: Tensor, beams: int) -> Outputs:
        logs = _logs(_known(logits)).double().cpu().numpy()  # the wait
        counts = lengths.tolist()
        found: list[list[int]] = []
        if beams == 1:
            tokens, many = ctc.greedy(_known(logits), lengths)
            found = [row[:n] for row, n in zip(tokens.tolist(), many.tolist(), strict=True)]
        else:
            found = [ctc.prefix_search(x[:n], beams)[0] for x, n in zip(logs, counts, strict=True)]
        longest = max(map(len, found), default=0)
        out = np.zeros((len(found), longest), np.int64)
        spans = np.zeros((len(found), longest, 2), np.int64)
        for i, pieces in enumerate(found):
            out[i, : len(pieces)] = pieces
            if pieces:
                spans[i, : len(pieces)] = ctc.aligned(logs[i, : counts[i]], pieces)
        told = {"tokens": torch.from_numpy(out), "lengths": torch.tensor([len(p) for p in found])}
        nats = ctc_loss(
            torch.from_numpy(logs).transpose(0, 1),
            told["tokens"],
            lengths.cpu(),
            told["lengths"],
            blank=ctc.BLANK,
            reduction="none",
        )
        there = {**told, "spans": torch.from_numpy(spans), "nats": nats}
        return {name: tensor.to(logits.device) for name, tensor in there.items()}


def _logs(logits: Tensor) -> Tensor:
    """Log probabilities, in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def _known(logits: Tensor) -> Tensor:
    """Without the piece that stands for characters nobody was taught."""
    never: Any = torch.tensor([_UNKNOWN], device=logits.device)
    return logits.index_fill(-1, never, -torch.inf)
