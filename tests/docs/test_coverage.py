"""Nothing that a person can name lacks its words: what it is, of what type, in what range, by what source."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
from pydantic import Field

import trainwright as tw
from trainwright.cli import commands
from trainwright.core import events, schema
from trainwright.core.config import RunConfig
from trainwright.core.events import EVENTS
from trainwright.core.kinds import KINDS
from trainwright.data.split import split_options
from trainwright.explain import explain, undocumented

REFERENCE = Path(__file__).resolve().parent.parent.parent / "docs" / "reference"
# Any number is legal there, or the data give it.
UNBOUNDED = {"ignore_index", "value", "anomaly", "above", "below", "edges"}
# What every textbook has, and what is our own: there is no paper to name. All else comes from one.
OF_NO_PAPER = {
    "model": {"sequential"},
    "layer": {"dense", "flatten", "max_pool", "avg_pool", "global_pool", "softmax", "log_softmax"},
    "loss": {"mse", "mae", "nll", "binary_cross_entropy"},
    "augmentation": {
        *("flip", "rotate", "shear", "scale", "translate", "brightness", "contrast", "saturation", "noise"),
    },
    "schedule": {"constant", "linear", "step", "exponential"},
    "init": {"auto", "constant", "zeros", "truncated_normal"},
    "optimizer": set(),
}  # fmt: skip


def ours(factory: Any) -> bool:
    """Other tests register things of their own."""
    return str(factory.__module__).startswith("trainwright.")


def registered() -> Iterator[tuple[str, str, Any]]:
    for kind, registry in KINDS.items():
        for name in registry.names():
            if ours(registry[name]):
                yield kind, name, registry[name]


def without_range() -> list[str]:
    """Options that are numbers, or lists of them, of which nothing says how large."""
    found = [(f"{kind}.{name}", schema.options(factory)) for kind, name, factory in registered()]
    found += [("recipe", schema.options_of(RunConfig, {})), ("data", schema.options(split_options))]
    words = re.compile(r"\bnumber\b")
    return [
        f"{where}.{o.name}"
        for where, options in found
        for o in options.values()
        if words.search(o.type) and not o.range and o.name not in UNBOUNDED
    ]


def without_source() -> list[str]:
    """Things from papers that name none; and things that name one though they are listed as from none."""
    wrong = []
    for kind, name, factory in registered():
        if kind in OF_NO_PAPER:
            named = bool(schema.source(inspect.getdoc(factory)))
            wrong += [f"{kind}.{name}"] if named == (name in OF_NO_PAPER[kind]) else []
    return wrong


def without_help(table: Mapping[str, click.Command]) -> list[str]:
    """Commands and options that say nothing."""
    bare = [name for name, command in table.items() if not command.help or not command.short_help]
    for name, command in table.items():
        bare += [f"{name} {p.opts[0]}" for p in command.params if isinstance(p, click.Option) and not p.help]
    return bare


def without_words(names: Mapping[str, Any]) -> list[str]:
    """Public Python names, their parameters and public methods of which nothing is said."""
    bare = []
    for name, value in names.items():
        doc = inspect.getdoc(value)
        bare += [] if doc and doc != inspect.getdoc(type(value)) else [name]
        said = schema.described(doc or "") | (commented(value) if is_dataclass(value) else {})
        bare += [f"{name}({p})" for p in parameters(value) if not said.get(p)]
        for member, body in vars(value).items() if isinstance(value, type) else ():
            described = inspect.getdoc(body.fget if isinstance(body, property) else body)
            if not member.startswith("_") and callable(getattr(body, "fget", body)) and not described:
                bare.append(f"{name}.{member}")
    return bare


def parameters(value: Any) -> list[str]:
    if not callable(value) or (
        isinstance(value, type) and (inspect.isabstract(value) or value.__init__ is object.__init__)
    ):
        return []
    try:
        found = inspect.signature(value).parameters.values()
    except ValueError:  # of a builtin's constructor
        return []
    return [p.name for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def commented(kind: Any) -> dict[str, str]:
    """The comments beside the fields of a dataclass."""
    found = re.finditer(r"^ +(\w+): .*?  # (.+)$", inspect.getsource(kind), re.MULTILINE)
    return {m[1]: m[2] for m in found}


def without_comment(kinds: Mapping[str, Any]) -> list[str]:
    """Fields of events that the page of the run folder cannot say anything about."""
    return [
        f"{name}.{f}" for name, kind in kinds.items() for f in kind.__dataclass_fields__ if not commented(kind).get(f)
    ]


def public() -> dict[str, Any]:
    return {name: getattr(tw, name) for name in tw.__all__ if name not in ("__version__", "kinds")}


def test_every_registered_thing_and_option_is_described_with_its_range_and_its_source() -> None:
    assert [name for name in undocumented() if name.partition(".")[0] not in KINDS or in_house(name)] == []
    assert without_range() == []
    assert without_source() == []


def in_house(name: str) -> bool:
    kind, _, rest = name.partition(".")
    return ours(KINDS[kind][rest.partition(".")[0]])


def test_every_command_option_event_and_public_name_is_described() -> None:
    assert without_help(commands.commands) == []
    assert without_words(public()) == []
    assert without_comment(EVENTS) == []


def test_everything_registered_is_explained() -> None:
    for kind, name, factory in registered():
        page = explain(f"{kind}.{name}")
        assert page.summary, f"{kind}.{name}"
        assert {o.name for o in page.options} == set(schema.options(factory))


def test_a_registered_thing_without_words_range_or_source_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(params: Any, *, lr: float = 0.1) -> None: ...

    def half(params: Any, *, lr: float = 0.1, momentum: Annotated[float, Field(ge=0)] = 0.0) -> None:
        """Steps somewhere.

        Args:
            lr: size of the step.
        """

    for name, factory in {"bare": bare, "half": half}.items():
        factory.__module__ = "trainwright.optim.unwritten"
        monkeypatch.setitem(KINDS["optimizer"]._entries, name, factory)
        monkeypatch.setitem(KINDS["optimizer"]._tags, name, {})
    reported = {n for n in undocumented() if "bare" in n or "half" in n}
    assert reported == {"optimizer.bare", "optimizer.bare.lr", "optimizer.half.momentum"}
    assert without_range() == ["optimizer.bare.lr", "optimizer.half.lr"]
    assert without_source() == ["optimizer.bare", "optimizer.half"]


def test_a_key_of_the_recipe_without_words_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic import create_model

    longer = create_model("Longer", __base__=RunConfig, unsaid=(int, 1))
    monkeypatch.setattr("trainwright.explain.RunConfig", longer)
    assert "recipe.unsaid" in undocumented()


def test_a_command_an_option_a_name_or_an_event_without_words_is_reported() -> None:
    @click.command(short_help="Does a thing.")
    @click.option("--told", help="Words.")
    @click.option("--untold")
    def said(told: str, untold: str) -> None:
        """Do a thing."""

    @click.command()
    def unsaid() -> None: ...

    assert without_help({"said": said, "unsaid": unsaid}) == ["unsaid", "said --untold"]

    def named(told: int, untold: int) -> None:
        """Does a thing.

        Args:
            told: words.
        """

    class Held:
        """Holds a thing."""

        def quiet(self) -> None: ...

        def loud(self) -> None:
            """Says so."""

    @dataclass(frozen=True)
    class Happened:
        """Something happened."""

        step: int  # of the run
        why: str

    assert without_words({"named": named, "Held": Held, "Happened": Happened, "bare": lambda: None}) == [
        "named(untold)", "Held.quiet", "Happened(why)", "bare",
    ]  # fmt: skip
    assert without_comment({"Happened": Happened}) == ["Happened.why"]
    assert events.RunStarted in EVENTS.values()


def test_the_reference_has_no_row_without_words() -> None:
    for page in REFERENCE.glob("*.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("| `"):
                cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
                assert cells[-1], f"{page.name}: {line}"
