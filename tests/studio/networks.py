"""Networks of each family, trained for a moment, and how a browser opens their insides."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from playwright.sync_api import Browser, Page, expect
from torch import nn

import trainwright as tw
from tests.open_studio import Visitor
from tests.studio.test_browser import AXE, TEXT, WIDTHS

DRAWN = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]
PATIENCE = 120_000  # ms: the first question starts a process, and the machine may be busy
APART = """() => {
  const all = [...document.querySelector('.stage canvas').scene.plan.frames.values()]
  const found = []
  all.forEach((a, i) => all.slice(i + 1).forEach((b) => {
    if (a.x < b.x + b.w - .01 && b.x < a.x + a.w - .01 && a.y < b.y + b.h - .01 && b.y < a.y + a.h - .01)
      found.push([a.node, b.node])
  }))
  return found
}"""

WHOLE = """() => {
  const { view, plan, canvas } = document.querySelector('.stage canvas').scene
  const across = [view.x, view.x + plan.w * view.k], down = [view.y, view.y + plan.h * view.k]
  return across[0] >= 0 && across[1] <= canvas.clientWidth && down[0] >= 0 && down[1] <= canvas.clientHeight
}"""
TEXTURE = """() => {
  const { painter, offsets } = document.querySelector('.stage canvas').scene, gl = painter.gl
  if (!gl.getExtension('EXT_color_buffer_float')) throw new Error('a texture of floats cannot be read back here')
  const frame = gl.createFramebuffer()
  gl.bindFramebuffer(gl.FRAMEBUFFER, frame)
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, painter.texture, 0)
  const four = new Float32Array(2048 * painter.rows * 4)
  gl.readPixels(0, 0, 2048, painter.rows, gl.RGBA, gl.FLOAT, four)
  gl.bindFramebuffer(gl.FRAMEBUFFER, null)
  const bytes = new Uint8Array(four.filter((_, i) => i % 4 === 0).buffer)
  let text = ''
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192))
  return { offsets: [...offsets], cells: btoa(text) }
}"""  # what lies on the graphics card, and where each tensor begins
PIXELS = """() => {
  const scene = document.querySelector('.stage canvas').scene, { painter, canvas } = scene, gl = painter.gl
  const kinds = new Map(), found = []
  for (const b of scene.plan.boxes) {
    const n = scene.nodes.get(b.node)
    const kind = [n.kind, b.turned, n.picture, !!n.tile, n.kind === 'weight' ? n.shape.length : n.op, b.slab > 0].join()
    if (!kinds.has(kind) && b.rows * b.cols > 1) kinds.set(kind, b)
  }
  for (const what of ['value', 'gradient', 'change']) {
    scene.show(new Map([...scene.nodes.keys()].map((id) => [id, { what, there: 1 }])), -1, 'forward')
    for (const b of kinds.values()) {
      const told = scene.numbers[what].get(b.node)
      if (!told) continue
      const size = b.rows * b.cols
      const some = [0, Math.floor(size / 2) + 1, Math.floor(size / 3), size - 1]
      for (const index of new Set(some.map((i) => b.from + (i % size)))) {
        if (Number.isNaN(told.cells[index])) continue
        const [x, y, w, h] = scene.placeOf({ node: b.node, index })
        const k = 40 / Math.min(w, h), u = Math.round(canvas.clientWidth / 2), v = Math.round(canvas.clientHeight / 2)
        scene.view = { x: u + 0.5 - k * (x + w / 2), y: v + 0.5 - k * (y + h / 2), k, turn: 0, tip: 0 }
        painter.draw(scene.view, scene.colors)
        const color = new Uint8Array(4)
        gl.readPixels(u, canvas.height - 1 - v, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, color)
        const spot = scene.pick(u + 0.5, v + 0.5), { none, plus, minus } = scene.colors
        found.push({ what, node: b.node, index, scale: told.scale, color: [...color.slice(0, 3)], none, plus, minus,
          picked: spot && [spot.node, spot.index] })
      }
    }
  }
  return found
}"""  # cells of boxes of every kind: what color the middle of each has, and what is found under the pointer there


def train(base: Path) -> None:
    """A network of each family, trained for a moment."""
    tw.train("digits", {"budget": "2 epochs", "keep_every": "1 epoch"}, out=base / "digits", quiet=True)
    text, moons = base.parent / "text.txt", base.parent / "moons.csv"
    text.write_text(TEXT)
    recipe = {
        "task": {"name": "generation", "context": 16},
        "data": {"source": "documents", "path": str(text), "valid": 0.1, "test": 0.1},
        "budget": "4 steps",
    }
    tw.train({**recipe, "model": {"name": "gpt", "size": "nano"}}, out=base / "gpt", quiet=True)
    tw.train({**recipe, "model": {"name": "rnn_lm", "width": 8, "units": 8}}, out=base / "lstm", quiet=True)
    with moons.open("w", newline="") as file:
        rows = [(math.cos(a), math.sin(a), "up") if a % 2 < 1 else (1 - math.cos(a), 0.5 - math.sin(a), "down")
                for a in (i * math.pi / 100 for i in range(100))]  # fmt: skip
        csv.writer(file).writerows([("x", "y", "kind"), *rows])
    tw.train(
        {
            "task": {"name": "tabular_classification", "target": "kind"},
            "data": {"source": "table", "path": str(moons), "valid": 0.2, "test": 0.2},
            "model": {"name": "mlp", "width": 6},
            "budget": "2 epochs",
        },
        out=base / "moons",
        quiet=True,
    )
    x = torch.randn(32, 4)
    data, options = (x, x.sum(1, keepdim=True)), {"loss": "mse", "epochs": 1, "quiet": True}
    tw.fit(nn.Linear(4, 1), data, out=base / "own", captures=0, **options)
    tw.fit(nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2)), (x[:, :2], (x[:, 0] > 0).long()),
           loss="cross_entropy", epochs=2, valid=0.25, out=base / "captured", quiet=True)  # fmt: skip


def look(page: Page, visitor: Visitor, name: str) -> None:
    page.goto(f"http://{visitor.host}/#/run/{visitor.keys()[name]}/inside")
    there(page)


def there(page: Page) -> None:
    page.wait_for_function("() => document.querySelector('.stage canvas')?.scene?.plan")


def held(page: Page) -> Any:
    """The card of the cell that is held."""
    card = page.locator(".cellcard")
    expect(card).to_be_visible(timeout=PATIENCE)
    return card


Served = dict[str, dict[int, Any]]  # by what is told and tensor: its cells or tiles


def numbers(visitor: Visitor, name: str, what: str) -> dict[int, Any]:
    """Of each tensor the cells or tiles, as the page is given them."""
    body = visitor.ask(f"/api/runs/{visitor.keys()[name]}/inside/numbers?sample=0&what={what}").body
    at = 4 + int.from_bytes(body[:4], "little")
    found = {}
    for tensor in json.loads(body[4:at])["tensors"]:
        found[tensor["id"]] = np.frombuffer(body[at : at + 4 * tensor["cells"]], "<f4")
        at += 4 * tensor["cells"]
    return found


def must_lie_on_the_card(page: Page, served: Served) -> None:
    """Every cell that is drawn is read from the graphics card's texture: it holds what was served, bit for bit."""
    there = page.evaluate(TEXTURE)
    texture, places = np.frombuffer(base64.b64decode(there["cells"]), "<f4"), dict(there["offsets"])
    assert set(places) == {f"{what} {node}" for what, tensors in served.items() for node in tensors}
    for what, tensors in served.items():
        for node, cells in tensors.items():
            at = places[f"{what} {node}"]
            assert np.array_equal(texture[at : at + len(cells)], cells, equal_nan=True), (what, node)


def must_be_drawn(page: Page, served: Served) -> None:
    """The color in the middle of cells of each kind of tensor is that of the number that the pointer finds there."""
    seen = page.evaluate(PIXELS)
    assert len(seen) > 20
    for cell in seen:
        assert cell["picked"] == [cell["node"], cell["index"]]
        number = float(served[cell["what"]][cell["node"]][cell["index"]])
        share = min(1.0, (abs(number) / cell["scale"]) ** 0.5) if cell["scale"] else 0.0
        full = np.array(cell["plus"] if number > 0 else cell["minus"])
        expected = 255 * (np.array(cell["none"]) * (1 - share) + full * share)
        assert np.abs(np.array(cell["color"]) - expected).max() <= 2, cell


@contextmanager
def faultless_page(browser: Browser, visitor: Visitor) -> Iterator[Page]:
    """A page in which no script fails and nothing is refused by the policy."""
    context = browser.new_context(viewport={"width": WIDTHS["desk"], "height": 900}, reduced_motion="reduce")
    made, wrong = context.new_page(), []
    made.set_default_timeout(PATIENCE)
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    made.goto(visitor.studio.link)
    yield made
    context.close()
    assert wrong == []


def faultless(page: Page, name: str) -> None:
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run()")
    told = [f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:160]}" for v in found["violations"]]
    assert told == [], name


def attempt(page: Page, visitor: Visitor, name: str) -> None:
    page.goto(f"http://{visitor.host}/#/run/{visitor.keys()[name]}/try")
    expect(page.get_by_role("heading", name="Try it")).to_be_visible(timeout=PATIENCE)
