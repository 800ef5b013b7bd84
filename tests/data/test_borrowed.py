"""Arrays of the right type are used where they lie; all others are encoded, and the values are the same either way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainwright.core.errors import DataError
from trainwright.data import borrowed as borrowing
from trainwright.data.arrays import Arrays
from trainwright.data.encode import encode
from trainwright.data.joined import Joined
from trainwright.data.joint import Joint
from trainwright.data.plain import Fields
from trainwright.data.store import Store
from trainwright.optim.losses import criterion_of

N = 90
X = np.random.default_rng(0).normal(size=(N, 4, 3)).astype(np.float32)
Y = np.arange(N) % 3


def stored(x: Any, y: Any, cache: Path | None = None) -> Store:
    fields = Fields(("x",), ("y",), "classes", criterion_of("cross_entropy"))
    source = Arrays({"x": x, "y": y})
    fields.fit(source[i] for i in range(N))
    return encode(source, fields, cache=cache)


def lies_in(values: torch.Tensor, array: np.ndarray[Any, Any]) -> bool:
    start = array.__array_interface__["data"][0]
    return start <= values.data_ptr() and values.data_ptr() + values.nbytes <= start + array.nbytes


def the_same(store: Store, x: Any, y: Any) -> bool:
    rows = store.gather(torch.arange(N))
    return np.array_equal(rows.dense("x").numpy(), x) and np.array_equal(rows.dense("y").numpy(), np.ravel(y))


@pytest.mark.parametrize("kind", ["array", "tensor", "file"])
def test_arrays_of_the_right_type_are_not_copied(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borrowing, "_CHUNK", 1000)  # several of them
    x: Any = X.copy()
    if kind == "file":
        np.save(tmp_path / "x.npy", X)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    y = Y.reshape(N, 1).copy()  # class numbers each in an array of its own
    store = stored(torch.from_numpy(x) if kind == "tensor" else x, y, tmp_path / "cache")
    assert store.borrowed == ("x", "y")
    assert lies_in(store._kept["x"].values, x)
    assert lies_in(store._kept["y"].values, y)
    assert store.mapped == (kind == "file")
    assert the_same(store, X, Y)
    assert not (tmp_path / "cache").exists(), "nor written down"


def test_a_batch_is_a_copy(tmp_path: Path) -> None:
    x = X.copy()
    store = stored(x, Y)
    for rows in (store.picked(torch.arange(N)), store.gather(torch.arange(N))):
        assert rows is not None
        rows.dense("x").zero_()
    assert np.array_equal(x, X)


def test_what_has_another_type_is_turned_into_that_where_it_is_the_smaller_part() -> None:
    x, y = X.copy(), Y.astype(np.int32)
    store = stored(x, y)
    assert store.borrowed == ("x",)
    assert lies_in(store._kept["x"].values, x)
    assert the_same(store, X, Y)
    assert list(store.columns) == ["x", "y"]


OTHERS: dict[str, Any] = {
    "of 64 bits": X.astype(np.float64),
    "of other rows": np.repeat(X, 2, 0)[::2],
    "column by column": np.asfortranarray(X),
    "backwards": X[::-1].copy()[::-1],
    "of the other byte order": X.astype(">f4"),
    "misaligned": np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape),
}


@pytest.mark.parametrize("x", list(OTHERS.values()), ids=list(OTHERS))
def test_what_lies_otherwise_is_encoded_as_ever(x: Any) -> None:
    store = stored(x, Y)
    assert store.borrowed == ()
    assert the_same(store, X, Y)


def test_parts_that_are_given_apart_are_used_where_each_lies() -> None:
    fields = Fields(("x",), ("y",), "classes", criterion_of("cross_entropy"))
    given = [{"x": X[a:b].copy(), "y": Y[a:b].astype(np.int32)} for a, b in ((0, 50), (50, 80), (80, N))]
    source = Joined({part: Arrays(some) for part, some in zip(("train", "valid", "test"), given, strict=True)})
    fields.fit(source[i] for i in range(50))
    store = encode(source, fields)
    assert store.borrowed == ("x",)
    values = store._kept["x"].values
    assert isinstance(values, Joint)
    assert all(lies_in(piece, some["x"]) for piece, some in zip(values.pieces, given, strict=True))
    assert store.nbytes == X.nbytes + Y.nbytes
    assert the_same(store, X, Y)
    for ids in ([3, 1, 1], [79, 50], [89, 0, 80, 49, 50], [], [N - 1]):
        for rows in (store.gather(torch.tensor(ids, dtype=torch.int64)), store.picked(torch.tensor(ids).long())):
            assert rows is not None
            assert np.array_equal(rows.dense("x").numpy(), X[ids])
            assert np.array_equal(rows.dense("y").numpy(), Y[ids])
    assert all(np.array_equal(store.raw("x", i), X[i].reshape(-1).view(np.uint8)) for i in (0, 49, 50, 79, 80, N - 1))
    given[2]["x"][:] = 0
    assert store.changed() == ["x"]
    own = store.on(torch.device("cpu"))
    assert own.borrowed == ()
    assert np.array_equal(own.gather(torch.arange(80)).dense("x").numpy(), X[:80])


def test_a_part_without_targets_is_encoded_as_ever() -> None:
    fields = Fields(("x",), ("y",), "classes", criterion_of("cross_entropy"))
    source = Joined({"train": Arrays({"x": X[:50], "y": Y[:50]}), "test": Arrays({"x": X[50:]})})
    fields.fit(source[i] for i in range(50))
    with pytest.raises(DataError, match="has no target 'y'"):
        encode(source, fields)


def test_a_record_that_cannot_be_used_is_named_all_the_same() -> None:
    y = Y.copy()
    fields = Fields(("x",), ("y",), "classes", criterion_of("cross_entropy"))
    source = Arrays({"x": X, "y": y})
    fields.fit(source[i] for i in range(N))
    y[70] = 3
    with pytest.raises(DataError, match=r"record 70.*the class 'y' is 3"):
        encode(source, fields)


@pytest.mark.parametrize("rows", [slice(0, N), slice(N - 1, N)])
def test_what_is_written_into_a_borrowed_array_is_seen_and_told_of(rows: slice) -> None:
    x = X.copy()
    store = stored(x, Y)
    assert store.changed() == []
    x[rows] += 1
    assert store.changed() == ["x"]
    assert the_same(store, x, Y)
    store.close()
    assert store.changed() == []


def test_bfloat16_is_not_turned_whole_to_see_whether_it_lies_right() -> None:
    x = torch.from_numpy(X).bfloat16()
    assert Arrays({"x": x, "y": Y}).arrays() == []
    store = stored(x, Y)
    assert store.borrowed == ()
    assert the_same(store, x.float().numpy(), Y)
