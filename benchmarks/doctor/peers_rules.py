"""The rules of AUTOTRAINER, DeepDiagnosis, UMLAUT and SageMaker Debugger, judged on the notes of our own plain runs.

They are written from what is published of them: the repositories shiningrain/AUTOTRAINER@03a463e,
Wardat-ISU/DeepLocalize@297bc34 with DeepDiagnosis/ICSE2022@500b017, BerkeleyHCI/umlaut@68c2a02, and the default
parameters of awslabs/sagemaker-debugger. Three things differ from the tools themselves. Notes are taken once an epoch
(of more than 200 epochs, 200 times), where SageMaker saves tensors every 500 steps. The batch is the first rows of the
training part, in eval mode. Messages are mapped to rows of our table, several to one message where it names no single
cause, so a diagnosis is judged as ours is. Repairs are not tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.doctor.observed import Known, Note


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a tool says, when, and the rows of our table it amounts to."""

    says: str
    epoch: int
    rows: tuple[int, ...]


Tool = Callable[[Known, Sequence[Note]], Iterator[Alarm]]
_CROSS = ("categorical_crossentropy", "sparse_categorical_crossentropy")


def alarms(tool: str, known: Known, notes: Sequence[Note]) -> list[Alarm]:
    """Each thing a tool says about a run, once, at the first epoch it says it."""
    first: dict[str, Alarm] = {}
    for alarm in TOOLS[tool](known, notes):
        if alarm.says not in first or alarm.epoch < first[alarm.says].epoch:
            first[alarm.says] = alarm
    return sorted(first.values(), key=lambda alarm: alarm.epoch)


def autotrainer(known: Known, notes: Sequence[Note]) -> Iterator[Alarm]:
    """Eight problems, checked every 3 epochs once 30 % of them are over; gradients only where it did not converge."""
    looked = [note for note in notes if note.epoch >= 0.3 * known.epochs and note.epoch % 3 == 0] or list(notes[-1:])
    for note in looked:
        so_far = [n for n in notes if n.epoch <= note.epoch]
        yield from _autotrainer_output(known, note)
        if any(layer.large >= 10 for layer in note.layers):
            yield Alarm("abnormal data", note.epoch, (2, 18))
        curves = [[n.accuracy for n in so_far], [n.valid_accuracy for n in so_far if not math.isnan(n.valid_accuracy)]]
        curves = [curve for curve in curves if curve]
        slow = all(_jump(curve) < 0.01 for curve in curves)
        if any(max(curve) < 0.7 for curve in curves) or slow:
            found = list(_autotrainer_gradients(note))
            yield from found or ([Alarm("slow convergence", note.epoch, (5, 7, 8))] if slow else [])
        elif _swings(curves[0]) >= 0.2 * len(curves[0]) and len(curves[0]) >= 3:
            yield Alarm("oscillating loss", note.epoch, (4, 6, 32))


def _autotrainer_output(known: Known, note: Note) -> Iterator[Alarm]:
    least, most, total = note.output
    cross = known.loss in _CROSS and not known.logits
    wrong = math.isnan(note.loss) or (note.loss < 0 and "cross" in known.loss)
    wrong |= cross and (least < 0 or total > 1.1)
    wrong |= known.loss == "binary_crossentropy" and not known.logits and (least < 0 or most > 1)
    if wrong:
        yield Alarm("improper output activation or loss", note.epoch, (13, 14, 15, 20))


def _autotrainer_gradients(note: Note) -> Iterator[Alarm]:
    """One of three, in this order: dying, exploding, vanishing."""
    kernels = [w for w in note.weights if w.kernel]
    if not kernels:
        return
    first, last = kernels[0].grad_norm, kernels[-1].grad_norm
    ratio = first / last if last > 0 else math.nan
    if any(not w.finite for w in note.weights):
        yield Alarm("exploding gradient", note.epoch, (1, 3, 4, 12))
    elif sum(w.grad_zeros for w in note.weights) / len(note.weights) >= 0.7:
        yield Alarm("dying ReLU", note.epoch, (10,))
    elif ratio > 70:
        yield Alarm("exploding gradient", note.epoch, (1, 3, 4, 12))
    elif ratio < 1e-3 and first < 1e-4:
        yield Alarm("vanishing gradient", note.epoch, (9, 11, 12))


def _jump(curve: Sequence[float]) -> float:
    """The largest rise from one epoch to the next."""
    return max((then - now for now, then in pairwise(curve)), default=0.0)


def _swings(curve: Sequence[float]) -> int:
    """How many local maxima lie 0.03 or more above the local minimum of the same number."""
    inner = list(zip(curve, curve[1:], curve[2:], strict=False))
    tops = [b for a, b, c in inner if b >= a and b >= c]
    lows = [b for a, b, c in inner if b <= a and b <= c]
    return sum(top - low >= 0.03 for top, low in zip(tops, lows, strict=False))


def deep_diagnosis(known: Known, notes: Sequence[Note]) -> Iterator[Alarm]:
    """Ten symptoms, at the end of every epoch."""
    if known.inputs[0] < -1 or known.inputs[1] > 1:
        yield Alarm("inputs outside [-1, 1]", 0, (18,))
    for i, note in enumerate(notes):
        yield from _symptoms(known, note, i)
        if any(_broken(v) for v in (*(w.mean for w in note.weights), *(a.mean for a in note.layers))):
            yield Alarm("numerical error", note.epoch, (1, 2, 10, 12))
        if math.isnan(note.loss) or math.isinf(note.loss) or note.loss == 0:
            yield Alarm("invalid loss", note.epoch, (1, 13, 14))
        if i >= 4 and any(
            _same(w) for w in zip(*([x.mean for x in n.weights] for n in notes[i - 4 : i + 1]), strict=True)
        ):
            yield Alarm("unchanged weight", note.epoch, (9, 10, 26, 37))
        if i >= 4 and _same([n.loss for n in notes[i - 4 : i + 1]]):
            yield Alarm("loss does not decrease", note.epoch, (5, 7, 13, 14))
        if i >= 19 and _same([n.accuracy for n in notes[i - 19 : i + 1]]):
            yield Alarm("accuracy does not increase", note.epoch, (5, 7))
    for layer in notes[-1].layers:
        if layer.kind in ("relu", "exponential") and layer.below >= 0.7:
            yield Alarm("dead node", notes[-1].epoch, (10,))


def _symptoms(known: Known, note: Note, i: int) -> Iterator[Alarm]:
    if i == 0:
        if _out_of_range(known, note):
            yield Alarm("output out of range", note.epoch, (13, 15, 19))
        if any(w.kernel and not 1e-5 <= w.variance <= 10 for w in note.weights):
            yield Alarm("poor initialization", note.epoch, (12,))
    if note.epoch % 5 == 0 and any(a.kind in ("tanh", "sigmoid") and a.beyond5 > 0.5 for a in note.layers):
        yield Alarm("saturated activation", note.epoch, (11, 18))
    if any(w.grad_mean < 1e-7 for w in note.weights if w.kernel):
        yield Alarm("vanishing gradient", note.epoch, (9, 10, 11, 12))
    ratios = [known.rate * w.moved / w.norm for w in note.weights if w.kernel and w.norm > 0]
    if i > 0 and any(r > 1e-1 for r in ratios):
        yield Alarm("learning rate too high", note.epoch, (4,))
    if i > 0 and any(r < 1e-5 for r in ratios):
        yield Alarm("learning rate too low", note.epoch, (5,))


_RANGES = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, math.inf), "elu": (-1, math.inf), "softmax": (0, 1)}


def _out_of_range(known: Known, note: Note) -> bool:
    """Targets outside what the last activation can say, or a linear output ten times as wide as they are."""
    if known.last in ("linear", "relu") and known.loss in _CROSS and not known.logits:
        return True
    low, high = _RANGES.get(known.last, (-math.inf, math.inf))
    if known.last == "linear" and note.output[1] - note.output[0] > 10 * (known.targets[1] - known.targets[0]):
        return True
    return known.loss not in _CROSS and (known.targets[0] < low or known.targets[1] > high)


def umlaut(known: Known, notes: Sequence[Note]) -> Iterator[Alarm]:
    """Twelve heuristics: five before training, seven each epoch."""
    if known.loss in _CROSS and not known.logits and known.last != "softmax":
        yield Alarm("cross-entropy without softmax", 0, (13, 20))
    if "linear" in known.hidden:
        yield Alarm("a hidden layer without activation", 0, (28,))
    if known.dropout > 0.5:
        yield Alarm("high dropout", 0, (31,))
    if len(known.shape) == 4 and known.shape[-1] != known.shape[-2] and known.shape[1] != known.shape[2]:
        yield Alarm("images that are not square", 0, (16,))
    if known.inputs[0] < -1 or known.inputs[1] > 1:
        yield Alarm("inputs outside [-1, 1]", 0, (18,))
    if known.rate > 0.01 or known.rate < 1e-7:
        yield Alarm("unusual learning rate", 0, (4,) if known.rate > 0.01 else (5,))
    for before, note in zip((None, *notes), notes, strict=False):
        if math.isnan(note.loss) or any(not w.finite for w in note.weights):
            yield Alarm("NaN", note.epoch, (1, 2, 3, 4))
        if before and note.valid_loss > before.valid_loss and note.loss <= before.loss:
            yield Alarm("overfitting", note.epoch, (29,))
        if note.epoch > 3 and (note.valid_accuracy > 0.95 or note.valid_accuracy > note.accuracy + 0.05):
            yield Alarm("suspiciously good validation", note.epoch, (24,))


def sagemaker(known: Known, notes: Sequence[Note]) -> Iterator[Alarm]:
    """The built-in rules with their default parameters."""
    if known.counts and max(known.counts) > 10 * min(known.counts):
        yield Alarm("class imbalance", 0, (21,))
    if len(known.shape) == 4 and abs(known.inputs[2]) > 0.2:
        yield Alarm("images not normalized", 0, (18,))
    for i, note in enumerate(notes):
        yield from _tensors(note)
        window = notes[max(0, i - 2) : i + 1]
        if len(window) == 3 and any(w.moved <= 1e-8 + 1e-5 * w.norm for w in note.weights if w.kernel):
            yield Alarm("unchanged tensor", note.epoch, (9, 10, 26, 37))
        if i >= 10 and note.loss > 0.999 * notes[i - 10].loss:
            yield Alarm("loss not decreasing", note.epoch, (5, 7))
        if not math.isnan(note.valid_loss) and note.valid_loss - note.loss > 0.1 * abs(note.loss):
            yield Alarm("overfit", note.epoch, (29,))
        if i >= 10 and min(n.valid_loss for n in notes[i - 9 : i + 1]) > min(n.valid_loss for n in notes[: i - 9]):
            yield Alarm("overtraining", note.epoch, (29,))
    if len(notes) >= 5 and all(_poor(note) for note in notes[:5]):
        yield Alarm("poor weight initialization", notes[4].epoch, (12,))


def _tensors(note: Note) -> Iterator[Alarm]:
    kernels = [w for w in note.weights if w.kernel]
    if any(w.grad_mean < 1e-7 for w in kernels):
        yield Alarm("vanishing gradient", note.epoch, (9, 10, 11, 12))
    if math.isnan(note.loss) or any(not w.finite for w in note.weights):
        yield Alarm("exploding tensor", note.epoch, (1, 2, 3, 4))
    if any(a.kind == "relu" and a.dead > 0.5 for a in note.layers):
        yield Alarm("dead ReLU", note.epoch, (10,))
    if any(a.saturated > 0.5 for a in note.layers):
        yield Alarm("saturated activation", note.epoch, (11, 18))
    if any(w.zero for w in kernels):
        yield Alarm("all zero", note.epoch, (12,))
    if note.epoch > 1 and any(w.norm > 0 and not 1e-8 <= w.moved / w.norm <= 10 for w in kernels):
        yield Alarm("weight update ratio", note.epoch, (4, 5))


def _poor(note: Note) -> bool:
    variances = [w.variance for w in note.weights if w.kernel and w.variance > 0]
    ranges = [w.grad_range for w in note.weights if w.kernel]
    return bool(variances) and (max(variances) > 10 * min(variances) or min(ranges) < 1e-3)


def _broken(value: float) -> bool:
    return math.isnan(value) or math.isinf(value)


def _same(values: Sequence[float]) -> bool:
    return all(value == values[0] for value in values)


TOOLS: Mapping[str, Tool] = {
    "AUTOTRAINER": autotrainer,
    "DeepDiagnosis": deep_diagnosis,
    "UMLAUT": umlaut,
    "SageMaker Debugger": sagemaker,
}
