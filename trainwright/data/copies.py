"""Samples that stand in two parts: what a network has learned by heart is no test of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from trainwright.core.finding import Advice, Edit, Finding
from trainwright.data.look import Ids, Kept, Look, look

RULE = "copies_across_parts"
EXAMPLES = 10  # pairs named
# Of a part that is copied with its targets: so many free points raise a score by at most as much.
TOLERATED = 0.01

_EARLIER = {"valid": ("train",), "test": ("train", "valid")}


@dataclass(frozen=True, slots=True)
class Overlap:
    """The samples of one part whose inputs are, bit for bit, those of a sample of an earlier part."""

    part: str
    of: str  # the earlier part
    size: int  # samples of the part
    copies: int
    agreeing: int  # copies whose targets are the same too; all of them where there are no targets
    examples: tuple[tuple[int, int], ...]  # up to 10: (id in the part, id of the earliest copy in the earlier part)

    @property
    def share(self) -> float:
        """Of the part, 0 to 1."""
        return self.copies / self.size


@dataclass(frozen=True, slots=True)
class Copies:
    """What `copies` found."""

    overlaps: tuple[Overlap, ...]  # one per pair of parts with any
    repeated: int  # training samples that repeat an earlier training sample
    train: int  # training samples


def copies(store: Kept, parts: Mapping[str, Tensor]) -> Copies:
    """Compare the inputs (columns that are no target) of valid and test with those of the parts before them.

    Rows are compared by a 64-bit hash, and matches then bit by bit; training rows that repeat each other are counted
    by hash alone. Columns of bytes are compared as files, without unpacking. For windows over a stream nothing is
    compared and nothing found: neighbouring windows overlap by design.

    Args:
        store: the encoded samples.
        parts: "train", "valid", "test": record ids (N,) int64, as `Split.parts`.
    """
    ids = {p: parts[p].numpy() for p in ("train", "valid", "test") if p in parts}
    if any(c.kind == "window" for c in store.columns.values()):
        return Copies((), 0, len(ids["train"]))
    eyes = look(store)
    hashes = {p: eyes.hashes(i) for p, i in ids.items()}
    found = [_overlap(eyes, part, of, ids, hashes) for part in ids for of in _EARLIER.get(part, ()) if of in ids]
    repeated = len(ids["train"]) - len(np.unique(hashes["train"]))
    return Copies(tuple(o for o in found if o.copies), repeated, len(ids["train"]))


def tolerated(size: int) -> float:
    """The share of a part that may be known beforehand without changing a decision.

    One in a hundred, and in a small part as much as the largest standard error of an accuracy that is measured on it,
    1 / (2 √size): the luck of the draw moves its score further than the copies can.
    """
    return max(TOLERATED, 0.5 / math.sqrt(size))


def finding(found: Copies) -> Finding | None:
    """What to tell a person; None when there is nothing to tell.

    A warning when more of a part is copied with its targets than is `tolerated`: these are answers known beforehand.
    Fewer, or copies whose targets differ, are a note: the latter are no leak but bound the score that can be reached.
    """
    if not found.overlaps:
        return None
    worst = max(found.overlaps, key=lambda o: o.agreeing / o.size / tolerated(o.size))
    numbers: dict[str, float] = {"train/repeated": found.repeated, "train/repeated_share": found.repeated / found.train}
    for o in found.overlaps:
        key = f"{o.part}/{o.of}"
        numbers |= {f"{key}/copies": o.copies, f"{key}/share": o.share, f"{key}/agreeing": o.agreeing}
    pairs = ", ".join(f"{a} = {b}" for a, b in worst.examples)
    return Finding(
        rule=RULE,
        severity="warning" if worst.agreeing / worst.size > tolerated(worst.size) else "note",
        what=f"{worst.copies} of {worst.size} samples of {worst.part} ({worst.share:.1%}) are exact copies of samples "
        f"of {worst.of}, {worst.agreeing} of them with the same target",
        where=worst.part,
        evidence=numbers,
        why=f"A score on samples that were trained on says nothing about new ones. For example, by record: {pairs}.",
        fixes=_fixes(found, worst),
    )


def _fixes(found: Copies, worst: Overlap) -> tuple[Advice | Edit, ...]:
    remove = Edit(f"remove the {worst.copies} copies from {worst.part}, or from {worst.of}")
    group = Advice("if a field tells which records belong together, name it in data.group: they then stay in one part")
    few = Advice("where records have few distinct values, copies are natural: check that no column was lost")
    return (remove, group, few) if found.repeated else (remove, group)


def _overlap(look: Look, part: str, of: str, ids: Mapping[str, Ids], hashes: Mapping[str, Ids]) -> Overlap:
    known, first = np.unique(hashes[of], return_index=True)
    at = np.minimum(np.searchsorted(known, hashes[part]), len(known) - 1)
    match = known[at] == hashes[part]
    mine, other = ids[part][match], ids[of][first[at[match]]]
    same, agree = look.compare(mine, other)
    pairs = tuple((int(a), int(b)) for a, b in zip(mine[same][:EXAMPLES], other[same][:EXAMPLES], strict=True))
    return Overlap(part, of, len(ids[part]), int(same.sum()), int((same & agree).sum()), pairs)
