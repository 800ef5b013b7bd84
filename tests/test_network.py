"""Nothing reaches for the network that was not asked to: an audit hook listens while every command runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# Runs first in every process, also in those that ours start: it writes down what reaches for the network, and lets
# nothing but this machine be reached.
LISTENER = """
import os, sys

_NAMES = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind", "socket.getaddrinfo",
          "socket.gethostbyname", "urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect",
          "imaplib.open", "poplib.connect", "nntplib.connect", "webbrowser.open")

def _listen(event, args):
    if event in _NAMES:
        line = f"{event} {args!r}\\n".encode()
        handle = os.open(os.environ["HEARD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line)
        os.close(handle)
        if "'127.0.0.1'" not in line.decode():
            raise OSError("no network here")

sys.addaudithook(_listen)
"""
PROGRAM = """
import json, sys
from trainwright.cli import main
print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[1])]))
"""


def heard(place: Path, code: str, *arguments: str, **more: str) -> tuple[list[str], str]:
    """What a fresh process, and whatever it started, asked of the network; and what it printed last."""
    (place / "listener").mkdir(exist_ok=True)
    (place / "listener" / "sitecustomize.py").write_text(LISTENER)
    log = place / "heard.txt"
    log.unlink(missing_ok=True)
    ours = str(Path(__file__).parent.parent)
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "TRAINWRIGHT_DATA"}
    environment |= {"HEARD": str(log), "PYTHONPATH": os.pathsep.join([str(place / "listener"), ours]), **more}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines() if log.exists() else []
    return lines, done.stdout.splitlines()[-1] if done.stdout else ""


def commands(place: Path, lines: list[list[str]]) -> tuple[list[str], Any]:
    asked, printed = heard(place, PROGRAM, json.dumps(lines))
    return asked, json.loads(printed)


def test_no_command_connects_to_anything(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b,kind\n" + "".join(f"{i},{i % 3},{'xy'[i % 2]}\n" for i in range(40)))
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "dog").mkdir()
    for i in range(8):
        picture = np.full((8, 8, 3), i * 20, np.uint8)
        Image.fromarray(picture).save(tmp_path / "photos" / ("cat", "dog")[i % 2] / f"{i}.png")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,1\n")
    short = ["--quiet", "--epochs", "1", "--name", "x"]
    found = commands(
        tmp_path,
        [
            ["--version"],
            ["explain"],
            ["explain", "optimizer.adamw"],
            ["new", "table.csv", "--out", "recipe.toml", "--target", "kind"],
            ["new", "photos", "--out", "photos.toml"],
            ["train", "recipe.toml", *short, "--out", "run"],
            ["train", "photos.toml", *short, "--out", "pictures"],
            ["resume", "run", "--epochs", "2", "--quiet"],
            ["evaluate", "run"],
            ["predict", "run", "rows.csv"],
            ["export", "run", "model.onnx"],
            ["export", "run", "weights.safetensors"],
            ["runs", "."],
        ],
    )
    assert found == ([], [0] * 13)


@pytest.mark.ranks
def test_ranks_bind_and_connect_to_this_machine_alone(tmp_path: Path) -> None:
    asked, codes = commands(tmp_path, [["train", "iris", "--epochs", "1", "--quiet", "--out", "run", "ranks=2"]])
    assert codes == [0]
    assert asked
    assert not [line for line in asked if "'127.0.0.1'" not in line]  # who may reach the ranks: engine/test_loopback


def test_a_public_set_is_looked_for_only_where_it_is_named(tmp_path: Path) -> None:
    cache = str(tmp_path / "empty")
    asked, printed = heard(
        tmp_path,
        PROGRAM,
        json.dumps([["train", "iris", "--epochs", "1", "--quiet", "--out", "run"], ["explain", "set"]]),
        XDG_CACHE_HOME=cache,
    )
    assert (asked, printed) == ([], "[0, 0]")
    recipe = 'data = "mnist"\ntask = "image_classification"\n'
    (tmp_path / "recipe.toml").write_text(recipe)
    asked, printed = heard(
        tmp_path, PROGRAM, json.dumps([["train", "recipe.toml", "--quiet", "--out", "other"]]), XDG_CACHE_HOME=cache
    )
    assert printed == "[69]"
    assert any(line.startswith("urllib.Request") for line in asked)


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket().connect_ex(('192.0.2.1', 80))",
        "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')",
        "import socket; socket.getaddrinfo('example.org', 80)",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', \"import socket; "
        "socket.socket().connect(('192.0.2.1', 80))\"])",
    ],
)
def test_the_listener_hears_whoever_reaches_for_the_network(code: str, tmp_path: Path) -> None:
    asked, _ = heard(tmp_path, f"import contextlib\nwith contextlib.suppress(OSError):\n    {code}")
    assert asked
