"""The house stands: every import goes down, never up, never sideways but where listed; and there are no cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "trainwright"
FLOORS = {
    "core": 0,
    "data": 1,
    "models": 1,
    "optim": 1,
    "metrics": 1,
    "observers": 1,
    "tasks": 2,
    "engine": 2,
    "rules": 2,
    "runs": 3,
    "inside": 4,
    "tools": 4,
    "explain": 4,
    "studio": 5,
    "cli": 6,
    "__main__": 7,
    "__init__": 5,
}
MAY_ALSO = {("tasks", "models"): False, ("tasks", "optim"): "losses", ("engine", "data"): False}
LONGEST = 400


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, at the top level) of every import statement, type-checking ones left out."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((a.name, id(node) in top) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", id(node) in top
            yield from ((f"{node.module}.{a.name}", id(node) in top) for a in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    for name, _ in imported(path):
        parts = name.split(".")
        if parts[0] != "trainwright" or len(parts) < 2 or parts[1] == here:
            continue
        there = parts[1]
        if there in ("__version__",):
            continue
        assert there in FLOORS, f"{path.name}: {name} is in no room of the house"
        assert FLOORS[there] < FLOORS[here], f"{path.name}: {here} may not import {name}"
        if (here, there) in MAY_ALSO:
            only = MAY_ALSO[here, there]
            assert only, f"{path.name}: {here} may not import {name}"
            assert len(parts) < 3 or parts[2] == only, f"{path.name}: {here} may import {there}.{only} alone"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_ranks_import_torch_distributed(path: Path) -> None:
    if "ranks" in path.parts:
        return
    for name, _ in imported(path):
        assert not name.startswith(("torch.distributed", "torch.nn.parallel")), f"{path}: {name}"


def test_there_are_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    names = {".".join(p.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): p for p in modules()}
    for name, path in names.items():
        if name == "trainwright":  # its names are fetched when first used
            continue
        graph[name] = {n for n, _ in imported(path) if n in names and n not in (name, "trainwright")}
    seen: set[str] = set()

    def walk(node: str, path: tuple[str, ...]) -> None:
        assert node not in path, " -> ".join((*path[path.index(node) :], node))
        if node in seen:
            return
        for following in graph.get(node, ()):
            walk(following, (*path, node))
        seen.add(node)

    for node in graph:
        walk(node, ())


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_one_room(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= LONGEST, f"{path} has {len(lines)} lines"
    assert lines, f"{path} is empty"
    assert lines[0].startswith('"""'), f"{path} does not say what it is"
