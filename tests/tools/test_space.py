"""A space is what it says, taken from signatures where only keys are named; nonsense is one clear error."""

from __future__ import annotations

from typing import Any

import pytest

from trainwright.core.errors import UserError
from trainwright.runs.recipe import plain, read
from trainwright.tools.space import Space, applies, asked_space, changes_of, own_values, read_space, text_of

RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris"},
    "model": {"name": "mlp", "width": 8},
    "optimizer": {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.99]},
}


def space(*texts: str, table: Any = None, fixed: Any = None, recipe: Any = RECIPE) -> Space:
    return read_space(asked_space(texts, table, fixed or {}), read(recipe), plain(read(recipe).config.model_dump()))


def test_a_range_is_read_as_it_is_written() -> None:
    found = space("optimizer.lr=1e-5..1e-1:log", "model.depth=2..6", "optimizer.name=adamw,sgd", "batch_size=16,32")
    assert list(found) == ["optimizer.name", "optimizer.lr", "model.depth", "batch_size"]  # names come first
    assert [text_of(r) for r in found.values()] == [
        "optimizer.name=adamw,sgd", "optimizer.lr=1e-05..0.1:log", "model.depth=2..6", "batch_size=16,32",
    ]  # fmt: skip
    assert (found["model.depth"].whole, found["optimizer.lr"].whole) == (True, False)
    assert found["batch_size"].choices == (16, 32)


def test_a_table_of_the_recipe_says_the_same() -> None:
    table = {
        "optimizer.lr": {"low": 1e-5, "high": 1e-1, "log": True},
        "optimizer": {"name": ["adamw", "sgd"]},  # as an unquoted dotted key of TOML is read
        "model": {"depth": "2..6"},
        "batch_size": [16, 32],
    }
    written = space("optimizer.lr=1e-5..1e-1:log", "optimizer.name=adamw,sgd", "model.depth=2..6", "batch_size=16,32")
    assert space(table=table) == written


def test_a_key_that_is_only_named_has_the_range_of_its_signature() -> None:
    found = space("optimizer.lr", "model.depth", "model.activation", "optimizer.decay_all", table=None)
    assert text_of(found["optimizer.lr"]) == "optimizer.lr=1e-05..1:log"
    assert text_of(found["model.depth"]) == "model.depth=1..6"
    assert "gelu" in (found["model.activation"].choices or ())
    assert found["optimizer.decay_all"].choices == (False, True)
    shares = space("nan_skips=1..4", "task.loss.label_smoothing", recipe={**RECIPE, "task": "tabular_classification"})
    assert shares["nan_skips"].whole


def test_both_ends_of_a_signature_are_a_range_and_an_excluded_end_is_kept_away_from() -> None:
    found = space("schedule.final", recipe={**RECIPE, "schedule": "cosine"})["schedule.final"]
    assert (found.low, found.high) == (0.0, 1.0)
    noise = space("ema", recipe=RECIPE)["ema"]
    assert (noise.low, noise.high) == (0.01, 0.99)


def test_whole_ends_of_an_option_with_fractions_have_all_of_them_between() -> None:
    found = space("schedule.final=0..1", recipe={**RECIPE, "schedule": "cosine"})["schedule.final"]
    assert not found.whole
    assert found.holds(0.25)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["optimizer.lrr=1e-3..1e-1"], "optimizer.lrr: unknown option; did you mean 'lr'?"),
        (["optimzer.lr=1e-3..1e-1"], "optimzer: unknown option"),
        (["optimizer.lr=0.1..0.01"], "optimizer.lr: the range 0.1..0.01 is empty"),
        (["optimizer.lr=0.1..0.1"], "optimizer.lr: the range 0.1..0.1 is empty"),
        (["optimizer.weight_decay=0..1:log"], "where no logarithm is; begin above 0, or leave :log out"),
        (["optimizer.lr=0..inf"], "optimizer.lr: 0..inf has no end"),
        (["optimizer.lr=1e-3..0.1:lg"], "'lg' says nothing of the range"),
        (["optimizer.lr=1e-3..big"], "optimizer.lr: 'big' is no number"),
        (["optimizer.lr=-1..1"], "optimizer.lr: -1"),
        (["model.depth=1..6:step=7"], "step 7 does not fit the range 1..6"),
        (["optimizer.lr="], "--space optimizer.lr=: names no key and range"),
        (["=1..2"], "names no key and range"),
        (["optimizer.lr=0.1"], "optimizer.lr: 0.1 alone is no choice"),
        (["optimizer.name=sgd,sgd"], "optimizer.name: names 'sgd' twice"),
        (["optimizer.name=sgd,adamm"], "no optimizer is named 'adamm'; did you mean 'adam'"),
        (["optimizer.name"], "optimizer.name: has too many names to try them all"),
        (["optimizer.lr=1..2", "optimizer.lr=2..3"], "optimizer.lr: is searched twice"),
        (["optimizer.momentum=0..0.9", "optimizer.name=adam,adamw"], "is an option of none of adam, adamw"),
        (["seed=1..9"], "seed: cannot be searched: it divides the data"),
        (["data.test=0.1..0.2"], "data.test: cannot be searched: trials on other data could not be compared"),
        (["task.target=a,b"], "task.target: cannot be searched: trials of other tasks could not be compared"),
        (["monitor=loss,accuracy"], "monitor: cannot be searched: it says what is sought"),
        (["model.dropout=[0.1, 0.2"], "is no list of TOML values"),
        (["budget"], "budget: its signature suggests no range"),
        ([], "space: is empty, so there is nothing to search"),
    ],
)  # fmt: skip
def test_nonsense_is_one_clear_error(texts: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        space(*texts)
    assert message in str(caught.value)


def test_a_key_that_the_same_command_sets_is_not_searched() -> None:
    for fixed in ("optimizer.lr", "optimizer"):
        with pytest.raises(UserError, match=r"is searched, and .* is set by the same command"):
            space("optimizer.lr=0.1..0.2", fixed={fixed: 1})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"optimizer.lr": {"low": 1.0}}, "high is missing, or no number"),
        ({"optimizer.lr": {"low": 1.0, "high": 2.0, "lgo": True}}, "optimizer.lr.lgo: unknown option of a range"),
        ({"optimizer.lr": 0.1}, "optimizer.lr: 0.1 is no range"),
        ({"optimizer.lr": {"low": 0.0, "high": 2.0, "log": True}}, "where no logarithm is"),
    ],
)
def test_nonsense_in_a_table_is_one_clear_error(table: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        space(table=table)
    assert message in str(caught.value)


def test_options_that_a_name_does_not_have_are_left_out_of_its_trials() -> None:
    found = space("optimizer.name=adamw,sgd", "optimizer.momentum=0..0.9", "optimizer.lr=1e-3..1e-1")
    assert not applies("optimizer.momentum", found, {"optimizer.name": "adamw"})
    assert applies("optimizer.momentum", found, {"optimizer.name": "sgd"})
    changes = changes_of(found, {"optimizer.name": "sgd", "optimizer.momentum": 0.5}, RECIPE)
    whole = read(RECIPE, changes)  # the recipe's betas are none of SGD's
    assert whole.config.optimizer == {"name": "sgd", "lr": 1e-3, "momentum": 0.5}
    kept = changes_of(found, {"optimizer.name": "adamw"}, RECIPE)
    assert read(RECIPE, kept).config.optimizer["betas"] == [0.9, 0.99]


def test_what_the_recipe_says_is_tried_where_it_lies_in_the_space() -> None:
    found = space("optimizer.lr=1e-5..1e-1:log", "model.depth=1..3", "optimizer.name=adamw,sgd")
    assert own_values(found, read(RECIPE)) == {"optimizer.name": "adamw", "optimizer.lr": 1e-3, "model.depth": 2}
    assert own_values(space("optimizer.lr=1e-2..1e-1"), read(RECIPE)) is None


def test_a_grid_counts_its_values_or_says_that_it_cannot() -> None:
    found = space("model.depth=1..6:step=2", "optimizer.lr=1e-4..1e-2:log:points=3", "batch_size=16,32")
    assert found["model.depth"].grid() == [1, 3, 5]
    assert found["optimizer.lr"].grid() == pytest.approx([1e-4, 1e-3, 1e-2])
    assert found["batch_size"].grid() == [16, 32]
    with pytest.raises(UserError, match="has no end of values, and a grid needs some"):
        space("optimizer.lr=1e-4..1e-2")["optimizer.lr"].grid()
