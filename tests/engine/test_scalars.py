"""Tensors of one number."""

from __future__ import annotations

import copy

import torch

from trainwright.engine.runtime import Runtime
from trainwright.engine.scalars import Scalars


def test_each_tensor_keeps_its_number() -> None:
    make = Scalars()
    made = [make(0.1 * i) for i in range(200)]
    made[3].fill_(7.0)
    assert [float(x) for x in made] == [7.0 if i == 3 else 0.1 * i for i in range(200)]
    assert {(x.dtype, x.shape) for x in made} == {(torch.float64, torch.Size([]))}


def test_a_copy_has_tensors_of_its_own() -> None:
    runtime = Runtime()
    runtime.scalar(1.0)
    other = copy.deepcopy(runtime)
    assert [float(other.scalar(2.0)), float(runtime.scalar(3.0)), float(other.scalar(4.0))] == [2.0, 3.0, 4.0]
