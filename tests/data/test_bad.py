"""Bad samples are passed over within a budget: counted, named, never replaced, the same ones every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data.encoded import Listed, Numbers, One, everything
from trainwright.core.errors import BadSamplesError, DataError
from trainwright.core.rows import Column, Windows
from trainwright.data.bad import Bad, Skipped
from trainwright.data.encode import encode
from trainwright.data.part import Part

RECORDS: list[Any] = [(7 * i) % 301 for i in range(700)]
WRONG: dict[int, Any] = {3: "bad", 77: "bug", 78: "unreadable", 500: "bad", 699: "bug"}
BAD = [WRONG.get(i, n) for i, n in enumerate(RECORDS)]


def skipping(budget: float | int = 10, records: int = 700, **more: Any) -> Skipped:
    return Skipped(budget, records, **more)


@pytest.mark.parametrize(
    ("budget", "records", "allowed"),
    [(0.001, 100, 1), (0.001, 2999, 2), (0.1, 100, 10), (0.0, 100, 0), (0, 100, 0), (7, 3, 7)],
)
def test_a_share_allows_one_at_least_and_a_number_that_many(budget: float, records: int, allowed: int) -> None:
    assert Skipped(budget, records).allowed == allowed


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_records_are_passed_over_and_all_others_are_as_without_them(where: Any, workers: int) -> None:
    skipped = skipping()
    store = encode(Listed(BAD), Numbers(), where=where, workers=workers, skipped=skipped)
    whole = everything(encode(Listed(RECORDS), Numbers()))
    kept = [i for i in range(700) if i not in WRONG]
    assert skipped.ids() == sorted(WRONG) == list(store.gaps)
    assert {b.record: b.where for b in skipped.found.values()} == {
        **{i: f"list.csv, row {i + 1}" for i in (77, 78, 699)},
        **{i: f"list.csv, row {i + 1}, price" for i in (3, 500)},
    }
    assert "cannot be read: OSError" in skipped.found[78].what
    assert "cannot be encoded: ZeroDivisionError" in skipped.found[77].what
    rows = store.gather(torch.tensor(kept))
    assert rows.dense("n").tolist() == [whole["n"][i] for i in kept]
    assert rows.dense("square").tolist() == [whole["square"][i] for i in kept]
    assert rows.dense("text").tolist() == [whole["text"][i] for i in kept]
    assert rows.ragged("ones").lengths.tolist() == [whole["ones"][1][i] for i in kept]
    store.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_one_too_many_is_an_error_that_names_the_first_few(workers: int) -> None:
    with pytest.raises(BadSamplesError) as caught:
        encode(Listed(BAD), Numbers(), workers=workers, skipped=skipping(2))
    assert caught.value.exit_code == 76
    assert "3 of 700 samples are bad" in caught.value.what
    assert "list.csv, row 4, price: is not a number" in caught.value.what
    assert "bad_samples = 2" in caught.value.instead


def test_a_source_of_bad_records_alone_is_an_error() -> None:
    with pytest.raises(BadSamplesError):
        encode(Listed(["bad"] * 2000), Numbers(), skipped=skipping(0.01, 2000))


def test_a_whole_chunk_of_bad_records_leaves_a_gap() -> None:
    records = [*range(100), *["bad"] * 300, *range(100)]
    skipped = skipping(300, 500)
    store = encode(Listed(records), Numbers(), skipped=skipped)
    assert skipped.ids() == list(range(100, 400))
    assert store.gather(torch.arange(400, 500)).dense("n").tolist() == list(range(100))


def test_without_leave_the_first_bad_record_is_an_error_as_before() -> None:
    with pytest.raises(DataError, match=r"list\.csv, row 4, price") as caught:
        encode(Listed(BAD), Numbers())
    assert type(caught.value) is DataError


@pytest.mark.parametrize("first", [0, 5])
def test_a_record_without_a_target_is_bad_where_the_training_records_have_one(first: int) -> None:
    records = [*range(1, 50)]
    records[first] = -7  # which Numbers encodes without its square
    skipped = skipping(5, 49, like=[i for i in range(49) if i != first])
    store = encode(Listed(records), Numbers(), skipped=skipped)
    assert skipped.ids() == [first]
    assert "has no target 'square'" in skipped.found[first].what
    assert "square" in store.columns


def test_a_record_of_another_shape_is_bad_whichever_chunk_it_is_in() -> None:
    column = Column("dense", torch.float32, (2,))
    records = [torch.ones(2)] * 3 + [torch.ones(3)] + [torch.ones(2)] * 90 + [torch.ones(1)]
    skipped = skipping(2, 95)
    store = encode(Listed(records), One(column), skipped=skipped)
    assert skipped.ids() == [3, 94]
    assert "has the shape (3,) instead of (2,)" in skipped.found[3].what
    assert store.gather(torch.tensor([0, 4, 93])).dense("x").eq(1).all()


def test_the_cache_remembers_which_were_skipped(tmp_path: Path) -> None:
    again: list[list[Bad]] = []
    for _ in range(2):
        skipped, processor = skipping(), Numbers()
        store = encode(Listed(BAD), processor, cache=tmp_path, skipped=skipped)
        again.append(sorted(skipped.found.values(), key=lambda b: b.record))
        assert store.gaps == tuple(sorted(WRONG))
    assert again[0] == again[1]
    assert len(processor.asked) < 10  # the second time only probes were encoded


def test_a_cache_with_gaps_is_for_those_who_allow_them(tmp_path: Path) -> None:
    encode(Listed(BAD), Numbers(), cache=tmp_path, skipped=skipping())
    with pytest.raises(DataError, match="row 4"):
        encode(Listed(BAD), Numbers(), cache=tmp_path)
    with pytest.raises(BadSamplesError):
        encode(Listed(BAD), Numbers(), cache=tmp_path, skipped=skipping(4))


def test_those_an_earlier_attempt_skipped_are_skipped_again_and_no_others() -> None:
    skipped = skipping(known=[3, 77, 78, 500, 699, 12])
    encode(Listed(BAD), Numbers(), skipped=skipped)
    assert skipped.ids() == [3, 12, 77, 78, 500, 699]
    with pytest.raises(DataError, match="it was sound when this run began"):
        encode(Listed(BAD), Numbers(), skipped=skipping(known=[3, 77]))


def test_a_window_never_reaches_over_a_bad_record() -> None:
    windows = Windows(lead=2, length=3, stride=1)
    records: list[Any] = [torch.full((4,), float(i)) for i in range(6)]
    records[2] = "bad"

    class Rows(One):
        def encode(self, record: Any) -> Any:
            if isinstance(record["n"], str):
                raise DataError("x", "is damaged")
            return {"x": record["n"]}

    processor = Rows(Column("window", torch.float32), windows)
    skipped = skipping(1, 6)
    store = encode(Listed(records), processor, skipped=skipped)
    part = Part(store, torch.tensor([0, 1, 3, 4, 5]), windows, processor)
    found = part.rows(0, len(part)).dense("x")  # (S, lead + length)
    assert len(found) == (8 - 2 - 3 + 1) + (12 - 2 - 3 + 1)
    for row in found.tolist():
        assert (max(row) <= 1) or (min(row) >= 3)
