"""A studio that runs in a thread, and one who asks it over a real socket, byte for byte."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from trainwright.studio.serve import Studio


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Visitor:
    """Asks as a page of the studio would, unless told otherwise; its connection stays open."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.host = f"127.0.0.1:{studio.port}"
        self.cookie = f"trainwright_{studio.port}={studio.token}"
        self._line = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=20)

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str | None) -> Answer:
        """Headers by keyword, ``_`` for ``-``; None leaves one out. A line that was idle for long is opened anew."""
        answer = self._asked(path, method, headers, body)
        return answer if answer.status >= 0 else self._asked(path, method, headers, body)

    def give(self, path: str, told: Any) -> Answer:
        """Ask with a body, as a page of the studio would."""
        data = json.dumps(told).encode()
        own: dict[str, str | None] = {"origin": f"http://{self.host}", "x_trainwright": "1"}
        return self.ask(path, "POST", data, content_length=str(len(data)), **own)

    def _asked(self, path: str, method: str, headers: Mapping[str, str | None], body: bytes) -> Answer:
        sent: dict[str, str | None] = {"host": self.host, "cookie": self.cookie, **headers}
        try:
            self._line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        except http.client.InvalidURL:
            return Answer(0, {}, b"")
        for name, value in sent.items():
            if value is not None:
                self._line.putheader(name.replace("_", "-"), value)
        try:
            self._line.endheaders(body or None)
            got = self._line.getresponse()
            answer = Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        except (http.client.HTTPException, ConnectionError):
            self._line.close()
            return Answer(-1, {}, b"")
        if got.will_close:
            self._line.close()
        return answer

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def keys(self) -> dict[str, str]:
        """Of the runs, by name."""
        return {run["name"]: run["key"] for run in self.ask("/api/runs").json["runs"]}


@contextmanager
def opened(root: Path, *, control: bool = False) -> Iterator[Visitor]:
    """A studio over a folder, until the block ends."""
    pause = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # two threads that wait for each other would spend most of a test waiting
    studio, ready = Studio(root, 0, control=control), threading.Event()
    serving = threading.Thread(target=studio.serve, args=(ready.set,), daemon=True)
    serving.start()
    assert ready.wait(20)
    visitor = Visitor(studio)
    try:
        yield visitor
    finally:
        visitor.close()
        studio.close()
        serving.join(20)
        sys.setswitchinterval(pause)
        assert not serving.is_alive()
