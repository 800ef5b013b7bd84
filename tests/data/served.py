"""A web server on this machine that gives files, and misbehaves where a test asks it to."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from trainwright.data.published import File

# what the first part of a path makes the server do with the file named after it
#   whole      gives it                          norange    gives it whole whatever part is asked for
#   cut        ends in the middle, every time    flaky      ends in the middle unless a part is asked for
#   stall      gives half and then nothing       silent     accepts and says nothing
#   404, 503   answers so                        once       answers 503 the first time
#   wrong      gives other bytes                 long       gives more, without saying how much
#   short      announces and gives less


class Server:
    """Its address, the files it has, and what it was asked for."""

    def __init__(self, port: int) -> None:
        self.at = f"http://127.0.0.1:{port}"
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []  # (path, Range)
        self.slow = 0.0  # seconds before each answer
        self.patience = threading.Event()  # set when the test is over, so that nobody is left waiting

    def file(self, name: str, content: bytes, *manners: str) -> File:
        """A file of a set, published at one address for each manner."""
        self.files[name] = content
        addresses = tuple(f"{self.at}/{manner}/{name}" for manner in manners)
        return File(name, len(content), hashlib.sha256(content).hexdigest(), addresses)

    def manners(self) -> Counter[str]:
        """How often each manner was asked for."""
        return Counter(path.split("/")[1] for path, _ in self.asked)


@contextmanager
def serving() -> Iterator[Server]:
    """A server while a test runs."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append((self.path, self.headers.get("Range", "")))
            time.sleep(server.slow)
            _, manner, name = self.path.split("/")
            answer(self, server, manner, server.files[name])

        def log_message(self, *told: Any) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    httpd.daemon_threads = True
    server = Server(httpd.server_address[1])
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.patience.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def answer(http: BaseHTTPRequestHandler, server: Server, manner: str, content: bytes) -> None:
    """One answer in the manner the path asks for."""
    if manner == "silent":
        server.patience.wait(20)
        return
    first = server.manners()[manner] == 1
    if manner in ("404", "503") or (manner == "once" and first):
        http.send_error(503 if manner == "once" else int(manner))
        return
    wanted = http.headers.get("Range", "")
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and manner not in ("norange", "cut") else 0
    body = {"wrong": bytes(len(content)), "long": content + b"more", "short": content[:-7]}.get(manner, content)[start:]
    http.send_response(206 if start else 200)
    if start:
        http.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if manner != "long":
        http.send_header("Content-Length", str(len(body)))
    http.end_headers()
    if manner in ("cut", "stall") or (manner == "flaky" and not start):
        http.wfile.write(body[: len(body) // 2])
        http.wfile.flush()
        if manner == "stall":
            server.patience.wait(20)
        return
    http.wfile.write(body)
