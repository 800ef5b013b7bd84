"""What the doctor tries on copies when it is asked about a recipe: some seconds that a training would not spend."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.batch import Batch
from trainwright.core.facts import Facts
from trainwright.core.finding import Advice, Finding
from trainwright.core.task import Progress
from trainwright.core.trial_facts import Cost, Invariance
from trainwright.engine.by_heart import by_heart
from trainwright.engine.invariance import Sum, invariance
from trainwright.engine.runtime import Runtime
from trainwright.engine.self_test import self_test
from trainwright.runs.assemble import Pieces

_SAMPLES, _PIECES = 32, 4
_TRIALS = {
    "invariance": "compute one step in several ways",
    "heart": "learn a batch by heart",
    "cost": "measure what a step takes",
}


def deepened(pieces: Pieces, facts: Facts) -> tuple[Facts, list[Finding]]:
    """The facts with one batch learned by heart, the device tested, and one step computed in several ways.

    Everything is done on copies, ten seconds at most. A trial that somebody's model fails at, such as one that cannot
    be copied, is left unmeasured and told with its reason, and the others are made.
    """
    runtime, state = pieces.runtime, pieces.state
    failed: list[Finding] = []
    if runtime.ranks.world > 1:
        return facts, failed
    model, batch = runtime.ranks.bare(state.model), runtime.take(pieces.some(_SAMPLES))
    with state.aside():
        test = self_test(runtime.device, runtime.precision, runtime.autocast)
        facts = replace(facts, device=test)
        trials: dict[str, Callable[[], Any]] = {
            "invariance": lambda: _ways(pieces, model, batch),
            "heart": lambda: by_heart(model, lambda pupil: _mean(pieces, pupil, batch), batch.size),
            "cost": lambda: _cost(pieces, facts),
        }
        for name, trial in trials.items():
            try:
                facts = replace(facts, **{name: trial()})
            except Exception as error:  # whatever somebody's model or loss may raise
                failed.append(_failed(_TRIALS[name], error))
    return facts, failed


def _failed(what: str, error: Exception) -> Finding:
    why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    advice = Advice(
        "what of the model cannot be copied or run again, as a training and a checkpoint need it too, tells"
    )
    return Finding("doctor", "note", f"the doctor could not {what} on a copy: {why}", fixes=(advice,))


def _mean(pieces: Pieces, model: nn.Module, batch: Batch) -> Tensor:
    with pieces.runtime.autocast():
        found = pieces.task.loss(model, batch, Progress())
    return found.sum.float() / batch.weight.clamp_min(1e-12)


def _ways(pieces: Pieces, model: nn.Module, batch: Batch) -> Invariance:
    def over(some: Batch, runtime: Runtime) -> Sum:
        def summed(pupil: nn.Module) -> tuple[Tensor, Tensor]:
            with runtime.autocast():
                return pieces.task.loss(pupil, some, Progress()).sum.float(), some.weight

        return summed

    plain = Runtime(pieces.runtime.device)
    exact = pieces.runtime.precision in ("float32", "float64")
    return invariance(
        model,
        over(batch, plain),
        [over(part, plain) for part in _cut(pieces, batch)],
        None if exact else over(batch, pieces.runtime),
    )


def _cut(pieces: Pieces, batch: Batch) -> list[Batch]:
    """The same samples in four batches, as the loader makes micro-batches; one where they cannot be asked for again."""
    train = pieces.encoded.get("train")
    if pieces.data is None or train is None or pieces.task.processor.windows is not None:
        return [batch]
    ids = batch.ids.cpu()
    processor, part = pieces.task.processor, pieces.data.parts["train"]
    chunks = [c for c in ids.chunk(_PIECES) if len(c)]
    return [pieces.runtime.take(processor.batch(part.gather(c, torch.device("cpu")), None)) for c in chunks]


def _cost(pieces: Pieces, facts: Facts) -> Cost:
    """Time of a step of the recipe's own batch by the median of three on a copy, and memory of what is kept."""
    runtime, device = pieces.runtime, pieces.runtime.device
    model = copy.deepcopy(runtime.ranks.bare(pieces.state.model)).train()
    size = min(facts.batch_size or _SAMPLES, facts.micro_batch or facts.batch_size or _SAMPLES)
    batch = runtime.take(pieces.some(size))
    counted = device.type == "cuda"
    if counted:
        torch.cuda.reset_peak_memory_stats(device)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        _mean(pieces, model, batch).backward()
        model.zero_grad(set_to_none=True)
        if counted:
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    step = sorted(times)[1] * max(1, (facts.batch_size or batch.size)) / max(1, batch.size)
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    kept = {"sgd": 2 + (facts.optimizer.momentum > 0)}.get(facts.optimizer.name, 4)
    peak = torch.cuda.max_memory_allocated(device) if counted else 0
    return Cost(step, step * facts.steps, weights * kept, peak)
