"""One attempt at a run: the loop with everything around it, from the first event to the final scores."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainwright.core.errors import CheckpointError, RanksError, UserError
from trainwright.core.events import EvalDone, Event, Found, Observer, RunEnded, RunStarted, StepDone, Stop, View
from trainwright.core.finding import Advice, Finding
from trainwright.core.redaction import each_text
from trainwright.engine import checkpoint
from trainwright.engine.allocator import memory_kept, settle
from trainwright.engine.evaluate import evaluate
from trainwright.engine.loop import Cadence, Judge, fit
from trainwright.engine.moments import Moments
from trainwright.engine.multiplier import look_ahead
from trainwright.engine.randomness import randomness_kept
from trainwright.engine.state import TrainState
from trainwright.runs.assemble import Pieces, in_steps
from trainwright.runs.changed import Changes
from trainwright.runs.changed import told as told_changes
from trainwright.runs.directory import (
    BAD,
    CHECKPOINTS,
    MANIFEST,
    PROCESSOR,
    identity,
    must_be_whole,
    owner,
    read_manifest,
    read_view,
    write_json,
)
from trainwright.runs.doctoring import consulted, doctor_of
from trainwright.runs.edited import KEPT, as_written
from trainwright.runs.final import final_scores
from trainwright.runs.home import Home
from trainwright.runs.inspect.capturing import Captures
from trainwright.runs.learned import write_learned
from trainwright.runs.likeness import likeness
from trainwright.runs.lock import Lock
from trainwright.runs.manifest import manifest
from trainwright.runs.notes import batch_statistics, out_of_reach
from trainwright.runs.numerics import guard_of
from trainwright.runs.observing import Audience
from trainwright.runs.pace import seconds_per_step
from trainwright.runs.private import hiding
from trainwright.runs.recorder import Recorder, write_bad
from trainwright.runs.recover import Recovery
from trainwright.runs.saving import Saving
from trainwright.runs.score import Scores
from trainwright.runs.shortage import go_on, teller
from trainwright.runs.shown import play, shown
from trainwright.runs.signals import Interruption
from trainwright.runs.sound import refuse_broken
from trainwright.runs.still import tell_changed
from trainwright.runs.together import together


@dataclass(slots=True)
class Attempt:
    """What one attempt is told beside its pieces."""

    pieces: Pieces
    folder: Path
    config: Callable[[int], None]  # writes config.toml, told the budget in steps
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the run, for the manifest
    observers: Sequence[Observer] = ()
    console: Any = None  # a runs.console.Console, or None for silence
    resumed: bool = False
    changed: Changes = field(default_factory=dict)  # settings, since the attempt before
    anew: bool = False  # another attempt at the same run, from its start
    back: int = 0  # the attempt it goes on with, where that is not the one before it
    opening: Sequence[Event] = ()  # told when it has begun
    begun: Callable[[], None] = lambda: None  # called when it has begun, and there is a checkpoint of that
    said: Sequence[Finding] = ()  # in the attempt before, which this one goes on with as if it had not ended
    treats: Callable[[Finding], bool] | None = None  # which findings end the attempt, to be treated
    captures: int | None = None  # samples that are captured at checkpoints; None where the network can be built again


def attempt(a: Attempt) -> RunEnded:
    """Train to the end of the budget or to a stop, then score; the folder tells the same story afterwards."""
    pieces, runtime, config = a.pieces, a.pieces.runtime, a.pieces.config
    with _story(a) as story, Interruption(runtime.first) as interruption:
        cadence, judge = _begun(a, story)
        saving = Saving(pieces, a.folder)
        # told to whoever listens then: the doctor must hear that the run went back
        captures = Captures(pieces, a.folder, cadence.steps, a.captures)
        recovery = Recovery(pieces, a.folder, saving, lambda event: story.tell(event), cadence.steps)

        def follow(folder: Path) -> None:
            a.folder = recovery.folder = folder
            saving.follow(folder)
            captures.follow(folder)
            story.follow(folder)

        home = story.home = Home(a.folder, follow)
        saving.last = cadence.steps
        if not a.resumed:
            recovery.remember()
        view = read_view(a.folder) if a.resumed or a.treats else View()
        doctor = doctor_of(pieces, cadence.steps, a.treats, view, a.said)
        story.tell, examine = consulted(doctor, story.tell)
        wish = examine()
        if a.anew or (wish and not a.resumed):
            saving.first(0)
        a.begun()
        settle()

        def observe(event: Event) -> Stop | None:
            wish = story.tell(event)
            recovery.relieve()
            if isinstance(event, EvalDone) and (seen := shown(pieces, event)) is not None:
                story.tell(seen)
                play(seen, a.folder)
            if isinstance(event, StepDone):
                wish = home.watch(story.tell, event.step) or saving.tell(story.tell) or wish
            saving.last = pieces.state.counters.step if wish else saving.last
            return wish

        with memory_kept(config.pace != "plain" and runtime.device.type == "cpu"):
            stop = wish or fit(
                pieces.state,
                pieces.task,
                pieces.groups,
                runtime,
                observe,
                cadence=cadence,
                schedule=pieces.schedule,
                clip=None if config.clip == "none" else config.clip,
                judge=judge,
                save=captures.after(saving),
                asked=interruption.asked,
                step_fn=pieces.step,
                guard=guard_of(pieces, cadence.steps, story.tell, recovery),
                shortage=teller(pieces, story.tell),
                watch=doctor,
            )
        home.watch(story.tell, pieces.state.counters.step)
        tell_changed(pieces, story.tell)
        saving.settle(story.tell, home.rescue)
        if doctor is not None and runtime.first:
            _write_account(a.folder, doctor.account())
        if not (stop and stop.outcome == "healing"):
            captures.end()
        if stop:
            recovery.keep()
        else:
            recovery.forget()
        story.outcome, story.reason = (stop.outcome, stop.reason) if stop else ("finished", "the budget is spent")
        if story.outcome not in ("interrupted", "healing"):
            _score(a, story, interruption)
    return story.ended()


def _write_account(folder: Path, took: Mapping[str, float]) -> None:
    """What the doctor took of the attempt, beside what the manifest tells of it; a full disk is no reason to end."""
    with suppress(OSError, CheckpointError):
        told = read_manifest(folder)
        told["attempts"][-1]["doctor"] = dict(took)
        write_json(told, folder / MANIFEST)


def _score(a: Attempt, story: _Story, interruption: Interruption) -> None:
    """The final scores; a signal leaves them to the next attempt, but for ranks, which wait for each other."""

    def compute() -> Scores:
        return final_scores(a.pieces, a.folder, teller(a.pieces, story.tell))

    scores = interruption.unless_asked(compute) if a.pieces.runtime.ranks.world == 1 else compute()
    if scores is None:
        story.outcome, story.reason = "interrupted", interruption.name
        return
    story.scores = scores
    refuse_broken(scores.trouble)


@dataclass(slots=True)
class _Story:
    """How the attempt goes, until it can be told as its last event."""

    state: TrainState
    tell: Observer
    follow: Callable[[Path], None]  # the run folder to another place
    close: Callable[[], None]
    home: Home | None = None
    began: float = field(default_factory=time.perf_counter)
    outcome: str = "failed"
    reason: str = ""
    scores: Scores = field(default_factory=Scores)
    last: RunEnded | None = None
    begun: bool = False  # the log tells that the attempt begins

    def ended(self) -> RunEnded:
        """The last event."""
        if self.last is None:
            seconds, step = time.perf_counter() - self.began, self.state.counters.step
            found = self.scores
            self.last = RunEnded(
                step,
                self.outcome,
                self.reason,
                seconds,
                found.scores,
                found.baselines,
                found.intervals,
                found.baseline_intervals,
                found.differences,
                found.skipped,
            )
        return self.last


@contextmanager
def _story(a: Attempt) -> Iterator[_Story]:
    """One writer holds the folder; whatever happens, the end is told, and lock, loader and randomness are freed."""
    pieces, lock = a.pieces, None
    try:
        must_be_whole(a.folder)
        lock = Lock(a.folder) if pieces.runtime.first else None
        with randomness_kept(pieces.runtime.device):
            story = _Story(pieces.state, *teller_of(a))
            try:
                with together(pieces.runtime.ranks):
                    yield story
            except BaseException as error:
                story.reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                story.outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                raise
            finally:
                try:
                    if story.begun or not (a.resumed or a.anew):  # else what was told before stays the last word
                        story.tell(story.ended())
                finally:
                    story.close()
                    if story.home:
                        story.home.close()
    finally:
        pieces.close()
        if lock:
            lock.release()


def _begun(a: Attempt, story: _Story) -> tuple[Cadence, Judge | None]:
    """Restore what was, write what is known before the first step, and tell that it begins."""
    pieces, runtime = a.pieces, a.pieces.runtime
    pieces.state.random.seed(pieces.config.seed)
    earlier = restore(pieces, a.folder) if a.resumed else len(a.facts["attempts"]) - 1
    cadence = _cadence(pieces, a.folder)
    first = pieces.state.counters.step
    look_ahead(pieces.schedule, first, cadence.steps)
    monitor, better = pieces.monitor()
    pieces.facts["notes"] = [
        *pieces.facts.get("notes", ()),
        *batch_statistics(pieces),
        *out_of_reach(pieces, cadence.steps),
    ]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    note = ""
    if runtime.first:
        a.config(cadence.steps)
        hide = hiding(pieces.config.model_dump())
        told = manifest(pieces, cadence, monitor, better, a.facts)
        before = read_manifest(a.folder) if a.resumed or a.anew else None
        told |= identity(before, first)
        alike = likeness(before, told) if before else ""
        note = "; ".join(part for part in (alike, told_changes(a.changed)) if part)
        told[KEPT] = as_written(a.folder)
        told["attempts"] = _lineage(a, first, now, alike)
        write_json(each_text(told, hide), a.folder / MANIFEST)
        write_learned(pieces.task.processor, a.folder / PROCESSOR)
        if any(pieces.bad.values()) and not (a.resumed or a.anew):
            write_bad(pieces.bad, a.folder / BAD, hide)
        if a.console:
            a.console.start(a, cadence, monitor if "valid" in pieces.evaluations else "", better)
    story.tell(RunStarted(earlier + 1, first, cadence.steps, pieces.per_epoch, now, note, a.anew, a.back))
    story.begun = True
    for event in a.opening:
        story.tell(event)
    for finding in pieces.findings if not a.resumed else ():
        story.tell(Found(first, finding))
    return cadence, _judge(pieces, monitor, better)


def _lineage(a: Attempt, first: int, now: str, alike: str) -> list[dict[str, Any]]:
    """The attempts of the run, the last of which is this one: where and when it began, how like, and what it changed.

    ``before`` is the file with the settings of the attempt before it.
    """
    *earlier, mine = a.facts["attempts"]
    mine = {**mine, "from_step": first, "began": now, **({"resume": alike} if alike else {})}
    if a.changed:
        mine |= {"changed": a.changed, "before": f"config-{len(earlier)}.toml"}
    return [*earlier, mine]


def restore(pieces: Pieces, folder: Path) -> int:
    """The newest sound checkpoint into the state; the number of earlier attempts."""
    mine = owner(folder)
    if pieces.runtime.first:
        for damaged in checkpoint.set_aside(folder / CHECKPOINTS, mine):
            pieces.facts.setdefault("damaged", []).append(damaged)
    pieces.runtime.ranks.barrier()
    found = checkpoint.newest(folder / CHECKPOINTS, mine, pieces.runtime.ranks.read)
    steps = pieces.runtime.ranks.gather_json(found and int(found[1]["counters"]["step"]))
    if len(set(steps)) > 1:  # each reads its own rows: of different checkpoints they would be no network
        told = ", ".join(map(str, steps))
        raise RanksError(f"the processes see different checkpoints (of the steps {told}); start them again")
    if found is None:
        raise CheckpointError(f"{folder} has no checkpoint to resume from; train it again from its config.toml")
    _, state, troubles = found
    for trouble in troubles:
        pieces.facts.setdefault("damaged", []).append(trouble)
    pieces.state.load_state_dict(state)
    go_on(pieces)
    counters, moments = pieces.state.counters, pieces.state.parts["optimizer"]
    if counters.share < 1 and isinstance(moments, Moments) and moments.asked_anew(state["optimizer"]):
        counters.share = 1.0  # a person who sets the rate means it
    return len(json.loads((folder / MANIFEST).read_text())["attempts"])


def _cadence(pieces: Pieces, folder: Path) -> Cadence:
    """All amounts of training in steps; seconds are measured once, and become steps for good."""
    config, per_epoch = pieces.config, pieces.per_epoch
    texts = (config.budget, config.eval_every, config.save_every)
    timed = any("steps" not in t and "epoch" not in t and "step" not in t for t in texts)
    seconds = seconds_per_step(pieces, folder) if timed else None
    steps, evaluate_every, save_every = (in_steps(t, per_epoch, seconds) for t in texts)
    return Cadence(steps=steps, log=config.log_every, evaluate=evaluate_every, save=save_every)


def _judge(pieces: Pieces, monitor: str, better: str) -> Judge | None:
    """The validation part decides which weights are best; without one nothing does."""
    if pieces.config.min_change > 0 and pieces.config.patience == "none":
        raise UserError(
            "min_change", "says what patience waits for, and there is no patience", "write patience = 5 too"
        )
    if "valid" not in pieces.evaluations:
        asked = {"patience": pieces.config.patience != "none", "monitor": pieces.config.monitor != "auto"}
        for key, said in {**asked, "schedule": pieces.state.responsive}.items():
            if said:
                raise UserError(key, "looks at the validation part, and there is none", "hold one out: valid = 0.1")
        return None
    state, task, runtime, config = pieces.state, pieces.task, pieces.runtime, pieces.config
    return Judge(
        lambda: evaluate(state.model, task, pieces.evaluations["valid"](), runtime, metrics=pieces.metrics),
        monitor,
        better,
        None if config.patience == "none" else config.patience,
        config.min_change,
    )


def teller_of(a: Attempt) -> tuple[Observer, Callable[[Path], None], Callable[[], None]]:
    """One observer that records, shows, and asks the user's observers; only the first rank has it.

    With it, what follows the run folder to another place, and what is done at the end.
    """
    if not a.pieces.runtime.first:
        return (lambda event: None), (lambda folder: None), (lambda: None)
    recorder, audience = Recorder(a.folder, hiding(a.pieces.config.model_dump())), Audience(a.observers)

    def tell(event: Event) -> Stop | None:
        before = recorder.trouble
        recorder(event)
        if a.console:
            a.console(event)
        if recorder.trouble and not before and not isinstance(event, RunEnded):
            tell(Found(a.pieces.state.counters.step, _unwritten(a.folder, recorder.trouble)))
        return audience(event)

    def follow(folder: Path) -> None:
        recorder.folder = folder
        if a.console:
            a.console.follow(folder)

    def close() -> None:
        recorder.close()
        if a.console:
            a.console.close()

    return tell, follow, close


def _unwritten(folder: Path, why: str) -> Finding:
    return Finding(
        rule="log_waits",
        severity="warning",
        what=f"what happens cannot be written down: {why}",
        where=str(folder),
        why="training goes on, and the lines wait in memory until they can be written",
        fixes=(Advice("free space, or make the folder writable"),),
    )
