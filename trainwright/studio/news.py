"""News of the runs to everybody who listens: one look at the folder for all, and only while somebody listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from trainwright.studio.shelf import Shelf

PAUSE = 0.5  # seconds between two looks
LISTENERS = 400  # at once
_HEARTBEAT = 15.0  # seconds; shows a broken line to both ends


class News:
    """Looks, and wakes the listeners.

    Args:
        shelf: the runs.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.listeners = 0
        self._turned = asyncio.Condition()

    async def look(self) -> None:
        """Look for ever; at rest while nobody listens."""
        while True:
            if self.listeners and await run_in_threadpool(self.shelf.refresh):
                async with self._turned:
                    self._turned.notify_all()
            await asyncio.sleep(PAUSE)

    async def told(self) -> AsyncIterator[str]:
        """Server-sent events: the keys of runs that changed, as they change; first that the line stands."""
        self.listeners += 1
        tick = self.shelf.tick
        try:
            yield "retry: 2000\nevent: hello\ndata: {}\n\n"
            while True:
                if await self._turn(tick):
                    changed, tick = self.shelf.since(tick), self.shelf.tick
                    yield f"event: changed\ndata: {json.dumps(changed)}\n\n"
                else:
                    yield ": still here\n\n"
        finally:
            self.listeners -= 1

    async def _turn(self, tick: int) -> bool:
        """Wait for news after a tick; False where there were none for a while."""
        try:
            async with asyncio.timeout(_HEARTBEAT), self._turned:
                await self._turned.wait_for(lambda: self.shelf.tick > tick)
        except TimeoutError:
            return False
        return True
