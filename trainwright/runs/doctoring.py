"""The doctor at a run: examines it before the first step, probes it meanwhile, and says what is wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.events import Event, Examined, Found, Observer, Probed, Repaired, RunEnded, Stop, View
from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Advice, Finding
from trainwright.core.task import Progress
from trainwright.engine.allocator import settle
from trainwright.engine.examine import Subject, examine
from trainwright.engine.memory import ran_out
from trainwright.engine.nature import Measure
from trainwright.engine.probe import Pace, Probe
from trainwright.engine.runtime import Runtime
from trainwright.engine.saved import saved_for_backward
from trainwright.engine.signal import reached
from trainwright.engine.trace import first_tensor_of
from trainwright.rules.diagnosis import Diagnosis
from trainwright.runs.assemble import Pieces
from trainwright.runs.one_batch import OneBatch
from trainwright.runs.second_look import Samples, second_look
from trainwright.runs.surveyed import survey

_LOOKED, _READ = 256, 4096  # samples that go through the model, and whose targets are read
_FEWEST, _SEEN = 32, 256  # samples that a probe looks at, and of how many that the training computes
_ANSWERS, _TEXTS = 512, 4  # where a sample has many answers, so many of these suffice, of so many samples
_TOLD = 2**14  # answers of the samples whose targets are read: a logit of every class belongs to each
_BYTES = 2**25  # of inputs; of what one pass keeps, unless a step keeps more
_SECONDS = 0.5  # that one pass of the samples may take


class Doctor:
    """One attempt's doctor. Its own failures are told and end nothing but itself.

    Args:
        pieces: of the run.
        steps: of the whole budget.
        treats: which findings end the attempt, because something can be tried; none unless given.
        repairs: that were made in earlier attempts.
        said: findings that were told already.
    """

    def __init__(
        self,
        pieces: Pieces,
        steps: int,
        treats: Callable[[Finding], bool] | None = None,
        repairs: Sequence[Repaired] = (),
        said: Sequence[Finding] = (),
    ) -> None:
        self.pieces, self.steps, self.treats = pieces, steps, treats
        ranks = pieces.runtime.ranks
        self.diagnosis = Diagnosis() if pieces.runtime.first else None
        if self.diagnosis is not None:
            self.diagnosis.view.repairs = list(repairs)
            self.diagnosis.said = {finding.rule: finding for finding in said}
        self._wish: Stop | None = None
        self.pace = Pace(steps, clocked=ranks.world == 1)
        self._many: Callable[[], Batch] | None = None  # training samples, as many as were read
        self._looked: Callable[[], OneBatch] | None = None  # those that went through the model
        self._probe: Probe | None = None
        self._armed = False
        self._lost = False  # its rules failed
        self._before = 0.0  # seconds that the examination took
        self._account: dict[str, float] = {}
        self._unsaid: list[Finding] = []  # its own troubles, until there is somebody to tell

    def examined(self) -> Examined:
        """What it finds before the first step of the attempt."""
        state, runtime, began = self.pieces.state, self.pieces.runtime, time.perf_counter()
        facts = self._known()
        if runtime.first:
            facts = self._surveyed(facts)
        if runtime.first and runtime.ranks.mode != "fsdp":
            facts = self._examined(facts)
        self._before = round(time.perf_counter() - began, 3)
        return Examined(state.counters.step, facts)

    def _surveyed(self, known: Facts) -> Facts:
        try:
            with self.pieces.state.aside():
                return replace(known, data=survey(self.pieces))
        except Exception as error:
            self._gives_up(error, "could not look at the data")
            return known

    def _examined(self, known: Facts) -> Facts:
        """On fewer samples where memory runs out: the training itself may compute very few at once."""
        most = _LOOKED
        while True:
            try:
                with self.pieces.state.aside():
                    return self._examine(known, most)
            except Exception as error:
                if not ran_out(error) or most == 1:
                    self._gives_up(error, "could not examine the model")
                    return known
            most = max(1, most // 4)

    def before(self, step: int) -> None:
        """The optimizer step ``step`` comes."""
        self._armed = self.pace.due(step)
        if self._armed and self._probe is not None:
            self._probe.arm()

    def after(self, step: int) -> Probed | None:
        """What a probe of this step found; None where there was none."""
        if not self._armed:
            return None
        self._armed = False
        if self._probe is None:
            return Probed(step, {})
        try:
            found = self._probe.read(step)
        except Exception as error:
            self._gives_up(error, "could not probe the model")
            return Probed(step, {})
        self.pace.paid(self._probe.seconds)
        return found

    def listening(self, tell: Observer) -> Observer:
        """Tells every event on, and behind it what is found; the last event gets the verdict."""
        diagnosis = self.diagnosis
        if diagnosis is None:
            return tell

        def told(event: Event) -> Stop | None:
            paused = isinstance(event, RunEnded) and event.outcome in ("interrupted", "healing")
            over = isinstance(event, RunEnded) and not paused
            first: list[Finding] = []
            if (isinstance(event, Probed) or over) and (again := self._second_look(diagnosis, over)) is not None:
                tell(again)
                first = self._asked(diagnosis, again)
            wish = None if isinstance(event, RunEnded) else tell(event)
            for finding in [*first, *self._asked(diagnosis, event), *self._own()]:
                wish = tell(Found(_step(event), finding)) or wish
                if not over and self.treats is not None and self.treats(finding):
                    self._wish = Stop(f"the doctor tries what helps against {finding.rule}", "healing")
            if not isinstance(event, RunEnded):
                return wish or self._wish
            event = replace(event, doctor=self.account())
            return tell(event if paused else replace(event, verdict=diagnosis.verdict))

        return told

    def account(self) -> dict[str, float]:
        """What it took of the attempt until this is first asked, at the end of the training."""
        if not self._account:
            took = {"share": self.pace.share, "seconds": self.pace.spent, "probes": float(self.pace.probes)}
            self._account = {**{name: float(f"{value:.3g}") for name, value in took.items()}, "before": self._before}
        return self._account

    def _second_look(self, diagnosis: Diagnosis, over: bool) -> Examined | None:
        """What simple models make of the training samples, where that is asked."""
        many, before = self._many, diagnosis.view.examined
        if many is None or self._lost or before is None:
            return None
        facts = before.facts

        def samples() -> Samples | None:
            batch = many()
            target, inputs = _target(batch), list(batch.inputs.values())
            if target is None or len(inputs) != 1:
                return None
            return Samples(inputs[0], target, lambda row: self.pieces.place(int(batch.ids[row])))

        try:
            found = second_look(diagnosis, facts, over, samples, lambda: self._reached(facts.loss.wants))
        except Exception as trouble:
            self._gives_up(trouble, "could not look a second time")
            return None
        if found is None:
            return None
        settle()
        return Examined(diagnosis.view.step, found)

    @torch.no_grad()
    def _reached(self, wants: str) -> float:
        """What the network, as it is served, gets of the way to right answers on the samples it was examined with."""
        if self._looked is None:
            return math.nan
        state, view = self.pieces.state, self._looked()
        target = _target(view.batch)
        with state.aside(), state.served():
            state.model.eval()
            output = first_tensor_of(view.say(view.batch.inputs))
        return math.nan if output is None or target is None else reached(output, target, wants)

    def _own(self) -> list[Finding]:
        unsaid, self._unsaid = self._unsaid, []
        return unsaid

    def _asked(self, diagnosis: Diagnosis, event: Event) -> list[Finding]:
        if self._lost:
            return []
        began = time.perf_counter()
        try:
            return diagnosis.take(event)
        except Exception as error:
            self._lost = True
            self._gives_up(error, "could not judge what it saw")
            return []
        finally:
            took = time.perf_counter() - began
            self.pace.judged(took) if isinstance(event, Probed) else self.pace.besides(took)

    def _gives_up(self, error: Exception, what: str) -> None:
        self._probe = None
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        advice = Advice('leave it out with doctor = "off", and tell its developers')
        self._unsaid.append(Finding("doctor", "note", f"the doctor {what}: {why}", fixes=(advice,)))

    def _known(self) -> Facts:
        """What needs no measuring."""
        config, pieces = self.pieces.config, self.pieces
        samples = pieces.facts.get("samples", {})
        whole = pieces.facts.get("samples", {}).get("train", 0) if isinstance(samples, Mapping) else 0
        size = whole if config.batch_size == "all" else config.batch_size
        named = pieces.config.task.get("loss")
        name = named if isinstance(named, str) else named.get("name", "") if isinstance(named, Mapping) else ""
        return Facts(
            loss=LossFacts(name=name),
            monitor=pieces.monitor()[0],
            batch_size=int(size or 0),
            micro_batch=0 if config.micro_batch == "all" else config.micro_batch,
            clip=math.inf if config.clip == "none" else config.clip,
            steps=self.steps,
            per_epoch=pieces.per_epoch,
            samples=int(whole or 0),
            precision=pieces.runtime.precision,
        )

    def _examine(self, known: Facts, most: int) -> Facts:
        pieces, runtime, state = self.pieces, self.pieces.runtime, self.pieces.state
        model = runtime.ranks.bare(state.model)
        wide, batch = _samples(pieces, most)
        self._many = self._again(wide or batch)
        view = OneBatch(pieces, model, batch)
        subject = Subject(
            model=model,
            say=view.say,
            lose=view.lose,
            inputs=batch.inputs,
            target=_target(batch),
            loss=view.loss,
            optimizer=state.optimizer,
            place=lambda sample: pieces.place(int((wide or batch).ids[sample])),
            wide=_wide(pieces, model, wide),
            more=known,
            guess=_guess(pieces, wide or batch),
        )
        facts = examine(subject)
        looked, fewer = self._again(batch), self._fewer(batch)
        self._looked = lambda: OneBatch(pieces, model, looked())

        def look() -> object:
            few = fewer()
            return OneBatch(pieces, model, few).say(few.inputs)

        self._probe = Probe(model, state.optimizer, look, state.aside)
        return facts

    def _again(self, batch: Batch) -> Callable[[], Batch]:
        """The samples of a batch whenever they are asked for: held meanwhile only where they would be decoded anew.

        While the network is trained, they would lie in memory beside all that a step needs.
        """
        size, pieces = batch.size, self.pieces
        return (lambda: batch) if pieces.unpacked else (lambda: pieces.runtime.take(pieces.some(size)))

    def _fewer(self, batch: Batch) -> Callable[[], Batch]:
        """Those that probes look at: in a short training, the four that are always taken must not weigh on it."""
        size, pieces = self.pieces.config.batch_size, self.pieces
        if not isinstance(size, int) or pieces.unpacked:  # a loader of somebody's own would have to begin again
            return self._again(batch)
        fewest = min(_FEWEST, max(_TEXTS, _ANSWERS // _answers(batch)))
        most = max(fewest, self.steps * size // _SEEN)
        return self._again(batch) if most >= batch.size else (lambda: pieces.runtime.take(pieces.some(most)))


def _samples(pieces: Pieces, most: int) -> tuple[Batch | None, Batch]:
    """Training samples without augmentation: many, for what their targets are, and those that go through the model.

    Args:
        pieces: of the run.
        most: that go through the model.
    """
    runtime, first = pieces.runtime, pieces.first()
    each = sum(x[0].numel() * x.element_size() for x in first.inputs.values() if len(x)) or 1
    began, room = time.perf_counter(), most
    if most >= first.size:  # else memory ran out, and there is nothing to be measured
        model = runtime.ranks.bare(pieces.state.model)
        with torch.enable_grad(), saved_for_backward(model) as saved:
            loss = pieces.task.loss(model, runtime.take(first), Progress())
            # what is looked at is held beside what a backward pass needs: beside a step it must not stand out
            room = max(_at_once(pieces) // 2, _BYTES * first.size // max(1, saved()))
            del loss
        settle()
    pace = (time.perf_counter() - began) / max(1, first.size)
    most = min(most, max(8, min(room, _BYTES // each, int(_SECONDS / max(pace, 1e-9) / 3))))
    batch = pieces.some(most)
    many = min(_READ, _BYTES // each, _TOLD // _answers(batch))
    wide = pieces.some(many) if many > 2 * most and batch.size == most and not pieces.unpacked else None
    if wide is not None and (y := _target(wide)) is not None and bool((y == y[:1]).all()):
        wide = pieces.some(_BYTES // each)  # one in a thousand is something else than none
    return (None if wide is None else runtime.take(wide)), runtime.take(batch)


def _at_once(pieces: Pieces) -> int:
    """Samples that this process computes at once while it trains."""
    sizes = (pieces.config.batch_size, pieces.config.micro_batch, pieces.state.counters.micro or "all")
    return min((size for size in sizes if isinstance(size, int)), default=_LOOKED)


def _target(batch: Batch) -> Tensor | None:
    """The one tensor the loss compares with."""
    return next(iter(batch.targets.values())) if len(batch.targets) == 1 else None


def _answers(batch: Batch) -> int:
    """Classes that a sample is to be told: one at each position of a text, one at each pixel; else 1."""
    target = _target(batch)
    classes = target is not None and target.ndim > 1 and not target.is_floating_point()
    return max(1, target[0].numel()) if target is not None and classes and len(target) else 1


def _wide(pieces: Pieces, model: nn.Module, wide: Batch | None) -> tuple[Tensor, Measure] | None:
    target = None if wide is None else _target(wide)
    if wide is None or target is None:
        return None
    return target, OneBatch(pieces, model, wide).loss


def _guess(pieces: Pieces, batch: Batch) -> float | None:
    """The loss of the task's own constant baseline on these samples; None where it has none that has a loss."""
    train = pieces.encoded.get("train")
    fits = pieces.task.baselines(train) if train is not None else {}
    if "constant" not in fits:
        return None
    try:
        fitted = fits["constant"](1.0)
        if not isinstance(fitted, nn.Module):
            return None
        exact = Runtime(precision="float64")
        with torch.no_grad():
            near = batch.to(torch.device("cpu")).cast(torch.float64)
            found = pieces.task.loss(fitted.to(exact.device), near, Progress())
        weight = float(batch.weight)
        return float(found.sum) / weight if weight else None
    except Exception as error:  # the examination goes on without it
        if ran_out(error):
            raise
        return None


def doctor_of(
    pieces: Pieces, steps: int, treats: Callable[[Finding], bool] | None, before: View, said: Sequence[Finding] = ()
) -> Doctor | None:
    """The doctor that the recipe asks for.

    Args:
        pieces: of the run.
        steps: of the whole budget.
        treats: which findings end the attempt, because something can be tried.
        before: the run until now.
        said: findings of the attempt before, which this one goes on with as if it had not ended.
    """
    if pieces.config.doctor.get("mode") == "off":
        return None
    passed = [e.finding for e in before.findings[: before.passed]]  # in steps that are taken again
    return Doctor(pieces, steps, treats, before.repairs if treats else (), [*passed, *said])


def consulted(attending: Doctor | None, tell: Observer) -> tuple[Observer, Callable[[], Stop | None]]:
    """What tells events on, and what tells the examination and may ask to stop at once."""
    if attending is None:
        return tell, lambda: None
    told = attending.listening(tell)

    def begin() -> Stop | None:
        wish = told(attending.examined())
        return wish if wish is not None and wish.outcome == "healing" else None

    return told, begin


def _step(event: Event) -> int:
    return int(getattr(event, "step", getattr(event, "from_step", 0)))
