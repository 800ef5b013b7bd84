"""What is said where somebody asked for quiet."""

from __future__ import annotations

from io import StringIO

from trainwright.core.events import Found, RunEnded
from trainwright.core.finding import Finding
from trainwright.runs.quiet import Troubles, each_once


def told(*words: str) -> str:
    """What a run says that found this, and is in doubt at its end."""
    said = StringIO()
    speaks = Troubles(said)
    for what in words:
        speaks(Found(0, Finding("constant_input", "warning", what)))
    speaks(RunEnded(9, "finished", "", 1.0, verdict="SUSPECT"))
    return said.getvalue()


def test_runs_that_share_their_data_say_once_what_all_of_them_find() -> None:
    alone = told("a column is constant")
    assert "a column is constant" in alone
    assert "SUSPECT" in alone
    with each_once():
        assert told("a column is constant") == alone
        assert told("a column is constant") == ""  # no verdict without a word of what it is about
        other = told("a column is constant", "nothing is learned")
        assert "a column" not in other
        assert "nothing is learned" in other
        assert "SUSPECT" in other
    assert told("a column is constant") == alone
