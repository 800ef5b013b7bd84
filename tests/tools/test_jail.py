"""Who is closed in can compute, and nothing else: every way out ends the process, and each fence holds alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainwright.tools.jail import ESCAPED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what other systems have of the fences differs")
BEGIN = """
import ctypes, os, resource, shutil, signal, socket, subprocess, sys
from trainwright.tools import jail
libc = ctypes.CDLL(None, use_errno=True)
report = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
kept = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
"""
ALL = "fences = jail.confine(report, memory=64 << 20, seconds=2, output=1 << 20)\n"
LIMITS = "jail._limits(64 << 20, 2, 1 << 20)\n"
FILTER = "assert jail._filter()\n"


def tried(act: str, place: Path, fence: str = ALL) -> tuple[int, str]:
    """The exit code of a process that tries something, 0 where it succeeds, and what was reported."""
    program = f"{BEGIN}\n{fence}\ntry:\n    {act}\nexcept BaseException:\n    os._exit(9)\nos._exit(0)"
    report = place / "report"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", program, str(report), str(place / "kept")],
        cwd=place,
        timeout=900,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )
    return done.returncode, report.read_text() if report.exists() else ""


WAYS_OUT = [
    "open('canary', 'w')",
    "open('/etc/passwd')",
    "os.open('canary', os.O_WRONLY | os.O_CREAT)",
    "os.system('touch canary')",
    "subprocess.run(['touch', 'canary'])",
    "os.posix_spawn('/usr/bin/touch', ['touch', 'canary'], {})",
    "os.execv('/usr/bin/touch', ['touch', 'canary'])",
    "os.fork()",
    "socket.socket()",
    "socket.getaddrinfo('localhost', 80)",
    "import sqlite3",
    "__import__('pickle').loads(b'cos\\nsystem\\n.')",
    "eval('1')",
    "compile('1', 'x', 'eval')",
    "os.remove(sys.argv[1])",
    "os.rename(sys.argv[1], 'canary')",
    "os.mkdir('canary')",
    "shutil.rmtree('.')",
    "os.kill(os.getppid(), 0)",
    "ctypes.CDLL('libm.so.6')",
    "os.listdir('/')",
    "os.chmod(sys.argv[1], 0)",
]


@pytest.mark.parametrize("act", WAYS_OUT)
def test_every_way_out_ends_the_process_and_is_reported(act: str, tmp_path: Path) -> None:
    code, told = tried(act, tmp_path)
    assert (code, '{"escaped":' in told) == (ESCAPED, True)
    assert not (tmp_path / "canary").exists()
    assert tried(act, tmp_path, "")[0] != ESCAPED


def test_who_is_closed_in_can_compute_and_write_to_what_is_open(tmp_path: Path) -> None:
    assert tried("os.write(kept, b'x' * sum(range(100))); float('1.5'), {}, 'a'.upper()", tmp_path) == (0, "")
    assert (tmp_path / "kept").stat().st_size == 4950


# numbers of system calls on x86-64 and arm64: what a program could do without Python
RAW = {"socket": (41, 198), "execve": (59, 221), "connect": (42, 203), "kill": (62, 129), "ptrace": (101, 117)}


@pytest.mark.parametrize("name", RAW)
def test_the_filter_kills_who_calls_the_system_past_python(name: str, tmp_path: Path) -> None:
    number = RAW[name][os.uname().machine == "aarch64"]
    act = f"libc.syscall({number}, 2, 1, 0, 0, 0)"
    assert tried(act, tmp_path, FILTER)[0] == -31  # SIGSYS
    assert tried(act, tmp_path, "")[0] == 0


@pytest.mark.parametrize(
    "act",
    ["assert libc.open(b'canary', 65, 384) < 0", "assert libc.mkdir(b'canary', 511) < 0", "assert libc.fork() < 0",
     "assert libc.rename(sys.argv[2].encode(), b'canary') < 0", "assert libc.unlink(sys.argv[2].encode()) < 0"],
)  # fmt: skip
def test_the_filter_refuses_files_and_processes_past_python(act: str, tmp_path: Path) -> None:
    assert tried(act, tmp_path, FILTER)[0] in (0, -31)
    assert (tmp_path / "kept").exists()
    assert not (tmp_path / "canary").exists()
    assert tried(act, tmp_path, "")[0] == 9  # the control: without the filter it succeeds


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("bytearray(128 << 20)", 9),
        ("os.write(kept, b'x' * (2 << 20)) <= 1 << 20 and os.write(kept, b'x')", 9),
        ("open('/etc/passwd')", 9),
        ("exec('while True: pass')", -24),  # SIGXCPU; SIGKILL comes where the limits are one
    ],
)
def test_the_limits_hold_alone(act: str, code: int, tmp_path: Path) -> None:
    assert tried(act, tmp_path, LIMITS)[0] in ({code, -9} if code < 0 else {code})
