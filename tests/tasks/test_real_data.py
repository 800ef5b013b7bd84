"""Real tables and images: roles as a person would give them, and networks above their linear baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.core.kinds import tasks
from trainwright.data.table import Table

pytestmark = pytest.mark.data

TABLES: list[tuple[str, str, str, set[str], set[str], set[str]]] = [
    (
        "titanic/train.csv",
        "tabular_classification",
        "Survived",
        {"Pclass", "Age", "SibSp", "Parch", "Fare"},
        {"Sex", "Embarked"},
        {"PassengerId", "Name", "Ticket", "Cabin"},
    ),
    (
        "telco_churn/telco-customer-churn-by-IBM.csv",
        "tabular_classification",
        "Churn",
        {"SeniorCitizen", "tenure", "MonthlyCharges", "TotalCharges"},
        {"gender", "Partner", "Dependents", "PhoneService", "MultipleLines", "InternetService", "OnlineSecurity"}
        | {"OnlineBackup", "DeviceProtection", "TechSupport", "StreamingTV", "StreamingMovies", "Contract"}
        | {"PaperlessBilling", "PaymentMethod"},
        {"customerID"},
    ),
    (
        "california_housing/housing.csv",
        "tabular_regression",
        "median_house_value",
        {"longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population", "households"}
        | {"median_income"},
        {"ocean_proximity"},
        set(),
    ),
]


@pytest.mark.parametrize(
    ("file", "task", "target", "numbers", "categories", "left"), TABLES, ids=[t[0] for t in TABLES]
)
def test_columns_find_the_roles_a_person_would_give_them(
    real_data: Path, file: str, task: str, target: str, numbers: set[str], categories: set[str], left: set[str]
) -> None:
    source = Table(path=str(real_data / file))
    made: Any = tasks[task](target=target)
    made.processor.fit(source[i] for i in range(len(source)))
    inputs = made.processor.inputs
    assert {n.name for n in inputs.numbers} == numbers
    assert {c.name for c in inputs.categories} == categories
    assert {note.split("'")[1] for note in inputs.notes} == left


def recipe(real_data: Path, file: str, **more: Any) -> dict[str, Any]:
    return {
        "data": {"source": "table", "path": str(real_data / file), "valid": 0.1, "test": 0.2},
        "model": "mlp",
        "optimizer": {"name": "adamw", "lr": 2e-3},
        "schedule": "cosine",
        "batch_size": 256,
        **more,
    }


def test_the_mlp_is_above_the_linear_baseline_on_california_housing(real_data: Path, tmp_path: Path) -> None:
    task = {"name": "tabular_regression", "target": "median_house_value"}
    asked = recipe(real_data, "california_housing/housing.csv", task=task, budget="4 epochs")
    run = tw.train(asked, out=tmp_path / "run", quiet=True)
    assert run.metrics["test/rmse"] < 0.85 * run.baselines["linear"]["rmse"] < run.baselines["constant"]["rmse"]


def test_the_mlp_is_above_the_linear_baseline_on_adult(real_data: Path, tmp_path: Path) -> None:
    task = {"name": "tabular_classification", "target": "income"}
    own_test = {"data.test": str(real_data / "adult/adult_test.csv")}
    asked = recipe(real_data, "adult/adult_train.csv", task=task, budget="4 epochs")
    run = tw.train(asked, own_test, out=tmp_path / "run", quiet=True)
    linear = run.baselines["linear"]
    assert run.metrics["test/accuracy"] > linear["accuracy"] > run.baselines["constant"]["accuracy"] + 0.05
    assert run.metrics["test/auroc"] > linear["auroc"]


def test_photos_of_all_sizes_are_learned_from_a_folder(real_data: Path, tmp_path: Path) -> None:
    run = tw.train(
        {
            "task": {"name": "image_classification", "size": 32},
            "data": {"source": "folder", "path": str(real_data / "clothing_subset/clothing_subset.zip")},
            "model": "cnn",
            "schedule": "cosine",
            "batch_size": 32,
            "budget": "4 epochs",
        },
        out=tmp_path / "run",
        quiet=True,
    )
    assert run.metrics["test/accuracy"] > run.baselines["constant"]["accuracy"] + 0.1
