"""A run as one page to send to others: everything is inside, nothing is fetched, and no script runs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.core.errors import UserError
from trainwright.core.events import Found, RunEnded, Shown, View
from trainwright.core.finding import Advice, Edit, Patch
from trainwright.core.redaction import each_text, redacted, without_secrets
from trainwright.engine import disk
from trainwright.runs.changed import leaves
from trainwright.runs.confusion import FILE as CONFUSION
from trainwright.runs.confusion import Confusion
from trainwright.runs.directory import PORTRAITS, REPORT
from trainwright.runs.figures import duration, number
from trainwright.runs.plot import draw
from trainwright.runs.verdict import verdicts

if TYPE_CHECKING:
    from trainwright.runs.run import Run

_EVALS, _SHOWN, _CLASSES, _PICTURES = 60, 12, 40, 12  # that are told at most
_LARGEST = 4 << 20  # bytes of a picture that is put inside
_STYLE = """
:root{color-scheme:light dark;--bg:#f7f8fa;--card:#fff;--fg:#17212b;--mute:#586674;--line:#dde3ea;--acc:#1d5fa8;
--good:#1c7a2e;--poor:#b3271a;--warn:#8a5a00}
@media(prefers-color-scheme:dark){:root{--bg:#0f151c;--card:#161e27;--fg:#e6ecf2;--mute:#94a3b4;--line:#273340;
--acc:#74b3f5;--good:#6bcb82;--poor:#ff8a80;--warn:#f0bd5e}}
body{margin:0 auto;max-width:1080px;padding:24px 20px 60px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1{margin:0;overflow-wrap:anywhere}h2{font-size:17px;margin:0 0 8px}h3{font-size:14px;margin:10px 0 2px}p{margin:4px 0}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 18px;margin:14px 0}
.mute{color:var(--mute)}.big{font-size:28px;font-weight:650}.error h3{color:var(--poor)}.warning h3{color:var(--warn)}
.scroll{overflow-x:auto}table{border-collapse:collapse}th,td{text-align:left;padding:3px 10px 3px 0;font-weight:400;
vertical-align:top}thead th{color:var(--mute);font-size:13px}pre,code{font-family:ui-monospace,monospace;font-size:13px;
white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0}figure{margin:0;background:#fff;border-radius:8px;padding:6px}
figure svg,figure img{max-width:100%;height:auto;display:block}.confusion td,.confusion th{text-align:center;
padding:2px 7px}.confusion td.right{font-weight:700;color:var(--good)}.confusion td.wrong{color:var(--poor)}
@media print{body{background:#fff}section{break-inside:avoid;border-color:#ccc}}
"""


def report(run: Run, path: str | Path | None = None) -> Path:
    """Write a run as one HTML page; returns its path.

    Args:
        run: finished or not.
        path: of the page; ``report.html`` in the run unless given.

    Raises UserError where the page cannot be written there.
    """
    target = Path(path).expanduser() if path is not None else run.path / REPORT
    if target.suffix.lower() not in (".html", ".htm"):
        raise UserError(str(path), "is no name of a page", "write a name that ends in .html")
    text = page(run)
    try:
        disk.put(target, text.encode())
    except OSError as error:
        raise UserError(str(target), f"cannot be written: {error.strerror}", "choose another place") from None
    return target


def page(run: Run) -> str:
    """The page itself."""
    view, manifest = run.view, run.manifest
    config: dict[str, Any] = each_text(without_secrets(run.config, named=True), redacted)
    monitor = manifest.get("monitor", {})
    name = escape(run.path.resolve().name)
    body = [
        *_head(run.state, view.ended, name, config, manifest),
        *_scores(view.ended, str(monitor.get("name", "loss")), str(monitor.get("better", "lower"))),
        *_curves(view, str(monitor.get("name", "loss"))),
        *_findings(view.findings),
        *_confusion(run.path / CONFUSION),
        *_shown(view.shown[-1] if view.shown else None),
        *_portraits(run.path / PORTRAITS),
        *_evaluations(view),
        *_table("Recipe", dict(leaves(config))),
        *_table("Data, model and machine", _facts(manifest)),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{_STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )


def _head(
    state: str, ended: RunEnded | None, name: str, config: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Iterator[str]:
    task = config.get("task", {})
    model = config.get("model", {}).get("name") or manifest.get("model", {}).get("class", "")
    verdict = f" · doctor: {escape(ended.verdict)}" if ended and ended.verdict else ""
    yield f"<h1>{name}</h1>"
    told = [state, str(task.get("name", "own module")), str(model), str(manifest.get("written", ""))]
    yield f'<p class="mute">{escape(" · ".join(t for t in told if t))}{verdict}</p>'
    if ended and ended.reason:
        yield f"<p>{escape(ended.outcome)}: {escape(redacted(ended.reason))}, after {duration(ended.seconds)}</p>"


def _scores(ended: RunEnded | None, monitor: str, better: str) -> Iterator[str]:
    """What was reached, beside simple models, and what may be believed of it."""
    if ended is None or not ended.scores:
        return
    yield "<section><h2>Scores</h2>"
    own = next((k for k in reversed(list(ended.scores)) if k.partition("/")[2] == monitor), None)
    if own is not None:
        span = ended.intervals.get(own)
        sure = f" [{number(span[0])}, {number(span[1])}], 95 % interval by bootstrap" if span else ""
        reached = f'<span class="big">{number(ended.scores[own])}</span>'
        yield f'<p>{reached} {escape(own)}<span class="mute">{sure}</span></p>'
    for text, style in verdicts(ended.scores, ended.baselines, ended.differences, monitor, better):
        yield f"<p>{'▼ ' if style else '▲ '}{escape(text)}</p>"
    names = dict.fromkeys(k.partition("/")[2] for k in ended.scores)
    parts = list(dict.fromkeys(k.partition("/")[0] for k in ended.scores))
    rows = [
        [
            n,
            *(_of(ended.scores, f"{p}/{n}") for p in parts),
            *(_of(simple, n) for simple in ended.baselines.values()),
        ]
        for n in names
    ]
    yield _rows(["metric", *parts, *ended.baselines], rows)
    yield "</section>"


def _curves(view: View, monitor: str) -> Iterator[str]:
    if not view.losses and not view.evals:
        return
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "report"}):  # the same run gives the same page
        draw(view, monitor).savefig(out, format="svg", metadata={"Date": None})
    drawn = out.getvalue()
    yield f"<section><h2>Curves</h2><figure>{drawn[drawn.index('<svg') :]}</figure></section>"


def _findings(found: Sequence[Found]) -> Iterator[str]:
    yield "<section><h2>Findings</h2>"
    if not found:
        yield '<p class="mute">Nothing was found wrong.</p>'
    for each in found:
        f = each.finding
        when = f"at step {each.step:,}" if each.step else "before the first step"
        yield f'<div class="{escape(f.severity)}"><h3>{escape(f.severity)}: {escape(redacted(f.what))}</h3>'
        yield f'<p class="mute">{escape(" · ".join(t for t in (f.rule, f.where, when) if t))}</p>'
        if f.why:
            yield f"<p>{escape(redacted(f.why))}</p>"
        if f.evidence:
            yield f"<p>{escape(', '.join(f'{k} {number(v)}' for k, v in f.evidence.items()))}</p>"
        if f.tried:
            yield f"<p>{escape(redacted(f.tried))}</p>"
        if f.fixes:
            yield f"<ol>{''.join(f'<li>{_fix(fix)}</li>' for fix in f.fixes)}</ol>"
        yield "</div>"
    yield "</section>"


def _fix(fix: Patch | Edit | Advice) -> str:
    match fix:
        case Patch():
            return f"<code>{escape(redacted(', '.join(f'{k} = {v!r}' for k, v in fix.changes.items())))}</code>"
        case Edit():
            return escape(redacted(fix.what))
        case Advice():
            return escape(redacted(fix.text))


def _confusion(path: Path) -> Iterator[str]:
    with suppress(OSError, ValueError):
        found = Confusion.read(path)
        if len(found.labels) > _CLASSES:
            return
        yield '<section><h2>Whom it takes for whom</h2><p class="mute">Rows: true class, columns: said class.</p>'
        head = "".join(f"<th>{escape(label)}</th>" for label in found.labels)
        rows = [
            f"<tr><th>{escape(label)}</th>"
            + "".join(
                f'<td class="{"right" if i == j else "wrong" if n else ""}">{n or ""}</td>' for j, n in enumerate(row)
            )
            + "</tr>"
            for i, (label, row) in enumerate(zip(found.labels, found.counts, strict=True))
        ]
        table = f'<table class="confusion"><thead><tr><th></th>{head}</tr></thead>{"".join(rows)}</table>'
        yield f'<div class="scroll">{table}</div></section>'


def _shown(seen: Shown | None) -> Iterator[str]:
    """What the network said last, where that can be read."""
    if seen is None:
        return
    yield f"<section><h2>What the network says</h2><p class='mute'>at step {seen.step:,}, {escape(seen.part)}</p>"
    for exhibit in seen.exhibits[:_SHOWN]:
        told = {k: str(v) for k, v in exhibit.data.items() if isinstance(v, str | int | float)}
        yield f"<h3>{escape(exhibit.title)}</h3>"
        yield "".join(
            f"<pre><span class='mute'>{escape(k)}</span> {escape(redacted(v))}</pre>" for k, v in told.items()
        )
    yield "</section>"


def _portraits(folder: Path) -> Iterator[str]:
    files = sorted(p for p in folder.glob("*.png") if p.is_file() and not p.is_symlink()) if folder.is_dir() else []
    small = [p for p in files if p.stat().st_size <= _LARGEST][:_PICTURES]
    if not small:
        return
    yield "<section><h2>Pictures</h2>"
    for path in small:
        data = base64.b64encode(path.read_bytes()).decode()
        name = escape(path.stem.replace("_", " "))
        yield f'<h3>{name}</h3><figure><img alt="{name}" src="data:image/png;base64,{data}"></figure>'
    yield "</section>"


def _evaluations(view: View) -> Iterator[str]:
    if not view.evals:
        return
    names = list(dict.fromkeys(m for e in view.evals for m in e.metrics))
    best = max((e.step for e in view.evals if e.best), default=-1)
    rows = [
        [f"{e.step:,}{' ★' if e.step == best and e.best else ''}", e.part, *(_of(e.metrics, n) for n in names)]
        for e in view.evals[-_EVALS:]
    ]
    yield f"<section><h2>Evaluations</h2>{_rows(['step', 'part', *names], rows)}</section>"


def _facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        "versions": manifest.get("versions", {}),
        "machine": manifest.get("machine", {}),
        "plan": manifest.get("plan", {}),
        "data": {k: v for k, v in manifest.get("data", {}).items() if k in ("records", "samples", "fingerprint")},
        "model": {k: v for k, v in manifest.get("model", {}).items() if k in ("class", "parameters")},
        "seed": manifest.get("seed"),
        "commit": manifest.get("commit"),
    }
    hidden: dict[str, Any] = each_text(without_secrets(kept, named=True), redacted)
    return dict(leaves(hidden))


def _table(title: str, content: Mapping[str, Any]) -> Iterator[str]:
    rows = [[key, str(value)] for key, value in content.items() if value not in (None, {}, [])]
    yield f"<section><h2>{escape(title)}</h2>{_rows(['key', 'value'], rows)}</section>"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>{body}</table></div>'


def _of(values: Mapping[str, float], name: str) -> str:
    return number(values[name]) if name in values else ""
