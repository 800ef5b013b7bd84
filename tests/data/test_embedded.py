from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from trainwright.data.embedded import Embedded


def test_digits_are_images_of_published_pixels() -> None:
    source = Embedded()
    assert len(source) == 1797
    pixels = np.stack(list(source.values("image")))
    assert pixels.shape == (1797, 8, 8)
    assert pixels.dtype == np.uint8
    assert (pixels.min(), pixels.max()) == (0, 16)
    assert set(source.values("label")) == set(range(10))


Name = Literal["iris", "wine", "breast_cancer"]


@pytest.mark.parametrize(
    ("name", "records", "columns", "classes"),
    [
        ("iris", 150, 4, {"setosa", "versicolor", "virginica"}),
        ("wine", 178, 13, {"class_0", "class_1", "class_2"}),
        ("breast_cancer", 569, 30, {"malignant", "benign"}),
    ],
)
def test_tables_have_named_columns_and_classes(name: Name, records: int, columns: int, classes: set[str]) -> None:
    source = Embedded(set=name)
    assert (len(source), len(source.fields())) == (records, columns + 1)
    assert set(source.values("target")) == classes
    assert all(type(v) is float for k, v in source[0].items() if k != "target")


def test_diabetes_is_as_measured() -> None:
    source = Embedded(set="diabetes")
    assert len(source) == 442
    assert source[0]["age"] == 59.0
    assert source[0]["target"] == 151.0


def test_the_sets_have_fingerprints_of_their_own() -> None:
    names: list[Literal["digits", "iris", "wine", "diabetes"]] = ["digits", "iris", "wine", "diabetes"]
    assert len({Embedded(set=n).fingerprint() for n in names}) == 4
