"""Memory that was freed, kept for the next step instead of given back to the system.

glibc returns large blocks to the system as soon as they are freed, so that each step of a training pays anew for the
same pages: the system clears them one by one at first touch. Kept, they cost nothing, and not a bit of any result
changes. Source: mallopt(3), M_MMAP_MAX and M_TRIM_THRESHOLD.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_TRIM, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # M_… of malloc.h
_NEVER = 2**31 - 1  # bytes; an int
_KEPT = ((_MMAP_MAX, 0), (_TRIM, _NEVER))
# What glibc comes to by itself where it has seen large blocks: its threshold moves up to 32 MB.
_USUAL = ((_MMAP_MAX, 65536), (_MMAP_THRESHOLD, 32 * 2**20), (_TRIM, 64 * 2**20))
_lock, _holders = threading.Lock(), 0


@contextmanager
def memory_kept(wanted: bool = True) -> Iterator[bool]:
    """Keep freed memory while inside, and give back at the end what is free then; yields whether it does.

    Nothing is done outside glibc, nor where the environment says how memory is to be kept, which is a person's choice,
    nor in a process whose address space is limited: there threads and files need what would be kept.

    Args:
        wanted: False does nothing.
    """
    library = _glibc() if wanted and not chosen(os.environ) else None
    library = None if library is not None and _limited() else library
    if library is None:
        yield False
        return
    _hold(library, 1)
    try:
        yield True
    finally:
        _hold(library, -1)


def give_back() -> None:
    """Memory ran out: what is free goes back to the system, now and from here on."""
    library = _glibc() if kept() else None
    if library is not None:
        for option, value in _USUAL:
            library.mallopt(option, value)
        library.malloc_trim(0)


def settle() -> None:
    """What is free goes back to the system, once: what was held before a training then does not lie beside it.

    Otherwise most of it would stay: blocks of a step seldom fit into the gaps that small ones leave between each other.
    """
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def kept() -> bool:
    """Whether freed memory is kept now."""
    return _holders > 0


def chosen(environment: Mapping[str, str]) -> str:
    """The variable by which a person chose an allocator or its settings; empty where none does."""
    named = next((name for name in environment if name.startswith("MALLOC_")), "")
    if not named and "glibc.malloc" in environment.get("GLIBC_TUNABLES", ""):
        named = "GLIBC_TUNABLES"
    preloaded = environment.get("LD_PRELOAD", "")
    return named or ("LD_PRELOAD" if "malloc" in preloaded else "")


def _hold(library: Any, more: int) -> None:
    """One more or one less who wants it: the first sets it, the last gives back."""
    global _holders
    with _lock:
        _holders += more
        if _holders == max(more, 0):
            for option, value in _KEPT if more > 0 else _USUAL:
                library.mallopt(option, value)
            if more < 0:
                library.malloc_trim(0)


def _limited() -> bool:
    """Whether the address space of this process has an end of its own."""
    import resource  # only where there is glibc

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _glibc() -> Any:
    """The C library of this process where it is glibc, else None."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
