"""The mistakes. Each is one change of a healthy plan, of which the systems are not told.

They come from lists that others made: the taxonomy of Humbatova et al. 2020 ("Taxonomy of real faults in deep learning
systems"), the operators of DeepCrime (Humbatova et al. 2021), and Karpathy's "A recipe for training neural networks".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.mistakes.plan import CLASSES, COLUMNS, HELD, ROWS, Array, Plan, drawn


def _healthy(kind: str, *layers: str, loss: str, rate: float, **more: object) -> Plan:
    train, valid, test = (drawn(kind, rows, part) for part, rows in enumerate((ROWS, HELD, HELD)))
    return Plan(kind, train, valid, test, layers, loss, rate, **more)  # type: ignore[arg-type]


BASES: Mapping[str, Plan] = {
    "classes": _healthy(
        "classes", f"dense {COLUMNS} 32", "relu", "dense 32 32", "relu", f"dense 32 {CLASSES}",
        loss="cross_entropy", rate=0.1, momentum=0.9,
    ),
    "number": _healthy(
        "number", f"dense {COLUMNS} 32", "relu", "dense 32 32", "relu", "dense 32 1",
        loss="mse", rate=0.02, momentum=0.9,
    ),
    "yes": _healthy(
        "yes", f"dense {COLUMNS} 32", "relu", "dense 32 32", "relu", "dense 32 1", "sigmoid",
        loss="bce", rate=0.01, optimizer="adam",
    ),
    "several": _healthy(
        "several", f"dense {COLUMNS} 32", "relu", f"dense 32 {CLASSES}",
        loss="bce_logits", rate=0.01, optimizer="adam",
    ),
    "sleepless": _healthy(
        "classes", f"dense {COLUMNS} 32", "norm 32", "relu", "dropout 0.2", "dense 32 32", "norm 32", "relu",
        f"dense 32 {CLASSES}", loss="cross_entropy", rate=0.05, momentum=0.9, schedule="halved", epochs=12,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Mistake:
    """One change.

    Args:
        name: in the table.
        part: "data", "model", "loss", "optimizer" or "loop".
        base: the healthy plan it is planted in.
        change: that plan -> the broken one.
        names: what a message says that names it; a pattern, in lower case.
        what: in words.
    """

    name: str
    part: str
    base: str
    change: Callable[[Plan], Plan]
    names: str
    what: str

    @property
    def plan(self) -> Plan:
        """The broken one."""
        return self.change(BASES[self.base])


def _cell(value: float) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        x = plan.train[0].copy()
        x[17, 3] = value
        return replace(plan, train=(x, plan.train[1]))

    return change


def _inputs(change: Callable[[Array], Array]) -> Callable[[Plan], Plan]:
    """The same of all parts: the world is like that."""
    return lambda p: replace(
        p, **{part: (change(getattr(p, part)[0]), getattr(p, part)[1]) for part in ("train", "valid", "test")}
    )


def _targets(change: Callable[[Array], Array], *parts: str) -> Callable[[Plan], Plan]:
    return lambda p: replace(p, **{part: (getattr(p, part)[0], change(getattr(p, part)[1])) for part in parts})


def _wide(x: Array) -> Array:
    return np.concatenate([x[:, :3], 1e5 * x[:, 3:4] + 2e5, x[:, 4:]], 1)


def _shuffled(y: Array) -> Array:
    return y[np.random.default_rng(1).permutation(len(y))]


def _answer(plan: Plan) -> Plan:
    """A column that was filled in after the fact: in training and validation it is the answer, later it is not."""

    def told(part: tuple[Array, Array]) -> tuple[Array, Array]:
        x = part[0].copy()
        x[:, 5] = (part[1] - (CLASSES - 1) / 2) * 3
        return x, part[1]

    return replace(plan, train=told(plan.train), valid=told(plan.valid))


def _layers(*layers: str) -> Callable[[Plan], Plan]:
    return lambda p: replace(p, layers=layers)


def _with(place: int, layer: str) -> Callable[[Plan], Plan]:
    """One more layer."""
    return lambda p: replace(p, layers=(*p.layers[:place], layer, *p.layers[place:]))


def _set(**fields: object) -> Callable[[Plan], Plan]:
    return lambda p: replace(p, **fields)  # type: ignore[arg-type]


def _sorted(plan: Plan) -> Plan:
    order = plan.train[1].argsort(kind="stable")
    return replace(plan, train=(plan.train[0][order], plan.train[1][order]), order="as given")


_NARROW = (f"dense {COLUMNS} 4", "tanh", "dense 4 4", "tanh", f"dense 4 {CLASSES}")
_DEEP = [part for _ in range(9) for part in ("dense 32 32", "sigmoid")]
_CUT = r"no gradient|gradient.*(exactly )?0\b|detach|do(es)? not require grad|gradients? (do|does) not exist|not called"
_RATE = r"learning rate|\blr\b"
_SIZES = r"size|shape"

MISTAKES: Sequence[Mistake] = (
    Mistake("a cell is NaN", "data", "classes", _cell(np.nan),
            r"(row|record|sample|column|input|data)\b.*nan|nan.*(row|record|sample|column|input|data)\b",
            "one number of one training row is NaN"),
    Mistake("a cell is 1e9", "data", "number", _cell(1e9), r"absurd|outl|deviations|too large|scale",
            "a unit error in one number of one training row"),
    Mistake("a column is wide", "data", "classes", _inputs(_wide), r"column|scale|standardi|normali|the numbers of",
            "one input column is a hundred thousand times as wide as the others"),
    Mistake("labels are shuffled", "data", "classes", _targets(_shuffled, "train", "valid"),
            r"nothing in the inputs|signal|labels? .*(shuffl|belong|relat)", "labels belong to other rows"),
    Mistake("labels are all 0", "data", "classes", _targets(lambda y: y // 255, "train", "valid"),
            r"(label|target|class).*(same|one|constant|only)", "labels were divided as if they were pixels"),
    Mistake("labels from 1", "data", "classes", _targets(lambda y: y + 1, "train", "valid"),
            r"label|target|class", "labels 1 to 4 for four outputs"),
    Mistake("validation is a copy", "data", "classes",
            lambda p: replace(p, valid=(p.train[0][:HELD], p.train[1][:HELD])),
            r"copies|copy|duplicate|also in|leak|same (rows|records|samples)", "validation rows are training rows"),
    Mistake("an input is the answer", "data", "classes", _answer, r"leak|column.*(alone|answer|target)|gives? .*away",
            "a column that is only known afterwards"),
    Mistake("targets are wide", "data", "number",
            _targets(lambda y: (2e4 * y + 3e5).astype(np.float32), "train", "valid", "test"),
            r"targets? .*(scale|deviation|wide|large|from 0)|standardi", "prices in a small currency"),
    Mistake("first layer is dead", "model", "classes", _set(start="dead"), r"dead|for every sample|die[ds]?\b",
            "a bias of -100 before a ReLU"),
    Mistake("first weights are 0", "model", "classes", _set(start="zeros"),
            r"alike|symmetr|same weights|weights of another|zero", "all first weights are 0"),
    Mistake("features are detached", "model", "classes", _with(4, "detached"), _CUT, "detach() before the last layer"),
    Mistake("a layer is not called", "model", "classes", _set(spare=True),
            r"not called|never called|goes? through|unused|no gradient|gradients? do",
            "made in __init__ and forgotten in forward"),
    Mistake("layers rest", "model", "classes",
            lambda p: replace(p, resting=True, layers=_NARROW),
            r"\brest\b|frozen|freeze|requires_grad|trainable", "untrained layers are frozen"),
    Mistake("no activations", "model", "number", _layers(f"dense {COLUMNS} 32", "dense 32 32", "dense 32 1"),
            r"activation|one matrix|equal a single", "dense layers in a row are one matrix"),
    Mistake("ten sigmoids", "model", "classes",
            _layers(f"dense {COLUMNS} 32", "sigmoid", *_DEEP, f"dense 32 {CLASSES}"),
            r"vanish|gradient.*(shrink|small)|sigmoid", "the gradient does not reach the first layers"),
    Mistake("dropout of 0.97", "model", "classes", lambda p: _with(6, "dropout 0.97")(_with(2, "dropout 0.97")(
        replace(p, layers=(*p.layers[:4], *p.layers[2:])))), r"dropout", "meant was what is kept"),
    Mistake("softmax over the rows", "model", "yes",
            _layers(f"dense {COLUMNS} 32", "relu", "dense 32 1", "softmax over rows"), r"softmax|axis|dim",
            "dim=0 instead of the classes"),
    Mistake("softmax of one", "model", "yes", _layers(f"dense {COLUMNS} 32", "relu", "dense 32 1", "softmax"),
            r"softmax", "one unit: it is always 1"),
    Mistake("rows are mixed", "model", "classes", _with(2, "rows mixed"), r"other (samples|rows)|mixed|depends on",
            "reshape instead of transpose"),
    Mistake("softmax twice", "loss", "classes", _with(5, "softmax"), r"softmax",
            "before a loss that has it in it"),
    Mistake("(N, 1) and (N,)", "loss", "number", _targets(lambda y: y[:, 0], "train", "valid"), _SIZES,
            "element-wise loss of different shapes"),
    Mistake("no logarithm", "loss", "classes", _set(loss="nll"), r"logarithm|log_softmax|normali",
            "NLL of raw outputs"),
    Mistake("no sigmoid", "loss", "yes", lambda p: replace(p, layers=p.layers[:-1]),
            r"between 0 and 1|probabilit|sigmoid|logits", "binary cross-entropy of raw outputs"),
    Mistake("ReLU at the end", "loss", "number", lambda p: replace(p, layers=(*p.layers, "relu")),
            r"targets? .*(negative|reach|beyond|range|cannot|relu)|relu.*target", "half of the targets are negative"),
    Mistake("classes compete", "loss", "several",
            lambda p: replace(p, layers=(*p.layers, "softmax"), loss="bce"),
            r"compete|exclude", "softmax over answers that may go together"),
    Mistake("loss is risen", "loss", "classes", _set(loss="risen", rate=0.01, momentum=0.0),
            r"\bsign\b|negative|minus|below 0", "a forgotten minus: the loss is made large"),
    Mistake("rate of 1e4", "optimizer", "classes", _set(rate=1e4), _RATE, "ten steps of it are enough"),
    Mistake("rate of 1e-8", "optimizer", "classes", _set(rate=1e-8), _RATE, "nothing moves"),
    Mistake("rate of 0", "optimizer", "classes", _set(rate=0.0), _RATE, "a schedule's first value, or a typing error"),
    Mistake("weights are missing", "optimizer", "classes",
            lambda p: replace(p, known="head", layers=_NARROW), r"optimizer|optimiser",
            "the optimizer has those of the last layer"),
    Mistake("decay of 5", "optimizer", "classes", _set(decay=5.0, momentum=0.0), r"decay|penalt|regulari",
            "weights are pulled to 0"),
    Mistake("momentum of 1", "optimizer", "classes", _set(momentum=1.0), r"momentum|" + _RATE, "nothing is forgotten"),
    Mistake("halved each step", "loop", "sleepless", _set(schedule="halved each step"), _RATE + r"|schedule|spent",
            "a schedule for epochs is stepped with each batch"),
    Mistake("gradients are kept", "loop", "classes", _set(loop="kept"),
            r"gradient.*(clear|kept|still there|sum)|zero_grad", "zero_grad is forgotten"),
    Mistake("asleep", "loop", "sleepless", _set(loop="asleep"), r"eval(uation)? mode|\.train\(\)|asleep",
            "evaluation mode while training"),
    Mistake("sorted, not shuffled", "loop", "classes", _sorted, r"shuffl|sorted|one class",
            "one class after the other"),
    Mistake("clipped to 1e-6", "loop", "classes", _set(clip=1e-6), r"clip", "the gradient's norm is cut to nothing"),
)  # fmt: skip
