"""What was tried is told with what was chosen marked, and honestly where another had the lower loss."""

from __future__ import annotations

import io

import pytest

from trainwright.core.events import Branch, Tried
from trainwright.runs.surface import surface
from trainwright.runs.words import tell_trial


@pytest.mark.parametrize(("chosen", "mark"), [("slower", "<< best"), ("clipped", "<< chosen; what is lower may be")])
def test_the_branch_that_was_chosen_is_marked(chosen: str, mark: str) -> None:
    tried = (Branch("no change", 2.0), Branch("another seed", 1.9), Branch("clipped", 0.6), Branch("slower", 0.5))
    broken = Branch("scaled", float("inf"), trouble="its numbers are not finite")
    out = io.StringIO()
    tell_trial(
        Tried(0, "rate_too_high", 0, 160, "the loss on the validation part", (*tried, broken), chosen),
        surface(out, lambda: 0.0),
    )
    marked = [line for line in out.getvalue().splitlines() if "<<" in line]
    assert len(marked) == 1
    assert f"{chosen}  {mark}" in marked[0]
