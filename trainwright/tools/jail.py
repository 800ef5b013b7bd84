"""A process that can only compute: no files, no network, no other processes, little memory, little time.

Three fences, each alone enough for the usual attack: an audit hook that ends the process at whatever Python does beside
computing, limits of the system (no new file handle, no process, so much memory, time and output), and, on Linux, a
filter of system calls. Only the standard library is used.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import struct
import sys
from dataclasses import dataclass
from typing import Any

ESCAPED = 86  # the exit code of a process that tried to leave
_HARMLESS = (
    "object.__",
    "gc.",
    "array.__",
    "sys._getframe",
    "sys._current",
    "sys.unraisablehook",
    "cpython.",
    "builtins.id",
)
_ACTION_KILL, _ACTION_ALLOW, _ACTION_ERRNO = 0x80000000, 0x7FFF0000, 0x00050000  # linux/seccomp.h
_EACCES, _ENOSYS, _EPERM = 13, 38, 1
_CLONE_THREAD = 0x00010000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # prctl
_LOAD, _EQUAL, _SET, _RETURN = 0x20, 0x15, 0x45, 0x06  # classic BPF: ld [k], jeq, jset, ret


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of system calls, as the kernel's tables have them."""

    audit: int
    killed: tuple[int, ...]  # network, programs, other processes
    refused: tuple[int, ...]  # files and folders: libraries look at some by themselves, and go on without
    clone: int


# arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. Killed: socket, connect, accept, sendto,
# sendmsg, bind, listen, socketpair, accept4, sendmmsg, fork, vfork, execve, execveat, ptrace, process_vm_writev, kill,
# io_uring_setup, bpf, unshare, mount, setns, memfd_create. Refused: open*, creat, rename*, mkdir*, rmdir, link*,
# unlink*, symlink*, chmod*, chown*, truncate, mknod*. Of clone only threads are left, and clone3 is not there.
_X86 = _Machine(
    0xC000003E,
    (41, 42, 43, 44, 46, 49, 50, 53, 288, 307, 57, 58, 59, 322, 101, 311, 62, 425, 321, 272, 165, 308, 319),
    (2, 85, 257, 437, 82, 264, 316, 83, 258, 84, 86, 265, 87, 263, 88, 266, 90, 91, 268, 92, 93, 94, 260, 76, 133)
    + (259,),
    56,
)
_ARM = _Machine(
    0xC00000B7,
    (198, 203, 202, 206, 211, 200, 201, 199, 242, 269, 221, 281, 117, 271, 129, 425, 280, 97, 40, 268, 279),
    (56, 437, 38, 276, 34, 37, 35, 36, 52, 53, 54, 55, 45, 33),
    220,
)
_CLONE3 = 435


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]


def confine(report: int, *, memory: int, seconds: int, output: int) -> list[str]:
    """Close this process in, for good; the fences that this system has.

    Args:
        report: an open file handle, told as JSON what was tried by whoever tries to leave.
        memory: bytes that may be allocated beside what is.
        seconds: of processor time beside what was used.
        output: bytes that any file may have.
    """
    fences = ["audit hook", *_limits(memory, seconds, output)]
    if _filter():
        fences.append("system call filter")
    _watch(report)
    return fences


def _limits(memory: int, seconds: int, output: int) -> list[str]:
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": output,
        "RLIMIT_CPU": int(used.ru_utime + used.ru_stime) + 1 + seconds,
        "RLIMIT_NPROC": 0,
        "RLIMIT_NOFILE": 0,  # those that are open stay so
    }
    if (taken := _taken()) is not None:
        wanted["RLIMIT_AS"] = taken + memory
    for name, amount in wanted.items():
        number = getattr(resource, name)
        _, most = resource.getrlimit(number)
        amount = amount if most == resource.RLIM_INFINITY else min(amount, most)
        resource.setrlimit(number, (amount, amount))
    return ["limits"]


def _taken() -> int | None:
    """Bytes of address space in use; None where the system does not say, and cannot limit them either."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _filter() -> bool:
    """Let the kernel refuse what a computation does not need; whether it can."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return False
    machine = _X86 if platform.machine() == "x86_64" else _ARM
    code = b"".join(_program(machine))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Filter(len(code) // 8, code)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)


def _program(machine: _Machine) -> list[bytes]:
    """The filter: each entry says what is done with one system call; all others are allowed."""

    def step(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    def when(number: int, action: int) -> list[bytes]:
        return [step(_EQUAL, 0, 1, number), step(_RETURN, 0, 0, action)]

    killed = [line for number in machine.killed for line in when(number, _ACTION_KILL)]
    refused = [line for number in machine.refused for line in when(number, _ACTION_ERRNO | _EACCES)]
    return [
        step(_LOAD, 0, 0, 4),  # the architecture
        step(_EQUAL, 1, 0, machine.audit),
        step(_RETURN, 0, 0, _ACTION_KILL),
        step(_LOAD, 0, 0, 0),  # the number of the call; x32 of x86 has numbers of its own
        step(_SET, 0, 1, 0x40000000),
        step(_RETURN, 0, 0, _ACTION_KILL),
        *killed,
        *refused,
        *when(_CLONE3, _ACTION_ERRNO | _ENOSYS),
        step(_EQUAL, 0, 3, machine.clone),
        step(_LOAD, 0, 0, 16),  # its flags
        step(_SET, 1, 0, _CLONE_THREAD),
        step(_RETURN, 0, 0, _ACTION_ERRNO | _EPERM),
        step(_RETURN, 0, 0, _ACTION_ALLOW),
    ]


def _watch(report: int) -> None:
    """End the process at the first event that is not in `_HARMLESS`, told in one line."""
    write, leave, dumps, loaded = os.write, os._exit, json.dumps, sys.modules

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if event.startswith(_HARMLESS) or (event == "import" and given[0] in loaded):
            return
        told = dumps({"escaped": event, "what": str(given[0])[:200] if given else ""})
        write(report, told.encode())
        leave(ESCAPED)

    sys.addaudithook(watch)
