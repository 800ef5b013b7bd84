"""Downloads arrive whole or not at all, whatever the network, the disk and other processes do."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.data.served import Server, serving
from trainwright.core.errors import DataError, DownloadError, UserError
from trainwright.data import download as downloading
from trainwright.data.download import download
from trainwright.data.published import Original

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as found:
        yield found


def fetch(folder: Path, *files: Any, report: Any = lambda *told: None, timeout: float = 5.0) -> None:
    download(files, folder, report, timeout=timeout, pauses=(0.01, 0.01))


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} - {".lock"}


def test_a_file_arrives_whole_and_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    file = server.file("a.bin", CONTENT, "whole")
    told: list[tuple[str, int, int]] = []
    fetch(tmp_path, file, report=lambda *at: told.append(at))
    fetch(tmp_path, file)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path) == {"a.bin"}
    assert len(server.asked) == 1
    assert {what for what, _, _ in told} == {"downloading a.bin (kB)"}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1:] == (300, 300)


def test_a_broken_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    fetch(tmp_path, server.file("a.bin", CONTENT, "flaky"))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [part for _, part in server.asked] == ["", "bytes=150000-"]


def test_a_later_process_goes_on_where_an_earlier_one_stopped(server: Server, tmp_path: Path) -> None:
    file = server.file("a.bin", CONTENT, "whole")
    (tmp_path / ".a.bin.part").write_bytes(CONTENT[:12345])
    fetch(tmp_path, file)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked[0][1] == "bytes=12345-"


@pytest.mark.parametrize("left", [b"rubbish" * 10, CONTENT + b"more", bytes(len(CONTENT))])
def test_what_an_earlier_process_left_is_not_trusted(server: Server, tmp_path: Path, left: bytes) -> None:
    (tmp_path / ".a.bin.part").write_bytes(left)
    fetch(tmp_path, server.file("a.bin", CONTENT, "whole"))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path) == {"a.bin"}


def test_a_server_that_knows_no_ranges_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".a.bin.part").write_bytes(CONTENT[:1000])
    fetch(tmp_path, server.file("a.bin", CONTENT, "norange"))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(len(CONTENT)))
    fetch(tmp_path, server.file("a.bin", CONTENT, "whole"))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("manner", "why"),
    [
        ("404", "the server answered 404"),
        ("503", "the server answered 503"),
        ("wrong", "another checksum"),
        ("long", "more than 300,000 bytes"),
        ("short", "has 299,993 bytes, not 300,000"),
        ("cut", "broke off after 150,000 of 300,000 bytes"),
    ],
)
def test_a_failure_says_why_and_leaves_no_file(server: Server, tmp_path: Path, manner: str, why: str) -> None:
    file = server.file("a.bin", CONTENT, manner)
    with pytest.raises(DownloadError) as caught:
        fetch(tmp_path, file)
    assert why in str(caught.value)
    assert file.addresses[0] in str(caught.value)
    assert str(tmp_path / "a.bin") in caught.value.instead
    assert caught.value.exit_code == 69
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize(("manner", "kept"), [("stall", 150_000), ("silent", 0)])
def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path, manner: str, kept: int) -> None:
    with pytest.raises(DownloadError, match=r"nothing came for 0\.5 seconds"):
        fetch(tmp_path, server.file("a.bin", CONTENT, manner), timeout=0.5)
    part = tmp_path / ".a.bin.part"
    assert (part.stat().st_size if part.exists() else 0) >= kept
    assert not (tmp_path / "a.bin").exists()


def test_nobody_listening_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as gone:
        file = gone.file("a.bin", CONTENT, "whole")
    with pytest.raises(DownloadError, match="no connection"):
        fetch(tmp_path, file)


def test_a_name_that_is_not_known_means_no_network(tmp_path: Path, server: Server) -> None:
    file = replace(server.file("a.bin", CONTENT), addresses=("http://nowhere.invalid/a.bin",))
    with pytest.raises(DownloadError, match=r"nowhere\.invalid/a\.bin: no connection"):
        fetch(tmp_path, file)


def test_addresses_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    fetch(tmp_path, server.file("a.bin", CONTENT, "404", "wrong", "whole", "once"))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert list(server.manners()) == ["404", "wrong", "whole"]


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server: Server, tmp_path: Path) -> None:
    fetch(tmp_path, server.file("a.bin", CONTENT, "404", "once"))
    assert server.manners() == {"404": 1, "once": 2}


def test_only_the_web_is_read(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    file = replace(server.file("a.bin", CONTENT), addresses=(secret.as_uri(),))
    with pytest.raises(DownloadError, match="no address on the web"):
        fetch(tmp_path / "cache", file)


def test_several_at_once_download_once(server: Server, tmp_path: Path) -> None:
    files = [server.file(n, CONTENT, "whole") for n in ("a.bin", "b.bin")]
    server.slow = 0.3
    said: list[str] = []
    threads = [
        threading.Thread(target=fetch, args=(tmp_path, *files), kwargs={"report": lambda what, *_: said.append(what)})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path for path, _ in server.asked) == ["/whole/a.bin", "/whole/b.bin"]
    assert names(tmp_path) == {"a.bin", "b.bin"}
    assert any("waiting for another process" in what for what in said)


def test_a_published_file_becomes_the_one_that_is_read(server: Server, tmp_path: Path) -> None:
    published = server.file("a.bin", CONTENT, "whole")
    turned = CONTENT[::-1][:1000]
    original = Original(published.size, published.sha256, lambda content: content[::-1][:1000])
    file = replace(published, size=1000, sha256=hashlib.sha256(turned).hexdigest(), original=original)
    fetch(tmp_path, file)
    fetch(tmp_path, file)
    assert (tmp_path / "a.bin").read_bytes() == turned
    assert names(tmp_path) == {"a.bin"}
    assert len(server.asked) == 1


def test_too_little_room_is_told_before_anything_is_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(DataError, match=r"a\.bin takes 300,000 bytes, and 1,000 are free"):
        fetch(tmp_path, server.file("a.bin", CONTENT, "whole"))
    assert not server.asked


def test_a_disk_that_fills_up_meanwhile_is_told_and_left_empty(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        fetch(tmp_path, server.file("a.bin", CONTENT, "whole"))
    assert names(tmp_path) == set()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every folder is writable")
def test_a_folder_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot be written"):
            fetch(tmp_path / "cache", server.file("a.bin", CONTENT, "whole"))
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_way_of_the_cache_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        fetch(tmp_path / "cache", server.file("a.bin", CONTENT, "whole"))
