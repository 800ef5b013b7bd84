"""Hostile files through every door that reads a file: what is run, what is refused, in which time and memory.

``python -m benchmarks.hostile`` feeds all of them through all doors; ``--door NAME`` is one of its workers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults_row import Row

_SECONDS, _MEMORY = 1.0, 200 << 20  # of processor time, and bytes beside what is loaded, that a file may take
_STUCK = 3600.0  # seconds after which a worker is ended
# what a program does that a reader must not: Python tells of it before it happens
_ALARMS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "pickle.find_class",
    "socket.connect",
    "subprocess.Popen",
)
CARELESS = "careless"  # the door that is the control
RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2},
    "model": {"name": "mlp", "width": 4},
    "budget": "2 steps",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one door made of one file."""

    file: str
    door: str
    refused: bool  # with a message of ours
    error: str  # what else was raised, or ""
    message: str
    ran: bool  # a program out of the file
    alarms: tuple[str, ...]
    seconds: float
    memory: int  # bytes at its peak, beside what there was
    allowed: bool = False  # to be taken: its harm is text to this door

    @property
    def safe(self) -> bool:
        """Whether nothing ran and it was refused, or may be taken, in words, soon and in little memory."""
        quiet = not self.ran and not self.alarms and not self.error
        return quiet and (self.refused or self.allowed) and self.seconds <= _SECONDS and self.memory <= _MEMORY


Door = Callable[[Path, Path], object]  # (file, an empty folder)


def _train(file: Path, room: Path) -> object:
    import trainwright as tw

    return tw.train(file, {"budget": "2 steps"}, out=room / "out", quiet=True)


def _of(**data: Any) -> Door:
    """Training on data that a source reads."""

    def act(file: Path, room: Path) -> object:
        import trainwright as tw

        task = "image_classification" if data["source"] in ("folder", "idx") else "tabular_classification"
        given = {k: str(file) if v == "FILE" else v for k, v in data.items()}
        recipe = {"task": task, "data": {**given, "valid": 0.2}, "budget": "2 steps"}
        return tw.train(recipe, out=room / "out", quiet=True)

    return act


def _begun(file: Path, room: Path) -> object:
    import trainwright as tw

    return tw.train({**RECIPE, "init_from": str(file)}, out=room / "out", quiet=True)


def _imported(file: Path, room: Path) -> object:
    from trainwright.tools.convert import convert

    return convert(file, room / "out.safetensors")


def _new(file: Path, room: Path) -> object:
    import trainwright as tw

    return tw.new(file, out=room / "recipe.toml")


def _predicted(run: Path) -> Door:
    """An input of a sound run."""

    def act(file: Path, room: Path) -> object:
        import trainwright as tw
        from trainwright.runs.inputs import items_from

        return tw.open(run).predict([item.read() for item in items_from([str(file)], run)])

    return act


def _resumed(run: Path, room: Path) -> object:
    import trainwright as tw

    return tw.resume(run, {"budget": "4 steps"}, quiet=True)


def _evaluated(run: Path, room: Path) -> object:
    import trainwright as tw
    from trainwright.runs.score import evaluate_run

    return evaluate_run(tw.open(run), part="valid")


def _answered(run: Path, room: Path) -> object:
    import trainwright as tw

    names = [f"{part} {side} (cm)" for part in ("sepal", "petal") for side in ("length", "width")]
    return tw.open(run).predict([dict.fromkeys(names, 1.0)])


def _verified(run: Path, room: Path) -> object:
    import trainwright as tw

    return tw.verify(run, steps=1)


FILE_DOORS: dict[str, Door] = {
    "recipe": _train,
    "table": _of(source="table", path="FILE", separator=","),
    "npz": _of(source="npz", path="FILE"),
    "idx": _of(source="idx", images="FILE"),
    "folder": _of(source="folder", path="FILE"),
    "videos": _of(source="videos", path="FILE"),
    "init_from": _begun,
    "new": _new,
    "import": _imported,
}
RUN_DOORS: dict[str, Door] = {
    "resume": _resumed, "evaluate": _evaluated, "predict": _answered, "verify": _verified, "init_from": _begun,
}  # fmt: skip


def _careless(file: Path, room: Path) -> None:
    """The control: what readers do that trust a file."""
    import pickle  # noqa: TID251 - the careless reader

    import numpy as np
    import torch

    inner = file.parent / "inner.pt"
    file = file / ".metadata" if file.is_dir() else inner if inner.exists() else file
    for read in (
        lambda f: torch.load(f, weights_only=False),  # noqa: TID251
        lambda f: pickle.loads(f.read_bytes()),  # noqa: S301
        lambda f: list(np.load(f, allow_pickle=True).values()),
        lambda f: np.load(f, allow_pickle=True),
    ):
        with contextlib.suppress(Exception):
            read(file)


def doors(kind: str, sound: Path) -> dict[str, Door]:
    """By the kind of what is fed."""
    if kind == "recipe":
        return {"recipe": _train, "new": _new}
    return RUN_DOORS if kind == "run" else {**FILE_DOORS, "predict": _predicted(sound), CARELESS: _careless}


def outcomes(door: str, names: Sequence[str] | None, place: Path) -> Iterator[Outcome]:
    """In this process: every hostile file through one door."""
    import trainwright as tw
    from benchmarks.hostile_files import FILES

    heard: list[str] = []

    def listen(event: str, given: tuple[Any, ...]) -> None:
        if event.startswith(_ALARMS) and "trainwright.tools.confined" not in str(given) and "'git'" not in str(given):
            heard.append(f"{event} {str(given)[:80]}")

    sound = tw.train(RECIPE, out=place / "sound", quiet=True).path
    _warm(door, sound, place / "warm")
    (place.parent / "tmp-cache").mkdir(exist_ok=True)
    sys.addaudithook(listen)
    for number, hostile in enumerate(FILES):
        if door not in doors(hostile.kind, sound) or (names is not None and hostile.name not in names):
            continue
        room, canary = place / f"deep/er/{door}-{number}", place / "canary"
        (room / "in").mkdir(parents=True)
        base = shutil.copytree(sound, room / "in/run") if hostile.kind == "run" else room / "in"
        file = hostile.make(base, canary)
        around = _listing(place)
        heard.clear()
        yield _tried(hostile, door, doors(hostile.kind, sound)[door], file, room, canary, heard, (place, around))
        canary.unlink(missing_ok=True)
        shutil.rmtree(room)


def _tried(
    hostile: Any,
    door: str,
    act: Door,
    file: Path,
    room: Path,
    canary: Path,
    heard: list[str],
    there: tuple[Path, set[str]],
) -> Outcome:
    from trainwright.core.errors import TrainwrightError

    before, began = _peak_anew(), _worked()
    refused, error, message = False, "", ""
    try:
        act(file, room)
    except TrainwrightError as mistake:
        refused, message = True, str(mistake)
    except BaseException as other:  # whatever it is, it is no message of ours
        error = f"{type(other).__name__}: {other}"[:300]
    usual = _ready(room) if door == "import" else 0.0 if refused else _WHOLE.get(door, 0.0)
    seconds = max(0.0, _worked() - began - usual)
    ran = canary.exists() or _listing(there[0]) != there[1]
    memory = max(0, _memory("VmHWM") - before)
    allowed = door in hostile.harmless
    return Outcome(hostile.name, door, refused, error, message[:300], ran, tuple(heard), seconds, memory, allowed)


_READY: list[float] = []
_WHOLE: dict[str, float] = {}  # seconds that a door takes which goes on to train, for a sound run


def _ready(room: Path) -> float:
    """Seconds until the confined process has loaded torch: measured on a file that it takes."""
    import torch

    from trainwright.tools.convert import convert

    if not _READY:
        torch.save({"w": torch.zeros(2)}, room / "sound.pt")  # noqa: TID251 - a foreign file
        for i in range(3):
            began = _worked()
            convert(room / "sound.pt", room / f"sound{i}.safetensors")
            _READY.append(_worked() - began)
    return max(_READY)


def _worked() -> float:
    """Seconds of processor time so far, those of ended children too: a busy machine does not make a file slow."""
    return sum(os.times()[:4])


def _warm(door: str, sound: Path, room: Path) -> None:
    """Load all that a door loads, by files that nothing is wrong with but their content."""
    for suffix in (".csv", ".npz", ".zip", ".png", ".safetensors", ".pt", ".json", ".toml", ".yaml"):
        act = doors("file", sound).get(door) or RUN_DOORS[door]
        (room / suffix).mkdir(parents=True)
        file = room / suffix / f"x{suffix}"
        file.write_bytes(b"a,b\n1,2\n3,4\n" * 20 if suffix == ".csv" else b"nothing")
        with contextlib.suppress(Exception):
            act(sound if door in RUN_DOORS and door not in FILE_DOORS else file, room / suffix)
    if door in RUN_DOORS and door in FILE_DOORS:  # what only a whole run gets as far as
        for i in range(3):
            (room / f"run{i}").mkdir()
            began = _worked()
            RUN_DOORS[door](sound, room / f"run{i}")
            _WHOLE[door] = _worked() - began


def _listing(place: Path) -> set[str]:
    """What lies around the room: a file that is written there climbed out."""
    folders = (place, place / "deep", place / "deep/er", place.parent)
    return {str(p) for f in folders if f.is_dir() for p in f.iterdir() if p.name not in ("deep", "er")}


def _peak_anew() -> int:
    """Begin to measure the peak of memory anew; bytes now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    return 0


def run_all(names: Sequence[str] | None = None, only: Sequence[str] | None = None) -> tuple[list[Outcome], float]:
    """Every door in a process of its own; and the seconds it took."""
    began, found = time.perf_counter(), []
    wanted = only or [*dict.fromkeys((*FILE_DOORS, "predict", *RUN_DOORS))]
    for door in wanted:
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "tmp").mkdir()
            (Path(place) / "base").mkdir()
            command = [sys.executable, "-m", "benchmarks.hostile", "--door", door, "--place", f"{place}/base"]
            command += [a for name in names or () for a in ("--name", name)]
            environment = {
                **os.environ,
                "TMPDIR": f"{place}/tmp",
                "OMP_NUM_THREADS": "1",
                "XDG_CACHE_HOME": f"{place}/tmp-cache",
            }
            done = subprocess.run(command, capture_output=True, text=True, timeout=_STUCK, env=environment)
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"file"')]
        for line in lines:
            told = json.loads(line)
            found.append(Outcome(**{**told, "alarms": tuple(told["alarms"])}))
        if done.returncode:
            error = f"the worker ended with code {done.returncode}: {done.stderr[-300:]}"
            found.append(Outcome(f"after {len(lines)} files", door, False, error, "", False, (), 0.0, 0))
    return found, time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Control:
    """What the same measures say of a reader that does not care."""

    holding: int  # files that hold a program
    ran: int  # of them: it ran
    heard: int  # of them: Python told of it
    large: int  # files that took more memory than they may

    @property
    def blind(self) -> bool:
        """Whether a measure missed what it is there for."""
        return min(self.ran, self.heard) < self.holding or not self.holding or not self.large

    def __str__(self) -> str:
        return f"a careless reader runs {self.ran} of {self.holding}, and {self.large} fill its memory"


def control() -> Control:
    """The files that hold a program, and one that unfolds, through a careless reader in a process of its own."""
    from benchmarks.hostile_files import FILES

    holding = [h.name for h in FILES if h.runs and h.kind == "file"]
    found, _ = run_all([*holding, "npz that unfolds without end"], [CARELESS])
    there = [o for o in found if o.file in holding]
    large = sum(o.memory > _MEMORY for o in found)
    return Control(len(holding), sum(o.ran for o in there), sum(bool(o.alarms) for o in there), large)


def row(names: Sequence[str] | None = None, only: Sequence[str] | None = None) -> Row:
    """One line of the table of faults."""
    return told(*run_all(names, only), control())


def told(found: Sequence[Outcome], seconds: float, careless: Control) -> Row:
    """The line of what was found."""
    bad = [o for o in found if not o.safe]
    executed = sum(o.ran for o in found)
    slow, large = max((o.seconds for o in found), default=0.0), max((o.memory for o in found), default=0)
    note = f"{executed} executed; at most {slow:.2f} s of processor time and {large / (1 << 20):.1f} MB"
    note += "".join(f"; {o.file} through {o.door}" for o in bad[:3])
    return Row("hostile files refused", len(found) - len(bad), len(found), str(careless), seconds, note, careless.blind)


def main() -> None:
    """The worker of one door, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--door")
    parser.add_argument("--place", type=Path)
    parser.add_argument("--name", action="append")
    parser.add_argument("--only", action="append")
    asked = parser.parse_args()
    if asked.door:
        for outcome in outcomes(asked.door, asked.name, asked.place):
            print(json.dumps(asdict(outcome)), flush=True)
        return
    found, seconds = run_all(asked.name, asked.only)
    for o in found:
        if not o.safe:
            print(json.dumps(asdict(o)))
    print(f"{len(found)} cases of {len({o.file for o in found})} files, {sum(o.ran for o in found)} ran a program, "
          f"{sum(o.safe for o in found)} safe; {control()}; {seconds:.0f} s; at most "
          f"{max(o.seconds for o in found):.2f} s, {max(o.memory for o in found) >> 20} MB")  # fmt: skip


if __name__ == "__main__":
    main()
