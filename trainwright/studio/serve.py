"""Opens the studio: a port of this machine alone, a link with a secret, and a server until Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from trainwright.core.errors import CannotCreateError
from trainwright.studio.app import app
from trainwright.studio.patience import Patient
from trainwright.studio.shelf import Shelf

HOST, PORT = "127.0.0.1", 8642
_TRIES = 20  # ports from the usual one on, where none is asked for


class Studio:
    """A studio that is ready to be opened, on a port that is already its own.

    Args:
        root: the folder with the runs.
        port: of this machine; the first free one from 8642 on unless given, any free one for 0.
        control: whether a run may be stopped from a page.

    Raises CannotCreateError where the port is taken.
    """

    def __init__(self, root: Path, port: int | None = None, *, control: bool = False) -> None:
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]
        self.token = secrets.token_urlsafe(32)
        self.shelf = Shelf(root)
        hosts = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        served = app(self.shelf, hosts, self.token, control=control)
        settings = uvicorn.Config(
            served, http=Patient, ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
            date_header=False, timeout_keep_alive=5, timeout_graceful_shutdown=1, h11_max_incomplete_event_size=16384,
            proxy_headers=False,
        )  # fmt: skip
        self._server = uvicorn.Server(settings)

    @property
    def link(self) -> str:
        """What a browser opens; whoever has it may look."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    def serve(self, opened: Callable[[], None] = lambda: None) -> None:
        """Answer until Ctrl-C, or `close`.

        Args:
            opened: called once, when the first page can be asked for.
        """
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # streams that end with the server are no error
        with suppress(KeyboardInterrupt):
            asyncio.run(self._serve(opened))

    async def _serve(self, opened: Callable[[], None]) -> None:
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        if self._server.started:
            await asyncio.to_thread(opened)
        await serving

    def close(self) -> None:
        """End `serve`, from any thread."""
        self._server.should_exit = True


def _bound(port: int | None) -> socket.socket:
    """A listening port."""
    wanted = range(PORT, PORT + _TRIES) if port is None else [port]
    for number in wanted:
        # named TCP, so that asyncio sends at once what it has: an answer would wait 40 ms for the reader's receipt
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((HOST, number))
            made.listen(256)
        except OSError as error:
            made.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES) or number == wanted[-1]:
                why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"{error.strerror}"
                raise CannotCreateError(f"port {number}", why, "choose another with --port, or 0 for any") from None
        else:
            return made
    raise CannotCreateError("port", "none is free", "choose one with --port")
