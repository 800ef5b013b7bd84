"""Foreign weights (.pt, .pth, .bin, .ckpt) as safetensors: unpickled by a confined process, never by this one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainwright.core.errors import DataError, StorageError, UserError
from trainwright.tools.jail import ESCAPED

_START = 120.0  # seconds until torch is loaded, on a busy machine
_SPEED = 20 << 20  # bytes that a slow disk and processor convert in a second
_TOLD = 64 << 20  # bytes that the confined process may tell
_SOURCE = (
    "import os, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); "
    "from trainwright.tools.confined import main; main(sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a foreign file."""

    path: Path
    tensors: Mapping[str, tuple[tuple[int, ...], str]]  # name -> shape, type
    notes: tuple[str, ...]
    fences: tuple[str, ...]  # what kept the foreign file from anything but its tensors

    @property
    def numbers(self) -> int:
        """In all tensors together."""
        total = 0
        for shape, _ in self.tensors.values():
            size = 1
            for n in shape:
                size *= n
            total += size
        return total


def convert(file: str | Path, out: str | Path, *, key: str | None = None, leave_out: Sequence[str] = ()) -> Imported:
    """Write the tensors of a file of ``torch.save`` as a new .safetensors file.

    The file is read by a process of its own that can open nothing, connect to nothing and start nothing, with torch's
    reader for weights only. Raises `DataError` for a file that holds no tensors, or anything that only code could
    build; nothing is written then.

    Args:
        file: of torch, old or new format, also with the model's tensors within "state_dict", "model" and the like.
        out: the new file, which must not be there yet.
        key: where in the file the tensors are ("ema", "teacher.model"); found by itself unless given.
        leave_out: classes, such as "argparse.Namespace", whose objects are passed over; nothing of them is built.
    """
    source, target = Path(file).expanduser(), Path(out).expanduser()
    _checked(source, target)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:100]}-") as room:
            draft = Path(room) / "weights.safetensors"
            told = _confined(source, draft, {"key": key, "leave_out": list(leave_out)})
            made = _believed(draft, told, target)
            with draft.open("rb+") as written:
                os.fsync(written.fileno())
            _placed(draft, target)
    except FileExistsError:
        raise UserError(str(target), "exists", "choose another name; nothing was overwritten") from None
    except OSError as error:
        raise UserError(str(target), f"cannot be written: {error.strerror or error}", "choose another place") from None
    return made


def _placed(draft: Path, target: Path) -> None:
    """Under its name, never over a file that came meanwhile; some file systems have no second names to do that with."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:
        if target.exists():
            raise FileExistsError from None
        os.rename(draft, target)


def _checked(source: Path, target: Path) -> None:
    """Say what is wrong before a process is started."""
    if "\0" in f"{source}{target}":
        raise UserError("import", "a name holds a null character", "name a file of weights")
    try:
        there, taken, room = source.is_file(), target.exists() or target.is_symlink(), target.parent.is_dir()
        kind = "is a folder" if source.is_dir() else "is not there" if not source.exists() else "is no ordinary file"
    except (OSError, ValueError) as error:
        raise UserError(str(source), f"cannot be looked at ({error})", "name a file of weights") from None
    if not there:
        raise UserError(str(source), kind, "name a .pt, .pth, .bin or .ckpt file")
    if target.suffix != ".safetensors":
        raise UserError(str(target), "has another ending", "write a name that ends in .safetensors")
    if taken:
        raise UserError(str(target), "exists", "choose another name; nothing was overwritten")
    if not room:
        raise UserError(str(target), "is in a folder that is not there", "make the folder, or choose another")
    if os.name != "posix":
        raise UserError(str(source), "cannot be read safely on this system", "convert it on Linux or macOS")


def _confined(source: Path, draft: Path, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """What the confined process told, or why it came to nothing."""
    with contextlib.ExitStack() as open_files:
        try:
            given = open_files.enter_context(source.open("rb"))
        except OSError as error:
            raise UserError(str(source), f"cannot be read: {error.strerror}", "check its permissions") from None
        new = open_files.enter_context(draft.open("xb"))
        report = open_files.enter_context(_report())
        size = os.fstat(given.fileno()).st_size
        seconds = 30 + size // _SPEED
        handles = [given.fileno(), new.fileno(), report.fileno()]
        arguments = [*map(str, handles), str(size), str(seconds), json.dumps(wishes)]
        place = os.pathsep.join(p or os.getcwd() for p in sys.path)
        command = [sys.executable, "-I", "-c", _SOURCE, place, *arguments]
        code = _run(command, handles, draft.parent, _START + seconds, str(source))
        report.seek(0)
        return _told(report.read(_TOLD), code, str(source))


def _report() -> IO[bytes]:
    """Where the process tells what it found: in memory, as a disk that is full would swallow that as well."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("report"), "w+b")
    return tempfile.TemporaryFile()


def _run(command: Sequence[str], handles: Sequence[int], room: Path, seconds: float, source: str) -> int:
    """The exit code of a process with these open files, an empty environment, and nobody to speak to."""
    child = subprocess.Popen(
        command,
        env={"LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "HOME": str(room), "TMPDIR": str(room)},
        cwd=room,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=handles,
        start_new_session=True,
    )
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        raise DataError(source, f"was not read within {seconds:.0f} seconds", "a sound file is") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _told(report: bytes, code: int, source: str) -> dict[str, Any]:
    """The report as plain data, or the error it stands for; nothing in it is believed unseen."""
    try:
        told = json.loads(report)
    except (ValueError, RecursionError):
        told = {}
    if not isinstance(told, dict):
        told = {}
    if code == ESCAPED or "escaped" in told or code == -getattr(signal, "SIGSYS", 31):
        tried = f" ({told['escaped']} {told.get('what', '')})".rstrip() if "escaped" in told else ""
        what = f"tried to do more than hold weights{tried}, and its reader was ended"
        raise DataError(source, what, "do not open this file with anything that unpickles")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise DataError(source, "needs far more time or memory than its size allows", "a sound file does not")
    if "full" in told:
        why = str(told["full"])[:100]
        raise StorageError(f"the new file cannot be written: {why}; free space there, or choose another place")
    if "refused" in told:
        raise DataError(source, str(told["refused"]), str(told.get("instead", "")))
    if code or not isinstance(told.get("tensors"), list):
        raise DataError(source, f"could not be read: its reader ended with code {code}", "it may be damaged")
    return told


def _believed(draft: Path, told: Mapping[str, Any], target: Path) -> Imported:
    """The new file read back by the format's own reader, and what is said of it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(draft, framework="pt") as file:
            pieces = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            shapes = {name: tuple(int(n) for n in piece.get_shape()) for name, piece in pieces.items()}
    except (SafetensorError, OSError) as error:
        raise DataError(str(target), f"did not come out sound: {error}", "please report this") from None
    types = {str(name): str(kind) for name, _, kind in told["tensors"]}
    tensors = {name: (shapes[name], types.get(name, "")) for name in types if name in shapes}
    notes, fences = (tuple(str(line) for line in told.get(k, ())) for k in ("notes", "fences"))
    return Imported(target, tensors, notes, fences)
