"""Every finding has its page, as its rule and its patient tell it; and pictures are small drawings that runs made."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import ill

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "explanation" / "findings"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("findings_script", str(ROOT / "script" / "findings"))
    spec = importlib.util.spec_from_loader("findings_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_pages_are_what_the_script_writes(script: ModuleType) -> None:
    there = {p.name: p.read_text(encoding="utf-8") for p in FOLDER.glob("*.md")}
    assert there == script.pages(), "run script/findings"


def test_every_picture_belongs_to_a_finding_that_can_be_drawn_again(script: ModuleType) -> None:
    drawn = {p.stem for p in FOLDER.glob("*.svg")}
    assert drawn <= {*ill.ILL, *ill.SHOWN} & set(script.ours())
    assert set(script.ours()) - drawn == {"device_miscounts"}  # which needs a device that does
    assert all(p.stat().st_size < 20_000 for p in FOLDER.glob("*.svg"))


def test_a_run_that_is_ill_is_found_and_drawn(tmp_path: Path) -> None:
    ill.draw_all(tmp_path, ["constant_target"])
    drawn = (tmp_path / "constant_target.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    assert "said at 0" in drawn
    assert "polyline" in drawn


def test_what_is_shown_in_a_way_of_its_own_is_found_too(tmp_path: Path) -> None:
    ill.draw_all(tmp_path, ["not_finite_data"])
    assert "3 of 3,200 numbers are NaN" in (tmp_path / "not_finite_data.svg").read_text(encoding="utf-8")
