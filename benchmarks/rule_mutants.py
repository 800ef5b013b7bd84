"""Whether the doctor's rules can fail their tests: each is broken in many small ways, and its patients must notice.

script/bench rule_mutants [--rule NAME] [--json OUT]

A mutant is the rule's own file with one change: a comparison turned round (< for >=), a condition negated, "and" for
"or", a severity made a note, a threshold times or by a hundred; or the whole check answering nothing, or the contrary.
The sick patient must then be missed or the healthy one alarmed, or something else said of one at the edges
(`rule_edges.py`), which a test would tell. What none notices has survived, and is listed. Whether a mutant says the
same as the rule in all cases nobody can decide in general, so 100 % is not to be expected; disabled and inverted rules
must all be noticed, and CI holds that.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from benchmarks.rule_edges import EDGES
from trainwright.core.finding import Evidence, Finding, Rule
from trainwright.core.kinds import rules

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
Check = Callable[[Evidence], Any]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, and whether a patient noticed it."""

    rule: str
    line: int
    what: str
    noticed: bool


def ours() -> dict[str, Rule]:
    """The rules of the package by name; plugins test theirs."""
    names = [n for n in rules.names() if rules[n].__module__.startswith("trainwright.")]
    return {name: rules.make(name, {}) for name in names}


def noticed(rule: Rule) -> bool:
    """Whether the patients tell that this rule is broken, as the tests of rules ask them."""
    try:
        sick, healthy = rule.check(rule.sick()), rule.check(rule.healthy())
    except Exception:  # a test would show it
        return True
    caught = isinstance(sick, Finding) and sick.rule == rule.name and bool(sick.what and sick.fixes)
    spared = healthy is None or (isinstance(healthy, Finding) and healthy.severity == "note")
    return not (caught and spared and not wrong_at_edges(rule))


def wrong_at_edges(rule: Rule) -> list[str]:
    """The patients of `EDGES` of which the rule says something else than it must."""
    return [what for what, evidence, severity in EDGES.get(rule.name, ()) if _gravity(rule, evidence) != severity]


def _gravity(rule: Rule, evidence: Evidence) -> str:
    try:
        found = rule.check(evidence)
    except Exception as error:  # a test would show it
        return type(error).__name__
    return found.severity if isinstance(found, Finding) else ""


def disabled(rule: Rule) -> Rule:
    """It says nothing, ever."""
    return rule._replace(check=lambda evidence: None)


def inverted(rule: Rule) -> Rule:
    """It speaks where it was silent, and is silent where it spoke."""

    def turned(evidence: Evidence) -> Finding | None:
        found = rule.check(evidence)
        spoke = isinstance(found, Finding) and found.severity != "note"
        return None if spoke else Finding(rule.name, "error", "turned", fixes=())

    return rule._replace(check=turned)


def mutants_of(name: str) -> Iterator[Mutant]:
    """Every small change of the rule's file."""
    rule = ours()[name]
    path = Path(inspect.getsourcefile(rules[name]) or "")
    for what, broken in (("disabled", disabled(rule)), ("inverted", inverted(rule))):
        yield Mutant(name, 0, what, noticed(broken))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    makers = {name} | {n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.decorator_list}
    for line, what, changed in _changes(tree, makers):
        check = _check_of(changed, path, name)
        if check is not None:
            yield Mutant(name, line, what, noticed(replace_check(rule, check)))


def replace_check(rule: Rule, check: Check) -> Rule:
    """The rule with another check, and the patients of before."""
    return rule._replace(check=check)


def _check_of(tree: ast.Module, path: Path, name: str) -> Check | None:
    """The check of the changed file, whose registration is left out; None where it cannot even be read."""
    spec = importlib.util.spec_from_loader(f"mutant_of_{name}", loader=None, origin=str(path))
    assert spec is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    try:
        exec(compile(tree, str(path), "exec"), module.__dict__)  # noqa: S102 - our own file, with one change
    except Exception:
        return None
    found: Check | None = module.__dict__.get("check")
    return found


def _changes(tree: ast.Module, makers: set[str]) -> Iterator[tuple[int, str, ast.Module]]:
    """(line, what, the whole file with that one change); the functions that register are left out of it."""
    body = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name in makers)]
    plain = ast.Module(body, [])
    places = list(ast.walk(plain))
    for number, node in enumerate(places):
        for what, change in _ways(node):
            whole = copy.deepcopy(plain)
            change(list(ast.walk(whole))[number])
            yield getattr(node, "lineno", 0), what, ast.fix_missing_locations(whole)


def _ways(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            other = _TURNED[type(op)]
            yield f"{type(op).__name__} -> {other.__name__}", partial(_compared, i, other)
    if isinstance(node, ast.If | ast.IfExp):
        yield "condition negated", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.BoolOp):
        other_op = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{type(node.op).__name__} -> {other_op.__name__}", lambda n: setattr(n, "op", other_op())
    if isinstance(node, ast.Constant) and node.value in ("error", "warning"):
        yield "severity -> note", lambda n: setattr(n, "value", "note")
    if (
        isinstance(node, ast.Assign)
        and all(isinstance(t, ast.Name) and t.id.startswith("_") for t in node.targets)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int | float)
    ):
        for factor in (100.0, 0.01):
            yield f"threshold x {factor:g}", partial(_scaled, factor)


def _compared(i: int, other: type[ast.cmpop], node: Any) -> None:
    node.ops[i] = other()


def _scaled(factor: float, node: Any) -> None:
    node.value.value *= factor


@click.command(help=(__doc__ or "").split("\n\n")[0])
@click.option("--rule", "names", multiple=True, help="Only this one; may be given again.")
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Write all mutants there.")
def main(names: tuple[str, ...], out: Path | None) -> None:
    """Make them all, and say which were not noticed."""
    made = [m for name in (names or tuple(ours())) for m in mutants_of(name)]
    left = [m for m in made if not m.noticed]
    for m in left:
        click.echo(f"not noticed: {m.rule}, line {m.line}: {m.what}")
    whole = [m for m in made if m.what in ("disabled", "inverted")]
    click.echo(
        f"{len({m.rule for m in made})} rules; disabled or inverted: {sum(m.noticed for m in whole)} of {len(whole)} "
        f"noticed; small changes: {sum(m.noticed for m in made) - sum(m.noticed for m in whole)} of "
        f"{len(made) - len(whole)} noticed"
    )
    if out:
        out.write_text(json.dumps([asdict(m) for m in made], indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if all(m.noticed for m in whole) else 1)


if __name__ == "__main__":
    main()
