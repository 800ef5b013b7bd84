"""The pages themselves: what the build made of ui/, held in memory, so that no request ever names a file."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

STATIC = Path(__file__).parent / "static"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_UNBUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Trainwright studio</title>
<h1>The studio's pages are not built</h1>
<p>This copy of Trainwright was installed without them. From a clone, run <code>script/studio</code>,
which needs the registries of Python and npm once; then open this page again.</p></html>
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A file of the bundle."""

    kind: str
    plain: bytes
    packed: bytes

    def answer(self, request: Request, lasting: bool) -> Response:
        """The file, packed where the browser takes it so; its name holds its digest where it is lasting."""
        packs = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"vary": "accept-encoding", "cache-control": "max-age=31536000, immutable" if lasting else "no-store"}
        if packs:
            headers["content-encoding"] = "gzip"
        return Response(self.packed if packs else self.plain, media_type=self.kind, headers=headers)


def pages(folder: Path = STATIC) -> dict[str, Page]:
    """The bundle by file name; a page that says what to do where it was not built."""
    if not (folder / "index.html").is_file():
        return {"index.html": _page(_KINDS[".html"], _UNBUILT.encode())}
    files = sorted(p for p in folder.iterdir() if p.suffix in _KINDS and p.is_file())
    return {p.name: _page(_KINDS[p.suffix], p.read_bytes()) for p in files}


def built(folder: Path = STATIC) -> bool:
    """Whether there is a bundle."""
    return (folder / "index.html").is_file()


def _page(kind: str, data: bytes) -> Page:
    return Page(kind, data, gzip.compress(data, 9, mtime=0))
