"""The documentation is true: its programs run, its links lead somewhere, its reference is what the signatures say."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import io
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import trainwright as tw
from trainwright.cli import commands, main
from trainwright.core.config import RunConfig
from trainwright.core.events import EVENTS
from trainwright.core.kinds import KINDS
from trainwright.core.schema import options
from trainwright.data.split import split_options
from trainwright.engine.loop import Cadence
from trainwright.runs import attempt
from trainwright.runs.assemble import Pieces
from trainwright.runs.decided import LEFT, RECORD
from trainwright.runs.directory import (
    BAD,
    CAPTURES,
    COMPOSED,
    DETECTIONS,
    FORECASTS,
    INCIDENTS,
    NOTES,
    PLAYED,
    PORTRAITS,
    REPORT,
)
from trainwright.runs.examples import EXAMPLES

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
SHORTER = 20  # budgets of the documentation are divided by this

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w.-]+\.(?:py|toml|yaml))\n")  # a block that begins so is a file, saved and not run
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A block of code, and the line of its first line of code."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str:
        """The name of the file it is, or nothing."""
        found = FILE.match(self.text)
        return found.group(1) if found else ""

    @property
    def runs(self) -> bool:
        return self.language in ("python", "console") and not self.file


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(m.group(1), m.group(2), text[: m.start()].count("\n") + 2) for m in FENCE.finditer(text)]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def house_kept() -> Iterator[None]:
    """What a page registers or imports is gone afterwards."""
    before = {kind: (dict(r._entries), dict(r._tags)) for kind, r in KINDS.items() if r.names() is not None}
    modules = set(sys.modules)
    yield
    for kind, (entries, tags) in before.items():
        KINDS[kind]._entries, KINDS[kind]._tags = entries, tags
    for name in set(sys.modules) - modules:
        if name.startswith("trainwright_plugin_"):
            del sys.modules[name]


@pytest.fixture
def short_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every budget, a twentieth of it, so that trying and resuming go on as written; and a smaller Transformer."""
    whole = attempt._cadence

    def shorter(pieces: Pieces, folder: Path) -> Cadence:
        cadence = whole(pieces, folder)
        return replace(cadence, steps=-(-cadence.steps // SHORTER))

    monkeypatch.setattr(attempt, "_cadence", shorter)
    monkeypatch.setitem(EXAMPLES, "gpt", {**EXAMPLES["gpt"], "model": {"name": "gpt", "size": "nano"}})


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.runs for b in blocks(p))], ids=named)
@pytest.mark.usefixtures("house_kept", "short_trainings")
def test_the_programs_of_a_page_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as for a program in that folder
    names: dict[str, Any] = {"__name__": f"docs_{page.stem.replace('-', '_')}"}
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            padded = "\n" * (block.line - 1) + block.text  # errors then name the page's own line
            exec(compile(padded, str(page), "exec"), names)  # noqa: S102 - the page's own program
        elif block.language == "console":
            for line in block.text.splitlines():
                if line.startswith("$"):
                    typed(line, f"{named(page)}:{block.line}")


def typed(line: str, where: str) -> None:
    """A command line ends with exit code 0."""
    dollar, program, *arguments = shlex.split(line)
    assert (dollar, program) == ("$", "trainwright"), f"{where}: a console block holds '{line}', which no test can run"
    said, complained = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(complained):
        code = main(arguments)
    assert code == 0, f"{where}: {line}\n{complained.getvalue()}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_fence_names_its_language(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks(page)), "a block is not closed, or not at the start of a line"
    known = {"python", "console", "sh", "toml", "text", "yaml"}
    assert {b.language for b in blocks(page)} <= known


@functools.cache
def anchors(page: Path) -> set[str]:
    """The fragments that lead to a heading of a page, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{named(page)} links to {target}"
        assert there.is_relative_to(ROOT), f"{named(page)} links out of the repository: {target}"
        if fragment:
            assert fragment in anchors(there), f"{named(page)} links to {target}, which has no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        linked = (t.partition("#")[0] for t in LINK.findall(text) if "://" not in t)
        ahead += [(page.parent / t).resolve() for t in linked if t.endswith(".md")]
    assert sorted(map(named, set(PAGES) - seen)) == []


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """script/reference as a module."""
    loader = importlib.machinery.SourceFileLoader("reference_script", str(ROOT / "script" / "reference"))
    spec = importlib.util.spec_from_loader("reference_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no script/__pycache__
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


def test_the_reference_is_what_the_script_writes(script: ModuleType) -> None:
    made = script.pages()
    assert {p.name for p in REFERENCE.iterdir()} == set(made)
    for name, text in made.items():
        kept = (REFERENCE / name).read_text(encoding="utf-8")
        assert kept == text, f"docs/reference/{name} is out of date; run script/reference"


def test_the_script_removes_pages_that_no_longer_exist(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "old.md").write_text("gone")
    script.write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == set(script.pages())


def test_the_reference_mentions_everything_that_can_be_written() -> None:
    text = {p.name: p.read_text(encoding="utf-8") for p in REFERENCE.glob("*.md")}
    for key in (*RunConfig.model_fields, *options(split_options)):
        assert f"| `{key}` |" in text["recipe.md"], key
    files = {"task": "tasks", "model": "models", "loss": "losses", "optimizer": "optimizers"}
    files |= {"schedule": "schedules", "source": "sources", "layer": "layers", "init": "inits", "observer": "observers"}
    files |= {"augmentation": "augmentations", "set": "sets", "metric": "metrics", "step": "steps"}
    files |= {"tokenizer": "tokenizers", "rule": "rules", "repair": "repairs"}
    assert files.keys() == KINDS.keys()
    for kind, registry in KINDS.items():
        for name in registry.names():
            if registry[name].__module__.startswith("trainwright."):
                part = section(text[f"{files[kind]}.md"], name)
                for option in options(registry[name]):
                    assert f"| `{option}` |" in part, f"{kind}.{name}.{option}"
    for name, command in commands.commands.items():
        part = section(text["commands.md"], f"trainwright {name}")
        for p in command.params:
            assert p.param_type_name == "argument" or f"`{p.opts[0]}" in part, f"{name} {p.opts}"
    for event in EVENTS:
        assert f"### {event}" in text["run-folder.md"]
    for name in set(tw.__all__) - {"__version__"}:
        assert f"## tw.{name}" in text["python.md"]


def test_a_command_a_field_or_a_name_without_its_page_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwritten(params: Any, *, lr: float = 0.1) -> None: ...

    unwritten.__module__ = "trainwright.optim.unwritten"
    for table, name, thing in (
        (commands.commands, "unwritten", commands.commands["train"]),
        (RunConfig.model_fields, "unwritten", RunConfig.model_fields["seed"]),
        (KINDS["optimizer"]._entries, "unwritten", unwritten),
    ):
        with monkeypatch.context() as changed:
            changed.setitem(table, name, thing)
            with pytest.raises(AssertionError, match="unwritten"):
                test_the_reference_mentions_everything_that_can_be_written()


def section(text: str, title: str) -> str:
    """A page's part under a heading."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no heading '{title}'"
    return found.group(1)


@pytest.mark.usefixtures("short_trainings")
def test_the_reference_lists_the_files_of_a_run_and_no_others(script: ModuleType, tmp_path: Path) -> None:
    run = tw.train("iris", out=tmp_path / "run", quiet=True)
    tw.resume(run.path, {"budget": "300 epochs"}, quiet=True)
    others = {BAD, CAPTURES, INCIDENTS, PLAYED, COMPOSED, DETECTIONS, FORECASTS, PORTRAITS, RECORD, LEFT, REPORT, NOTES}
    assert {p.name for p in run.path.iterdir()} | others == set(script.RUN_FILES)
    for checkpoint in (run.path / "checkpoints").iterdir():
        assert {p.name for p in checkpoint.iterdir()} == set(script.CHECKPOINT_FILES)


def test_decisions_are_numbered_without_a_gap_and_fit_on_a_page() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(p.name[:4]) for p in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert len(text.split()) <= 450, f"{page.name} is longer than a page"
        parts = ["Context", "Decision", "Rejected alternative", "Consequence"]
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == parts, page.name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_names_a_place_of_one_machine(page: Path) -> None:
    assert not re.search(r"/(?:work|tmp|home|root|Users)/|\b[A-Z]:\\", page.read_text(encoding="utf-8"))
