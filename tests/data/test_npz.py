from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainwright.core.errors import DataError
from trainwright.data.npz import Npz

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.array([0, 1, 2, 0, 1, 2])


def npz(at: Path, options: Any = None, **arrays: Any) -> Npz:
    np.savez(at / "a.npz", **arrays)
    return Npz(path=str(at / "a.npz"), **(options or {}))


@pytest.mark.parametrize(
    "names",
    [
        {"x_train": "train", "x_test": "test", "y_train": "train", "y_test": "test"},
        {"X_train": "train", "X_val": "valid", "y_train": "train", "y_val": "valid"},
        {"train_images": "train", "test_images": "test", "train_labels": "train", "test_labels": "test"},
        {"xtrain": "train", "xtest": "test", "ytrain": "train", "ytest": "test"},
    ],
)
def test_arrays_named_after_parts_are_parts(tmp_path: Path, names: dict[str, str]) -> None:
    rows = {"train": slice(0, 4), "valid": slice(4, 6), "test": slice(4, 6)}
    inputs = {n: X[rows[p]] for n, p in names.items() if not n.startswith("y") and "labels" not in n}
    labels = {n: Y[rows[p]] for n, p in names.items() if n not in inputs}
    source = npz(tmp_path, **inputs, **labels)
    other = "valid" if "valid" in names.values() else "test"
    assert source.parts() == {"train": range(4), other: range(4, 6)}
    assert np.array_equal(np.stack(list(source.values("x"))), X)
    assert source.values("y") == Y.tolist()
    assert source.where(5) == f"a.npz, row 1 of {other}"


@pytest.mark.parametrize(("x", "y"), [("X", "y"), ("data", "target"), ("features", "labels")])
def test_usual_names_are_found(tmp_path: Path, x: str, y: str) -> None:
    source = npz(tmp_path, **{x: X, y: Y, "other": np.zeros(2)})
    assert source.parts() == {}
    assert source[1]["x"].tolist() == X[1].tolist()
    assert source[1]["y"] == 1
    assert type(source[1]["y"]) is int


def test_other_names_can_be_told(tmp_path: Path) -> None:
    source = npz(tmp_path, {"x": "Spectra", "y": "dose"}, Spectra=X, dose=Y / 2)
    assert source[1]["y"] == 0.5
    assert npz(tmp_path, {"x": "Spectra"}, Spectra=X, dose=Y).fields() == ["x"]


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 8, 8, 3), (6, 8, 8, 1), (6, 3, 8, 8), (6, 1, 8, 8)])
def test_bytes_of_three_or_four_dimensions_are_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    source = npz(tmp_path, x=images, y=Y)
    last = images.transpose(0, 2, 3, 1) if shape[1] in (1, 3) else images
    assert np.array_equal(source[2]["image"], last[2])
    assert source[2]["label"] == 2


def test_floating_images_are_numbers(tmp_path: Path) -> None:
    assert npz(tmp_path, x=np.zeros((6, 8, 8), np.float32), y=Y).fields() == ["x", "y"]


def test_class_names_name_the_labels(tmp_path: Path) -> None:
    source = npz(tmp_path, x=X, y=Y[:, None], class_names=np.array(["ash", "oak", "elm"]))
    assert source.values("y") == ["ash", "oak", "elm"] * 2


def test_rows_can_be_columns(tmp_path: Path) -> None:
    source = npz(tmp_path, {"rows": "columns"}, x=X, y=Y)
    assert source[1] == {"x_1": X[1, 0], "x_2": X[1, 1], "x_3": X[1, 2], "y": 1}
    assert source.values("x_2") == X[:, 1].tolist()
    named = npz(tmp_path, {"rows": "columns"}, x=X, y=Y, feature_names=["a", "b", "c"])
    assert named.fields() == ["a", "b", "c", "y"]


def test_labels_of_several_numbers_are_rows(tmp_path: Path) -> None:
    source = npz(tmp_path, x=X, y=X[:, :2])
    assert source[3]["y"].tolist() == X[3, :2].tolist()


MISTAKES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"a": X}, {}, r"no x and y among its arrays \(a \(6, 3\)\)"),
    ({"x": X, "y": Y}, {"x": "z"}, r"data\.x: a\.npz has no array 'z'"),
    ({"x": X, "y": Y}, {"x": "x", "y": "z"}, r"data\.y: a\.npz has no array 'z'"),
    ({"x": X, "y": Y}, {"y": "y"}, r"data\.y: names the labels"),
    ({"x": X, "y": Y[:5]}, {}, "6 inputs and 5 labels"),
    ({"x_train": X, "x_test": X, "y_train": Y}, {}, "test have no 'y'"),
    ({"x_train": X, "x_test": X[:, :2], "y_train": Y, "y_test": Y}, {}, "the parts do not fit together"),
    ({"x": X[:0], "y": Y[:0]}, {}, "are empty"),
    ({"x": np.array([None, {}]), "y": Y[:2]}, {}, "holds objects"),
    ({"x": X, "y": Y, "class_names": ["a", "b"]}, {}, "labels run from 0 to 2, but class_names has 2"),
    ({"x": X, "y": Y, "feature_names": ["a", "b"]}, {"rows": "columns"}, "3 columns need as many"),
    ({"x": X, "y": Y, "class_names": "abc"}, {}, "labels run from 0 to 2, but class_names has 1"),
    ({"x": X, "y": Y, "feature_names": list("abcc")}, {"rows": "columns"}, "3 columns need as many different"),
    ({"x": X, "y": Y, "feature_names": "abc"}, {"rows": "columns"}, "3 columns need as many different"),
    ({"x": X.reshape(6, 3, 1), "y": Y}, {"rows": "columns"}, r"data\.rows"),
    ({"x": X.astype("datetime64[s]"), "y": Y}, {}, "is of type datetime64"),
]


@pytest.mark.parametrize(("arrays", "options", "message"), MISTAKES)
def test_a_mistake_gives_one_message(
    tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        npz(tmp_path, options, **arrays)


@pytest.mark.parametrize("order", "<>")
def test_text_of_numbers_that_are_no_characters_is_refused(order: str, tmp_path: Path) -> None:
    labels = np.array(["a", "b"] * 3, dtype=f"{order}U1")
    assert npz(tmp_path, x=X, y=labels)[1]["y"] == "b"
    labels.view(f"{order}u4")[1] = 0x110000
    with pytest.raises(DataError, match=r"a\.npz: cannot be read \(its text holds numbers that are no characters\)"):
        npz(tmp_path, x=X, y=labels)


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "cut.npz", x=X, y=Y)
    data = bytearray((tmp_path / "cut.npz").read_bytes())
    data[200:210] = bytes(10)
    (tmp_path / "cut.npz").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "no.npz", "w") as file:
        file.writestr("a.txt", "x")
    for name in ("one.npy", "text.npz", "cut.npz", "no.npz"):
        with pytest.raises(DataError, match=name):
            Npz(path=str(tmp_path / name))
    with pytest.raises(DataError, match="is a folder"):
        Npz(path=str(tmp_path))


@pytest.mark.data
def test_the_real_images_have_their_classes(real_data: Path) -> None:
    source = Npz(path=str(real_data / "cifar10_subset/cifar10_10k_2k.npz"))
    assert {p: len(ids) for p, ids in source.parts().items()} == {"train": 10000, "test": 2000}
    labels = source.values("label")
    assert {labels[:10000].count(c) for c in set(labels)} == {1000}
    assert {"airplane", "truck"} < set(labels)
    assert source[0]["image"].shape == (32, 32, 3)


@pytest.mark.data
@pytest.mark.parametrize(("name", "shape", "odd"), [("23_mammography", (11183, 6), 260), ("38_thyroid", (3772, 6), 93)])
def test_the_real_anomalies_are_as_many_as_published(
    real_data: Path, name: str, shape: tuple[int, int], odd: int
) -> None:
    source = Npz(path=str(real_data / f"adbench_anomaly/{name}.npz"))
    assert (len(source), len(source[0]["x"])) == shape
    assert sum(source.values("y")) == odd
