"""Ranks that we start listen where only this machine can reach them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from trainwright.engine.ranks import run_ranks

pytestmark = [
    pytest.mark.ranks,
    pytest.mark.skipif(not Path("/proc/net/tcp").is_file(), reason="the system does not tell who listens"),
]
WORKER = """
import json, os, sys
import torch
from trainwright.engine.ranks import join

ranks = join("ddp", torch.device("cpu"))
assert float(ranks.total(torch.ones(()))) == 2
if sys.argv[2:]:  # the control: whoever listens everywhere is seen
    import socket
    everywhere = socket.create_server(("", 0))
own = set()
for handle in os.listdir("/proc/self/fd"):
    try:
        link = os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        continue
    own |= {link[8:-1]} if link.startswith("socket:[") else set()
found = []
for table in ("tcp", "tcp6"):
    for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
        fields = line.split()
        if fields[9] in own and fields[3] == "0A":  # listening
            found.append(fields[1].rpartition(":")[0])
open(f"{sys.argv[1]}/{ranks.rank}.json", "w").write(json.dumps(found))
ranks.barrier()
ranks.close()
"""
HERE = "0100007F"  # 127.0.0.1, as the kernel writes it


@pytest.mark.parametrize("more", [[], ["everywhere"]])
def test_all_sockets_of_the_ranks_listen_on_the_loopback_interface(more: list[str], tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    assert run_ranks(2, [sys.executable, str(worker), str(tmp_path), *more]).code == 0
    listening = {address for rank in range(2) for address in json.loads((tmp_path / f"{rank}.json").read_text())}
    assert HERE in listening
    assert (listening == {HERE}) == (not more)
