"""Everything that can be written in a recipe can be explained, and nothing is without words."""

import inspect
import io
import json
import re
import sys

import pytest

from trainwright.core.config import RunConfig
from trainwright.core.errors import UserError
from trainwright.core.kinds import KINDS, optimizers
from trainwright.data.split import split_options
from trainwright.explain import as_text, explain, show, undocumented


def ours(name: str) -> bool:
    """Other tests register things of their own."""
    kind, _, rest = name.partition(".")
    if kind not in KINDS:
        return True
    return str(KINDS[kind][rest.partition(".")[0]].__module__).startswith("trainwright.")


def every_name() -> list[str]:
    return ["", "recipe", "data", "split", *KINDS, *RunConfig.model_fields] + [
        f"{kind}.{name}" for kind, registry in KINDS.items() for name in registry.names() if ours(f"{kind}.{name}")
    ]


def test_nothing_we_register_is_without_words() -> None:
    assert [name for name in undocumented() if ours(name)] == []


def test_an_undocumented_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def quiet(params: object, *, lr: float = 0.1, told: float = 1.0) -> None:
        """Says something.

        Args:
            told: words.
        """

    def mute(params: object) -> None: ...

    monkeypatch.setitem(optimizers._entries, "quiet", quiet)
    monkeypatch.setitem(optimizers._entries, "mute", mute)
    assert {n for n in undocumented() if "quiet" in n or "mute" in n} == {"optimizer.quiet.lr", "optimizer.mute"}


def test_every_name_can_be_explained_as_text_and_as_json() -> None:
    for name in every_name():
        page = explain(name or None)
        assert page.summary, name
        whole = json.loads(json.dumps(page.as_json(), allow_nan=False))
        assert whole["summary"] == page.summary
        text = as_text(page)
        for option in whole["options"]:
            assert re.search(rf"^{re.escape(option['name'])} ", text, re.MULTILINE), (name, option["name"])
        for entries in whole["entries"].values():
            assert all(f"  {e['name']}" in text for e in entries)


def test_an_option_is_explained_with_the_default_of_the_signature() -> None:
    for kind, registry in KINDS.items():
        for name in filter(lambda n: ours(f"{kind}.{n}"), registry.names()):
            given = {o.name: o for o in explain(f"{kind}.{name}").options}
            for p in inspect.signature(registry[name]).parameters.values():
                if p.kind is p.KEYWORD_ONLY:
                    assert given[p.name].required == (p.default is p.empty)
                    assert given[p.name].required or given[p.name].default == p.default, f"{kind}.{name}.{p.name}"


def test_one_option_and_its_range_are_found_by_a_dotted_name() -> None:
    (option,) = explain("optimizer.adamw.lr").options
    assert (option.name, option.type, option.range) == ("lr", "number", "0 < x ≤ 1e+06")


def test_a_key_of_a_section_lists_who_has_it() -> None:
    having = {o.name for o in explain("optimizer.lr").options}
    assert {"adamw.lr", "sgd.lr"} <= having
    assert explain("lr").options == explain("optimizer.lr").options


def test_data_lists_split_options_sources_and_public_sets() -> None:
    page = explain("data")
    assert {o.name for o in page.options} == {
        p.name for p in inspect.signature(split_options).parameters.values() if p.kind is p.KEYWORD_ONLY
    }
    listed = {e.name for entries in (page.lists or {}).values() for e in entries}
    assert listed == {*KINDS["source"].names(), *KINDS["set"].names()}
    assert explain("data.valid").options[0].name == "valid"
    assert explain("data.table").options == explain("source.table").options


def test_a_key_of_the_recipe_is_explained() -> None:
    (option,) = explain("batch_size").options
    assert option.default == 64
    assert explain("recipe.batch_size").options == (option,)
    assert explain("epochs").options == explain("budget").options


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("optimizr", "optimizer"),
        ("optimizer.adamv", "optimizer.adam"),
        ("optimizer.adamw.weight_decai", "weight_decay"),
        ("batchsize", "batch_size"),
        ("data.vald", "data.valid"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_near_one(wrong: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{meant}"):
        explain(wrong)


@pytest.mark.parametrize(
    ("bare", "meant"),
    [
        ("adamw", "optimizer.adamw"), ("adamw.lr", "optimizer.adamw.lr"), ("resnet", "model.resnet"),
        ("he_normal", "init.kaiming_normal"), ("mixup", "task.mixup"), ("conv.kernel", "layer.conv.kernel"),
    ],
)  # fmt: skip
def test_a_name_is_found_without_its_kind(bare: str, meant: str) -> None:
    assert explain(bare).name == meant


def test_a_name_of_several_things_asks_which() -> None:
    with pytest.raises(UserError, match=r"'kernel' is the name of several things; ask for one of: .*layer\.kernel"):
        explain("kernel")


def test_a_name_that_is_near_nothing_lists_what_there_is_once() -> None:
    with pytest.raises(UserError) as caught:
        explain("qqqqqq")
    known = caught.value.instead.removeprefix("known: ").split(", ")
    assert "optimizer" in known
    assert len(known) == len(set(known))


@pytest.mark.parametrize("width", [40, 80, 140])
def test_a_terminal_of_any_width_shows_every_option_within_its_width(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    page = explain("optimizer.adamw")
    show(page)
    assert max(map(len, out.getvalue().splitlines())) <= width
    assert all(o.name in out.getvalue() for o in page.options)
    assert explain("optimizer").lists is not None
