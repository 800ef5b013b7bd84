"""A run folder that somebody sent may hold links: nothing is written or removed behind them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.engine import checkpoint, disk

RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2},
    "model": {"name": "mlp", "width": 4},
    "budget": "4 steps",
    "save_every": "1 steps",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tw.train(RECIPE, out=tmp_path_factory.mktemp("links") / "run", quiet=True).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A folder of somebody's."""
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/one.txt").write_text("dear")
    return tmp_path / "letters"


def untouched(letters: Path) -> bool:
    return {p.name: p.read_text() for p in letters.iterdir()} == {"one.txt": "dear"}


def longer(run: Path) -> tw.Run:
    return tw.resume(run, {"budget": "6 steps"}, quiet=True)


@pytest.mark.parametrize("name", ["events.jsonl", "run.lock", "checkpoints", "incidents"])
def test_a_run_whose_files_lead_elsewhere_is_not_gone_on_with(name: str, run: Path, letters: Path) -> None:
    if (run / name).is_dir():
        shutil.rmtree(run / name)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(letters / "one.txt" if "." in name else letters)
    with pytest.raises(UserError, match=rf"{name}: is a link to .*letters.*, where a run must not write; put what it"):
        longer(run)
    assert untouched(letters)


@pytest.mark.parametrize("name", ["metrics.csv", ".metrics.csv", "confusion.csv", ".confusion.csv", "curves.png"])
def test_what_is_written_anew_replaces_a_link(
    name: str, run: Path, letters: Path, request: pytest.FixtureRequest
) -> None:
    if name == "curves.png":
        request.getfixturevalue("drawn")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(letters / "one.txt")
    assert longer(run).view.step == 6
    assert untouched(letters)
    assert not (run / name).is_symlink()


@pytest.mark.parametrize("name", ["step-00000001", ".writing-00000001-9-aaaaaaaa", ".removing-00000001-aaaaaaaa"])
def test_a_link_among_the_checkpoints_is_removed_without_what_it_leads_to(name: str, run: Path, letters: Path) -> None:
    (run / "checkpoints" / name).symlink_to(letters)
    assert longer(run).view.step == 6
    assert untouched(letters)
    assert not (run / "checkpoints" / name).is_symlink()


def test_a_folder_that_is_no_link_is_removed_with_its_files(letters: Path) -> None:
    disk.remove(letters)
    assert not letters.exists()


def test_a_run_folder_that_is_a_link_and_a_link_of_ones_own_do_no_harm(
    run: Path, letters: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(run)
    (run / "newest").symlink_to(checkpoint.at(run / "checkpoints", checkpoint.steps(run / "checkpoints")[-1]))
    (run / "letters").symlink_to(letters)
    assert longer(tmp_path / "link").view.step == 6
    assert untouched(letters)
