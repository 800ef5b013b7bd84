"""Connectionist temporal classification: the text that a network's frames spell, and when each piece of it is said.

In every frame the network says one piece or a blank. A path of them spells the text that is left when repetitions are
taken together and blanks are taken out.

Letters in shapes: N recordings, U frames, V pieces with the blank as number 0, L pieces of a text.

Source: Graves et al. 2006, "Connectionist temporal classification: labelling unsegmented sequence data with recurrent
neural networks".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

BLANK = 0
_LOG0 = -np.inf
_FAINT = -12.0  # log probability of a piece in a frame below which a search does not look at it
Logs = NDArray[np.float64]  # (U, V)


def needed(pieces: Sequence[int]) -> int:
    """Frames that a text takes at least: one for each piece, and a blank between equal neighbours."""
    return len(pieces) + sum(a == b for a, b in pairwise(pieces))


def greedy(logits: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The text of the likeliest path: (N, U, V) and (N,) -> pieces (N, L), 0 behind, and (N,) how many."""
    path = logits.argmax(-1)
    before = pad(path, (1, 0), value=BLANK)[:, :-1]
    heard = torch.arange(path.shape[1], device=path.device) < lengths[:, None]
    kept = (path != BLANK) & (path != before) & heard
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)  # what is kept moves to the front
    count = kept.sum(1)
    longest = int(count.max()) if len(count) else 0  # the wait
    return (path * kept).gather(1, order)[:, :longest], count


def prefix_search(logs: Logs, beams: int) -> tuple[list[int], float]:
    """The likeliest text found while keeping the likeliest beginnings, and the log probability of all its paths.

    Args:
        logs: (U, V) log probabilities of one recording.
        beams: beginnings that are kept from frame to frame.

    Source: Hannun, Maas, Jurafsky & Ng 2014, "First-pass large vocabulary continuous speech recognition using
    bi-directional recurrent DNNs", algorithm 1, without a language model.
    """
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, _LOG0)}  # ends in a blank, or in its last piece
    for frame in logs:
        told = [int(v) for v in np.argsort(frame)[::-1][: beams + 1] if frame[v] > _FAINT or v == frame.argmax()]
        found: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [_LOG0, _LOG0])
        for text, (blank, said) in kept.items():
            both = _sum(blank, said)
            at = found[text]
            at[0] = _sum(at[0], both + float(frame[BLANK]))
            if text:
                at[1] = _sum(at[1], said + float(frame[text[-1]]))
            for v in told:
                if v != BLANK:
                    longer = found[(*text, v)]
                    start = blank if text and v == text[-1] else both
                    longer[1] = _sum(longer[1], start + float(frame[v]))
        best = sorted(found.items(), key=lambda item: (-_sum(*item[1]), item[0]))[:beams]
        kept = {text: (ends[0], ends[1]) for text, ends in best}
    text, ends = next(iter(kept.items()))
    return list(text), _sum(*ends)


def aligned(logs: Logs, pieces: Sequence[int]) -> NDArray[np.int64]:
    """(L, 2) the first frame of each piece, and the one behind its last, on the likeliest path that spells a text.

    ValueError where the frames are too few for it.

    Args:
        logs: (U, V) log probabilities of one recording.
        pieces: (L,) of the text.
    """
    count = len(logs)
    if needed(pieces) > count:
        raise ValueError(f"{count} frames cannot spell {len(pieces)} pieces")
    states = np.full(2 * len(pieces) + 1, BLANK)
    states[1::2] = pieces
    jumps = np.zeros(len(states), bool)  # over the blank between different pieces
    jumps[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), _LOG0)
    score[:2] = logs[0, states[:2]]
    back = np.zeros((count, len(states)), np.int64)
    for u in range(1, count):
        ways = np.full((3, len(states)), _LOG0)
        ways[0] = score
        ways[1, 1:] = score[:-1]
        ways[2, 2:] = np.where(jumps[2:], score[:-2], _LOG0)
        back[u] = ways.argmax(0)
        score = ways.max(0) + logs[u, states]
    state = len(states) - 1 if len(states) == 1 or score[-1] >= score[-2] else len(states) - 2
    spans = np.zeros((len(pieces), 2), np.int64)
    for u in range(count - 1, -1, -1):
        if state % 2:
            spans[state // 2, 0] = u
            spans[state // 2, 1] = max(spans[state // 2, 1], u + 1)
        state -= int(back[u, state])
    return spans


def _sum(a: float, b: float) -> float:
    """log(exp(a) + exp(b)); many times as fast on two numbers as NumPy's."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == _LOG0 else high + math.log1p(math.exp(low - high))
