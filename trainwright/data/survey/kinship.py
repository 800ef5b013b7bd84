"""Fields that tell which records belong together or when they were, beside a split that does not heed them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from trainwright.core.data_facts import Kin
from trainwright.core.errors import DataError
from trainwright.data.moments import moments
from trainwright.data.survey.alone import classes_of
from trainwright.data.survey.sequence import agreement

_GROUPS = (  # one of them, not how many: "households" is a count
    r"patient|subject|subj|participant|person|user|customer|client|speaker|writer|author|player|driver|machine|device|"
    r"sensor|session|visit|household|family|group|store|site|hospital|animal|plot|run"
)
_GROUP = re.compile(rf"(?:^|_)(?:{_GROUPS})(?:_?(?:id|no|nr|number|name|code))?$", re.IGNORECASE)
_TIME = re.compile(r"(?:^|_)(?:date|time|datetime|timestamp|day|moment)s?$|_(?:at|on)$", re.IGNORECASE)
_FEW, _LEAST = 10, 100  # groups and records of which anything is said
_MANY = 200_000  # records that are read
Parts = Mapping[str, npt.NDArray[np.int64]]


def names_group(field: str) -> bool:
    """Whether a field's name says that it tells records' owner: patient_id, speaker, …"""
    return bool(_GROUP.search(_snake(field)))


def names_time(field: str) -> bool:
    """Whether a field's name says that it tells when a record was."""
    return bool(_TIME.search(_snake(field)))


def groups(field: str, values: Sequence[Hashable], target: npt.NDArray[np.float64], parts: Parts, fed: bool) -> Kin:
    """How many held-out records are of groups that are trained on, and how alike targets within a group are.

    Args:
        field: its name.
        values: of every record.
        target: of every record, NaN where it is not known.
        parts: record ids of "train" and the others.
        fed: whether the network gets the field.
    """
    held = np.concatenate([ids for name, ids in parts.items() if name != "train"] or [np.zeros(0, np.int64)])
    if not len(held) or not _LEAST <= len(values) <= _MANY:
        return Kin()
    known = {values[i] for i in parts["train"].tolist()}
    distinct = len(set(values))
    if distinct < _FEW or distinct > len(values) / 2:  # names of few kinds, or of each record
        return Kin()
    shared = sum(values[i] in known for i in held.tolist()) / len(held)
    order = sorted(range(len(values)), key=lambda i: (str(values[i]), i))
    within = [(a, b) for a, b in pairwise(order) if values[a] == values[b]]
    alike, chance, error = agreement(target, within, classes_of(target[np.isfinite(target)]))
    return Kin(field, distinct, shared, alike, chance, error, fed)


def times(field: str, values: Sequence[Any], target: npt.NDArray[np.float64], parts: Parts, fed: bool) -> Kin:
    """How many held-out records lie between training records in time, and how alike neighbours in time are."""
    held = np.concatenate([ids for name, ids in parts.items() if name != "train"] or [np.zeros(0, np.int64)])
    if not len(held) or not _LEAST <= len(values) <= _MANY or any(isinstance(v, bool) for v in values[:50]):
        return Kin()
    try:
        when = moments(values, field, lambda i: f"record {i}")
    except (DataError, TypeError, OverflowError):
        return Kin()
    distinct = len(np.unique(when))
    if distinct < max(_FEW, len(when) / 50):
        return Kin()
    begin, end = when[parts["train"]].min(), when[parts["train"]].max()
    shared = float(((when[held] > begin) & (when[held] < end)).mean())
    order = np.argsort(when, kind="stable").tolist()
    neighbours = list(pairwise(order))
    alike, chance, error = agreement(target, neighbours, classes_of(target[np.isfinite(target)]))
    return Kin(field, distinct, shared, alike, chance, error, fed)


def _snake(field: str) -> str:
    """``patientId`` as ``patient_id``, ``Patient ID`` likewise."""
    return re.sub(r"[^A-Za-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", field.strip())).lower()
