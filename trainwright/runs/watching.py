"""The doctor beside a loop that is not ours: two lines around it, and nothing in it changes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.events import Event, Examined, Found, Probed, RunStarted, StepDone
from trainwright.core.facts import Facts, LossFacts
from trainwright.core.finding import Finding
from trainwright.engine.examine import Subject, examine
from trainwright.engine.listening import Listener
from trainwright.engine.nature import Measure
from trainwright.engine.probe import Probe
from trainwright.engine.randomness import randomness_kept
from trainwright.engine.signal import reached
from trainwright.engine.trace import first_tensor_of
from trainwright.rules.diagnosis import Diagnosis
from trainwright.runs.checkup import Checkup
from trainwright.runs.compared import Compared
from trainwright.runs.second_look import Samples, second_look

_TOGETHER = 20  # steps between two waits for the device
_OFTEN = 50  # steps between two probes, at first
_FEW = 4096  # samples whose targets are looked at
_MODAL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


def doctor(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor],
    optimizer: Optimizer | None,
    batch: tuple[Any, Any],
) -> Checkup:
    """Examine model, loss, optimizer and data on one batch, before a loop of your own is run; nothing is changed.

    Args:
        model: any module.
        loss: (output, target) -> the mean loss, as your loop computes it.
        optimizer: over the model's weights; None where there is none yet.
        batch: (inputs, target), the inputs a tensor, or a tuple or dict of them as the model takes them.
    """
    x, target = batch
    args, named = _arguments(x)
    with _aside(model):
        facts = examine(_subject(model, args, named, lambda o: loss(o, target), _tensor(target), optimizer))
    diagnosis = Diagnosis()
    found = [(0, f) for event in (RunStarted(1, 0, 1, 1, ""), Examined(0, facts)) for f in diagnosis.take(event)]
    return Checkup(type(model).__name__, tuple(found), facts, diagnosis.verdict)


class watch:
    """Look after a training loop of your own.

    ::

        with tw.watch(model, optimizer):
            for x, y in loader:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()

    It listens to the model, the optimizer and `backward`, examines the first batch, probes some steps, and says what is
    wrong as soon as it knows; weights, buffers and randomness stay what they would be without it.

    Args:
        model: that learns.
        optimizer: that moves it.
        loss: a module (output, target) -> mean loss, where it is not made of torch's own: those are known by their
            graph. Without it, rules that compare with guessing are not asked.
        steps: of the whole training, if that is known.
        per_epoch: steps of one epoch, likewise.
        quiet: say nothing; ``findings`` and ``verdict`` tell.
        stream: where it speaks; standard error unless given.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        loss: nn.Module | None = None,
        steps: int = 0,
        per_epoch: int = 0,
        quiet: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self.model, self.optimizer, self._own = model, optimizer, loss
        self.steps, self.per_epoch, self.quiet = steps, per_epoch, quiet
        self._stream = stream
        self._listener = Listener(model, optimizer, backward=self._backward, before=self._before, after=self._after)
        self._probe = Probe(model, optimizer, self._look, lambda: _aside(model))
        self._diagnosis = Diagnosis()
        self._found: list[tuple[int, Finding]] = []
        self._step = 0
        self._losses: list[Tensor] = []
        self._loss: Tensor | None = None
        self._compared = Compared(self._listener, loss)
        self._notes: dict[str, float] = {}
        self._probed = False
        self._stepped = False  # since the last backward pass
        self._spent = self._began = self._last = 0.0
        self._trouble = ""
        self._facts = Facts()

    @property
    def findings(self) -> list[Finding]:
        """What was found, in the order in which it was."""
        return [f for _, f in self._found]

    @property
    def verdict(self) -> str:
        """HEALTHY, SUSPECT or FAILED."""
        return self._diagnosis.verdict

    @property
    def checkup(self) -> Checkup:
        """All of it, with the steps."""
        notes = (self._trouble,) if self._trouble else ()
        return Checkup(type(self.model).__name__, tuple(self._found), self._facts, self.verdict, notes)

    def __enter__(self) -> watch:
        self._began = time.perf_counter()
        self._tell(RunStarted(1, 0, max(1, self.steps), max(1, self.per_epoch), ""))
        self._listener.begin()
        self._compared.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        with self._own_time():
            self._widen()
            self._flush()
            self._second_look(over=True)
        with self._own_time():
            if self._step:
                self._say(self._diagnosis.ending())
        if not self.quiet:
            told = f"doctor: {self.verdict} after {self._step:,} steps"
            print(told + (f"; {self._trouble}" if self._trouble else ""), file=self._out)

    def _close(self) -> None:
        self._listener.end()
        self._probe.disarm()
        self._compared.end()

    @property
    def _out(self) -> TextIO:
        return self._stream or sys.stderr

    def _backward(self, loss: Tensor) -> None:
        """Before the gradient of a loss is computed."""
        with self._own_time():
            self._loss = loss.detach()
            self._compared.hear(loss, self._step)
            if self._looking and self._stepped:
                left = [p.grad for g in self.optimizer.param_groups for p in g["params"] if p.grad is not None]
                size = torch.stack([x.detach().float().norm() for x in left]).norm() if left else torch.zeros(())
                self._notes["uncleared"] = float(size)
            self._stepped = False

    def _before(self) -> None:
        """All gradients are there, and no weight has moved."""
        with self._own_time():
            if self._step == 0:
                self._examine()
            if self._looking:
                modal = [m for m in self.model.modules() if isinstance(m, _MODAL)]
                if self._probed:
                    self._probe.before_step()
                self._notes["asleep"] = sum(not m.training for m in modal) / len(modal) if modal else 0.0

    def _after(self) -> None:
        """A step was taken."""
        with self._own_time():
            self._step += 1
            self._stepped = True
            if self._loss is not None:
                self._losses.append(self._loss)
                self._loss = None
            if self._probed:
                self._probed = False
                self._probe.after_step()
                seen = self._probe.read(self._step)
                self._flush()
                self._second_look()
                self._tell(Probed(self._step, {**seen.statistics, "": self._notes}))
                self._notes = {}
            elif len(self._losses) >= _TOGETHER:
                self._flush()
            self._compared.latest = None
            if self._compared.enough:
                self._widen()
            if self._due():
                self._probed = True

    @property
    def _looking(self) -> bool:
        return self._probed or self._step < 3

    def _due(self) -> bool:
        """Whether the next step is probed: the first ones, then as often as two hundredths of the time allow."""
        if self._step in (1, 2):
            return True
        if self._step % _OFTEN:
            return False
        trained = time.perf_counter() - self._began - self._spent
        return self._spent <= 0.02 * trained or self._step in (_OFTEN, 2 * _OFTEN, 4 * _OFTEN, 8 * _OFTEN)

    @contextmanager
    def _own_time(self) -> Iterator[None]:
        """The doctor's failures end nothing but the doctor, and its time is counted."""
        if self._trouble:
            with suppress(Exception):  # it was told once
                yield
            return
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            self._trouble = f"the doctor could look no more: {type(error).__name__}: {error}"
            self._close()
        finally:
            self._spent += time.perf_counter() - began

    def _examine(self) -> None:
        args, named = self._listener.recent[-1] if self._listener.recent else ((), {})
        if not args and not named:
            return
        measure, target = self._compared.first()
        known = Facts(loss=LossFacts(), steps=self.steps, per_epoch=self.per_epoch)
        gradients = {p: p.grad for p in self.model.parameters()}
        try:
            with _aside(self.model):
                subject = _subject(self.model, args, named, measure, target, self.optimizer, known)
                self._facts = examine(subject)
        finally:
            for weight, gradient in gradients.items():
                weight.grad = gradient
        self._tell(Examined(0, self._facts))

    def _widen(self) -> None:
        """What guessing reaches, by the targets of many batches: those of one may be few."""
        wider = self._compared.widened(self._facts) if self._step else None
        if wider is not None:
            self._facts = wider
            self._tell(Examined(self._step, wider))

    def _look(self) -> None:
        args, named = self._listener.given()
        self.model(*args, **named)

    def _second_look(self, over: bool = False) -> None:
        """What simple models make of the first samples, where that is asked."""
        if not self._compared.samples:
            return
        found = second_look(self._diagnosis, self._facts, over, self._samples, self._reached)
        if found is not None:
            self._facts = found
            self._tell(Examined(self._step, found))

    def _samples(self) -> Samples:
        x, y = (torch.cat(part) for part in zip(*self._compared.samples, strict=True))
        return Samples(x, y)

    def _reached(self) -> float:
        """What the network gets of the way from guessing to right answers, on batches as they were given to it."""
        with _aside(self.model), torch.no_grad():
            self.model.eval()
            said = [first_tensor_of(self.model(some)) for some, _ in self._compared.samples]
        outputs = [o for o in said if o is not None]
        if len(outputs) != len(said):
            return math.nan
        return reached(torch.cat(outputs), self._samples().target, self._facts.loss.wants)

    def _flush(self) -> None:
        """Wait for the device once, and note the steps since."""
        if not self._losses:
            return
        values = torch.stack([x.float().reshape(()) for x in self._losses]).tolist()
        now = time.perf_counter()
        seconds = (now - (self._last or self._began)) / len(values)
        self._last, self._losses = now, []
        rate = float(self.optimizer.param_groups[0]["lr"])
        self._tell(StepDone(self._step, 0, self._step, tuple(values), (), rate, seconds, 0.0))

    def _tell(self, event: Event) -> None:
        self._say(self._diagnosis.take(event))

    def _say(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self._found.append((self._step, finding))
            self._diagnosis.take(Found(self._step, finding))
            if not self.quiet and finding.severity != "note":
                print(_lines(self._step, finding), file=self._out)


def _lines(step: int, finding: Finding) -> str:
    """A finding as plain text."""
    from trainwright.core.finding import Advice, Edit

    fixes = [f.what if isinstance(f, Edit) else f.text for f in finding.fixes if isinstance(f, Edit | Advice)]
    lines = [f"doctor: step {step:,}: {finding.severity}: {finding.what} [{finding.rule}]"]
    return "\n".join(lines + [f"        try: {fix}" for fix in fixes[:2]])


def _subject(
    model: nn.Module,
    args: tuple[Any, ...],
    named: Mapping[str, Any],
    measure: Measure | None,
    target: Tensor | None,
    optimizer: Optimizer | None,
    known: Facts | None = None,
) -> Subject:
    """The model on one batch of a loop that is not ours."""
    inputs = {f"input {i}": x for i, x in enumerate(args) if isinstance(x, Tensor) and x.ndim}
    inputs |= {k: x for k, x in named.items() if isinstance(x, Tensor) and x.ndim}

    def say(given: Mapping[str, Tensor]) -> Any:
        places = [given.get(f"input {i}", x) for i, x in enumerate(args)]
        return model(*places, **{k: given.get(k, x) for k, x in named.items()})

    def lose() -> Tensor:
        output = first_tensor_of(say(inputs))
        assert output is not None
        return measure(output) if measure is not None else output.float().sum() * 0

    return Subject(
        model=model,
        say=say,
        lose=lose,
        inputs={k: x for k, x in inputs.items() if len(x) <= _FEW},
        target=target if measure is not None else None,
        loss=measure,
        optimizer=optimizer,
        more=known or Facts(),
    )


def _arguments(x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(x, Mapping):
        return (), dict(x)
    return (tuple(x) if isinstance(x, tuple | list) else (x,)), {}


def _tensor(target: Any) -> Tensor | None:
    return target if isinstance(target, Tensor) and target.ndim else None


@contextmanager
def _aside(model: nn.Module) -> Iterator[None]:
    """Randomness, buffers and modes are put back."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    modes = {m: m.training for m in model.modules()}
    buffers = {b: b.detach().clone() for b in model.buffers()}
    try:
        with randomness_kept(device):
            yield
    finally:
        with torch.no_grad(), suppress(RuntimeError):
            for buffer, value in buffers.items():
                buffer.copy_(value)
        for module, training in modes.items():
            module.training = training
