"""Translation: read a text, and write what says the same in another language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from trainwright.core.batch import Batch
from trainwright.core.errors import UserError
from trainwright.core.exhibit import Exhibit
from trainwright.core.kinds import tasks
from trainwright.core.model import TokenModel
from trainwright.core.rows import Encoded
from trainwright.core.searching import Found, beam_search, greedy
from trainwright.core.task import JSON, Baseline, Loss, Metric, Outputs, Progress, Task
from trainwright.core.tokenizer import SPECIAL
from trainwright.data.pairs import Pairs
from trainwright.data.tokenizing import TokenizerSpec, tokenizer_of
from trainwright.metrics import memory, translations
from trainwright.metrics.language import nats_of, perplexity
from trainwright.metrics.tallies import ratio, ratios

_SHOWN = 2  # translations of a log


@tasks.add("translation", reads_text=True, reads_lines=True, files=(".txt",))
@final
class Translation(Task[Pairs]):
    """Translate texts, such as sentences from one language to another, or questions to answers.

    Records have two fields of text, such as ``{"source": …, "target": …}``. The loss is told in nats per target token,
    each token from the source and the true tokens before it. BLEU is that of sacreBLEU, of the target as it stands in
    the data; a note says its signature. Evaluations during the training write greedily, as that is quick; the final
    scores and predictions are those of a beam search.

    Args:
        tokenizer: how texts are cut, by name or as a table {name, options}; it must give a text back: "bpe", "unigram",
            "characters" or "bytes"; what comes back of "words" has blanks between all of them.
        shared: whether both languages have the same pieces, so that names and numbers can be copied.
        source: the field of the text to read; left out, "source", else the first text of a record.
        target: the field of the text to write; left out, "target", else the next one.
        length: pieces of a text at most; longer ones are cut, and a note says how many were.
        smoothing: share of the target spread evenly over all pieces, in training.
        beams: beginnings that a prediction keeps while it searches; 1 writes greedily.
        penalty: translations are compared by their log probability / length ** penalty: 0 favours short ones.
        words: how sacreBLEU cuts texts to words for BLEU: "13a" for most languages, "zh" for Chinese, "char" where no
            blanks stand between words, "intl" for more kinds of punctuation, "none" for texts that are cut already.

    Source: Sutskever, Vinyals & Le 2014, "Sequence to sequence learning with neural networks"; Szegedy et al. 2016,
    "Rethinking the Inception architecture", section 7, for the smoothing.
    """

    def __init__(
        self,
        *,
        tokenizer: TokenizerSpec = "bpe",
        shared: bool = True,
        source: str | None = None,
        target: str | None = None,
        length: Annotated[int, Field(ge=1)] = 256,
        smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        beams: Annotated[int, Field(ge=1)] = 5,
        penalty: Annotated[float, Field(ge=0)] = 1.0,
        words: translations.Cut = "13a",
    ) -> None:
        if source is not None and source == target:
            raise UserError("task.target", f"'{source}' is the source already", "name another field")
        reads = tokenizer_of(tokenizer, SPECIAL)
        writes = reads if shared else tokenizer_of(tokenizer, SPECIAL)
        told = [translations.signature(words)]
        self.processor = Pairs(reads, writes, source, target, most=length, told=told)
        self.smoothing, self.beams, self.penalty, self.words = smoothing, beams, penalty, words

    @property
    def coarse(self) -> bool:
        """Pieces are compared by their scores."""
        return True

    @property
    def monitor(self) -> str:
        """BLEU."""
        return "bleu"

    def sizes(self) -> dict[str, JSON]:
        """``vocab``, ``source_vocab``, ``context`` and ``shared``."""
        return self.processor.sizes()

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Nats of every target token behind the true ones before it, (N, T) summed; smoothed where that is asked."""
        truth = batch.targets["target"]
        real = truth >= 0
        before = pad(truth.masked_fill(~real, self.processor.marks.padding), (1, -1), value=self.processor.marks.begin)
        logits = model(**batch.inputs, written=before)[real]  # (tokens, V)
        shares = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
        nats = -shares.gather(1, truth[real][:, None])[:, 0]
        lost = nats if not self.smoothing else torch.lerp(nats, -shares.mean(1), self.smoothing)
        count = real.sum(1).to(nats.dtype)
        each = torch.zeros_like(truth, dtype=nats.dtype).masked_scatter(real, lost.detach()).sum(1)
        plain = torch.zeros_like(truth, dtype=nats.dtype).masked_scatter(real, nats.detach()).sum(1)
        return Loss(lost.sum(), {"nats": plain, "tokens": count}, each, weights=lambda: count)

    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``tokens`` (N, T) of the best translation found, their ``lengths`` (N,), and the ``nats`` (N,) they take."""
        writer, limit, marks = cast(TokenModel, model), self._limit(batch), self.processor.marks
        return _told(beam_search(writer, batch.inputs, limit, marks, self.beams, self.penalty))

    def draft(self, model: nn.Module, batch: Batch) -> Outputs:
        """The same, written greedily."""
        return _told(greedy(cast(TokenModel, model), batch.inputs, self._limit(batch), self.processor.marks))

    def metrics(self) -> dict[str, Metric]:
        """BLEU, nats per token without smoothing and their exponential; at the end chrF as well."""

        def texts(outputs: Outputs, batch: Batch) -> tuple[Sequence[str], Sequence[str]]:
            return self.processor.texts(outputs), translations.references(batch)

        return {
            "bleu": translations.bleu(texts, self.words),
            "nats": Metric(nats_of, ratio, "lower", many=ratios),
            "perplexity": perplexity(),
            "chrf": translations.chrf(texts),
        }

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """The source as it stands, and the translation of the training source that is most like it."""
        return {
            "copy": lambda seconds: self._copied,
            "memory": lambda seconds: memory.fitted(train, "source", "target", len(self.processor.reads), seconds),
        }

    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        """A source, what was written, and what a person wrote."""
        sources, said = self.processor.sources(batch), self.processor.texts(outputs)
        true = translations.references(batch) if "reference" in batch.targets else [""] * len(said)
        found = list(zip(sources, said, true, strict=True))[:_SHOWN]
        return [
            Exhibit("text", f"sample {i}", {"prompt": source, "text": text, **({"true": wanted} if wanted else {})})
            for i, (source, text, wanted) in enumerate(found, 1)
        ]

    def _limit(self, batch: Batch) -> Tensor:
        return self.processor.limit(batch.inputs["lengths"])

    def _copied(self, batch: Batch) -> Outputs:
        """The source in the pieces of the target."""
        pieces = [self.processor.writes.encode(text) for text in self.processor.sources(batch)]
        lengths = torch.tensor([len(p) for p in pieces])
        return {"tokens": nn.utils.rnn.pad_sequence(pieces, batch_first=True), "lengths": lengths}


def _told(found: Found) -> Outputs:
    return {"tokens": found.tokens, "lengths": found.lengths, "nats": found.nats}
