"""Records that lie in arrays are learned from and encoded many at a time, as one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trainwright.core.criterion import Criterion
from trainwright.core.errors import DataError
from trainwright.data.arrays import Arrays
from trainwright.data.encoder import Encoder
from trainwright.data.joined import Joined
from trainwright.data.plain import Fields, Meaning
from trainwright.data.source import Source
from trainwright.optim.losses import criterion_of

N = 40
DICE = np.random.default_rng(0)
X = DICE.standard_normal((N, 3)).astype(np.float32)
LABELS = np.arange(N) % 4


class OneByOne(Source):
    """The records of another source, which do not lie in arrays."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        return self.source[index]

    def fingerprint(self) -> str:
        return self.source.fingerprint()


def fields(meaning: Meaning) -> Fields:
    losses = {"classes": "cross_entropy", "binary": "binary_cross_entropy", "numbers": "mse"}
    made: Criterion = criterion_of(losses.get(meaning, "mse"), "loss")
    return Fields(("x",), ("y",), meaning, made)


SOUND: dict[str, tuple[Meaning, Any, Any]] = {
    "classes": ("classes", X, LABELS),
    "tensors": ("classes", torch.tensor(X), torch.tensor(LABELS)),
    "half tensors, small labels": ("classes", torch.tensor(X).bfloat16(), torch.tensor(LABELS).to(torch.uint8)),
    "float64, many labels each": ("classes", X.astype(np.float64), np.stack([LABELS, LABELS[::-1]], 1)),
    "labels in an array of one": ("classes", X, LABELS[:, None]),
    "yes and no": ("binary", X, LABELS > 1),
    "numbers": ("numbers", X[:, 0], X.astype(np.float64) / 3),
    "one number, whole inputs": ("numbers", LABELS, DICE.standard_normal(N)),
    "another order of bytes": ("numbers", X.astype(">f4"), X[:, ::-1]),
}


@pytest.mark.parametrize("given", list(SOUND.values()), ids=list(SOUND))
def test_what_is_learned_and_encoded_is_the_same_to_the_bit(given: tuple[Meaning, Any, Any]) -> None:
    meaning, x, y = given
    source = Joined({"train": Arrays({"x": x, "y": y}), "valid": Arrays({"x": x[:7], "y": y[:7]})})
    ids = [k * 7 % N for k in range(30)]  # of the training part, in an order of their own
    one, many = fields(meaning), fields(meaning)
    one.fit(source[i] for i in ids)
    blocks = [source.block(ids[:20]), source.block(ids[20:])]
    assert many.fit_blocks(b for b in blocks if b is not None)
    assert many.state_dict() == one.state_dict()
    slow, fast = Encoder(OneByOne(source), one), Encoder(source, many)
    assert fast.at_once(0, N) is not None
    for start, stop in ((0, N), (N, N + 7), (N - 3, N + 3)):  # the last of both parts
        wanted, found = (encoder.span(start, stop, 60.0)[1] for encoder in (slow, fast))
        assert list(found) == list(wanted)
        assert all(np.array_equal(found[name].data, wanted[name].data) for name in wanted)


def test_what_is_encoded_is_a_copy() -> None:
    x = X.copy()
    known = fields("classes")
    assert known.fit_blocks([{"x": x, "y": LABELS}])
    encoded = known.encode_block({"x": x, "y": LABELS})
    assert encoded is not None
    x[:] = 0
    assert torch.equal(encoded["x"], torch.tensor(X))


def broken(x: Any = X, y: Any = LABELS, at: int | None = None, value: Any = None) -> dict[str, Any]:
    x = x.copy()
    if at is not None:
        x[at, 1] = value
    return {"x": x, "y": y}


ODD: dict[str, tuple[Meaning, dict[str, Any]]] = {
    "NaN": ("classes", broken(at=17, value=np.nan)),
    "infinity": ("classes", broken(at=17, value=np.inf)),
    "a negative class": ("classes", broken(y=np.where(LABELS == 3, -1, LABELS))),
    "half a class": ("classes", broken(y=LABELS + 0.5)),
    "neither yes nor no": ("binary", broken(y=LABELS)),
    "a number of somebody": ("classes", broken(y=np.where(LABELS == 3, 2**40, LABELS))),
    "a huge number": ("classes", broken(y=np.where(LABELS == 3, 1e300, LABELS))),
}


@pytest.mark.parametrize("given", list(ODD.values()), ids=list(ODD))
def test_what_is_odd_is_left_to_who_can_name_the_record(given: tuple[Meaning, dict[str, Any]]) -> None:
    meaning, arrays = given
    source = Arrays(arrays)
    block = source.block(range(N))
    assert block is not None
    assert not fields(meaning).fit_blocks([block])
    with pytest.raises(DataError, match="training record"):
        fields(meaning).fit(source[i] for i in range(N))


UNLIKE = {
    "a class that training does not have": broken(y=LABELS + 4),
    "another shape": {"x": X[:, :2], "y": LABELS},
    "beyond float32": {"x": X.astype(np.float64) * 1e300, "y": LABELS},
    "not finite": broken(at=5, value=np.inf),
}


@pytest.mark.parametrize("arrays", list(UNLIKE.values()), ids=list(UNLIKE))
def test_what_is_unlike_the_training_records_is_told_by_its_record(arrays: dict[str, Any]) -> None:
    known = fields("classes")
    assert known.fit_blocks([{"x": X, "y": LABELS}])
    source = Arrays(arrays)
    block = source.block(range(N))
    assert block is not None
    assert known.encode_block(block) is None
    with pytest.raises(DataError, match=r"record \d+"):
        Encoder(source, known).span(0, N, 60.0)


def test_lists_and_texts_lie_in_no_arrays() -> None:
    assert Arrays({"x": X, "y": LABELS.tolist()}).block(range(3)) is None
    assert Arrays({"x": X, "y": LABELS.astype(str)}).block(range(3)) is None
    assert OneByOne(Arrays({"x": X})).block(range(3)) is None
