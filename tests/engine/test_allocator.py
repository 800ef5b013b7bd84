"""Freed memory is kept for the next step, given back at the end, and a person's own choice is left alone."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

import pytest
import torch

from trainwright.engine import allocator
from trainwright.engine.allocator import chosen, memory_kept

GLIBC = pytest.mark.skipif(allocator._glibc() is None, reason="another C library than glibc")


class Fake:
    """A C library that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, ...]] = []

    def mallopt(self, option: int, value: int) -> int:
        self.told.append((option, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.told.append((pad,))
        return 1


def faults() -> int:
    """Pages that this process had to be given so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def work() -> int:
    """Page faults of taking and freeing large blocks again and again."""
    before = faults()
    for _ in range(20):
        torch.ones(16, 2**20)  # 64 MB
    return faults() - before


@GLIBC
@pytest.mark.skipif(bool(chosen(os.environ)), reason="the environment chooses an allocator")
def test_kept_memory_is_not_paid_for_again() -> None:
    with memory_kept(False) as kept:
        usual = work()
    assert not kept
    with memory_kept() as kept:
        work()
        again = work()
    assert kept
    assert again < usual / 4, (usual, again)


@GLIBC
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_is_given_back_at_the_end() -> None:
    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    with memory_kept():
        torch.ones(64, 2**20)  # 256 MB
        held = resident()
    assert resident() < held - 200 * 2**20


def test_the_last_of_several_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    monkeypatch.setattr(allocator, "_glibc", lambda: fake)
    monkeypatch.setattr(allocator, "chosen", lambda _: "")
    with memory_kept():
        first = list(fake.told)
        with memory_kept():
            pass
        assert fake.told == first == [*allocator._KEPT]
    assert fake.told == [*allocator._KEPT, *allocator._USUAL, (0,)]


@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_ARENA_MAX": "2"},
        {"MALLOC_TRIM_THRESHOLD_": "1000"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=3"},
        {"LD_PRELOAD": "/usr/lib/libtcmalloc.so.4"},
    ],
)
def test_a_persons_choice_is_left_alone(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    monkeypatch.setattr(allocator, "_glibc", lambda: fake)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with memory_kept() as kept:
        assert not kept
    assert not fake.told


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    with memory_kept() as kept:
        assert not kept
