"""The inside view as a person uses it, in Chromium with WebGL2 drawn by its software renderer.

Where Chromium or the built pages are not there, these tests are skipped with that reason; in CI they fail instead. Set
STUDIO_PICTURES to a folder to keep a picture of each view.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.open_studio import Visitor, opened

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.studio.networks import (  # isort: skip
    APART, DRAWN, FLAGS, PATIENCE, WHOLE, attempt, faultless, faultless_page, held, look, must_be_drawn,
    must_lie_on_the_card, numbers, train,
)  # fmt: skip
from tests.studio.test_browser import WIDTHS, missing, picture

PICTURE = Path(__file__).resolve().parent.parent.parent / "docs" / "codes" / "new.png"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of each family, trained for a moment."""
    if why := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    base = tmp_path_factory.mktemp("runs")
    train(base)
    return base


@pytest.fixture(scope="module")
def visitor(runs: Path) -> Iterator[Visitor]:
    with opened(runs) as asks:
        yield asks


@pytest.fixture(scope="module")
def browser(runs: Path) -> Iterator[Browser]:
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, *DRAWN])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, visitor: Visitor) -> Iterator[Page]:
    with faultless_page(browser, visitor) as made:
        yield made


def test_from_the_list_to_a_digits_path_are_three_clicks(page: Page) -> None:
    page.locator("tr[data-run=digits]").get_by_role("link").click()
    page.get_by_role("link", name="Inside").click()
    page.get_by_role("button", name="play").click()
    expect(page.locator(".phase.forward")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_label("operation", exact=True)).not_to_have_value("0", timeout=PATIENCE)
    expect(page.locator(".inside .verdict")).to_contain_text("says")
    picture(page, "inside-digits")


def test_a_cell_tells_its_arithmetic_and_leads_to_what_it_was_made_of(page: Page, visitor: Visitor) -> None:
    look(page, visitor, "digits")
    page.locator(".stage canvas").first.focus()
    page.keyboard.press("Enter")
    card = held(page)
    expect(card).to_contain_text("Σ window · kernel + bias")
    expect(card.locator(".formula .good")).to_have_text("✓")
    page.keyboard.press("ArrowRight")  # the cell beside it
    expect(card).to_contain_text("map 0, row 0, column 1")
    page.keyboard.press("Enter")  # to its largest input
    expect(card.locator("h2")).to_contain_text("x")
    page.keyboard.press("Backspace")
    expect(card.locator("h2")).to_contain_text("convolution")
    card.get_by_role("button", name="gradient").click()
    expect(card).to_contain_text("gradient of what it feeds")
    expect(card.locator(".formula .good")).to_have_text("✓")
    page.locator(".stage canvas").first.focus()
    page.keyboard.press("Escape")
    expect(page.locator(".cellcard")).to_have_count(0)
    page.get_by_label("tensor", exact=True).select_option(label="weights of top.2, 10 × 128")
    page.get_by_role("button", name="Update").click()
    card.get_by_role("button", name="change").click()
    expect(card).to_contain_text("- rate · mean / (√square + ε)")
    expect(card.locator(".formula .good")).to_have_text("✓")


@pytest.mark.parametrize("name", ["moons", "digits", "lstm", "gpt", "captured"])
def test_what_the_graphics_card_draws_and_the_card_tells_are_the_numbers_that_were_served(
    name: str, page: Page, visitor: Visitor
) -> None:
    """That these are torch's is shown beside the rules (tests/inside): so every cell that is seen is."""
    look(page, visitor, name)
    served = {what: numbers(visitor, name, what) for what in ("value", "gradient", "change")}
    must_lie_on_the_card(page, served)
    must_be_drawn(page, served)
    page.get_by_label("tensor", exact=True).select_option(index=2)
    card = held(page)
    node = int(page.get_by_label("tensor", exact=True).input_value())
    for what in served:
        told = card.locator(".three button").filter(has_text=what).locator("b")
        if what == "value" or node in served[what]:
            shown = float(told.inner_text().replace("\u2212", "-"))
            assert shown == pytest.approx(float(served[what][node][0]), rel=5e-6)


def test_a_cell_under_the_pointer_is_told_without_a_click(page: Page, visitor: Visitor) -> None:
    look(page, visitor, "digits")
    spot = page.evaluate("""() => {
      const s = document.querySelector('.stage canvas').scene, b = s.plan.boxes.find((b) => b.node === 3)
      return [b.x * s.view.k + s.view.x + 4, b.y * s.view.k + s.view.y + 4]
    }""")
    box = page.locator(".stage canvas").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + spot[0], box["y"] + spot[1])
    expect(held(page)).to_contain_text("convolution")
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] - 3)
    expect(page.locator(".cellcard")).to_have_count(0)


def test_checkpoints_are_scrubbed_and_the_numbers_follow(page: Page, visitor: Visitor) -> None:
    look(page, visitor, "digits")
    expect(page.locator(".tools output").first).to_have_text("step 40")
    loss = page.locator(".inside .verdict").inner_text()
    slider = page.get_by_label("checkpoint")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator(".tools output").first).to_have_text("before the first step")
    expect(page.locator(".inside .verdict")).not_to_have_text(loss, timeout=PATIENCE)
    page.get_by_label("next sample").click()
    expect(page.get_by_label("sample", exact=True)).to_have_value("1")


def test_the_tour_of_a_language_model_goes_to_its_end(page: Page, visitor: Visitor) -> None:
    look(page, visitor, "gpt")
    page.get_by_role("button", name="tour").click()
    halt = page.locator(".halt")
    seen = []
    for _ in range(40):
        seen.append(halt.locator("h2").inner_text())
        if seen[-1] == "Attention":
            picture(page, "inside-gpt-attention")
        following = halt.get_by_role("button", name="next")
        if not following.count():
            break
        following.click()
        expect(halt.locator("h2")).not_to_have_text(seen[-1])
    assert len(seen) >= 18
    assert {"Tokens", "Attention", "The rail", "Probabilities", "The way back", "The update"} <= set(seen)
    halt.get_by_role("button", name="end").click()
    expect(halt).to_have_count(0)


@pytest.mark.parametrize("name", ["digits", "gpt", "lstm", "moons"])
def test_tensors_stand_apart_in_one_call_and_are_quickly_drawn_on_any_width(
    name: str, page: Page, visitor: Visitor
) -> None:
    look(page, visitor, name)
    for size in ("desk", "phone"):  # the phone by turning the window narrow: what was shown whole still is
        page.set_viewport_size({"width": WIDTHS[size], "height": 900})
        page.wait_for_function(WHOLE)
        assert page.evaluate(APART) == [], size
        assert page.evaluate("document.querySelector('.stage canvas').scene.draws") <= 3
    assert page.evaluate("document.querySelector('.stage canvas').getContext('webgl2').getError()") == 0
    if name == "moons":
        expect(page.locator(".plane canvas").first).to_be_visible(timeout=PATIENCE)
        page.locator(".units canvas").click(position={"x": 9, "y": 9})  # the map of the first unit
        expect(held(page)).to_contain_text("number 0")


def test_a_text_shows_which_piece_looks_at_which_head_by_head_and_by_keys(
    page: Page, visitor: Visitor, runs: Path
) -> None:
    key = visitor.keys()["gpt"]
    page.goto(f"http://{visitor.host}/#/run/{key}/samples")
    page.get_by_role("button", name="attention on sample").first.click(timeout=PATIENCE)
    box = page.locator("section.attention")
    expect(box.locator(".heads canvas").first).to_be_visible(timeout=PATIENCE)
    sample = re.sub(r"\D", "", str(box.get_attribute("aria-label")))
    body = visitor.ask(f"/api/runs/{key}/says/attention?part=test&sample={sample}").body
    size = int.from_bytes(body[:4], "little")
    head = json.loads(body[4 : 4 + size])
    pieces, last = head["texts"]["text"], head["maps"][-1]
    count, heads = len(pieces), last["heads"]
    cells = torch.frombuffer(bytearray(body[4 + size :]), dtype=torch.float32)[-heads * count * count :]
    weights = cells.reshape(heads, count, count)
    assert torch.allclose(weights.sum(2), torch.ones(heads, count), atol=1e-5)
    assert not bool(weights.triu(1).any())  # no piece looks at what comes later
    expect(box.locator(".heads button")).to_have_count(heads + 1)
    box.get_by_role("button", name="head 2").press("Enter")
    piece = box.get_by_role("group", name="pieces that look").get_by_role("button").nth(3)
    piece.focus()
    page.keyboard.press("Enter")
    expect(piece).to_have_attribute("aria-pressed", "true")
    expect(box.get_by_role("status")).to_contain_text("In head 2")
    expect(box.get_by_role("status")).to_contain_text(f"{weights[1, 3].max():.3f}")
    picture(page, "attention")
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)


def test_a_network_of_ones_own_shows_what_was_captured_cell_by_cell(page: Page, visitor: Visitor) -> None:
    page.goto(f"http://{visitor.host}/#/run/{visitor.keys()['captured']}/inside")
    expect(page.locator(".inside")).to_contain_text("module of your own (Sequential)", timeout=PATIENCE)
    expect(page.locator(".inside")).to_contain_text("of the first 2 samples of the valid part")
    expect(page.locator(".sample input")).to_have_attribute("max", "1")
    expect(page.locator("figure canvas, .plane canvas").first).to_be_visible()
    page.get_by_label("tensor", exact=True).select_option(label="logits, 1 × 2")
    expect(page.locator("aside")).to_contain_text("Σ input · weight")
    picture(page, "inside-captured")


def test_a_network_of_ones_own_says_what_opens_it(page: Page, visitor: Visitor) -> None:
    page.goto(f"http://{visitor.host}/#/run/{visitor.keys()['own']}/inside")
    expect(page.locator(".empty")).to_contain_text("module of your own (Linear)", timeout=PATIENCE)
    expect(page.locator(".empty")).to_contain_text("tw.open(")


def test_without_webgl2_the_page_says_so_and_numbers_can_be_read(
    visitor: Visitor, runs: Path, browser: Browser
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script("HTMLCanvasElement.prototype.getContext = ((old) => function (kind, ...more) {"
                         "return kind === 'webgl2' ? null : old.call(this, kind, ...more) })"
                         "(HTMLCanvasElement.prototype.getContext)")  # fmt: skip
    page.goto(visitor.studio.link)
    page.goto(f"http://{visitor.host}/#/run/{visitor.keys()['digits']}/inside")
    expect(page.locator(".stage")).to_contain_text("draws no WebGL2", timeout=PATIENCE)
    page.get_by_label("tensor", exact=True).select_option(index=1)
    expect(held(page)).to_contain_text("x")
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_inside_is_accessible_in_both_themes_and_fits_every_width(
    browser: Browser, visitor: Visitor, theme: Any
) -> None:
    context = browser.new_context(bypass_csp=True, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(visitor.studio.link)
    for name in ("gpt", "moons"):
        look(page, visitor, name)
        page.get_by_role("button", name="Backward").click()
        page.get_by_label("tensor", exact=True).select_option(index=3)
        held(page)
        for size, width in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is too wide for a {size}"
            picture(page, f"{theme}-inside-{name}-{size}")
        faultless(page, name)
    keys = visitor.keys()
    for name, view in (("digits", "try"), ("gpt", "try"), ("captured", "inside"), ("own", "inside")):
        page.goto(f"http://{visitor.host}/#/run/{keys[name]}/{view}")
        expect(page.locator(".try, .inside, .empty").first).to_be_visible()
        expect(page.locator(".opening")).to_have_count(0)
        if name == "gpt":
            page.get_by_role("button", name="write").click()
            expect(page.locator(".written").first).to_be_visible()
        for size, width in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is too wide for a {size}"
            picture(page, f"{theme}-{view}-{name}-{size}")
        faultless(page, f"{view} {name}")
    page.goto(f"http://{visitor.host}/#/run/{keys['gpt']}/samples")
    page.get_by_role("button", name="attention on sample").first.click()
    expect(page.locator(".heads canvas").first).to_be_visible()
    faultless(page, "attention")
    context.close()


def test_a_digit_that_is_drawn_or_dropped_is_answered_with_probabilities(page: Page, visitor: Visitor) -> None:
    attempt(page, visitor, "digits")
    box = page.locator(".draw canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 200, steps=3)
    page.mouse.up()
    bars = page.locator(".bars tbody tr")
    expect(bars).to_have_count(10, timeout=PATIENCE)
    expect(page.get_by_role("img", name="as the network is given it, 8 by 8 pixels, grey")).to_be_visible()
    drawn = page.locator(".says").inner_text()
    picture(page, "try-digit")
    page.get_by_role("button", name="clear").click()
    expect(bars).to_have_count(0)
    page.locator(".drop input").set_input_files(PICTURE)
    expect(bars).to_have_count(10, timeout=PATIENCE)
    assert drawn
    page.locator(".drop input").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"x"})
    expect(page.get_by_role("alert")).to_contain_text("is not what this run reads")
    told = visitor.give(
        f"/api/runs/{visitor.keys()['digits']}/try", {"give": "fields", "record": {"image": str(PICTURE)}}
    )
    assert "reads no rows" in told.json["refused"]  # a question names no file


def test_the_fields_of_a_row_are_filled_in_and_judged_as_they_change(page: Page, visitor: Visitor) -> None:
    attempt(page, visitor, "moons")
    expect(page.locator(".bars tbody tr")).to_have_count(2, timeout=PATIENCE)
    before = page.locator(".bars").inner_text()
    page.get_by_label("x", exact=True).fill("-30")
    expect(page.locator(".bars")).not_to_have_text(before)
    page.get_by_label("x", exact=True).fill("no number")
    expect(page.get_by_role("alert")).to_contain_text("column 'x'")


def test_a_prompt_shows_what_may_come_next_and_is_written_on(page: Page, visitor: Visitor) -> None:
    attempt(page, visitor, "gpt")
    rows = page.locator(".tokens-next tbody tr")
    expect(rows).to_have_count(14, timeout=PATIENCE)
    page.get_by_label("temperature").fill("0")
    expect(rows.first).to_contain_text("100.0 %")
    page.locator(".token:not(:disabled)").first.click()
    assert len(page.get_by_label("prompt").input_value()) == 1
    page.get_by_label("tokens").fill("5")
    page.get_by_role("button", name="write on").click()
    expect(page.locator(".written")).not_to_be_empty(timeout=PATIENCE)
    picture(page, "try-gpt")


def test_every_sample_is_judged_a_cell_opens_its_samples_and_one_of_them_the_inside(
    page: Page, visitor: Visitor
) -> None:
    page.goto(f"http://{visitor.host}/#/run/{visitor.keys()['digits']}/samples")
    expect(page.get_by_text("How sure it is, and how often right")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".sample-card .pixels").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".sample-card").first).to_contain_text("✕ said")
    cell = page.get_by_role("button", name="of class 0 called 0")
    count = int(cell.inner_text())
    cell.click()
    expect(page.get_by_text(f"0 called 0: {count}")).to_be_visible()
    expect(page.locator(".sample-card").first).to_contain_text("✓ said 0", timeout=PATIENCE)
    picture(page, "says-digits")
    link = page.locator(".inside-link").first
    number = re.search(r"sample=(\d+)", link.get_attribute("href") or "")
    assert number
    link.click()
    expect(page.get_by_label("sample", exact=True)).to_have_value(number[1], timeout=PATIENCE)
    expect(page.get_by_text("true 0", exact=True)).to_be_visible(timeout=PATIENCE)


def test_a_text_of_ones_own_is_looked_at_and_grows_by_the_tokens_that_the_network_writes(
    page: Page, visitor: Visitor
) -> None:
    look(page, visitor, "gpt")
    field = page.get_by_label("a text of your own")
    field.fill("1 and 2")
    page.get_by_role("button", name="look at it").click()
    expect(page.locator(".tokens span")).to_have_count(6, timeout=PATIENCE)
    for _ in range(10):  # its tokens are drawn, and now and then it is the one that ends the text
        page.get_by_role("button", name="feed its next token back in").click()
        page.wait_for_function(
            "() => document.querySelector('.own input').value !== '1 and 2' || document.querySelector('.own .mute')"
        )
        if field.input_value() != "1 and 2":
            break
        expect(page.get_by_text("it ends the text here")).to_be_visible()
    expect(field).not_to_have_value("1 and 2", timeout=PATIENCE)
    expect(page.locator(".tokens span")).to_have_count(7, timeout=PATIENCE)
    assert "text=1+and+2" in page.url


def test_the_address_leads_back_to_the_cell_that_was_held(page: Page, visitor: Visitor) -> None:
    look(page, visitor, "moons")
    page.locator(".stage canvas").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    card = page.locator(".cellcard h2")
    expect(card).to_be_visible(timeout=PATIENCE)
    page.wait_for_url(re.compile(r"node=\d+&cell=\d+$"))
    told, address = card.inner_text().splitlines()[0], page.url
    page.goto(f"http://{visitor.host}/#/")
    page.goto(address)
    expect(card).to_contain_text(told, timeout=PATIENCE)
