"""Tokenizers: what comes back, what is unknown, what is saved, and what a person is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.errors import CheckpointError, DataError, UserError
from trainwright.core.kinds import tokenizers
from trainwright.core.tokenizer import SPECIAL, Tokenizer
from trainwright.data.tokenizing import checked_text, text_of, tokenizer_of

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Don't jump over the quick dog, lazy fox!",
    "Füchse springen über faule Hunde — und zwar 3.5 mal.",
] * 4
# any text that can be written as UTF-8
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
NAMES = ("bpe", "bytes", "characters", "unigram", "words")


def fitted(name: str, *special: str, texts: list[str] = TEXTS, **options: Any) -> Tokenizer:
    made = tokenizer_of({"name": name, **options}, special)
    made.fit(texts)
    return made


def test_these_are_all_the_tokenizers_so_the_tests_below_leave_none_out() -> None:
    assert tuple(tokenizers.names()) == NAMES


@pytest.mark.parametrize("special", [(), ("padding",), SPECIAL])
@pytest.mark.parametrize("name", ["bytes", "bpe", "unigram"])
def test_any_text_comes_back_to_the_letter_where_pieces_are_made_of_bytes(name: str, special: tuple[str, ...]) -> None:
    made = fitted(name, *special)

    @settings(deadline=None)
    @given(TEXT)
    def comes_back(text: str) -> None:
        ids = made.encode(text)
        assert made.decode(ids) == text
        assert (ids.dtype, ids.ndim) == (torch.int64, 1)
        assert not len(ids) or (len(special) <= ids.min() and ids.max() < len(made))

    comes_back()


@given(st.lists(TEXT.filter(bool), min_size=1, max_size=4))
def test_characters_that_were_learned_come_back(texts: list[str]) -> None:
    made = tokenizer_of("characters", ("begin", "end"))
    made.fit(texts)
    assert len(made) == 2 + len({c for text in texts for c in text})
    for text in texts:
        assert made.decode(made.encode(text)) == text
        assert made.pieces(made.encode(text)) == list(text)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_as_json_makes_the_same_tokenizer(name: str) -> None:
    made = fitted(name, "padding", "unknown")
    other = tokenizer_of(name, ("padding", "unknown"))
    other.load_state_dict(json.loads(json.dumps(made.state_dict())))
    assert len(other) == len(made)
    for text in (*TEXTS, "something else, ∑ and\nmore"):
        assert torch.equal(other.encode(text), made.encode(text))
        assert other.decode(made.encode(text)) == made.decode(made.encode(text))
    assert other.state_dict() == made.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_learning_gives_the_same_pieces_in_every_process(name: str) -> None:
    """The library's hash tables have another order in each."""
    program = (
        "import json, sys; from trainwright.data.tokenizing import tokenizer_of\n"
        "t = tokenizer_of(sys.argv[1], ('padding', 'unknown')); t.fit(json.load(sys.stdin))\n"
        "print(json.dumps(t.state_dict()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, name], input=json.dumps(TEXTS), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == fitted(name, "padding", "unknown").state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_special_pieces_come_first_and_no_text_is_taken_for_one(name: str) -> None:
    made = fitted(name, *SPECIAL)
    assert (made.padding, made.unknown, made.begin, made.end) == (0, 1, 2, 3)
    assert made.pieces([0, 1, 2, 3]) == ["<padding>", "<unknown>", "<begin>", "<end>"]
    assert made.decode([0, 2, 3]) == ""
    assert not {0, 2, 3} & set(made.encode("<padding><begin> <end> padding").tolist())
    bare = fitted(name)
    assert (bare.padding, bare.unknown, bare.begin, bare.end) == (None, None, None, None)
    assert len(bare) == len(made) - 4


@pytest.mark.parametrize("name", ["characters", "words"])
def test_what_the_training_texts_did_not_have_is_unknown_or_refused(name: str) -> None:
    made = fitted(name, "unknown")
    ids = made.encode("ω")
    assert (ids.tolist(), made.decode(ids)) == ([0], "\N{REPLACEMENT CHARACTER}")
    with pytest.raises(DataError, match="'ω'"):
        fitted(name).encode("the ω")


def test_words_are_the_most_frequent_ones_ties_in_the_order_of_the_alphabet() -> None:
    texts = ["b b a a c", "C d e, don't 3.5 x-y don't"]
    made = fitted("words", "padding", texts=texts, least=1)
    tally = Counter(["b", "b", "a", "a", "c", "c", "d", "e", ",", "don't", "3.5", "x-y", "don't"])
    assert made.state_dict()["words"] == sorted(tally, key=lambda w: (-tally[w], w))
    assert len(fitted("words", "padding", texts=texts, pieces=3, least=1)) == 3
    assert fitted("words", texts=texts, least=1, split="spaces", lower=False).pieces([0, 1, 2, 3]) == [
        "a",
        "b",
        "don't",
        "3.5",
    ]


def test_merges_join_what_meets_most_often() -> None:
    """The first merge of byte pair encoding by its definition: the pair that is most frequent within words."""
    made = fitted("bpe", texts=["zq zq zq zqx ab ab"], pieces=257)
    assert made.pieces([256]) == ["zq"]


@pytest.mark.parametrize(("name", "asked"), [("bpe", 5000), ("unigram", 5000), ("words", 500), ("characters", 400)])
def test_more_pieces_than_the_text_allows_are_refused_with_how_many_there_are(name: str, asked: int) -> None:
    most = len(fitted(name, "padding"))
    with pytest.raises(
        DataError, match=rf"task\.tokenizer\.pieces: the training texts give {most} pieces, not {asked:,}"
    ):
        fitted(name, "padding", pieces=asked)
    assert len(fitted(name, "padding", pieces=most)) == most


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_fewer_pieces_than_bytes_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"task\.tokenizer.*256"):
        tokenizer_of({"name": name, "pieces": 100}, ())
    with pytest.raises(UserError, match=r"at least 258"):
        tokenizer_of({"name": name, "pieces": 256}, ("padding", "unknown"))


@pytest.mark.parametrize("name", ["bpe", "characters", "unigram", "words"])
@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_nothing_to_learn_from_is_one_message(name: str, texts: list[str]) -> None:
    with pytest.raises(DataError):
        fitted(name, texts=texts)


@pytest.mark.parametrize("name", NAMES)
def test_half_a_character_is_a_mistake_of_the_data(name: str) -> None:
    with pytest.raises(DataError, match="surrogate"):
        fitted(name, texts=[*TEXTS, "a\ud800b"])
    with pytest.raises(DataError, match="surrogate"):
        fitted(name, "unknown").encode("a\ud800b")


@pytest.mark.parametrize("name", NAMES)
def test_an_error_in_the_stream_of_texts_is_not_hidden(name: str) -> None:
    def texts() -> Any:
        yield "a text"
        raise DataError("line 2", "is broken")

    with pytest.raises(DataError, match="line 2"):
        tokenizer_of(name, ()).fit(texts())


def test_capital_letters_go_where_they_are_asked_to() -> None:
    for name in ("bpe", "characters", "unigram"):
        made = fitted(name, lower=True, texts=["The FOX and the fox"] * 3)
        assert made.decode(made.encode("FOX and the")) == "fox and the"


def test_a_wrong_name_or_option_is_told_of_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'bpe'"):
        tokenizer_of("bpee", ())
    with pytest.raises(UserError, match=r"task\.tokenizer\.piece.*did you mean 'pieces'"):
        tokenizer_of({"name": "bpe", "piece": 300}, ())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "is empty"),
        ("", "is empty"),
        (" \n", "is empty"),
        (float("nan"), "is empty"),
        (b"x", "bytes"),
        (3, "int"),
    ],
)
def test_a_field_that_is_no_text_is_a_bad_sample(value: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        checked_text(value, "text", "record")
    with pytest.raises(DataError, match="did you mean 'text'"):
        text_of({"text": value}, "texts", "record")


def damaged(name: str) -> list[dict[str, Any]]:
    """What was learned, each time with another part of it spoiled."""
    sound = fitted(name, "padding").state_dict()
    found: list[dict[str, Any]] = [{}]
    for key, value in sound.items():
        assert isinstance(value, str | list)
        found += [{**sound, key: v} for v in (None, 7, [], value[:3], [None, 5], [["a"]], [["a", "b"]], value[::-1])]
    return found


@pytest.mark.parametrize("name", [n for n in NAMES if n != "bytes"])
def test_a_damaged_state_ends_with_a_typed_error_or_works(name: str) -> None:
    for state in damaged(name):
        made = tokenizer_of(name, ("padding", "unknown"))
        with suppress(KeyError, TypeError, ValueError, AttributeError, IndexError, CheckpointError, DataError):
            made.load_state_dict(state)
            assert isinstance(made.decode(made.encode("The quick fox")), str)
