"""The studio as a person sees it, in Chromium, on real runs: one that trains, one that ended, one that failed, a GPT.

Chromium is Debian's (`apt-get install chromium`). Where it, or the built pages, are not there, these tests are skipped
with that reason; in CI they fail instead. Set STUDIO_PICTURES to a folder to keep a picture of each view.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from tests.open_studio import Visitor, opened
from tests.run_folders import NOW, findings, million, training, write
from tests.studio.test_searches import searched, validated
from trainwright.core.errors import NumericsError
from trainwright.core.events import RunStarted
from trainwright.studio.pages import built

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

expect.set_options(timeout=60_000)  # ms: the machine may be busy
ROOT = Path(__file__).resolve().parent.parent.parent
AXE = ROOT / "ui" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = {"phone": 390, "tablet": 820, "desk": 1440}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
TEXT = "".join(f"{n} and {n + 1} make {2 * n + 1}.\n" for n in range(400))


def missing() -> str:
    """What these tests lack here."""
    if shutil.which("chromium") is None:
        return "Chromium is not installed (apt-get install chromium)"
    return "" if built() and AXE.is_file() else "the studio's pages are not built (script/studio builds them)"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind, trained in seconds; a large one and a sick one as their logs would be."""
    if why := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    base = tmp_path_factory.mktemp("runs")
    tw.train("digits", {"budget": "2 epochs"}, out=base / "digits", quiet=True)
    tw.train("digits", {"budget": "2 epochs", "optimizer.lr": 1e-4}, out=base / "slow", quiet=True)
    sick = {"budget": "2 epochs", "optimizer.name": "sgd", "optimizer.lr": 1e6}
    with pytest.raises(NumericsError):
        tw.train("digits", sick, out=base / "failed", quiet=True)
    (base.parent / "text.txt").write_text(TEXT)
    recipe = {
        "task": {"name": "generation", "context": 32, "write": 40},
        "data": {"source": "documents", "path": str(base.parent / "text.txt"), "valid": 0.1, "test": 0.1},
        "model": {"name": "gpt", "size": "nano"},
        "budget": "30 steps",
        "eval_every": "10 steps",
    }
    tw.train(recipe, out=base / "gpt", quiet=True)
    write(base / "found", [*training(40), *findings()])
    searched(base / "tuned")
    validated(base / "folds")
    write(base / "million", [RunStarted(1, 0, 1_000_000, 1000, NOW), *million()])
    return base


@pytest.fixture(scope="module")
def visitor(runs: Path) -> Iterator[Visitor]:
    with opened(runs) as asks:
        yield asks


@pytest.fixture(scope="module")
def browser(runs: Path) -> Iterator[Browser]:
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, visitor: Visitor) -> Iterator[Page]:
    """A page in which no script fails, nothing is refused by the policy, and no other machine is asked."""
    context = browser.new_context(viewport={"width": WIDTHS["desk"], "height": 900}, bypass_csp=False)
    context.set_default_timeout(60_000)
    made, wrong = context.new_page(), []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)

    def ours(route: Route) -> None:
        if not route.request.url.startswith(f"http://{visitor.host}/"):
            wrong.append(f"asked {route.request.url}")
        route.continue_()

    context.route("**/*", ours)
    made.goto(visitor.studio.link)
    yield made
    context.close()
    assert wrong == []


def show(page: Page, visitor: Visitor, name: str, tab: str = "") -> None:
    """Open a view of a run."""
    page.goto(f"http://{visitor.host}/#/run/{visitor.keys()[name]}{'/' + tab if tab else ''}")
    expect(page.locator("h1")).to_have_text(name)


def drawn(page: Page) -> None:
    """Curves are there: the first panel says what they are, and its canvas is not empty."""
    page.wait_for_function("() => document.querySelector('.panel')?.ariaLabel?.includes(': from')")
    page.wait_for_function(
        """() => [...document.querySelectorAll('.panel canvas')].slice(0, 1).some((c) =>
             c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 < 3 && v > 40))"""
    )


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("STUDIO_PICTURES"):
        page.wait_for_timeout(400)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_the_list_shows_each_run_with_state_score_and_baseline_and_is_filtered_sorted_and_walked_by_keys(
    page: Page, visitor: Visitor
) -> None:
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(8)
    digits = page.locator("tr[data-run=digits]")
    expect(digits).to_contain_text("finished")
    expect(digits).to_contain_text("test accuracy")
    expect(digits).to_contain_text("linear")
    expect(page.locator("tr[data-run=failed]")).to_contain_text("failed")
    expect(page.locator("tr[data-run=found]").get_by_title("error")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("gpt")
    expect(rows).to_have_count(1)
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="run", exact=True).click()
    expect(rows.first).to_contain_text("digits")
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("digits")
    page.keyboard.press("5")
    expect(page.get_by_text("optimizer.lr")).to_be_visible()
    page.keyboard.press("Escape")
    expect(rows).to_have_count(8)


def test_a_run_is_watched_while_it_trains_and_is_seen_to_be_killed(browser: Browser, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainwright", "train", "iris", "--quiet", "--epochs", "100000", "--out", "live"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        with opened(tmp_path) as asks:
            page = browser.new_page()
            page.set_default_timeout(60_000)
            page.goto(asks.studio.link)
            live = page.locator("tr[data-run=live]")
            expect(live).to_contain_text("training", timeout=300_000)  # appeared by itself, however busy the machine
            live.get_by_role("link").click()
            drawn(page)
            seen = page.locator(".stand progress")
            first = int(seen.get_attribute("value") or 0)
            page.wait_for_function(f"() => document.querySelector('.stand progress').value > {first + 20}")
            picture(page, "live")
            process.send_signal(signal.SIGKILL)
            process.wait()
            expect(page.locator(".title .state")).to_have_text("interrupted", timeout=20_000)
            page.close()
    finally:
        process.kill()
        process.wait()


def test_curves_are_drawn_zoomed_and_smoothed_and_scores_judged(page: Page, visitor: Visitor) -> None:
    show(page, visitor, "digits")
    drawn(page)
    for title in ("loss", "accuracy (decides)", "gradient norm", "learning rate", "samples per second"):
        expect(page.get_by_role("figure").filter(has=page.get_by_text(title, exact=True)).first).to_be_visible()
    expect(page.locator(".verdict")).to_contain_text("constant")
    expect(page.locator(".panel").first).to_have_attribute("aria-label", re.compile("training: from"))
    box = page.locator(".plot .u-over").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.locator(".tools")).to_contain_text("steps 1")
    page.get_by_role("button", name="all").click()
    expect(page.locator(".tools")).to_contain_text("drag to zoom")
    page.locator(".panel").first.focus()
    page.keyboard.press("+")
    expect(page.locator(".tools")).to_contain_text("steps ")
    page.keyboard.press("0")
    for name in ("log y", "log x", "epochs"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
    drawn(page)
    page.get_by_text("Evaluations as a table").click()
    expect(page.locator("details td").first).to_be_visible()


def test_a_million_steps_are_few_numbers_with_the_spike_among_them(page: Page, visitor: Visitor) -> None:
    asked: list[int] = []
    page.on("response", lambda r: asked.append(len(r.body())) if "/series" in r.url else None)
    show(page, visitor, "million")
    drawn(page)
    assert "most 2" in (page.locator(".panel").first.get_attribute("aria-label") or "")
    assert 0 < max(asked) < 400_000
    name, at = visitor.keys()["million"], "series?name=train/loss&room=900&from="
    body = visitor.ask(f"/api/runs/{name}/{at}0&to=1000000").body
    head = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])
    assert head["columns"] == [{"name": "train/loss", "points": 900}]
    page.locator(".panel").first.focus()
    for _ in range(6):
        page.keyboard.press("+")
    drawn(page)
    picture(page, "million-zoomed")


def test_findings_are_told_with_their_evidence_and_what_to_do(page: Page, visitor: Visitor) -> None:
    show(page, visitor, "found", "findings")
    card = page.locator("article.finding.error")
    told = ("The loss jumped", "block.1", "at step 20", "deviations", "41", "It undid much.", "clip = 1", "Look at")
    for words in told:
        expect(card).to_contain_text(words)
    show(page, visitor, "failed", "findings")
    expect(page.locator("#found-skipped")).to_contain_text("NaN")
    expect(page.locator(".verdict")).to_contain_text("failed:")
    show(page, visitor, "million", "findings")
    expect(page.get_by_text("Nothing was found wrong")).to_be_visible()


def test_what_was_found_stands_on_the_line_of_the_steps_and_opens_its_story_with_its_trial(
    page: Page, visitor: Visitor
) -> None:
    show(page, visitor, "found")
    line = page.get_by_role("navigation", name="what was found, on the line of the steps")
    expect(line.get_by_role("link")).to_have_count(3)
    line.get_by_role("link", name="step 22: Clipping helped for sure.").click()
    card = page.locator("article.finding.here")
    expect(card).to_contain_text("The loss jumped")
    expect(card.locator(".won")).to_contain_text("clip = 1.0")
    expect(card.locator(".won")).to_contain_text("0.5000 ± 0.0200")
    expect(card).to_contain_text("taken: clip = 1.0, from step 30. It won its trial.")


def test_a_run_is_tagged_and_noted_and_found_again_by_its_tag(page: Page, visitor: Visitor) -> None:
    show(page, visitor, "slow")
    page.get_by_role("button", name="tag or note").click()
    page.get_by_label("tags, with commas between them").fill("baseline, too slow")
    page.get_by_label("note", exact=True).fill("a tenth of the rate")
    page.get_by_role("button", name="keep").click()
    expect(page.get_by_text("a tenth of the rate")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("tr[data-run=slow]").get_by_role("button", name="too slow").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("searchbox", name="filter the runs").fill("")


def test_a_search_is_looked_through_and_the_folds_of_a_cross_validation_lead_to_their_runs(
    page: Page, visitor: Visitor
) -> None:
    page.get_by_role("link", name="tuned").click()
    lines = page.locator(".parallel polyline")
    expect(lines).to_have_count(4)
    expect(page.locator(".parallel polyline[stroke-dasharray]")).to_have_count(2)
    expect(page.locator(".scatters svg")).to_have_count(2)
    expect(page.locator(".stand")).to_contain_text("0.9000")
    page.get_by_role("button", name="best first").click()
    expect(page.locator("section[aria-label=trials] tbody tr").first).to_contain_text("4 ★")
    picture(page, "search")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="folds cross-validation").click()
    expect(page.locator("svg.folds")).to_have_attribute(
        "aria-label", re.compile("network 0.8500, interval 0.7000 to 1")
    )
    page.get_by_role("link", name="fold-2").click()
    expect(page.locator("h1")).to_have_text("folds/fold-2")


def test_statistics_of_layers_are_one_picture_that_is_read_by_keys(page: Page, visitor: Visitor) -> None:
    show(page, visitor, "found", "layers")
    canvas = page.locator(".heat canvas")
    names, picture_of = page.locator(".heat .names").bounding_box(), canvas.bounding_box()
    assert abs(names["y"] - picture_of["y"]) < 12  # type: ignore[index]  # each name stands beside its row
    expect(canvas).to_have_attribute("aria-label", "gradient of 4 layers over 4 measurements, from 0.0010 to 1")
    canvas.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".heat figcaption")).to_contain_text("blocks.1 at step 40: 0.1000")
    page.get_by_label("statistic").select_option("update ratio")
    expect(canvas).to_have_attribute("aria-label", re.compile("update ratio"))


def test_a_language_model_is_heard_from_its_first_words_to_its_last(page: Page, visitor: Visitor) -> None:
    show(page, visitor, "gpt", "samples")
    expect(page.get_by_text("at step 30, valid")).to_be_visible()
    expect(page.locator(".exhibit .written").first).not_to_be_empty()
    page.get_by_role("button", name="play").click()
    expect(page.get_by_text("at step 10, valid")).to_be_visible()
    expect(page.get_by_text("at step 30, valid")).to_be_visible()


def test_a_confusion_matrix_says_who_is_taken_for_whom(page: Page, visitor: Visitor) -> None:
    show(page, visitor, "digits", "samples")
    expect(page.locator(".confusion tbody tr")).to_have_count(10)
    page.locator(".confusion tbody tr").nth(3).locator("td").nth(3).hover()
    expect(page.get_by_text("of class 3 were called 3")).to_be_visible()


def test_two_runs_are_compared_and_what_differs_is_said(page: Page, visitor: Visitor) -> None:
    page.get_by_label("compare digits").check()
    page.get_by_label("compare slow").check()
    page.get_by_role("button", name="compare 2 runs").click()
    drawn(page)
    expect(page.get_by_label("what differs")).to_contain_text("optimizer.lr")
    expect(page.get_by_label("what differs")).not_to_contain_text("batch_size")
    expect(page.get_by_label("scores")).to_contain_text("test/accuracy")
    picture(page, "compare")
    show(page, visitor, "digits", "recipe")
    page.get_by_label("what differs from").select_option("slow")
    expect(page.locator("section[aria-label=recipe] tbody tr")).to_have_count(1)


def test_eight_tabs_of_one_browser_share_one_stream_and_all_hear(
    browser: Browser, visitor: Visitor, runs: Path
) -> None:
    write(runs / "shared", training(40)[:-1])
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(8)]
    for tab in tabs:
        tab.goto(visitor.studio.link)
    for tab in tabs:
        expect(tab.locator("tr[data-run=shared]")).to_contain_text("40 of 40", timeout=20_000)
    assert visitor.studio._server.config.loaded_app is not None
    with (runs / "shared" / "events.jsonl").open("ab") as file:
        file.write(json.dumps({"event": "RunStarted", "attempt": 2, "from_step": 20, "steps": 80, "steps_per_epoch": 10,
                               "time": NOW, "note": ""}).encode() + b"\n")  # fmt: skip
    for tab in tabs:
        tab.bring_to_front()
        expect(tab.locator("tr[data-run=shared]")).to_contain_text("20 of 80", timeout=20_000)
    context.close()
    shutil.rmtree(runs / "shared")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_is_accessible_in_both_themes_and_fits_a_phone_a_tablet_and_a_desk(
    browser: Browser, visitor: Visitor, theme: Any
) -> None:
    context = browser.new_context(bypass_csp=True, color_scheme=theme)  # axe is no script of ours
    page = context.new_page()
    page.goto(visitor.studio.link)
    keys = visitor.keys()
    views = {
        "runs": "#/",
        "curves": f"#/run/{keys['digits']}",
        "gpt": f"#/run/{keys['gpt']}/samples",
        "confusion": f"#/run/{keys['digits']}/samples",
        "layers": f"#/run/{keys['found']}/layers",
        "findings": f"#/run/{keys['found']}/findings",
        "failed": f"#/run/{keys['failed']}/findings",
        "recipe": f"#/run/{keys['digits']}/recipe",
        "compare": f"#/compare/{keys['digits']},{keys['slow']}",
        "found": f"#/run/{keys['found']}",
        **{s["kind"]: f"#/search/{s['key']}" for s in visitor.ask("/api/searches").json},
    }
    for name, place in views.items():
        page.goto(f"http://{visitor.host}/{place}")
        expect(page.locator(".opening")).to_have_count(0, timeout=120_000)  # a network is loaded for its samples
        page.wait_for_timeout(300)
        for size, width in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is too wide for a {size}"
            picture(page, f"{theme}-{name}-{size}")
        page.add_script_tag(path=str(AXE))
        found = page.evaluate("axe.run()")
        told = [f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:120]}" for v in found["violations"]]
        assert told == [], name
    context.close()


def test_the_first_paint_comes_within_a_second(browser: Browser, visitor: Visitor) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(visitor.studio.link)
    expect(page.locator("tbody tr").first).to_be_visible()
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    assert paint > 0
