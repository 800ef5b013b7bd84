"""Generation: learn to tell each token of texts from those before it, and so to go on writing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainwright.core.batch import Batch
from trainwright.core.decoding import Decoding, Prompts, Share, Temperature
from trainwright.core.exhibit import Exhibit
from trainwright.core.kinds import tasks
from trainwright.core.model import TokenModel, tells_nats
from trainwright.core.rows import Encoded
from trainwright.core.task import JSON, Baseline, Loss, Metric, Outputs, Progress, Task
from trainwright.data.continued import continued
from trainwright.data.text_stream import ENDS, NOTHING, SPECIAL, TextStream, prompts_in
from trainwright.data.tokenizing import TokenizerSpec, tokenizer_of
from trainwright.metrics import language
from trainwright.metrics.tallies import ratio, ratios, wide

_SHOWN, _BEFORE = 2, 80  # samples of a log, and the characters of their prompts that are shown
_LARGE = 2**24  # logits of a batch; 64 MB, and four times that in a training step

Count = Annotated[int, Field(ge=1)]


@tasks.add("generation", records=prompts_in)
@final
class Generation(Task[TextStream]):
    """Continue texts: a language model over one stream of all documents.

    The loss is in nats per token; perplexity is its exponential. Where the tokenizer can tell how many bytes a token
    stands for, bits per byte are measured as well, which compare models of different tokens. In evaluation windows do
    not overlap and every token counts, also those that have little of the window before them.

    Args:
        tokenizer: "characters", "bytes", "bpe", "unigram" or "words"; or a table {name, options}.
        context: tokens that the model looks back on: a window of the stream.
        text: the field of a record that holds its text.
        write: tokens that a prediction adds to its prompt, at most.
        temperature: of predictions: 0 writes the likeliest token, 1 what the model finds likely, more what it does not.
        top_k: write only one of so many of the likeliest tokens; 0 is all.
        top_p: write only one of the likeliest tokens that together have this probability.
        repetition: above 1, tokens that stand there already are written less readily.
        stop: strings that end a text, and are not written.
        seed: of what is written.
    """

    def __init__(
        self,
        *,
        tokenizer: TokenizerSpec = "characters",
        context: Annotated[int, Field(ge=2)] = 256,
        text: str = "text",
        write: Count = 200,
        temperature: Temperature = 0.8,
        top_k: Annotated[int, Field(ge=0)] = 0,
        top_p: Share = 1.0,
        repetition: Annotated[float, Field(gt=0)] = 1.0,
        stop: tuple[str, ...] = (),
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.processor = TextStream(tokenizer_of(tokenizer, SPECIAL), context, text, stop)
        self.write, self.stop = write, stop
        self.how = Decoding(temperature, top_k, top_p, repetition, seed)

    @property
    def coarse(self) -> bool:
        """Pieces are compared by their scores."""
        return True

    @property
    def monitor(self) -> str:
        """Perplexity."""
        return "perplexity"

    def sizes(self) -> dict[str, JSON]:
        """``vocab``, different tokens, and ``context``, tokens of a window."""
        return {"vocab": len(self.processor.tokenizer), "context": self.processor.context}

    def loss(self, model: nn.Module, batch: Batch, progress: Progress) -> Loss:
        """Nats of every token of the windows, (N, T) summed."""
        truth, tokens = batch.targets["tokens"], batch.inputs["tokens"]
        if truth.numel() * len(self.processor.tokenizer) >= _LARGE and tells_nats(model):
            total, nats = model(tokens, truth=truth, nothing=NOTHING)
        else:
            logits = model(tokens)  # (N, T, V)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            nats = cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none", ignore_index=NOTHING)
            total = nats.sum()
        each = nats.detach().view_as(truth).sum(1)
        count = (truth != NOTHING).sum(1).to(each.dtype)
        return Loss(total, {"nats": each, "tokens": count}, each, weights=lambda: count)

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> Outputs:
        """``tokens`` (N, write) behind each prompt, ``written`` (N,) of them, and why no more, ``ended`` (N,)."""
        prompts = Prompts(batch.inputs["tokens"], batch.inputs["lengths"])
        tokenizer, writer = self.processor.tokenizer, cast(TokenModel, model)
        *_, texts = continued(writer, tokenizer, prompts, self.write, self.how, self.stop)
        tokens = torch.zeros(len(texts), self.write, dtype=torch.int64)
        for row, text in enumerate(texts):
            tokens[row, : len(text.ids)] = torch.tensor(text.ids, dtype=torch.int64)
        told = torch.tensor([[len(t.ids), ENDS.index(t.ended or "length")] for t in texts])
        return {"tokens": tokens, "written": told[:, 0], "ended": told[:, 1]}

    def metrics(self) -> dict[str, Metric]:
        """Perplexity, and bits per byte where the tokenizer knows the bytes of its tokens."""
        sizes = self.processor.tokenizer.sizes()
        found = {"perplexity": language.perplexity()}
        if sizes is not None:
            bits = _Bytes(torch.tensor(sizes, dtype=torch.float64))
            found["bits_per_byte"] = Metric(bits, lambda total: ratio(total), "lower", many=ratios)
        return found

    def baselines(self, train: Encoded) -> Mapping[str, Callable[[float], Baseline]]:
        """Each token by its frequency, and by its frequency behind the token before it."""
        vocab = len(self.processor.tokenizer)

        def pairs(seconds: float) -> tuple[Tensor, Tensor]:
            return language.read_pairs(train, self.processor, seconds)

        return {
            "constant": lambda seconds: language.unigram(pairs(seconds), vocab),
            "linear": lambda seconds: language.bigram(pairs(seconds), vocab),
        }

    def show(self, batch: Batch, outputs: Outputs) -> Sequence[Exhibit]:
        """The end of a prompt and what was written behind it."""
        answers = self.processor.decode(outputs, batch)[:_SHOWN]
        return [
            Exhibit("text", f"sample {i}", {"prompt": a["prompt"][-_BEFORE:], "text": a["text"]})
            for i, a in enumerate(answers, 1)
        ]


@final
class _Bytes:
    """(N, 2) bits and bytes of each window."""

    def __init__(self, sizes: Tensor) -> None:
        self.sizes = sizes

    def __call__(self, outputs: Outputs, batch: Batch) -> Tensor:
        truth = batch.targets["tokens"]
        sizes: Any = self.sizes.to(truth.device)
        counted = torch.where(truth == NOTHING, 0.0, sizes[truth.clamp_min(0)]).sum(1)
        return torch.stack([wide(outputs["nats"]) / math.log(2), counted], 1)
