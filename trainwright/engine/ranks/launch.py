"""Starting several processes, and telling whether this is one of them."""

from __future__ import annotations

import os
import socket
import sys


def launched() -> tuple[int, int, int] | None:
    """(rank, world, local rank) where torchrun or its like started this process, else None."""
    try:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return None
    return rank, world, int(os.environ.get("LOCAL_RANK", rank))


def torchrun(ranks: int, module: str, arguments: list[str]) -> list[str]:
    """The command that runs ``python -m module arguments`` in ``ranks`` processes of this machine."""
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={ranks}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{free_port()}",
        "--max-restarts=0",
        "-m",
        module,
        *arguments,
    ]


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
