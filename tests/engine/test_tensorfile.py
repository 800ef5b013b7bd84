"""What is written is a safetensors file like those of the library, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save

from trainwright.engine.tensorfile import pieces

KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8]


def content() -> dict[str, torch.Tensor]:
    made = {str(kind): torch.arange(3 * 5).reshape(3, 5).to(kind) for kind in [*KINDS, torch.uint8]}
    odd = {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 4), "yes": torch.tensor([True, False, True])}
    return {**made, **odd, "large": torch.randn(400, 100), "ünïcode \" name": torch.ones(1)}  # fmt: skip


def test_the_library_reads_it_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = content()
    (tmp_path / "file").write_bytes(b"".join(pieces(tensors)))
    read = load_file(tmp_path / "file")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[k], tensors[k]) and read[k].dtype == tensors[k].dtype for k in tensors)


@pytest.mark.parametrize("tensors", [content(), {}, {"a": torch.empty(0)}], ids=["all kinds", "none", "empty"])
def test_it_is_the_same_length_as_the_librarys_own(tensors: dict[str, torch.Tensor]) -> None:
    ours, theirs = b"".join(pieces(tensors)), save(tensors)
    assert abs(len(ours) - len(theirs)) <= 8 + 6 * sum(not k.isascii() for k in tensors) * 4
    assert load(ours).keys() == load(theirs).keys()


def test_large_tensors_are_not_copied_and_small_ones_are_joined() -> None:
    large = torch.randn(100_000)
    parts = list(pieces({"large": large, **{f"b{i}": torch.ones(4) for i in range(1000)}}))
    assert len(parts) == 3
    large.fill_(7.0)
    assert sum(isinstance(part, memoryview) for part in parts) == 1
    assert torch.equal(load(b"".join(parts))["large"], large)


def test_a_kind_that_is_rare_is_left_to_the_library() -> None:
    tensors = {"x": torch.ones(4).to(torch.float8_e4m3fn)}
    assert list(pieces(tensors)) == [save(tensors)]
