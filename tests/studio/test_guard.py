"""Who may ask is decided before anything else, on every route, by every method."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.routing import Route

from tests.open_studio import Visitor, opened
from tests.run_folders import SECRET, training, write
from trainwright.studio.app import app
from trainwright.studio.guard import BODY, HEADERS
from trainwright.studio.shelf import Shelf

VERBS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
FOREIGN = "kept outside of every run 91d2"


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    base = tmp_path_factory.mktemp("place")
    (base / "outside.txt").write_text(FOREIGN)
    run = write(base / "runs" / "run", training())
    (run / "confusion.csv").write_text("true,a\na,1\n")
    (run / "private.txt").write_text(FOREIGN)
    (base / "runs" / "link").symlink_to(base)
    with opened(base / "runs", control=True) as asks:
        yield asks


@pytest.fixture(scope="module")
def paths(visitor: Visitor) -> list[str]:
    """Every route of the application itself, with a run that is there."""
    routes = [r for r in visitor.studio._server.config.app.routes if isinstance(r, Route)]  # type: ignore[union-attr]
    assert len(routes) == len(visitor.studio._server.config.app.routes)  # type: ignore[union-attr]
    key = visitor.keys()["run"]
    return [r.path.replace("{key}", key).replace("{name}", "icon.svg") for r in routes]


def test_every_route_refuses_whoever_has_no_token(visitor: Visitor, paths: list[str]) -> None:
    assert len(paths) > 8
    wrong = [None, "", f"trainwright_{visitor.studio.port}=", f"trainwright_{visitor.studio.port}=x",
             f"trainwright_1={visitor.studio.token}", visitor.studio.token]  # fmt: skip
    for path in [*paths, "/nothing", "/?token=wrong", "/?token="]:
        for cookie in wrong:
            for verb in VERBS:
                answer = visitor.ask(path, verb, cookie=cookie, origin=f"http://{visitor.host}", x_trainwright="1")
                assert answer.status in (401, 405), (path, verb, cookie)
                assert b"run" not in answer.body.replace(b"trainwright studio", b"")


def test_every_route_refuses_another_host_by_every_method(visitor: Visitor, paths: list[str]) -> None:
    port = visitor.studio.port
    hosts = [None, "", "127.0.0.1", f"127.0.0.1.evil.org:{port}", f"evil.org:{port}", f"127.0.0.2:{port}",
             f"localhost.evil.org:{port}", f"127.0.0.1:{port}.evil.org", f"evil@127.0.0.1:{port}",
             f"127.0.0.1:{port + 1}", f"0.0.0.0:{port}", f"[::1]:{port}"]  # fmt: skip
    for path in paths:
        for host in hosts:
            for verb in VERBS:
                answer = visitor.ask(path, verb, host=host)
                assert answer.status in (400, 421), (path, verb, host)


def test_every_route_refuses_another_origin_by_every_method(visitor: Visitor, paths: list[str]) -> None:
    port = visitor.studio.port
    foreign: list[dict[str, str]] = [{"origin": o} for o in (
        "null", "http://evil.org", f"http://127.0.0.1:{port + 1}", f"https://127.0.0.1:{port}", f"http://evil.org:{port}",
        f"http://127.0.0.1:{port}.evil.org", "", f"file://127.0.0.1:{port}",
    )]  # fmt: skip
    foreign += [{"sec_fetch_site": site} for site in ("cross-site", "same-site", "anything")]
    for path in paths:
        for headers in foreign:
            for verb in VERBS:
                assert visitor.ask(path, verb, **headers).status == 403, (path, verb, headers)


def test_what_is_asked_rightly_is_answered_with_the_policy(visitor: Visitor, paths: list[str]) -> None:
    for path in paths:
        if path.endswith(("stream", "stop", "note")):
            continue
        answer = visitor.ask(path, origin=f"http://{visitor.host}", sec_fetch_site="same-origin")
        assert answer.status in (200, 404), path  # an icon only where the pages were built
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert "access-control-allow-origin" not in answer.headers
    refused = visitor.ask("/api/runs", cookie=None)
    assert {name: refused.headers[name] for name in HEADERS} == HEADERS


def test_only_our_own_pages_may_ask_for_a_change(visitor: Visitor) -> None:
    path = f"/api/runs/{visitor.keys()['run']}/stop"
    own = f"http://{visitor.host}"
    assert visitor.ask(path, "POST").status == 403
    assert visitor.ask(path, "POST", origin=own).status == 403
    assert visitor.ask(path, "POST", x_trainwright="1").status == 403
    with closing(Visitor(visitor.studio)) as other:
        assert other.ask(path, "POST", origin=own, x_trainwright="1", content_length="9").status == 413
    answer = visitor.ask(path, "POST", origin=own, x_trainwright="1")
    assert (answer.status, answer.body) == (409, b"the run is not being trained")
    assert visitor.ask(path, "GET").status == 405


def test_a_body_is_taken_where_a_run_is_tried_and_nowhere_else_and_no_larger_than_a_file_may_be(
    visitor: Visitor, paths: list[str]
) -> None:
    own = {"origin": f"http://{visitor.host}", "x_trainwright": "1"}
    place = next(p for p in paths if p.endswith("/try"))
    for path in [*dict.fromkeys(paths), place + "/", place + "/x", "/try"]:
        for length in ["1", str(BODY + 1), "9" * 30, "-1", "1e3", "+1"]:
            if path.endswith(("/try", "/note")) and path.startswith("/api/runs/") and length == "1":
                continue
            with closing(Visitor(visitor.studio)) as other:
                status = other.ask(path, "POST", content_length=length, **own).status
            assert status in (400, 413), (path, length)
    assert visitor.ask(place, "POST", b"{", content_length="1", **own).status == 400
    assert visitor.ask(place, "POST", b"[", content_length="1", **own).status == 400
    deep = b"[" * 100_000
    assert visitor.ask(place, "POST", deep, content_length=str(len(deep)), **own).status == 400
    told = visitor.give(place, {"give": "file", "name": "../../x.png", "run": "/etc", "ask": "graph"})
    assert "no checkpoint" in told.json["refused"]
    with closing(Visitor(visitor.studio)) as other:
        assert other.ask(place, "POST", transfer_encoding="chunked", **own).status == 413


def test_the_token_of_the_link_becomes_a_cookie_that_scripts_cannot_read_and_leaves_the_address(
    visitor: Visitor,
) -> None:
    answer = visitor.ask(f"/?token={visitor.studio.token}", cookie=None)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert visitor.ask(f"/api/runs?token={visitor.studio.token}", cookie=None).status == 401


def test_web_sockets_are_refused(tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/api/stream", "headers": [(b"host", b"127.0.0.1:1")]}
    asyncio.run(app(Shelf(tmp_path), ["127.0.0.1:1"], "t")(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def traversals() -> list[str]:
    """A thousand ways to ask for what lies elsewhere."""
    up = ["../", "..\\", "%2e%2e/", "..%2f", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "%c0%ae%c0%ae/", "..;/", "....//",
          "%u002e%u002e/", "..%00/", ".%2e/", "%2e./", "..%c1%9c", "..%e0%80%af", "//", "./"]  # fmt: skip
    ends = ["outside.txt", "etc/passwd", "runs/run/private.txt", "private.txt", "run/private.txt", "link/outside.txt",
            "config.toml%00.js", "C:/Windows/win.ini", "%2Fetc%2Fpasswd", "/etc/passwd", "file:///etc/passwd",
            "\\\\host\\share", "run/../../outside.txt"]  # fmt: skip
    starts = ["/", "/assets/", "/assets/icon.svg/", "/api/runs/", "/api/", "/api/runs/run/"]
    return [s + u * n + e for s in starts for u in up for n in (1, 3, 6) for e in ends][::4][:1000]


def test_of_a_thousand_ways_out_of_the_run_folders_none_leads_anywhere(visitor: Visitor) -> None:
    ways = traversals()
    assert len(ways) == 1000
    for way in ways:
        answer = visitor.ask(quote(way, safe="/%;:.\\"))
        assert answer.status in (400, 401, 404), way
        assert FOREIGN.encode() not in answer.body
        assert b"root:" not in answer.body


def test_no_name_in_a_question_reads_a_file(visitor: Visitor) -> None:
    key = visitor.keys()["run"]
    routes = [
        "series?name=",
        "layers?statistic=",
        "samples?at=",
        "series?room=",
        "inside/step?part=",
        "inside?part=",
        "try?part=",
    ]
    for way in traversals()[::10]:
        for route in routes:
            answer = visitor.ask(f"/api/runs/{key}/{route}{quote(way, safe='')}")
            assert answer.status in ((404,) if "inside/" in route else (200, 400)), (route, way)
            assert FOREIGN.encode() not in answer.body


def test_nothing_that_is_asked_makes_the_server_fail_or_tells_a_secret(visitor: Visitor) -> None:
    key, dice = visitor.keys()["run"], random.Random(0)
    words = ["NaN", "inf", "-1", "1e308", "", "x", "%00", "🙂", "9" * 400, "0x10", "../..", "1_0"]
    routes = [
        "series",
        "layers",
        "samples",
        "recipe",
        "confusion",
        "inside",
        "inside/cell",
        "inside/numbers",
        "try",
        "",
    ]
    options = ["from", "to", "room", "smooth", "log", "at", "name", "step", "sample", "node", "cell", "part", "what"]
    for _ in range(1500):
        names = [f"{n}={quote(dice.choice(words))}" for n in options]
        query = "&".join(dice.sample(names, dice.randint(0, 5)))
        answer = visitor.ask(f"/api/runs/{key}/{dice.choice(routes)}?{query}&name=train/loss".replace("/?", "?"))
        assert answer.status in (200, 400, 404), query
        assert SECRET.encode() not in answer.body
