"""Names of other systems: each is translated in the open, or refused with a reason; nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from trainwright.core import aliases, foreign_values
from trainwright.core.aliases import ALIASES, GATHERED, REFUSED, WITHIN
from trainwright.core.config import RunConfig
from trainwright.core.errors import UserError
from trainwright.core.foreign_values import INITS, LOSSES, OPTIMIZERS, SCHEDULES
from trainwright.core.kinds import KINDS, inits, losses, optimizers, schedules
from trainwright.core.translate import translated
from trainwright.explain import explain
from trainwright.runs.recipe import read
from trainwright.runs.understood import understood

IRIS: dict[str, Any] = {"task": "tabular_classification", "data": {"source": "embedded", "set": "iris"}}


def recipe(**more: Any) -> Any:
    return read({**IRIS, **more}).config


def test_no_name_is_listed_twice_or_is_a_key_of_ours() -> None:
    assert len(ALIASES) == len(aliases._LISTED)
    names = [*ALIASES, *GATHERED, *REFUSED]
    assert len(names) == len(set(names))
    assert set(names) & set(RunConfig.model_fields) == set()


@pytest.mark.parametrize("name", [*ALIASES, *GATHERED, *REFUSED])
def test_every_name_leads_to_a_key_that_is_explained(name: str) -> None:
    page = explain(name)
    assert name in KINDS or f"`{name}`" in page.summary


@pytest.mark.parametrize("name", WITHIN)
def test_every_name_within_a_section_leads_to_an_option_that_something_has(name: str) -> None:
    for alias in WITHIN[name]:
        assert explain(alias.key).options, alias.key


@pytest.mark.parametrize(
    ("name", "value", "key", "meant"),
    [
        ("max_epochs", 5, "budget", "5 epochs"), ("num_train_epochs", 0.5, "budget", "0.5 epochs"),
        ("epochs", 3.0, "budget", "3 epochs"), ("max_steps", 500, "budget", "500 steps"),
        ("max_time", "00:12:00:00", "budget", "43200 seconds"), ("max_time", "00:30:00", "budget", "1800 seconds"),
        ("time", 1.5, "budget", "1.5 hours"), ("max_duration", "10ep", "budget", "10 epochs"),
        ("max_duration", "500ba", "budget", "500 steps"), ("batch", 16, "batch_size", 16),
        ("max_grad_norm", 1, "clip", 1.0), ("max_grad_norm", 0, "clip", "none"), ("clipnorm", 0.5, "clip", 0.5),
        ("bf16", True, "precision", "bfloat16"), ("amp", True, "precision", "float16"),
        ("mixed_precision", "bf16", "precision", "bfloat16"), ("num_workers", 2, "workers", 2),
        ("accelerator", "gpu", "device", "cuda"), ("devices", 2, "ranks", 2), ("random_state", 7, "seed", 7),
        ("check_val_every_n_epoch", 2, "eval_every", "2 epochs"), ("logging_steps", 5, "log_every", 5),
        ("val_check_interval", 0.25, "eval_every", "0.25 epochs"),
        ("val_check_interval", 100, "eval_every", "100 steps"), ("save_steps", 50, "save_every", "50 steps"),
        ("run_name", "mine", "name", "mine"), ("early_stopping_patience", 3, "patience", 3),
        ("metric_for_best_model", "eval_loss", "monitor", "loss"),
        ("min_delta", 0, "min_change", 0.0), ("clipvalue", 0.5, "clip_value", 0.5), ("ema_decay", 0.9, "ema", 0.9),
        ("kernel_initializer", "glorot_uniform", "init", {"name": "xavier_uniform"}),
        ("weights", "w.safetensors", "init_from", {"path": "w.safetensors"}),
    ],
)  # fmt: skip
def test_a_name_at_the_top_becomes_our_key_and_a_line_says_so(name: str, value: Any, key: str, meant: Any) -> None:
    found = read({**IRIS, name: value})
    assert found.config.model_dump()[key] == meant
    (line,) = found.said
    assert line.startswith((f"{name} is called {key} here", f"{name} = "))


def test_names_of_options_reach_their_section() -> None:
    found = read(
        {
            **IRIS,
            "learning_rate": 0.5,
            "wd": 0.1,
            "optim": "adamw_torch",
            "lr_scheduler_type": "CosineAnnealingLR",
            "warmup_ratio": 0.1,
            "valid_pct": 0.3,
            "test_size": 0.2,
            "label_smoothing": 0.1,
            "dropout": 0.2,
            "target": "species",
        }
    )
    assert (found.config.optimizer, found.config.schedule) == (
        {"name": "adamw", "lr": 0.5, "weight_decay": 0.1},
        {"name": "cosine", "warmup": 0.1},
    )
    assert (found.split["valid"], found.split["test"], found.model["dropout"]) == (0.3, 0.2, 0.2)
    assert found.task["loss"] == {"name": "cross_entropy", "label_smoothing": 0.1}
    assert found.task["target"] == "species"
    assert len(found.said) == 10


def test_names_within_a_section_are_translated_where_ours_is_there_and_theirs_is_not() -> None:
    config = recipe(optimizer={"name": "sgd", "learning_rate": 0.5, "wd": 0.1}, data={**IRIS["data"], "val": 0.3})
    assert config.optimizer == {"name": "sgd", "lr": 0.5, "weight_decay": 0.1}
    assert config.data["valid"] == 0.3
    assert recipe(optimizer={"name": "rmsprop", "alpha": 0.9}).optimizer["alpha"] == 0.9
    assert recipe(optimizer={"name": "rmsprop", "rho": 0.9}).optimizer["alpha"] == 0.9
    with pytest.raises(UserError, match=r"optimizer\.rho: unknown option"):
        recipe(optimizer={"name": "sgd", "rho": 0.9})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"precision": "bf16-mixed"}, ("precision", "bfloat16")), ({"precision": 32}, ("precision", "float32")),
        ({"precision": "16-mixed"}, ("precision", "float16")), ({"device": 0}, ("device", "cuda:0")),
        ({"device": "1"}, ("device", "cuda:1")), ({"optimizer": "AdamW"}, ("optimizer", {"name": "adamw"})),
        ({"init": "he_normal"}, ("init", {"name": "kaiming_normal"})),
        ({"optimizer": "NAG"}, ("optimizer", {"name": "nesterov"})),
        ({"schedule": "OneCycleLR"}, ("schedule", {"name": "one_cycle"})),
        ({"monitor": "val_loss"}, ("monitor", "loss")), ({"monitor": "val_acc"}, ("monitor", "accuracy")),
    ],
)  # fmt: skip
def test_values_of_our_own_keys_as_others_write_them(written: dict[str, Any], meant: tuple[str, Any]) -> None:
    found = read({**IRIS, **written})
    assert found.config.model_dump()[meant[0]] == meant[1]
    assert len(found.said) == 1


@pytest.mark.parametrize(
    ("table", "registry"), [(OPTIMIZERS, optimizers), (SCHEDULES, schedules), (INITS, inits)], ids=lambda x: ""
)
def test_no_name_of_ours_is_taken_for_another(table: dict[str, tuple[str, ...]], registry: Any) -> None:
    assert table.keys() <= set(registry.names())
    assert not {other for others in table.values() for other in others} & set(registry.names())


def test_a_model_named_with_its_depth_is_one_of_ours() -> None:
    whole, said = understood({"model": "resnet18"}, {})
    assert whole == {"model": {"name": "resnet", "depth": 18}}
    assert len(said) == 1


def test_batches_added_up_are_a_larger_batch_in_micro_batches() -> None:
    config = recipe(batch_size=8, accumulate_grad_batches=4)
    assert (config.batch_size, config.micro_batch) == (32, 8)
    config = recipe(batch=16, nbs=64)
    assert (config.batch_size, config.micro_batch) == (64, 16)
    config = recipe(batch_size=8, gradient_accumulation_steps=1)
    assert (config.batch_size, config.micro_batch) == (8, "all")
    changed = read({**IRIS, "batch_size": 8}, {"grad_accum": 2}).config
    assert (changed.batch_size, changed.micro_batch) == (16, 8)
    with pytest.raises(UserError, match="multiplies a batch_size that the recipe does not give"):
        recipe(accumulate_grad_batches=4)
    with pytest.raises(UserError, match="contradicts micro_batch"):
        recipe(batch_size=8, micro_batch=2, accumulate_grad_batches=4)
    with pytest.raises(UserError, match="is not a number of batches"):
        recipe(batch_size=8, accumulate_grad_batches="auto")


@pytest.mark.parametrize(
    "given",
    [
        {"epochs": 5, "max_steps": 100}, {"learning_rate": 0.1, "lr": 0.2}, {"budget": "5 epochs", "max_epochs": 6},
        {"fp16": True, "bf16": True}, {"lr": 0.1, "optimizer": {"name": "sgd", "lr": 0.2}},
        {"optim": "sgd", "optimizer": "adamw"}, {"optimizer": {"lr": 0.1, "learning_rate": 0.2}},
        {"valid_pct": 0.1, "data": {**IRIS["data"], "valid": 0.2}},
        {"dropout": 0.1, "model": {"dropout": 0.2}},
    ],
)  # fmt: skip
def test_two_that_contradict_are_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="contradicts"):
        recipe(**given)


def test_two_that_agree_are_none() -> None:
    assert recipe(lr=0.1, learning_rate=0.1, optimizer={"lr": 0.1}).optimizer == {"name": "adamw", "lr": 0.1}


def test_a_change_counts_more_than_the_recipe_whatever_either_is_called() -> None:
    for theirs, ours in [("learning_rate", "optimizer.lr"), ("optimizer.lr", "lr"), ("lr0", "optimizer.learning_rate")]:
        given = {**IRIS, "optimizer": {"learning_rate": 0.5}} if "." in theirs else {**IRIS, theirs: 0.5}
        assert read(given, {ours: 0.25}).config.optimizer["lr"] == 0.25
    with pytest.raises(UserError, match="contradicts"):
        read(IRIS, {"lr": 0.1, "learning_rate": 0.2})


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_without_a_counterpart_is_refused_with_what_to_write(name: str) -> None:
    what, instead = REFUSED[name]
    with pytest.raises(UserError) as caught:
        recipe(**{name: 1})
    assert (caught.value.where, caught.value.what, caught.value.instead) == (name, what, instead)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_epochs": "many"}, "max_epochs: 'many' is not a number of epochs"),
        ({"max_time": "noon"}, "max_time: 'noon' is no time"),
        ({"max_duration": "10"}, "max_duration: '10' is no duration"),
        ({"device": "0,1"}, 'device = "cuda" and ranks = 2'),
        ({"device": [0, 1, 2]}, "names 3 devices"),
        ({"freeze": 10}, "freeze: 10 layers have no names here"),
        ({"pretrained": True}, "pretrained: there are no weights that come with a model"),
        ({"learning_rat": 1}, "learning_rat: unknown option"),
        ({"mixed_precision": "int8"}, "precision: 'int8' is not valid"),
    ],
)
def test_a_value_that_means_nothing_is_an_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        recipe(**given)
    assert message in str(caught.value)


def test_a_recipe_in_our_words_is_left_as_it_is() -> None:
    whole = read(IRIS).written()
    again = read(whole)
    assert again.written() == whole
    assert again.said == ()
    assert translated(whole, RunConfig.model_fields) == (whole, [])


@pytest.mark.parametrize(
    ("key", "spec", "ours"),
    [
        ("optimizer", {"name": "AdamW", "lr": 0.5}, "adamw"),
        ("schedule", {"name": "StepLR", "step_size": 5, "gamma": 0.5}, "step"),
        ("init", {"name": "he_normal"}, "kaiming_normal"),
    ],
)
def test_a_name_within_a_spec_is_translated_as_a_bare_name_is(key: str, spec: dict[str, Any], ours: str) -> None:
    found = recipe(**{key: spec}).model_dump()[key]
    assert found["name"] == recipe(**{key: spec["name"]}).model_dump()[key]["name"] == ours
    changed = read(IRIS, {f"{key}.name": spec["name"]}).config.model_dump()[key]
    assert changed["name"] == ours


def test_an_amount_that_others_count_in_epochs_is_never_taken_for_steps_in_silence() -> None:
    with pytest.raises(UserError, match=r"schedule\.warmup_epochs: a warm-up is counted in steps here"):
        recipe(schedule={"name": "cosine", "warmup_epochs": 3})
    with pytest.raises(UserError, match=r"schedule\.mode: follows from what is monitored"):
        recipe(schedule={"name": "ReduceLROnPlateau", "mode": "max"})
    said = read({**IRIS, "schedule": {"name": "StepLR", "step_size": 30}}).said
    assert any("schedule.every here; 1 or more counts optimizer steps, not epochs" in line for line in said)


@pytest.mark.parametrize("name", [theirs for names in LOSSES.values() for theirs in names])
def test_a_loss_of_others_is_ours_wherever_it_is_written(name: str) -> None:
    ours = next(n for n, theirs in LOSSES.items() if name in theirs)
    assert ours in losses
    written = [
        {"loss": name},
        {"task": {"name": "tabular_classification", "loss": name}},
        {"task": {"name": "tabular_classification", "loss": {"name": name}}},
        {"task.loss": name},
    ]
    for given in written:
        whole, said = understood({**IRIS, **{k: v for k, v in given.items() if "." not in k}}, {})
        if "task.loss" in given:
            whole, said = understood(IRIS, given)
        task = whole["task"]
        assert task["loss"] in (ours, {"name": ours})
        assert any(name in line for line in said)


@pytest.mark.parametrize(("kind", "table"), foreign_values._ELSEWHERE.items())
def test_a_name_of_others_that_is_not_translated_is_told_in_the_message(kind: str, table: Any) -> None:
    for ours, theirs in table.items():
        assert ours in KINDS[kind]
        for name in theirs:
            if name not in KINDS[kind]:
                with pytest.raises(UserError, match=f"no {kind} is named .*; it is called '{ours}' here"):
                    KINDS[kind][name.upper()]
