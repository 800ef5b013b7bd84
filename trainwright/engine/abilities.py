"""What a device can do of itself, and a clock that knows when it has done what it was asked.

The few places in which a plan differs between a CPU and an accelerator.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

PLANNED = ("cpu", "cuda", "xpu", "mps")  # on which ways to train are tried before the first step


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds, to be subtracted from each other.

    On a CPU those of the thread that trains, so that others on the machine do not decide; while it waits for torch's
    threads it spins, which counts. A system that counts in ticks of many milliseconds is not asked. An accelerator is
    given its work ahead of time, so there each reading waits until it has done it.
    """
    if device.type == "cpu":
        return time.thread_time if time.get_clock_info("thread_time").resolution < 1e-4 else time.perf_counter

    def read() -> float:
        wait(device)
        return time.perf_counter()

    return read


def wait(device: torch.device) -> None:
    """Until an accelerator has done what it was asked."""
    torch.accelerator.synchronize(device)


def has_bfloat16(device: torch.device) -> bool:
    """Whether it multiplies bfloat16 itself; where it does not, that is emulated and slow."""
    if device.type == "cpu":
        known = torch.cpu.get_capabilities()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("arm_bf16"))
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "xpu" and torch.xpu.is_bf16_supported(including_emulation=False)


def release(device: torch.device) -> None:
    """Memory of an accelerator that is kept for the next tensor and not in use goes back to it."""
    if device.type != "cpu":
        torch.accelerator.empty_cache()
