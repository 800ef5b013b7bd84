"""A run's model goes on writing: whole continuations of prompts, or one of them piece by piece as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from trainwright.core.decoding import Decoding, Prompts, chances, decoding_of, following
from trainwright.core.errors import UserError
from trainwright.core.model import TokenModel
from trainwright.core.rows import Rows
from trainwright.data.continued import Continuation, continued
from trainwright.data.encode import encode_records
from trainwright.runs.predict import Predictor
from trainwright.tasks.generation import Generation

AT_ONCE = 64  # prompts that are continued together

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for beside the prompt; None is what the run's task says."""

    tokens: int | None = None  # to write, at most
    stop: Sequence[str] | str | None = None
    seed: int | None = None
    decoding: Mapping[str, Any] | None = None  # temperature, top_k, top_p, repetition


def generate(predictor: Predictor, prompts: Sequence[str], samples: int, asked: Asked, tell: Tell) -> list[list[str]]:
    """Texts behind each prompt, ``samples`` of each; sample k of a prompt is the same whatever is beside it.

    Args:
        predictor: of a run of the task "generation".
        prompts: what to go on from; an empty one begins where a text begins.
        samples: of each prompt; those after the first have the next seeds.
        asked: how.
        tell: is told what a person should know of the prompts.
    """
    if samples < 1:
        raise UserError("samples", f"{samples} is below 1", "ask for one at least")
    task, limit, how, stop = _asked(predictor, asked)
    for prompt in prompts:
        _notes(task, predictor, prompt, tell)
    out: list[str] = []
    rows = [(prompt, how.seed + k) for prompt in prompts for k in range(samples)]
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        seeds = torch.tensor([seed for _, seed in some])
        given = _prompts(task, predictor, [prompt for prompt, _ in some])
        *_, texts = continued(_writer(predictor), task.processor.tokenizer, given, limit, how, stop, seeds)
        out += [text.text for text in texts]
    return [out[i : i + samples] for i in range(0, len(out), samples)]


def streamed(predictor: Predictor, prompt: str, asked: Asked, tell: Tell) -> Iterator[str]:
    """The text behind one prompt, piece by piece as it is written; together the same as `generate` gives."""
    task, limit, how, stop = _asked(predictor, asked)
    _notes(task, predictor, prompt, tell)
    given = _prompts(task, predictor, [prompt])
    said, text = 0, Continuation(task.processor.tokenizer, stop)
    for (text,) in continued(_writer(predictor), task.processor.tokenizer, given, limit, how, stop):
        if len(shown := text.shown) > said:
            yield shown[said:]
            said = len(shown)
    if len(text.text) > said:
        yield text.text[said:]


@dataclass(frozen=True, slots=True)
class Next:
    """A token that may come next."""

    text: str
    probability: float  # as the model says
    chance: float  # of being written, with temperature, top_k, top_p and repetition


def next_tokens(predictor: Predictor, prompt: str, asked: Asked, most: int) -> list[Next]:
    """What may stand behind a prompt, the likeliest first, ``most`` at most."""
    task, _, how, _ = _asked(predictor, asked)
    logits = following(_writer(predictor), _prompts(task, predictor, [prompt]), how)
    said, chance = logits.double().softmax(1)[0], chances(logits, how)[0]
    order = said.argsort(descending=True, stable=True)[:most]
    names = task.processor.tokenizer.pieces(order)
    return [Next(*told) for told in zip(names, said[order].tolist(), chance[order].tolist(), strict=True)]


def _asked(predictor: Predictor, asked: Asked) -> tuple[Generation, int, Any, tuple[str, ...]]:
    task = predictor.task
    if not isinstance(task, Generation):
        raise UserError("prompt", "this run does not write texts", "train one with task = { name = 'generation' }")
    limit, how = limit_of(task.write, asked), decoding_asked(task.how, asked)
    stop = task.stop if asked.stop is None else (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop)
    return task, limit, how, stop


def decoding_asked(usual: Decoding, asked: Asked) -> Decoding:
    """How the next token or key is chosen: as the run's task says, but for what was asked; checked."""
    options = {
        "temperature": usual.temperature,
        "top_k": usual.top_k,
        "top_p": usual.top_p,
        "repetition": usual.repetition,
        "seed": usual.seed if asked.seed is None else asked.seed,
        **{k: v for k, v in (asked.decoding or {}).items() if v is not None},
    }
    return decoding_of(options, "generate")


def limit_of(usual: int, asked: Asked) -> int:
    """Tokens, frames or events to write; UserError for what is no number of them."""
    limit = usual if asked.tokens is None else asked.tokens
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise UserError("tokens", f"{limit!r} is no number of tokens above 0", "write tokens=200")
    return limit


def _writer(predictor: Predictor) -> TokenModel:
    return cast(TokenModel, predictor.model)


def _prompts(task: Generation, predictor: Predictor, prompts: Sequence[str]) -> Prompts:
    field = task.processor.field
    records = [task.processor.served({field: prompt}) for prompt in prompts]
    rows: Rows = encode_records(records, task.processor).to(next(predictor.model.parameters()).device)
    batch = replace(task.processor.batch(rows, None), targets={})
    return Prompts(batch.inputs["tokens"], batch.inputs["lengths"])


def _notes(task: Generation, predictor: Predictor, prompt: str, tell: Tell) -> None:
    if not isinstance(prompt, str):
        raise UserError("prompt", f"is {type(prompt).__name__}, not text", "give a string, or a list of strings")
    if prompt and (note := task.processor.unknown(prompt)):
        tell(note)
    context, length = _writer(predictor).context, len(task.processor.tokenizer.encode(prompt)) if prompt else 0
    if context is not None and length > context:
        tell(f"the prompt has {length:,} tokens; the model looks back on the last {context:,}")
