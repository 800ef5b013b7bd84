"""Nothing in a checkpoint is idle: without any one key of it a training refuses to go on, or ends elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, TypeAlias

import pytest
import torch

from tests.engine.test_resume_matrix import Ended, ended, rich, run
from tests.training import Class
from trainwright.core.errors import CheckpointError
from trainwright.engine.parts import _OURS, add_parts
from trainwright.runs.sameness import same

Place: TypeAlias = tuple[str | int, ...]
AT, CRITIC = 7, ("critic", "mover")


class Tally:
    """A part of a person's own."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


def begin() -> Class:
    """The rich state of the matrix, with parts of a person's own beside the model: a critic and its optimizer."""
    learner = rich()
    torch.manual_seed(5)
    critic = torch.nn.Linear(2, 1)
    mover = torch.optim.SGD(critic.parameters(), lr=0.1, momentum=0.9)
    add_parts(learner.state, {"critic": critic, "mover": mover, "tally": Tally()}, learner.runtime)
    for group in mover.param_groups:
        critic(torch.rand(3, 2)).sum().backward()
        assert group["initial_lr"] == 0.1
    mover.step()
    return learner


@cache
def saved() -> Mapping[str, Any]:
    learner = begin()
    run(learner, AT)
    return deepcopy(learner.state.state_dict())


def gone_on(state: Mapping[str, Any]) -> Ended:
    learner = begin()
    learner.state.load_state_dict(deepcopy(dict(state)))
    return ended(learner, run(learner, 99))


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every key of every mapping and every place of every list, however deep; of long lists the ends."""
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))[:: len(value) - 1 if len(value) > 9 else 1]
    else:
        return
    for key, child in inner:
        yield (*at, key)
        yield from places(child, (*at, key))


def without(state: Mapping[str, Any], at: Place) -> dict[str, Any]:
    less = deepcopy(dict(state))
    here: Any = less
    for key in at[:-1]:
        here = here[key]
    del here[at[-1]]
    return less


def test_the_whole_state_goes_on_as_it_would_have() -> None:
    """The control: with every key there, nothing is refused and nothing differs."""
    learner = begin()
    run(learner, AT)
    expected = ended(learner, run(learner, 99))
    got = gone_on(saved())
    assert same(expected.state, got.state)
    assert same(expected.log, got.log)


@pytest.mark.parametrize("part", [*_OURS, *CRITIC, "tally"])
def test_no_key_of_a_part_can_be_left_out_unnoticed(part: str) -> None:
    whole, idle = gone_on(saved()), []
    found = [(part, *at) for at in places(saved()[part])]
    for at in [(part,), *found]:
        try:
            got = gone_on(without(saved(), at))
        except CheckpointError:
            continue
        except KeyError:  # only the optimizer knows which moments a weight has: it ends at its first step
            assert at[1] == "state"
            continue
        if same(got.state, whole.state) and same(got.log, whole.log):
            idle.append(at)
    assert idle == []
    assert len(found) > 0
