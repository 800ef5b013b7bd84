"""A run is written as one page that needs nothing else: all of it is there, and nothing of it runs or is fetched."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import trainwright as tw
from tests.run_folders import SECRET, training, write
from trainwright.cli import main
from trainwright.core.errors import UserError
from trainwright.core.events import Found, Shown
from trainwright.core.exhibit import Exhibit
from trainwright.core.finding import Advice, Finding, Patch
from trainwright.core.redaction import HIDDEN


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Seen:
    seen = Seen()
    seen.feed(path.read_text(encoding="utf-8"))
    return seen


@pytest.fixture
def run(tmp_path: Path) -> Path:
    fixes = (Patch({"clip": 1.0}), Advice("<b>Look</b> at the batch."))
    spike = Finding("loss_spike", "error", "The loss <i>jumped</i>", "block.1", {"deviations": 41.0}, "Why.", fixes)
    said = Shown(40, "valid", (Exhibit("text", "sample 1", {"text": "<script>alert(1)</script>", "words": [1, 2]}),))
    *events, end = training()
    folder = write(tmp_path / "run & co", [*events, Found(20, spike), said, end], kind="recipe")
    (folder / "confusion.csv").write_text("true,a,b\na,3,1\nb,0,4\n")
    return folder


def test_the_page_holds_scores_curves_findings_samples_and_the_recipe_without_its_secrets(run: Path) -> None:
    seen = read(tw.open(run).report())
    for words in ("run & co", "0.9000", "test/accuracy", "linear",
                  "The loss <i>jumped</i>", "block.1", "deviations 41", "clip = 1.0", "<b>Look</b> at the batch.",
                  "<script>alert(1)</script>", "Rows: true class", "task.name", "tabular_classification",
                  HIDDEN):  # fmt: skip
        assert words in seen.text, words
    assert SECRET not in (run / "report.html").read_text()
    assert "svg" in [tag for tag, _ in seen.tags]


def test_nothing_runs_and_nothing_is_fetched(run: Path) -> None:
    page = tw.open(run).report()
    for tag, options in read(page).tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form"), tag
        for name, value in options.items():
            assert not name.startswith("on"), name
            if name in ("src", "href", "xlink:href", "action"):
                assert value is not None
                assert value.startswith(("#", "data:image/png;base64,")), value
    assert not re.search(r"@import|url\((?!#)", page.read_text())


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    opened = tw.open(run)
    assert opened.report(run / "a.html").read_bytes() == opened.report(run / "b.html").read_bytes()


def test_a_run_that_has_not_ended_has_a_page_too(tmp_path: Path) -> None:
    seen = read(tw.open(write(tmp_path / "run", training()[:3], kind="recipe")).report())
    assert "interrupted" in seen.text
    assert "Nothing was found wrong." in seen.text


def test_the_command_says_where_the_page_is_and_a_wrong_name_is_one_message(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(run / "report.html")
    with pytest.raises(UserError, match=r"ends in \.html"):
        tw.open(run).report(run / "report.pdf")
    assert main(["report", str(run), "--out", str(run / "nowhere" / "a.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
