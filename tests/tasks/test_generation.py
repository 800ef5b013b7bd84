"""Generation: every token is told once, figures are the formulas', and prompts of every kind are continued."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.builtin import lines
from tests.tasks.cases import part_of
from trainwright.core.batch import Batch
from trainwright.core.errors import DataError, UserError
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress, Record
from trainwright.data.text_stream import prompts_in
from trainwright.models.gpt import GPT
from trainwright.tasks import generation

TEXTS: list[Record] = [{"text": f"{r['text']}Größe {i}\n"} for i, r in enumerate(lines(30))]


def task(records: list[Record] = TEXTS, **options: Any) -> Any:
    made = tasks["generation"](**{"context": 16, "write": 10, **options})
    made.processor.fit(records)
    return made


def batch_of(made: Any, records: list[Record] = TEXTS) -> Batch:
    part = part_of(records, made.processor)
    return made.processor.batch(part.rows(0, len(part)), None)  # type: ignore[no-any-return]


@pytest.mark.parametrize("tied", [True, False])
def test_a_large_vocabulary_is_told_without_all_its_logits_and_comes_to_the_same(
    tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task()
    batch, vocab = batch_of(made), len(made.processor.tokenizer)
    torch.manual_seed(0)
    model = GPT(vocab=vocab, context=16, size="nano", tied=tied)

    def told() -> tuple[Any, list[Tensor]]:
        loss = made.loss(model, batch, Progress())
        return loss, list(torch.autograd.grad(loss.sum, list(model.parameters())))

    plain, wanted = told()
    monkeypatch.setattr(generation, "_LARGE", 1)
    heads: list[Tensor] = []

    def head(x: Tensor) -> Tensor:
        heads.append(x)
        return torch.nn.functional.linear(x, model.head.weight)

    monkeypatch.setattr(model.head, "forward", head)
    found, slopes = told()
    assert not heads, "there were logits"
    torch.testing.assert_close(found.sum, plain.sum, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.each, plain.each, rtol=2e-6, atol=1e-6)
    for one, other in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6 * float(other.abs().max()))
    hook = model.head.register_forward_hook(lambda module, given, made: None)
    told()
    assert len(heads) == 1, "who listens to the output layer hears it"
    hook.remove()
    with torch.no_grad():
        torch.testing.assert_close(made.loss(model, batch, Progress()).sum, plain.sum.detach(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", {"name": "bpe", "pieces": 290}])
def test_windows_follow_one_another_and_every_token_but_the_first_is_told_once(tokenizer: Any) -> None:
    made = task(tokenizer=tokenizer)
    batch, pieces = batch_of(made), made.processor.tokenizer
    truth, inputs = batch.targets["tokens"], batch.inputs["tokens"]
    stream = [int(i) for r in TEXTS for i in (*pieces.encode(r["text"]).tolist(), pieces.end)]
    assert truth[truth >= 0].tolist() == stream[1:]
    assert int(batch.weight) == len(stream) - 1
    assert bool((inputs[:, 1:] == truth[:, :-1])[truth[:, 1:] >= 0].all())
    assert pieces.decode(stream) == "".join(r["text"] for r in TEXTS)


class Says(nn.Module):
    """Logits by a table of what follows what."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


def test_loss_perplexity_and_bits_per_byte_are_their_formulas() -> None:
    made = task()
    batch, vocab = batch_of(made), len(made.processor.tokenizer)
    table = torch.randn(vocab, vocab, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    loss = made.loss(Says(table), batch, Progress())
    stream = torch.cat([made.processor.encode(r)["tokens"].long() for r in TEXTS])
    nats = -table.log_softmax(1)[stream[:-1], stream[1:]].sum()
    assert float(loss.sum.detach()) == pytest.approx(float(nats), rel=1e-12)
    found = {n: m.value(m.count(loss.outputs, batch).sum(0)) for n, m in made.metrics().items()}
    read = len("".join(r["text"] for r in TEXTS).encode()) - 1  # the first character is not told
    assert found["perplexity"] == pytest.approx(math.exp(float(nats) / (len(stream) - 1)), rel=1e-12)
    assert found["bits_per_byte"] == pytest.approx(float(nats) / math.log(2) / read, rel=1e-12)


def test_words_have_no_bits_per_byte_and_a_broken_model_no_overflow() -> None:
    assert set(task(tokenizer="words").metrics()) == {"perplexity"}
    value = task().metrics()["perplexity"].value
    assert value(torch.tensor([1e6, 10.0])) == math.inf


def test_baselines_are_counts() -> None:
    made = task()
    part = part_of(TEXTS, made.processor)
    batch, vocab = batch_of(made), len(made.processor.tokenizer)
    stream = torch.cat([made.processor.encode(r)["tokens"].long() for r in TEXTS]).tolist()
    before, after = stream[:-1], stream[1:]
    alone = [(after.count(v) + 1) / (len(after) + vocab) for v in range(vocab)]
    fits = made.baselines(part)
    found = float(fits["constant"](60.0)(batch)["nats"].sum())
    assert found == pytest.approx(-sum(math.log(alone[v]) for v in after), rel=1e-9)
    both = list(zip(before, after, strict=True))
    mixed = {(a, b): (both.count((a, b)) + alone[b]) / (before.count(a) + 1) for a, b in set(both)}
    found = float(fits["linear"](60.0)(batch)["nats"].sum())
    assert found == pytest.approx(-sum(math.log(mixed[pair]) for pair in both), rel=1e-9)


def test_a_bigram_is_a_distribution_also_behind_what_it_never_saw() -> None:
    made = task()
    fitted = made.baselines(part_of(TEXTS, made.processor))["linear"](60.0)
    vocab = len(made.processor.tokenizer)
    every = torch.arange(vocab)
    for before in range(vocab):
        assert float(fitted.chance(torch.full((vocab,), before), every).sum()) == pytest.approx(1.0, abs=1e-9)


def answers(made: Any, records: list[Record], model: nn.Module | None = None) -> list[dict[str, Any]]:
    from trainwright.runs.predict import Predictor

    torch.manual_seed(0)
    return list(Predictor(made, model or GPT(**made.sizes(), size="nano").eval())(records))  # type: ignore[arg-type]


def test_prompts_of_every_kind_are_continued() -> None:
    made = task()
    found = answers(made, [{"text": t} for t in ("", "one", "three, " * 20, "漢 two")])
    assert [a["prompt"] for a in found] == ["", "one", "three, " * 20, "\N{REPLACEMENT CHARACTER} two"]
    assert all(1 <= len(a["text"]) <= 10 or a["ended"] == "end" for a in found)
    assert all("\N{REPLACEMENT CHARACTER}" not in a["text"] for a in found)


def test_an_empty_prompt_begins_as_a_text_does() -> None:
    made = task()
    assert made.processor.opening == [made.processor.tokenizer.end]
    one = task([{"text": "a\nb\n", "end": False}, {"text": "a\nab", "end": False}])
    assert one.processor.tokenizer.decode(one.processor.opening) == "\n"


def following(made: Any, text: str) -> Says:
    """A model that writes this text again and again, wherever it is."""
    ids = made.processor.tokenizer.encode(text).tolist()
    table = torch.zeros(len(made.processor.tokenizer), len(made.processor.tokenizer))
    for a, b in zip(ids, [*ids[1:], ids[0]], strict=True):
        table[a, b] = 50.0
    return Says(table)


class Spoken(nn.Module):
    """Such a table as a model that writes."""

    context = None

    def __init__(self, said: Says) -> None:
        super().__init__()
        self.said = said

    def start(self, *, tokens: Tensor, lengths: Tensor) -> None:
        return None

    def step(self, token: Tensor, cache: None) -> tuple[Tensor, None]:
        return self.said(token), None


def test_a_stop_string_ends_a_text_and_is_not_written() -> None:
    made = task(stop=("x", "r,"), write=40)
    (found,) = answers(made, [{"text": "f"}], Spoken(following(made, "four, ")))
    assert (found["text"], found["ended"]) == ("ou", "stop")


def test_the_end_of_a_text_ends_what_is_written() -> None:
    made = task(write=40)
    model = following(made, "two.")
    with torch.no_grad():
        model.table[made.processor.tokenizer.encode(".")[0], made.processor.tokenizer.end] = 99.0
    (found,) = answers(made, [{"text": "t"}], Spoken(model))
    assert found == {"prompt": "t", "text": "wo.", "ended": "end"}


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"body": "x"}, "no field 'text', only 'body'.*task.text = 'body'"),
        ({"text": ""}, "training record 3.*'text' is empty"),
        ({"text": None}, "'text' is empty"),
        ({"text": b"x"}, "'text' is bytes, not text"),
        ({"text": "\ud800"}, "surrogate"),
    ],
)
def test_what_is_no_text_is_told(record: Record, says: str) -> None:
    with pytest.raises(DataError, match=says):
        task([*TEXTS[:3], record])


def test_options_that_make_no_sense_are_told() -> None:
    with pytest.raises(UserError, match="did you mean 'bytes'"):
        task(tokenizer="byte")
    with pytest.raises(UserError, match="empty string"):
        answers(task(stop=("",)), [{"text": "one"}])


def test_a_file_of_prompts_has_one_in_each_line(tmp_path: Any) -> None:
    (tmp_path / "p.txt").write_text("one\n\n two\n")
    assert [r["text"] for r in prompts_in(tmp_path / "p.txt")] == ["one", " two"]
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    for name in ("bad.txt", "p.csv", ""):
        with pytest.raises(DataError):
            list(prompts_in(tmp_path / name))


def test_exhibits_show_the_end_of_the_prompt_and_what_was_written() -> None:
    made = task()
    batch = batch_of(made)
    model = GPT(**made.sizes(), size="nano").eval()
    (first, _) = made.show(batch, made.predict(model, batch))
    answer = made.processor.decode(made.predict(model, batch), batch)[0]
    assert first.kind == "text"
    assert first.data == {"prompt": answer["prompt"], "text": answer["text"]}


class Colder(nn.Module):
    """Somebody's own model around one of ours."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) -> (N, T, V)."""
        return self.inner(tokens) * 2  # type: ignore[no-any-return]


def test_what_is_around_a_model_or_in_the_place_of_its_output_layer_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    made = task()
    batch, vocab = batch_of(made), len(made.processor.tokenizer)
    inner = GPT(vocab=vocab, context=16, size="nano")
    other = GPT(vocab=vocab, context=16, size="nano")
    other.head = nn.Linear(48, vocab)
    for model in (Colder(inner), nn.Sequential(inner, nn.Tanh()), other):
        wanted = made.loss(model, batch, Progress()).sum
        with monkeypatch.context() as large:
            large.setattr(generation, "_LARGE", 1)
            torch.testing.assert_close(made.loss(model, batch, Progress()).sum, wanted)
