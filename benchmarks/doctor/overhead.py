"""What the doctor takes of a training: off and on in turn, in one process, with the same weights at the end.

Counted is the processor time of the training's thread from the first step to the last, on one thread, so that others on
the same machine change nothing but the caches. What the doctor does before the first step is told apart.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

import trainwright as tw
from benchmarks.doctor.intervals import middle
from trainwright.core.events import Event, StepDone

MODES = ("off", "advise")


@dataclass(frozen=True, slots=True)
class Work:
    """A training that is measured.

    Args:
        name: in the table.
        steps: of one run.
        train: (seed, folder, doctor, observer) -> the run.
    """

    name: str
    steps: int
    train: Callable[[int, Path, str, Callable[[Event], None]], tw.Run]


def _mlp(seed: int, out: Path, doctor: str, observer: Callable[[Event], None]) -> tw.Run:
    """Three hidden layers of 256 on 64 columns in batches of 128, about 1 ms a step."""
    torch.manual_seed(seed)
    x = torch.randn(8192, 64)
    y = (x[:, :8] @ torch.randn(8, 10)).argmax(1)
    layers = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return tw.fit(
        nn.Sequential(*layers, nn.Linear(256, 10)), (x, y), valid=0.0, loss="cross_entropy", batch_size=128,
        budget="2000 steps", optimizer="adam", save_every="1000 epochs", seed=seed, pace="plain", doctor=doctor,
        observers=[observer], out=out, quiet=True,
    )  # fmt: skip


def _cnn(seed: int, out: Path, doctor: str, observer: Callable[[Event], None]) -> tw.Run:
    """The built-in digits with two blocks of 16 and 32 filters."""
    changes = {"seed": seed, "budget": "300 steps", "doctor": doctor, "pace": "plain", "eval_every": "300 steps"}
    changes |= {"save_every": "300 steps", "model": {"name": "cnn", "filters": [16, 32], "dense": [64]}}
    return tw.train("digits", changes, out=out, quiet=True, observers=[observer])


def _gpt(seed: int, out: Path, doctor: str, observer: Callable[[Event], None]) -> tw.Run:
    """The built-in GPT."""
    changes = {"seed": seed, "budget": "150 steps", "doctor": doctor, "pace": "plain", "eval_every": "150 steps"}
    changes |= {"save_every": "150 steps"}
    return tw.train("gpt", changes, out=out, quiet=True, observers=[observer])


WORKS: Sequence[Work] = (Work("MLP", 2000, _mlp), Work("CNN", 300, _cnn), Work("GPT", 150, _gpt))


def measured(work: Work, rounds: int) -> dict[str, Any]:
    """Seconds of a step in every round, off and on, and whether the weights are the same to the last bit."""
    told: dict[str, Any] = {"work": work.name, "steps": work.steps, "off": [], "advise": [], "share": [], "before": []}
    same = []
    for turn in range(rounds):
        weights: dict[str, str] = {}
        for mode in MODES if turn % 2 else reversed(MODES):
            seconds, weights[mode], account = _one(work, turn, mode)
            told[mode].append(seconds / work.steps)
            if mode == "advise":
                told["share"].append(account["share"])
                told["before"].append(account["before"])
        same.append(weights["off"] == weights["advise"])
    return {**told, "same": sum(same), "rounds": rounds}


def _one(work: Work, seed: int, mode: str) -> tuple[float, str, Mapping[str, float]]:
    marks: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, StepDone):
            marks.append(time.thread_time())

    with TemporaryDirectory(prefix="overhead-") as place:
        run = work.train(seed, Path(place) / "run", mode, observe)
        state = run.model.state_dict()
        digest = hashlib.sha256(b"".join(w.detach().cpu().numpy().tobytes() for w in state.values())).hexdigest()
        first = run.view.steps[0].step  # the mark of the first event stands at its end
        ended = run.view.ended
        seconds = (marks[-1] - marks[0]) * work.steps / (work.steps - first)
        return seconds, digest, ended.doctor if ended else {}


def row(told: Mapping[str, Any]) -> str:
    """A row of the table."""
    more = middle([100 * (on / off - 1) for on, off in zip(told["advise"], told["off"], strict=True)])
    off, on = (1000 * middle(told[mode]).value for mode in MODES)
    share, before = 100 * middle(told["share"]).value, middle(told["before"]).value
    return (
        f"| {told['work']} | {off:.2f} ms | {on:.2f} ms | {more.value:+.1f} % ({more.low:+.1f} to {more.high:+.1f}) | "
        f"{share:.1f} % | {before:.2f} s | {told['same']} of {told['rounds']} |"
    )


HEAD = (
    "| work | a step, off | on | more, median (middle half of the rounds) | by the doctor's own account | before the "
    "first step | same weights |\n|---|---|---|---|---|---|---|"
)
