"""The page of quality: sections by task, each written again without touching the others; every show names a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.quality.page import beside, put, section
from benchmarks.quality.shows import Show, shows_of, tasks
from benchmarks.quality.trial import ROOT, Trial
from trainwright.core.kinds import tasks as known
from trainwright.runs.recipe import read

SHOW = Show("a set", "examples/sst2_text_cnn.toml", "test/accuracy", 0.8, minutes=4, note="split so")
TRIALS = [Trial(0, 0.81, 0.7, 10, 20, 1.5), Trial(1, 0.83, 0.72, 14, 22, 2.5)]


def test_a_section_tells_the_mean_its_range_and_the_times() -> None:
    text = section("text_classification", [(SHOW, TRIALS)], "two cores")
    row = next(line for line in text.splitlines() if line.startswith("| a set"))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        *("a set", "test/accuracy", "at least 0.8 in 4 min", "0.8200 (0.8100 to 0.8300)", "0.7100"),
        *("12 s", "21 s", "2.0"),
    ]
    assert "- a set (`examples/sst2_text_cnn.toml`): split so." in text


def test_what_was_not_reached_says_so_in_both_directions() -> None:
    assert "missed" in section("t", [(Show("x", "r", "test/accuracy", 0.9), TRIALS)], "here")
    assert "missed" in section("t", [(Show("x", "r", "test/loss", 0.5, better="lower"), TRIALS)], "here")
    assert "missed" not in section("t", [(Show("x", "r", "test/loss", 0.9, better="lower"), TRIALS)], "here")


def test_a_baseline_can_be_what_is_wanted_and_what_is_not_there_is_not_reached() -> None:
    show = Show("a set", "r", "test/accuracy", "boosting", note="split so")
    assert show.simple == "boosting"
    row = section("t", [(show, TRIALS)], "here")
    assert "at least that of boosting in 10 min" in row
    assert "0.7100 (boosting)" in row
    assert "missed" not in row
    assert "missed" in section("t", [(Show("x", "r", "test/mse", "linear", better="lower"), TRIALS)], "here")
    assert not show.reached(0.9, None)


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "quality.md"
    for task, text in (("speech", "first"), ("music", "notes"), ("speech", "second")):
        put(task, f"<!-- {task} -->\n\n## {task}\n\n{text}", page)
    whole = page.read_text()
    assert whole.index("## music") < whole.index("## speech")
    assert "second" in whole
    assert "first" not in whole
    assert "notes" in whole
    assert whole.startswith("# Quality")


def test_some_rows_are_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "quality.md"
    shows = [Show(name, "r", "test/accuracy", 0.8, note=f"note of {name}") for name in ("a", "b", "c")]
    put("music", "<!-- music -->\n\n## music", page)
    put("t", section("t", [(s, TRIALS) for s in shows[:2]], "here"), page)
    put("t", beside(section("t", [(shows[2], TRIALS)], "here"), "t", page), page)
    again = [Trial(0, 0.91, 0.7, 10, 20, 1.5)]
    put("t", beside(section("t", [(shows[0], again)], "here"), "t", page), page)
    text = page.read_text()
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["| what", "| b", "| c", "| a"]
    assert text.count("0.9100") == 1
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        f"- {name} (`r`): note of {name}." for name in ("b", "c", "a")
    ]
    assert "## music" in text


@pytest.mark.parametrize("task", tasks())
def test_every_show_names_a_recipe_of_its_task(task: str) -> None:
    assert task in known
    for show in shows_of(task):
        assert read(ROOT / show.recipe if (ROOT / show.recipe).exists() else show.recipe).config.task["name"] == task
