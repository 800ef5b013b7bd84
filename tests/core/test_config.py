from __future__ import annotations

import pytest

from trainwright.core.config import Budget, RunConfig, patched, read_recipe
from trainwright.core.errors import UserError

GOOD = {"task": "tabular_classification", "data": "digits"}


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [("10 epochs", 10, "epochs"), ("1 epoch", 1, "epochs"), ("0.5 epochs", 0.5, "epochs"), ("500 steps", 500, "steps"),
     ("30 minutes", 1800, "seconds"), ("1.5 hours", 5400, "seconds"), ("2e3 steps", 2000, "steps")],
)  # fmt: skip
def test_a_budget_is_read(text: str, amount: float, unit: str) -> None:
    assert Budget.read(text) == Budget(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["ten epochs", "10", "", "0 epochs", "1.5 steps", "10 fortnights", "-3 epochs"])
def test_a_bad_budget_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError) as raised:
        read_recipe({**GOOD, "budget": text})
    assert "budget" in str(raised.value)


def test_bare_names_stand_for_specs() -> None:
    config = read_recipe({**GOOD, "model": "mlp"})
    assert config.task == {"name": "tabular_classification"}
    assert config.data == {"source": "digits"}
    assert config.model == {"name": "mlp"}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"task": "x"}, "data: required"),
        ({**GOOD, "batch_size": 0}, "batch_size: 0 is out of range"),
        ({**GOOD, "batch_size": "al"}, "batch_size: 'al'"),
        ({**GOOD, "clip": -1.0}, "clip: -1.0 is out of range"),
        ({**GOOD, "batchsize": 3}, "did you mean 'batch_size'?"),
        ({**GOOD, "seed": "0"}, "0 without quotes"),
        ({**GOOD, "precision": "half"}, "precision"),
        ({**GOOD, "ranks": 0}, "ranks"),
        ({**GOOD, "task": 3}, "task"),
    ],
)
def test_a_mistake_names_its_key(recipe: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as raised:
        read_recipe(recipe)
    assert message in str(raised.value)


def test_a_patch_sets_dotted_keys_in_a_copy() -> None:
    before = {"optimizer": "sgd", "a": {"b": 1}}
    after = patched(before, {"optimizer.lr": 0.1, "a.c.d": 2, "data.path": "x"})
    assert after["optimizer"] == {"name": "sgd", "lr": 0.1}
    assert after["a"] == {"b": 1, "c": {"d": 2}}
    assert before == {"optimizer": "sgd", "a": {"b": 1}}


@pytest.mark.parametrize("key", ["", "a..b", "a.", "seed.x"])
def test_a_bad_key_is_refused(key: str) -> None:
    with pytest.raises(UserError):
        patched({"seed": 3}, {key: 1})


def test_every_field_of_a_recipe_is_described() -> None:
    assert [n for n, f in RunConfig.model_fields.items() if not f.description] == []
