"""What a person sees of a run while it trains: a live line and a table on a terminal, plain lines everywhere else."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from trainwright.core.events import (
    CheckpointSaved,
    EvalDone,
    Event,
    Found,
    Repaired,
    RunEnded,
    RunStarted,
    Shown,
    StepDone,
    StepSkipped,
    Tried,
)
from trainwright.core.redaction import Hide, redacted
from trainwright.runs.figures import duration, number, remaining
from trainwright.runs.run import Run
from trainwright.runs.surface import Surface, surface
from trainwright.runs.words import (
    closing,
    field,
    opening,
    resume_command,
    skipped_line,
    tell_exhibits,
    tell_finding,
    tell_repair,
    tell_trial,
)

if TYPE_CHECKING:
    from trainwright.engine.loop import Cadence
    from trainwright.runs.attempt import Attempt

_BAR = 24  # characters
_SMOOTH = 0.7  # of the rate: what the past counts


class Console:
    """An observer that shows what happens. It never ends a training: where it cannot write it falls silent.

    ``progress`` and ``start`` come before the events, ``close`` after them (also when the training failed), ``end``
    last, once the scores are known.

    Args:
        stderr: speak on standard error, so that standard output stays free for a machine.
        stream: speak there instead; a terminal gets the live line, anything else plain lines.
        clock: seconds.
        hide: keeps secrets out of what is said.
    """

    def __init__(
        self,
        *,
        stderr: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        hide: Hide = redacted,
    ) -> None:
        stream = stream or (sys.stderr if stderr else sys.stdout)
        self._out = surface(stream, clock, hide)
        self._scene = _Scene(self._out, clock)
        self._silent = False

    def progress(self, what: str, done: int, total: int) -> None:
        """Work before the first step: ``encoding 12,000 / 48,842  8,100/s  0:05 left``."""
        self._safely(lambda: self._scene.progress(what, done, total))

    def start(self, a: Attempt, cadence: Cadence, monitor: str, better: str) -> None:
        """The facts of the run; its config.toml and manifest.json are written."""
        self._safely(lambda: self._scene.start(Run(a.folder), cadence.steps, cadence.evaluate, monitor, better))

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._safely(lambda: self._scene.show(event))

    def follow(self, folder: Path) -> None:
        """The run lies there now."""
        self._scene.run = Run(folder)

    def say(self, text: str, style: str = "") -> None:
        """A line of its own."""
        self._safely(lambda: self._out.line(text, style))

    def close(self) -> None:
        """End the live line."""
        self._safely(self._out.close)

    def end(self, run: Run) -> None:
        """The scores beside the baselines, where the run is, and what to type next."""
        self._safely(self._out.close)
        self._safely(lambda: closing(run, self._out))

    def _safely(self, act: Callable[[], None]) -> None:
        if self._silent:
            return
        try:
            act()
        except Exception as error:  # a terminal that is gone, or a fault of ours: the training must not care
            self._silent = True
            with contextlib.suppress(Exception):
                self._out.close()
            if not isinstance(error, BrokenPipeError):
                with contextlib.suppress(Exception):
                    what = redacted(f"{type(error).__name__}: {error}")
                    sys.stderr.write(f"the console is silent from here ({what}); training goes on, see events.jsonl\n")


class _Scene:
    """What is known of the run so far, and how its events read."""

    def __init__(self, out: Surface, clock: Callable[[], float]) -> None:
        self.out, self.clock = out, clock
        self.monitor, self.steps, self.per_epoch = "loss", 1, 1
        self.began = self.work_began = clock()
        self.work = ""
        self.first = self.samples = self.work_first = 0
        self.rate: float | None = None
        self.losses: list[float] = []  # since the last evaluation
        self.parts: Mapping[str, float] = {}  # of the last loss, and its penalties
        self.judged = ""
        self.best: float | None = None
        self.run: Run | None = None
        self.saved = 0  # step of the newest checkpoint
        self.table: _Table | None = None

    def progress(self, what: str, done: int, total: int) -> None:
        if what != self.work:
            self.work, self.work_began, self.work_first = what, self.clock(), done
        passed = self.clock() - self.work_began
        if done >= total:
            if passed >= 1:
                self.out.line(f"{what} {total:,} took {duration(passed)}", "quiet")
            self.work = ""
            return
        parts = [(0, f"{what} {done:,} / {total:,}")]
        if self.out.lively:
            parts.append((2, bar(done / total)))
        if done > self.work_first and passed > 0:  # the first report came when work was under way
            rate = (done - self.work_first) / passed
            parts += [(3, f"{rate:,.0f}/s"), (1, f"{remaining((total - done) / rate)} left")]
        self.out.live(parts)

    def start(self, run: Run, steps: int, every: int, monitor: str, better: str) -> None:
        self.out.close()
        self.run, self.monitor = run, monitor
        best = next((e for e in reversed(run.view.evals) if e.best), None)  # of an earlier attempt
        self.best = best.metrics.get(monitor) if best else None
        for label, text in opening(run, steps, every, monitor, better):
            field(self.out, label, text)
        for trouble in run.manifest["data"].get("damaged", ()):
            self.out.line(f"warning: a newer checkpoint cannot be used: {trouble}", "warning")

    def show(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._started(event)
            case StepDone():
                self._stepped(event)
            case StepSkipped():
                self.out.line(skipped_line(event), "warning")
            case EvalDone():
                self._judged(event)
            case Shown():
                tell_exhibits(event, self.out)
            case CheckpointSaved():
                self.saved = event.step
            case Found():
                tell_finding(event.finding, self.out)
            case Tried():
                tell_trial(event, self.out)
            case Repaired():
                tell_repair(event, self.out)
            case RunEnded():
                self._ended(event)

    def _started(self, event: RunStarted) -> None:
        self.steps, self.per_epoch, self.first = event.steps, max(1, event.steps_per_epoch), event.from_step
        self.began, self.samples = self.clock(), 0 if event.from_step == 0 else -1
        self.losses = []  # those of an attempt before are not its own
        if event.attempt > 1:
            note = f" ({event.note})" if event.note else ""
            self.out.line(f"attempt {event.attempt}, from step {event.from_step:,} of {event.steps:,}{note}", "head")

    def _stepped(self, event: StepDone) -> None:
        self.losses += event.losses
        self.parts = event.parts
        if self.samples >= 0 and event.seconds > 0:
            now = (event.samples - self.samples) / (event.seconds * len(event.losses))
            self.rate = now if self.rate is None else _SMOOTH * self.rate + (1 - _SMOOTH) * now
        self.samples = event.samples
        self.out.live(self._line(event))

    def _line(self, event: StepDone) -> list[tuple[int, str]]:
        """The parts of the live line, each with its rank: the higher, the sooner it is left out."""
        share = event.step / max(1, self.steps)
        passed, done = self.clock() - self.began, event.step - self.first
        parts = [(2, f"epoch {self._epoch(event.step)}"), (4, f"step {event.step:,}/{self.steps:,}")]
        parts.append((0, f"loss {number(_mean(event.losses))}"))
        if self.judged:
            parts.append((3, self.judged))
        if self.rate is not None:
            parts.append((5, f"{self.rate:,.0f} samples/s"))
        if event.seconds > 0 and event.waited / event.seconds > 0.3:
            parts.append((6, f"{event.waited / event.seconds:.0%} waiting for data"))
        parts.append((1, f"{share:.0%}"))
        if done > 0:
            parts.append((1, f"{remaining(passed / done * (self.steps - event.step))} left"))
        return parts

    def _judged(self, event: EvalDone) -> None:
        values = dict(event.metrics)
        loss = _mean(self.losses) if self.losses else math.nan
        row = {
            "epoch": self._epoch(event.step).split("/")[0],
            "step": f"{event.step:,}",
            "train loss": number(loss) if self.losses else "-",
            **{k: number(v) for k, v in self.parts.items()},
            f"{event.part} loss": number(values.pop("loss", math.nan)),
            **{k: number(values[k]) for k in sorted(values, key=lambda k: k != self.monitor)},
            "best": "best" if event.best else "",
            "time": duration(self.clock() - self.began),
        }
        if event.best:
            self.best = event.metrics.get(self.monitor)
        if self.monitor in event.metrics:
            best = "" if event.best or self.best is None else f" (best {number(self.best)})"
            self.judged = f"{event.part} {self.monitor} {number(event.metrics[self.monitor])}{best}"
        self.losses = []
        if self.out.lively:
            self.table = self.table if self.table and self.table.titles == list(row) else _Table(list(row), self)
            self.table.add(row, event.best)
        else:
            row |= {"epoch": self._epoch(event.step), "step": f"{event.step:,}/{self.steps:,}"}
            named = [f"{k} {v}" for k, v in row.items() if k not in ("best", "time")]
            self.out.line("  ".join([*named, *(["best"] if event.best else []), row["time"]]))

    def _ended(self, event: RunEnded) -> None:
        self.out.close()
        reached = f"step {event.step:,} of {self.steps:,}, {duration(event.seconds)}"
        by = {"SIGINT": "Ctrl-C"}.get(event.reason, event.reason)
        match event.outcome:
            case "finished":
                self.out.line(f"\nfinished: {event.step:,} steps in {duration(event.seconds)}", "head")
            case "healing":
                self.out.line(f"\nended after {reached}: {event.reason}", "head")
            case "stopped":
                self.out.line(f"\nstopped after {reached}: {event.reason}", "head")
            case "interrupted" if not event.reason.startswith("KeyboardInterrupt"):
                self.out.line(f"\ninterrupted after {reached} ({by}); everything is saved", "warning")
            case _:
                self._broken_off(event.outcome, reached)
        if event.doctor.get("probes"):
            share, seconds, probes = (event.doctor[name] for name in ("share", "seconds", "probes"))
            took = f"{100 * share:.2g} % of the training, {duration(seconds)} for {probes:.0f} looks"
            field(self.out, "doctor", f"{took}; {duration(event.doctor['before'])} before it")

    def _broken_off(self, outcome: str, reached: str) -> None:
        """Nothing was saved at this step, and nobody will call `end`: say what there is."""
        self.out.line(f"\n{outcome} at {reached}", "error")
        if self.run is None:
            return
        field(self.out, "run", str(self.run.path))
        if not self.saved:
            self.out.line("there is no checkpoint yet")
        elif self.run.manifest["kind"] == "recipe":
            self.out.line(f"saved    step {self.saved:,}; go on from it with: {resume_command(self.run)}", "command")

    def _epoch(self, step: int) -> str:
        done = step / self.per_epoch
        text = f"{done:.0f}" if step % self.per_epoch == 0 else f"{math.floor(done * 10) / 10:.1f}"
        return f"{text}/{math.ceil(self.steps / self.per_epoch)}"


class _Table:
    """Rows of evaluations under one header; columns that do not fit are left out, the least telling first."""

    def __init__(self, titles: list[str], scene: _Scene) -> None:
        self.titles, self.out = titles, scene.out
        ranks = {"epoch": 0, "train loss": 1, scene.monitor: 0, "best": 2, "time": 3, "step": 4}
        ranks |= {t: 1 if t.endswith(" loss") else ranks.get(t, 5 + i) for i, t in enumerate(titles)}
        self.kept = list(titles)
        while sum(self._width(t) + 2 for t in self.kept) > self.out.width and len(self.kept) > 3:
            self.kept.remove(max(self.kept, key=lambda t: ranks[t]))
        self.out.line("")
        self.out.line("  ".join(("" if t == "best" else t).rjust(self._width(t)) for t in self.kept).rstrip(), "quiet")

    def add(self, row: Mapping[str, str], best: bool) -> None:
        """One evaluation."""
        self.out.line("  ".join(row[t].rjust(self._width(t)) for t in self.kept).rstrip(), "good" if best else "")

    @staticmethod
    def _width(title: str) -> int:
        fixed = {"epoch": 6, "step": 8, "best": 4, "time": 7}
        return fixed.get(title, max(9, len(title)))


def bar(share: float) -> str:
    """``[######------------------]``, for a terminal."""
    filled = round(_BAR * min(1.0, max(0.0, share)))
    return f"[{'#' * filled}{'-' * (_BAR - filled)}]"


def _mean(values: Sequence[float]) -> float:
    """Of the steps that were taken; of the others has been told."""
    known = [v for v in values if math.isfinite(v)] or values
    return sum(known) / len(known)
