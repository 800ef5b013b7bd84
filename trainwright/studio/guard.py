"""Who may ask: this machine's own pages with the token, by every method and on every path; nobody else, for nothing."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASK = "x-trainwright"  # a page of another origin cannot set it, so a form of one can change nothing
BODY = 17 << 20  # bytes at most of what a run is to answer for: a file of 12 MB, written in base64
_SAFE = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Refuses before anything is routed.

    Another Host is a rebound name (421), another Origin or site a foreign page (403), no token a stranger (401). There
    are no web sockets: what is not HTTP is refused. The token comes once, in the link that the terminal shows, and is
    swapped for a cookie that scripts cannot read.

    Args:
        app: what is guarded.
        hosts: ``127.0.0.1:8642``; nothing else is answered.
        token: the secret of this server.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str) -> None:
        self.app, self.hosts, self.token = app, frozenset(hosts), token.encode()
        self.origins = frozenset(f"http://{host}" for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _headers(scope)
        answer = self._refused(scope, headers) or self._welcome(scope)
        if answer is None and not self._known(scope, headers):
            answer = _told(HTTPStatus.UNAUTHORIZED, "open the link that `trainwright studio` printed in the terminal")
        await (answer or self.app)(scope, receive, _dressed(send))

    def _refused(self, scope: Scope, headers: dict[str, list[str]]) -> Response | None:
        """The answer to what no page of ours would ask."""
        method = scope["method"]
        if headers.get("host", []) not in [[host] for host in self.hosts]:
            return _told(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to the name it was opened under alone")
        if any(origin not in self.origins for origin in headers.get("origin", [])):
            return _told(HTTPStatus.FORBIDDEN, "a page of another origin may not ask")
        if any(site not in ("same-origin", "none") for site in headers.get("sec-fetch-site", [])):
            return _told(HTTPStatus.FORBIDDEN, "a page of another site may not ask")
        if method not in _SAFE and method != "POST":
            return _told(HTTPStatus.METHOD_NOT_ALLOWED, "ask by GET")
        if method == "POST" and not (headers.get(ASK) and headers.get("origin")):
            return _told(HTTPStatus.FORBIDDEN, f"only the studio's own pages may change anything ({ASK}, Origin)")
        if "transfer-encoding" in headers or not _fits(headers.get("content-length", ["0"]), scope):
            return _told(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "nothing here takes such a body")
        return None

    def _welcome(self, scope: Scope) -> Response | None:
        """The first visit, by the link of the terminal: the token becomes a cookie, and leaves the address."""
        if scope["path"] != "/" or not scope["query_string"]:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=8).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self.token):
            return None
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(self._cookie(scope), self.token.decode(), httponly=True, samesite="strict")
        return answer

    def _known(self, scope: Scope, headers: dict[str, list[str]]) -> bool:
        sign = self._cookie(scope) + "="
        crumbs = [crumb.strip() for line in headers.get("cookie", []) for crumb in line.split(";")]
        return any(hmac.compare_digest(c.removeprefix(sign).encode(), self.token) for c in crumbs if c.startswith(sign))

    def _cookie(self, scope: Scope) -> str:
        """Cookies do not know ports; the name does."""
        host = next(value.decode("latin-1") for name, value in scope["headers"] if name == b"host")
        return f"trainwright_{urlsplit(f'//{host}').port or 80}"


def _fits(lengths: list[str], scope: Scope) -> bool:
    """Whether a body may come: to a run that is tried or noted, of a length that is told and not too large."""
    if lengths == ["0"]:
        return True
    takes = (
        scope["method"] == "POST"
        and scope["path"].startswith("/api/runs/")
        and scope["path"].endswith(("/try", "/note"))
    )
    return takes and len(lengths) == 1 and lengths[0].isdecimal() and len(lengths[0]) < 12 and int(lengths[0]) <= BODY


def _headers(scope: Scope) -> dict[str, list[str]]:
    """By lower-case name, each as often as it came."""
    out: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        out.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return out


def _told(status: HTTPStatus, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status)


def _dressed(send: Send) -> Send:
    """Every answer carries the policy, also a refusal and a failure."""

    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message.get("headers", [])}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in own]
            more += [] if b"cache-control" in own else [(b"cache-control", b"no-store")]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return dressed
