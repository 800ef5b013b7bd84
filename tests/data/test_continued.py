"""What is shown of a growing text never has to be taken back, and together it is the text."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainwright.data.continued import Continuation
from trainwright.data.tokenizing import tokenizer_of

BYTES = tokenizer_of("bytes", ("unknown", "end"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(["a", "b", "x", " ", "é", "漢", "😀", "\n"]), max_size=40).map("".join),
    st.lists(st.sampled_from(["a", "ab", "x ", "é", "bbx", "\nab"]), max_size=3),
)
def test_shown_text_only_grows_and_ends_before_the_first_stop_string(text: str, stop: list[str]) -> None:
    growing, before = Continuation(BYTES, stop), ""
    for token in BYTES.encode(text).tolist():
        growing.add(token)
        assert growing.shown.startswith(before)
        before = growing.shown
    first = min((i for s in stop if (i := text.find(s)) >= 0), default=None)
    assert growing.text == text[:first]
    assert growing.text.startswith(before)
    assert growing.ended == ("" if first is None else "stop")


def test_nothing_follows_an_end() -> None:
    assert BYTES.end is not None
    growing = Continuation(BYTES, ())
    for token in [*BYTES.encode("ab").tolist(), BYTES.end, *BYTES.encode("c").tolist()]:
        growing.add(token)
    assert (growing.text, growing.shown, growing.ended) == ("ab", "ab", "end")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_half_a_character_is_not_shown(cut: int) -> None:
    growing = Continuation(BYTES, ())
    for token in BYTES.encode("a😀").tolist()[: 1 + cut]:
        growing.add(token)
    assert growing.shown == "a"
