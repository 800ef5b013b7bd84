"""A step that went through a file is the same step, cell by cell, though no code of the network is at hand any more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.inside.test_inside_equals_torch import CASES, WHAT, looked
from trainwright.inside.again import revive
from trainwright.inside.told import cell_of
from trainwright.runs.inspect.captured import Captured, Stored, written
from trainwright.runs.inspect.taken import Taken


def through_a_file(taken: Taken, path: Path) -> Taken:
    path.write_bytes(b"".join(written([Captured(taken, {"said": "yes"})], {"step": 3})))
    stored = Stored(path)
    assert stored.facts["step"] == 3
    found = stored.read(0)
    assert found.told == {"said": "yes"}
    return found.taken


@pytest.mark.parametrize("name", CASES)
def test_every_number_and_its_arithmetic_is_that_of_the_step(name: str, tmp_path: Path) -> None:
    """The step itself equals torch's by the tests beside this file."""
    taken = looked(CASES[name])
    read = through_a_file(taken, tmp_path / "capture")
    number = {node.number: i for i, node in enumerate(taken.shown)}
    assert [(n.op, n.name, n.kind) for n in read.shown] == [(n.op, n.name, n.kind) for n in taken.shown]
    revive(read.graph)
    told = 0
    for old, new in zip(taken.shown, read.shown, strict=True):
        assert new.run is None or old.run is not None
        for what in WHAT:
            before, after = old.numbers(what), new.numbers(what)
            assert (before is None) == (after is None)
            if before is None or after is None:
                continue
            assert torch.equal(before.nan_to_num(), after.nan_to_num())
            for flat in {0, before.numel() // 2, before.numel() - 1}:
                a, b = cell_of(taken, old.number, flat, what), cell_of(read, new.number, flat, what)
                known = a["again"] == a["again"] and b["again"] == b["again"]
                assert b["agrees"] in (True, None)
                if not known:
                    continue
                told += 1
                assert b["again"] == pytest.approx(a["again"], rel=1e-5, abs=1e-7)
                assert (b["formula"], b["of"]) == (a["formula"], a["of"])
                cells = [[[number.get(n, -1), c] for n, c in t["cells"]] for t in a["terms"]]
                assert sorted(map(str, cells)) == sorted(str(t["cells"]) for t in b["terms"])
    assert told > 20


def test_what_no_name_tells_how_to_do_again_is_shown_without_arithmetic(tmp_path: Path) -> None:
    taken = looked(CASES["odd"])
    read = through_a_file(taken, tmp_path / "capture")
    revive(read.graph)
    unknown = [n for n in read.shown if n.kind == "value" and n.run is None]
    assert {n.op for n in unknown} == {"other:std", "other:pad"}
    reads = read.graph.nodes[unknown[0].operands[0].node]
    assert "where the network itself is at hand" in cell_of(read, reads.number, 0, "gradient")["formula"]


def test_an_operation_that_does_not_come_to_what_was_kept_is_not_done_again(tmp_path: Path) -> None:
    read = through_a_file(looked(CASES["mlp"]), tmp_path / "capture")
    (first, *_) = (n for n in read.shown if n.op == "linear")
    first.value = first.value + 1
    revive(read.graph)
    assert first.run is None
