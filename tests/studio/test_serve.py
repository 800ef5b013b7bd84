"""The server under people: many of them, slow ones, and runs that come, go and are broken while they watch."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.open_studio import Visitor, opened
from tests.run_folders import lines, steps, training, write
from trainwright.cli import main
from trainwright.runs.directory import EVENTS
from trainwright.studio import news, patience
from trainwright.studio.pages import pages
from trainwright.studio.shelf import Shelf
from trainwright.studio.told import row

SOON = 20.0  # seconds in which what must happen has happened, on any machine


def append(folder: Path, first: int) -> None:
    with (folder / EVENTS).open("ab") as file:
        file.write(lines([steps(first, [0.5] * 5)]))


@contextmanager
def listening(visitor: Visitor) -> Iterator[socket.socket]:
    """A page that listens to the news."""
    with socket.create_connection(("127.0.0.1", visitor.studio.port), timeout=SOON) as line:
        asked = f"GET /api/stream HTTP/1.1\r\nhost: {visitor.host}\r\ncookie: {visitor.cookie}\r\n\r\n"
        line.sendall(asked.encode())
        yield line


def heard(line: socket.socket, what: str) -> str:
    """What comes on a line until it holds the words."""
    told = ""
    while what not in told:
        piece = line.recv(4096).decode()
        assert piece, told
        told += piece
    return told


def test_what_happens_in_a_run_is_told_to_hundreds_who_watch_it(tmp_path: Path) -> None:
    run = write(tmp_path / "run", training(40)[:-1])
    with opened(tmp_path) as visitor, ExitStack() as hall:
        key = visitor.keys()["run"]
        lines_ = [hall.enter_context(listening(visitor)) for _ in range(300)]
        for line in lines_:
            heard(line, "event: hello")
        append(run, 41)
        assert all(key in heard(line, "event: changed") for line in lines_)
        assert visitor.ask(f"/api/runs/{key}").json["step"] == 45


def test_no_more_listen_than_the_machine_can_bear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainwright.studio.app.LISTENERS", 2)
    with opened(tmp_path) as visitor, ExitStack() as hall:
        for _ in range(2):
            heard(hall.enter_context(listening(visitor)), "event: hello")
        assert "503" in heard(hall.enter_context(listening(visitor)), "too many")
    assert news.LISTENERS == 400


def test_who_asks_or_reads_too_slowly_is_cut_off_and_nobody_else_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.4)
    write(tmp_path / "run", training(40))
    with opened(tmp_path) as visitor, ExitStack() as hall:
        place = ("127.0.0.1", visitor.studio.port)
        slow = [hall.enter_context(socket.create_connection(place, timeout=SOON)) for _ in range(200)]
        for line in slow[:100]:
            line.sendall(b"GET / HTTP/1.1\r\nhost: ")  # and never the rest
        watching = hall.enter_context(listening(visitor))
        heard(watching, "event: hello")
        for _ in range(20):
            assert visitor.ask("/api/runs").status == 200
        for line in slow:
            assert gone(line)
        append(tmp_path / "run", 41)
        heard(watching, "event: changed")  # who only listens may be silent as long as he likes


def gone(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_reader_who_takes_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.4)
    run = write(tmp_path / "run", [steps(1, [0.5] * 20_000)])
    with opened(tmp_path) as visitor, socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", visitor.studio.port))
        line.settimeout(SOON)
        path = f"/api/runs/{visitor.keys()[run.name]}/series?room=4000" + "&name=train/loss" * 60
        ask = f"GET {path} HTTP/1.1\r\nhost: {visitor.host}\r\ncookie: {visitor.cookie}\r\n\r\n".encode()
        line.sendall(ask * 60)
        connections = visitor.studio._server.server_state.connections
        until = time.monotonic() + SOON
        while any(c.client == line.getsockname() for c in connections) and time.monotonic() < until:  # type: ignore[union-attr]
            time.sleep(0.05)
        assert not any(c.client == line.getsockname() for c in connections)  # type: ignore[union-attr]


def test_too_many_connections_are_closed_and_the_first_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "CONNECTIONS", 20)
    with opened(tmp_path) as visitor, ExitStack() as hall:
        assert visitor.ask("/api/runs").status == 200
        place = ("127.0.0.1", visitor.studio.port)
        crowd = [hall.enter_context(socket.create_connection(place, timeout=SOON)) for _ in range(60)]
        assert all(gone(line) for line in crowd[30:])
        assert visitor.ask("/api/runs").status == 200


def test_a_run_that_is_killed_resumed_renamed_cut_or_removed_while_it_is_watched_stays_readable(
    tmp_path: Path,
) -> None:
    run = write(tmp_path / "run", training(40)[:-1])
    with opened(tmp_path) as visitor:
        key = visitor.keys()["run"]
        path = f"/api/runs/{key}"
        assert visitor.ask(path).json["state"] == "interrupted"  # nobody holds its lock
        with (run / EVENTS).open("ab") as file:
            file.write(b'{"event":"StepDone","st\n' + lines(training(40)))
        assert visitor.ask("/api/runs").json["runs"][0]["state"] == "finished"
        assert visitor.ask(path).json["unreadable"] == 0
        (run / EVENTS).write_bytes(lines(training(40)[:4]))
        assert visitor.ask("/api/runs").json["runs"][0]["step"] == 10
        (run / EVENTS).write_bytes(os.urandom(5000))
        assert visitor.ask("/api/runs").status == 200
        assert visitor.ask(path).status == 200
        (run / "manifest.json").write_text("{")
        append(run, 41)
        assert "manifest.json" in visitor.ask("/api/runs").json["runs"][0]["why"]
        shutil.rmtree(run)
        visitor.studio.shelf._looked = 0.0
        assert visitor.ask("/api/runs").json["runs"] == []
        assert visitor.ask(path).status == 404


def test_a_new_run_appears_by_itself_also_where_the_folder_was_not_there(tmp_path: Path) -> None:
    with opened(tmp_path / "later") as visitor, listening(visitor) as line:
        assert visitor.ask("/api/runs").json["runs"] == []
        heard(line, "event: hello")
        write(tmp_path / "later" / "run", training())
        heard(line, "event: changed")
        assert list(visitor.keys()) == ["run"]


def test_curves_come_as_numbers_behind_a_head_that_says_how_many(tmp_path: Path) -> None:
    write(tmp_path / "run", training(40))
    with opened(tmp_path) as visitor:
        answer = visitor.ask(f"/api/runs/{visitor.keys()['run']}/series?name=train/loss&name=nothing&name=valid/loss")
        size = int.from_bytes(answer.body[:4], "little")
        head = json.loads(answer.body[4 : 4 + size])
        assert [(c["name"], c["points"]) for c in head["columns"]] == [("train/loss", 40), ("valid/loss", 4)]
        assert (4 + size) % 8 == 0
        assert len(answer.body) == 4 + size + 8 * 5 * 44


def test_a_port_that_is_taken_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["studio", str(tmp_path), "--port", str(port), "--no-browser"]) == 73
    assert capsys.readouterr().err == (
        f"error: port {port}: is taken by another program; choose another with --port, or 0 for any\n"
    )


def test_a_folder_that_is_none_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studio", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_the_command_prints_a_link_needs_no_torch_and_ends_at_once_with_pages_open(tmp_path: Path) -> None:
    code = (
        "import sys; from trainwright.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or ('torch' in sys.modules and 'torch was imported') or 0)"
    )
    command = [sys.executable, "-c", code, "studio", str(tmp_path), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = ""
        while not (link := re.search(r"http://(127\.0\.0\.1):(\d+)/\?token=(\S+)", told)):
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            told += line
        assert "holds no runs yet" in told
        with socket.create_connection((link[1], int(link[2])), timeout=SOON) as page:
            cookie = f"trainwright_{link[2]}={link[3]}"
            page.sendall(f"GET /api/stream HTTP/1.1\r\nhost: {link[1]}:{link[2]}\r\ncookie: {cookie}\r\n\r\n".encode())
            heard(page, "event: hello")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=SOON)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_without_its_pages_the_studio_says_how_to_get_them(tmp_path: Path) -> None:
    (only,) = pages(tmp_path / "static").items()
    assert only[0] == "index.html"
    assert b"script/studio" in only[1].plain


def test_a_list_is_told_whole_once_and_then_what_changed_came_and_went(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        write(tmp_path / name, training(40)[:-1])
    with opened(tmp_path) as visitor:
        first = visitor.ask("/api/runs").json
        assert first["whole"]
        assert len(first["runs"]) == 3
        assert visitor.ask(f"/api/runs?since={first['tick']}").json["runs"] == []
        append(tmp_path / "two", 41)
        second = visitor.ask(f"/api/runs?since={first['tick']}").json
        assert [(r["name"], r["step"]) for r in second["runs"]] == [("two", 45)]
        assert (second["whole"], second["gone"]) == (False, [])
        shutil.rmtree(tmp_path / "one")
        visitor.studio.shelf._looked = 0.0
        third = visitor.ask(f"/api/runs?since={second['tick']}").json
        assert third["gone"] == [next(r["key"] for r in first["runs"] if r["name"] == "one")]
        assert visitor.ask("/api/runs?since=999").json["whole"]  # of another server


def test_a_run_that_rests_is_looked_at_less_often_and_found_again_when_it_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainwright.studio.shelf._AWAKE", 0.0)
    run, shelf = write(tmp_path / "run", training(40)), Shelf(tmp_path)
    assert shelf.refresh()
    append(run, 41)
    assert not shelf.refresh()
    monkeypatch.setattr("trainwright.studio.shelf._REST", 0.0)
    assert shelf.refresh()
    assert shelf.runs()[0].step == 45


def test_years_of_runs_are_read_bit_by_bit_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainwright.studio.shelf._PATIENCE", 0.0)
    for age, name in enumerate(("new", "old")):
        write(tmp_path / name, training())
        os.utime(tmp_path / name / EVENTS, (1e9 - age, 1e9 - age))
    shelf = Shelf(tmp_path)
    assert shelf.refresh()
    assert [(r.place.name, row(r)["reading"]) for r in shelf.runs()] == [("new", True), ("old", True)]
    monkeypatch.setattr("trainwright.studio.shelf._PATIENCE", 60.0)
    assert shelf.refresh()
    assert [row(r)["reading"] for r in shelf.runs()] == [False, False]
