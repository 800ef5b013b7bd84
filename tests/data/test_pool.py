"""A worker that dies or hangs is noticed and replaced, the order stays, and nothing of it outlives its parent."""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from trainwright.core.errors import UserError
from trainwright.data.arrays import Records
from trainwright.data.encode import encode
from trainwright.data.foreign import ForeignLoader, loader_batches
from trainwright.data.foreign_dataset import DatasetLoader
from trainwright.data.pool import Workers

HERE = os.getpid()
SOON, LATE = 1.0, 600.0  # seconds after which a silent worker hangs; where none does, a busy machine may take its time
# a DataLoader looks for lost workers only then, whatever ended them


def endless() -> None:
    while True:
        time.sleep(0.01)


def fault() -> None:
    faulthandler.disable()  # the trace of a fault that is meant would hide those that are not
    os.kill(os.getpid(), signal.SIGSEGV)


ENDS: dict[str, Callable[[], Any]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": fault,
    "exit": lambda: os._exit(3),
    "hang": endless,
}


class Trap:
    """Ends a worker at an item, the first ``times`` that it is met."""

    def __init__(self, folder: Path, end: str, at: int, times: int = 1) -> None:
        self.folder, self.end, self.at, self.times = folder, end, at, times
        self.patience = SOON if end == "hang" else LATE

    def __call__(self, item: int) -> None:
        met = len(list(self.folder.iterdir()))
        if item == self.at and met < self.times and os.getpid() != HERE:
            (self.folder / str(met)).touch()
            ENDS[self.end]()


class Items(Dataset[Any]):
    """Numbers with noise, some of which end the process that fetches them."""

    def __init__(self, trap: Callable[[int], None], n: int = 24) -> None:
        self.trap, self.n = trap, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.trap(index)
        return torch.rand(1) + index, index


def patience(trap: Callable[[int], None]) -> float:
    return trap.patience if isinstance(trap, Trap) else LATE


def ours(trap: Callable[[int], None]) -> Any:
    return DatasetLoader(Items(trap), batch_size=4, seed=1, workers=2, timeout=patience(trap))


def theirs(trap: Callable[[int], None], **options: Any) -> Any:
    loader = DataLoader(Items(trap), batch_size=4, shuffle=True, num_workers=2, **options)
    return ForeignLoader(loader, seed=1, timeout=SOON)


@functools.cache
def undisturbed(make: Any) -> list[float]:
    return values(make(untouched))


def values(loader: Any, steps: int = 9) -> list[float]:
    found = [float(x) for _, group in zip(range(steps), loader, strict=False) for b in group for x in b.inputs["x"]]
    loader.close()
    return found


def untouched(item: int) -> None:
    """No trap."""


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("make", [ours, theirs])
def test_a_worker_that_is_lost_is_replaced_and_the_order_stays(make: Any, end: str, tmp_path: Path) -> None:
    trap = Trap(tmp_path, end, at=13)
    assert values(make(trap)) == undisturbed(make)
    assert len(list(tmp_path.iterdir())) == 1, "the control: a worker was lost"


@pytest.mark.parametrize("end", ["SIGKILL", "hang"])
@pytest.mark.parametrize("make", [ours, theirs])
def test_after_three_replacements_comes_one_error(make: Any, end: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"4 times in a row.*workers = 0 to see why"):
        values(make(Trap(tmp_path, end, at=13, times=99)))
    met = len(list(tmp_path.iterdir()))
    assert met == 4 or (met < 4 and (make, end) != (ours, "SIGKILL"))  # one that is slow to begin counts as well


def test_batches_that_dead_workers_had_sent_are_fetched_again() -> None:
    loader, found = theirs(untouched), []
    for group in loader:
        found += [float(x) for batch in group for x in batch.inputs["x"]]
        if len(found) == 4:
            time.sleep(0.5)  # what is fetched ahead lies in memory that the workers hold until it is taken
            for process in multiprocessing.active_children():
                process.kill()
        if len(found) >= 36:
            break
    loader.close()
    assert found == undisturbed(theirs)


def test_an_error_of_the_users_reader_is_no_lost_worker() -> None:
    def unreadable(item: int) -> None:
        if item == 13:
            raise EOFError("the file ends early")

    with pytest.raises(EOFError, match="the file ends early"):
        values(theirs(unreadable))


def test_an_evaluation_survives_a_lost_worker(tmp_path: Path) -> None:
    def passed(trap: Callable[[int], None]) -> list[float]:
        loader = DataLoader(Items(trap), batch_size=4, num_workers=2)
        return [float(x) for batch in loader_batches(loader, timeout=SOON) for x in batch.inputs["x"]]

    assert passed(Trap(tmp_path, "SIGKILL", at=13)) == passed(untouched)
    assert len(list(tmp_path.iterdir())) == 1, "the control: a worker was lost"


def test_a_loader_whose_order_is_out_of_reach_is_not_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the epoch cannot be repeated: persistent_workers"):
        values(theirs(Trap(tmp_path, "SIGKILL", at=13), persistent_workers=True))


def test_a_timeout_and_a_beginning_of_the_users_own_are_kept(tmp_path: Path) -> None:
    def begin(number: int) -> None:
        (tmp_path / f"worker {number}").touch()

    loader: DataLoader[Any] = DataLoader(Items(untouched), num_workers=2, timeout=7, worker_init_fn=begin)
    values(ForeignLoader(loader), 3)
    assert (loader.timeout, loader.worker_init_fn) == (7, begin)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_signal_of_a_lost_worker_does_not_break_into_a_step() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    loader = theirs(untouched)
    next(loader)
    assert signal.getsignal(signal.SIGCHLD) is before
    loader.close()


def test_encoding_goes_on_where_a_worker_was_lost(tmp_path: Path) -> None:
    from tests.builtin import rows
    from trainwright.core.kinds import tasks

    def encoded(trap: Callable[[int], None]) -> torch.Tensor:
        task = tasks["tabular_classification"](target="label")
        records = rows(400)
        task.processor.fit(records)
        plain, place = task.processor.encode, {id(r): i for i, r in enumerate(records)}

        def watched(record: Any) -> Any:
            trap(place.get(id(record), -1))
            return plain(record)

        task.processor.encode = watched  # type: ignore[method-assign]
        store = encode(Records(records), task.processor, workers=2, where="memory", timeout=patience(trap))
        return torch.cat([x.reshape(400, -1).double() for x in store.gather(torch.arange(400)).columns.values()], 1)  # type: ignore[union-attr]

    whole = encoded(untouched)
    for k, end in enumerate(ENDS):
        (tmp_path / end).mkdir()
        trap = Trap(tmp_path / end, end, at=100 + 70 * k)
        assert torch.equal(encoded(trap), whole)
        assert len(list((tmp_path / end).iterdir())) == 1


def test_a_mistake_in_a_worker_is_raised_here_with_its_cause() -> None:
    def work(key: int) -> int:
        if key == 5:
            raise OSError("no such image")
        return key

    pool: Workers[int, int] = Workers(work, 2)
    got = []
    with pytest.raises(OSError, match="no such image"):
        got.extend(pool.results(iter(range(9))))
    assert pool.replaced == 0


def test_what_the_workers_draw_does_not_reach_the_training() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    values(ours(untouched))
    assert torch.equal(torch.get_rng_state(), before)


def test_fifty_of_fifty_losses_at_random_change_nothing(tmp_path: Path) -> None:
    """Whatever end, wherever: the same results in the same order."""
    dice = random.Random(0)
    survived = 0
    for k in range(50):
        (tmp_path / str(k)).mkdir()
        end, at = dice.choice(["SIGKILL", "SIGSEGV", "exit"] * 3 + ["hang"]), dice.randrange(12)
        trap = Trap(tmp_path / str(k), end, at, times=1 if end == "hang" else dice.randint(1, 3))

        def work(key: int, trap: Trap = trap) -> int:
            trap(key)
            return key * key

        pool: Workers[int, int] = Workers(work, 2, timeout=patience(trap))
        same = list(pool.results(iter(range(12)))) == [n * n for n in range(12)]
        survived += same and (pool.replaced == trap.times or (end == "hang" and pool.replaced > 0))
    assert survived == 50


PARENT = """
import os, sys
import torch
from torch.utils.data import DataLoader, Dataset
from trainwright.data.foreign import ForeignLoader, loader_batches
from trainwright.data.foreign_dataset import DatasetLoader

class Slow(Dataset):
    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        os.write(1, b"%d\\n" % os.getpid())  # whole, beside the lines of the other one
        while index % 7 == 6:
            pass
        return torch.rand(50_000), index

if sys.argv[1] == "ours":
    loader = DatasetLoader(Slow(), batch_size=4, workers=2, shuffle=False)
else:
    loader = ForeignLoader(DataLoader(Slow(), batch_size=4, num_workers=2))
while True:
    next(loader)
"""


def alive(pids: set[int]) -> set[int]:
    """Those that run; one that is dead and not yet waited for does not."""

    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return {pid for pid in pids if runs(pid)}


def shared(pids: set[int]) -> set[str]:
    """What they left in shared memory; others are at work here as well."""
    begin = tuple(f"torch_{pid}_" for pid in pids)
    return {p.name for p in Path("/dev/shm").iterdir() if p.name.startswith(begin)}


def told(lines: Iterator[str]) -> set[int]:
    found: set[int] = set()
    for line in lines:
        found.add(int(line))
        if len(found) == 2:
            break
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_workers_are_gone_within_five_seconds_when_their_parent_is_killed(kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, kind], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        workers = told(iter(parent.stdout))
        time.sleep(1)  # by now one of them is in an endless loop
        living = alive(workers)
        parent.kill()
    assert living == workers, "the control: they live as long as their parent does"
    until = time.monotonic() + 5
    while alive(workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert alive(workers) == set()
    assert shared({*workers, parent.pid}) == set()
