"""Freed memory is kept for the next step, given back at the end, and a person's own choice is left alone."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from trainwright.engine import allocator
from trainwright.engine.allocator import chosen, memory_kept, settle

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


# In a process of its own, in which nobody has set anything yet.
COUNT = """
import resource, torch
from trainwright.engine.allocator import give_back, memory_kept

def faults():  # pages that taking and freeing large blocks again and again has cost
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16, 2**20)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with memory_kept(False) as kept:
    told = [kept, faults()]
with memory_kept() as kept:
    told += [kept, faults(), faults()]
    give_back()
    told += [faults()]
print(*told)
"""


@GLIBC
def test_kept_memory_is_not_paid_for_again_until_it_is_given_back() -> None:
    environment = {name: value for name, value in os.environ.items() if not chosen({name: value})}
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, env=environment, check=True)
    off, usual, on, first, again, after = done.stdout.split()
    assert (off, on) == ("False", "True")
    assert int(first) < int(usual)
    assert int(again) < int(usual) / 4
    assert int(after) > int(again)


# In a process of its own too: what other tests hold and free moves the same figure.
RESIDENT = """
import resource, torch
from trainwright.engine.allocator import memory_kept

def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

with memory_kept():
    torch.ones(64, 2**20)  # 256 MB
    held = resident()
print(held - resident())
"""


@GLIBC
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_is_given_back_at_the_end() -> None:
    environment = {name: value for name, value in os.environ.items() if not chosen({name: value})}
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout) > 200 * 2**20


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


def test_a_process_with_little_address_space_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    monkeypatch.setattr(allocator, "_glibc", lambda: fake)
    monkeypatch.setattr(allocator, "_limited", lambda: True)
    with memory_kept() as kept:
        assert not kept
    assert not fake.told


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    with memory_kept() as kept:
        assert not kept


def test_what_is_free_is_given_back_once_and_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    monkeypatch.setattr(allocator, "_glibc", lambda: fake)
    settle()
    assert fake.told == [(0,)]
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    settle()
