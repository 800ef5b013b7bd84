"""The studio's routes: run folders in, JSON and columns of numbers out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import struct
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from trainwright.runs.changed import leaves
from trainwright.runs.directory import spelled
from trainwright.studio import notes
from trainwright.studio.control import stop
from trainwright.studio.files import UnreadableError
from trainwright.studio.followed import Followed
from trainwright.studio.guard import Guard
from trainwright.studio.heat import heat
from trainwright.studio.inside import ASKS, COUNTED, COUNTS, NAMED, BusyError, Insides, refusal
from trainwright.studio.news import LISTENERS, News
from trainwright.studio.pages import Page, pages
from trainwright.studio.searches import search, searches
from trainwright.studio.shelf import Shelf
from trainwright.studio.told import about, row

_ROOM = 4000  # points of a curve at most
_NAMES = 64  # curves of one answer
_POINTS = 64_000  # of one answer
_SHOWN = 200  # evaluations whose samples are listed


def app(shelf: Shelf, hosts: Collection[str], token: str, *, control: bool = False) -> Starlette:
    """The studio over a shelf of runs.

    Args:
        shelf: the runs.
        hosts: names and port it answers to.
        token: who has it may ask.
        control: whether a run may be stopped from a page.
    """
    news = News(shelf)

    @contextlib.asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        looking, resting = asyncio.create_task(news.look()), asyncio.create_task(_rest(desk.insides))
        yield
        looking.cancel()
        resting.cancel()
        desk.insides.close()

    desk = _Desk(shelf, news, control, pages())
    return Starlette(routes=desk.routes(), lifespan=living, middleware=[Middleware(Guard, hosts=hosts, token=token)])


class _Desk:
    """Answers what the pages ask."""

    def __init__(self, shelf: Shelf, news: News, control: bool, found: dict[str, Page]) -> None:
        self.shelf, self.news, self.control, self.pages = shelf, news, control, found
        self.insides = Insides()

    def routes(self) -> list[Route]:
        """Everything that can be asked."""
        read = {
            "/": self.index,
            "/assets/{name}": self.asset,
            "/api/stream": self.stream,
            "/api/runs": self.runs,
            "/api/searches": self.searches,
            "/api/searches/{key}": self.search,
            "/api/runs/{key}": self._of_a_run(about),
            "/api/runs/{key}/series": self._of_a_run_asked(_series),
            "/api/runs/{key}/layers": self._of_a_run_asked(_layers),
            "/api/runs/{key}/recipe": self._of_a_run(lambda run: spelled(dict(leaves(run.place.config())))),
            "/api/runs/{key}/samples": self._of_a_run_asked(_samples),
            "/api/runs/{key}/confusion": self._of_a_run(_confusion),
            "/api/runs/{key}/ready": self._of_a_run(self._ready),
            **{f"/api/runs/{{key}}/{path}": self._of_a_run_asked(self._inside(ask)) for path, ask in ASKS.items()},
        }
        told = {
            "/api/runs/{key}/stop": self.stop,
            "/api/runs/{key}/try": self.attempt,
            "/api/runs/{key}/note": self.note,
        }
        return [
            *(Route(path, answer, methods=["GET"]) for path, answer in read.items()),
            *(Route(path, answer, methods=["POST"]) for path, answer in told.items()),
        ]

    async def index(self, request: Request) -> Response:
        """The one page."""
        return self.pages["index.html"].answer(request, lasting=False)

    async def asset(self, request: Request) -> Response:
        """A file of the bundle, by its name among them."""
        page = self.pages.get(request.path_params["name"])
        if page is None:
            raise HTTPException(404, "there is no such file")
        return page.answer(request, lasting=True)

    async def stream(self, request: Request) -> Response:
        """News as they come."""
        if self.news.listeners >= LISTENERS:
            raise HTTPException(503, "too many pages listen")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self.news.told(), media_type="text/event-stream", headers=headers)

    async def runs(self, request: Request) -> Response:
        """The list of runs."""
        since = _number(request, "since", -1)
        return await run_in_threadpool(self._list, since)

    def _list(self, since: float) -> Response:
        """All rows; or, after a tick that this server has told of, those that changed and the keys of those gone."""
        self.shelf.refresh()
        tick, runs, whole = self.shelf.tick, self.shelf.runs(), not 0 <= since <= self.shelf.tick
        changed = None if whole else set(self.shelf.since(int(since)))
        here = {run.place.key for run in runs}
        return _json(
            {
                "folder": self.shelf.root.name,
                "control": self.control,
                "tick": tick,
                "whole": whole,
                "runs": [row(run) for run in runs if changed is None or run.place.key in changed],
                "gone": sorted((changed or set()) - here),
            }
        )

    async def searches(self, request: Request) -> Response:
        """Searches and cross-validations."""
        return _json(await run_in_threadpool(searches, self.shelf.root))

    async def search(self, request: Request) -> Response:
        """One of them."""
        try:
            told = await run_in_threadpool(search, self.shelf.root, request.path_params["key"])
        except UnreadableError as error:
            raise HTTPException(404, str(error)) from None
        if told is None:
            raise HTTPException(404, "there is no such search")
        return _json(spelled(told))

    async def stop(self, request: Request) -> Response:
        """Ask a training to save and stop."""
        run = await self._run(request)
        if not self.control:
            raise HTTPException(403, "the studio was opened without --control")
        try:
            return _json({"told": await run_in_threadpool(stop, run.place)})
        except UnreadableError as error:
            raise HTTPException(409, str(error)) from None

    async def attempt(self, request: Request) -> Response:
        """Let the run's network answer for what the body holds."""
        run, given = await self._run(request), await _given(request)
        try:
            return await run_in_threadpool(self._answered, run, given)
        except BusyError:
            raise HTTPException(503, "others are asking their networks; ask again") from None
        except UnreadableError as error:  # what a person gave is no fault of the page
            return _json({"refused": str(error)})

    async def note(self, request: Request) -> Response:
        """Put a person's tags and note beside a run."""
        run, given = await self._run(request), await _given(request)
        try:
            kept = await run_in_threadpool(notes.write, run.place, given)
            self.shelf.touch(run.place.key)
            return _json(kept)
        except UnreadableError as error:
            return _json({"refused": str(error)})

    def _answered(self, run: Followed, given: dict[str, Any]) -> Response:
        if why := refusal(run.place):
            raise UnreadableError(why)
        question = {**given, "ask": "tried", "run": str(run.place.path)}
        return _json(self.insides.ask(question, run.version).head)

    async def _run(self, request: Request) -> Followed:
        key = request.path_params["key"]
        run = self.shelf.get(key) or await run_in_threadpool(self.shelf.fetched, key)
        if run is None:
            raise HTTPException(404, "there is no such run")
        return run

    def _ready(self, run: Followed) -> dict[str, Any]:
        """Whether the network can be asked; the process that answers begins meanwhile."""
        why = refusal(run.place, "outline")
        if not why:
            self.insides.warm()
        return {"closed": why}

    def _inside(self, ask: str) -> Callable[[Followed, Request], Response]:
        def tell(run: Followed, request: Request) -> Response:
            query = request.query_params
            if why := refusal(run.place, ask):
                return _closed(ask, why)
            question: dict[str, Any] = {"ask": ask, "run": str(run.place.path)}
            question |= {name: query[name] for name in NAMED if name in query}
            question |= {name: int(_number(request, name, 0, 0, 2**53)) for name in COUNTED if query.get(name)}
            try:
                told = self.insides.ask(question, run.version)
            except BusyError:
                raise HTTPException(503, "others are looking into their networks; ask again") from None
            except UnreadableError as error:
                return _closed(ask, str(error))
            return _binary(_framed(told.head, told.numbers)) if ask in COUNTS else _json(told.head)

        return tell

    def _of_a_run(self, tell: Callable[[Followed], Any]) -> Callable[[Request], Any]:
        return self._of_a_run_asked(lambda run, _: _json(tell(run)))

    def _of_a_run_asked(self, tell: Callable[[Followed, Request], Response]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            run = await self._run(request)
            try:
                return await run_in_threadpool(tell, run, request)
            except UnreadableError as error:
                raise HTTPException(404, str(error)) from None

        return answer


def _closed(ask: str, why: str) -> Response:
    """What a page is told of a network that cannot be opened: its first question is answered with the reason."""
    if ask not in ("outline", "offered", "judged"):
        raise UnreadableError(why)
    return _json({"closed": why})


async def _given(request: Request) -> dict[str, Any]:
    """The object that a body holds."""
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise HTTPException(400, "the body is no JSON object")
    return given


async def _rest(insides: Insides) -> None:
    while True:
        await asyncio.sleep(60)
        insides.rest()


def _series(run: Followed, request: Request) -> Response:
    """Columns between two steps: a JSON head with their sizes, then float64 numbers, five rows for each column."""
    names = request.query_params.getlist("name")[:_NAMES]
    first, last = _number(request, "from", 0.0), _number(request, "to", math.inf)
    room = int(_number(request, "room", 1000, 2, min(_ROOM, _POINTS // max(1, len(names)))))
    smooth, log = _number(request, "smooth", 0.0, 0.0, 0.5), request.query_params.get("log") == "1"

    def tell() -> bytes:
        found = {n: run.columns[n].drawn(first, last, room, log=log, smooth=smooth) for n in names if n in run.columns}
        sizes = [{"name": name, "points": len(drawn.step)} for name, drawn in found.items()]
        data = b"".join(part.astype("<f8").tobytes() for drawn in found.values() for part in drawn)
        return _framed({"version": run.version, "columns": sizes}, data)

    return _binary(run.answer(f"series?{request.url.query}", 0, tell))


def _layers(run: Followed, request: Request) -> Response:
    """A statistic of every layer over the steps: a JSON head with layers and steps, then float32 numbers by row."""
    statistic, room = request.query_params.get("statistic", ""), int(_number(request, "room", 400, 2, 2000))

    def tell() -> bytes:
        names, steps, values = heat(run.layers.get(statistic, {}), room)
        return _framed({"layers": names, "steps": steps.tolist()}, values.astype("<f4").tobytes())

    return _binary(run.answer(f"layers?{request.url.query}", 0, tell))


def _samples(run: Followed, request: Request) -> Response:
    """Evaluations with samples, and the exhibits of one of them: the last unless a number says which."""
    with run.lock:
        spots = list(run.shown)
    which = int(_number(request, "at", len(spots) - 1, 0, max(0, len(spots) - 1))) if spots else 0
    told: dict[str, Any] = {"at": which, "of": [{"step": s.step, "part": s.part} for s in spots], "exhibits": []}
    if spots:
        shown = run.exhibits(spots[which])
        told["exhibits"] = [{"kind": e.kind, "title": e.title, "data": dict(e.data)} for e in shown.exhibits]
    return _json(spelled(told))


def _confusion(run: Followed) -> dict[str, Any]:
    labels, counts = run.place.confusion()
    return {"labels": labels, "counts": counts}


def _number(request: Request, name: str, usual: float, low: float = -math.inf, high: float = math.inf) -> float:
    """A number of the question, within its bounds."""
    text = request.query_params.get(name)
    if text is None:
        return usual
    try:
        value = float(text)
    except ValueError:
        raise HTTPException(400, f"{name}: is no number") from None
    if math.isnan(value):
        raise HTTPException(400, f"{name}: is no number")
    return min(max(value, low), high)


def _json(value: Any) -> Response:
    return JSONResponse(value)


def _framed(head: dict[str, Any], data: bytes) -> bytes:
    """Four bytes with the size of the head, the head as JSON filled up to eight bytes, and the numbers behind it."""
    text = json.dumps(head).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return struct.pack("<I", len(text)) + text + data


def _binary(data: bytes) -> Response:
    return Response(data, media_type="application/octet-stream")
