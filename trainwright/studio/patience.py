"""HTTP with an end to its patience: who sends or reads too slowly, or opens too much, is cut off."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 600  # at once
PATIENCE = 10.0  # seconds without progress


class Patient(H11Protocol):
    """A connection that is aborted where a request is not whole, or an answer not taken, within ten seconds.

    An answer that goes on, as the stream of news does, may last as long as its reader reads.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and begin to watch."""
        super().connection_made(transport)
        self._waiting = 0.0  # seconds that nothing moved
        self._behind = 0  # bytes that the reader had not taken at the last look
        self._asked = self.cycle  # the request of the last look
        self._timer = self.loop.call_later(PATIENCE / 4, self._look)
        if len(self.connections) > CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Whether anything moved since the last look."""
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            return
        behind = self.transport.get_write_buffer_size()
        asking = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and self.cycle is self._asked
        stuck = asking or (behind and behind >= self._behind)
        self._asked = self.cycle
        self._waiting = self._waiting + PATIENCE / 4 if stuck else 0.0
        self._behind = behind
        if self._waiting >= PATIENCE:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(PATIENCE / 4, self._look)
