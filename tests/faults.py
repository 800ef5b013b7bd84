"""Faults on demand: the k-th touch of the disk fails, or kills the process, or is lost in a power cut."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

CALLS = ("open", "write", "fsync", "rename", "replace", "unlink", "rmdir", "mkdir")


class Killed(BaseException):
    """The process is dead: from here on no call of it reaches the disk."""


@dataclass
class Faults:
    """Counts the calls that change a disk, and lets one of them go wrong.

    Args:
        at: number of the call, from 1; 0 lets all pass.
        what: "fail" raises once; "full" raises on every call that needs room from then on; "before", "after" and
            "within" kill the process before, after, or (writes) in the middle of the call.
        code: of the error.
    """

    at: int = 0
    what: Literal["fail", "full", "before", "after", "within"] = "fail"
    code: int = errno.EIO
    calls: list[tuple[str, Any]] = field(default_factory=list)
    dead: bool = False

    @contextmanager
    def active(self) -> Iterator[Faults]:
        own = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            setattr(os, name, self._watched(name, own[name]))
        try:
            yield self
        finally:
            for name in CALLS:
                setattr(os, name, own[name])

    def _watched(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.dead:
                raise Killed
            if name == "open" and not arguments[1] & os.O_CREAT:
                return own(*arguments, **options)  # reading changes nothing
            self.calls.append((name, arguments))
            number = len(self.calls)
            if self.at and self.what == "full" and number >= self.at and name in ("open", "write", "mkdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if number != self.at or self.what == "full":
                return own(*arguments, **options)
            return self._hit(name, own, arguments, options)

        return call

    def _hit(self, name: str, own: Callable[..., Any], arguments: Any, options: Any) -> Any:
        if self.what == "fail":
            raise OSError(self.code, os.strerror(self.code))
        if self.what == "within" and name == "write":
            own(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        elif self.what == "after":
            with suppress(OSError):
                own(*arguments, **options)
        self.dead = True
        raise Killed


@dataclass
class Disk:
    """What a power cut may leave of a folder: a trace of calls, of which only what was flushed is certain.

    A file's bytes are certain once it was flushed, a name (made, renamed, removed) once its folder was.
    """

    root: Path
    trace: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[Disk]:
        own = {name: getattr(os, name) for name in CALLS}
        opened: dict[int, Path] = {}

        def watched(name: str) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                out = own[name](*arguments, **options)
                if name == "open":
                    opened[out] = Path(arguments[0])
                    if arguments[1] & os.O_CREAT:
                        self.trace.append(("create", (Path(arguments[0]),)))
                elif name == "write":
                    self.trace.append(("write", (opened[arguments[0]], bytes(arguments[1])[:out])))
                elif name == "fsync":
                    self.trace.append(("fsync", (opened[arguments[0]],)))
                else:
                    self.trace.append((name, tuple(Path(a) for a in arguments if not isinstance(a, int))))  # no modes
                return out

            return call

        for name in CALLS:
            setattr(os, name, watched(name))
        try:
            yield self
        finally:
            for name in CALLS:
                setattr(os, name, own[name])

    def certain(self, until: int) -> set[int]:
        """The calls among the first ``until`` whose effect no power cut can take back."""
        found: set[int] = set()
        names: dict[Path, Path] = {}  # a file's present name by the name it was written under
        for i, (name, what) in enumerate(self.trace[:until]):
            if name != "fsync":
                if name in ("rename", "replace"):
                    names[what[0]] = what[1]
                continue
            for k, (other, target) in enumerate(self.trace[:i]):
                if (other == "write" and target[0] == what[0]) or (
                    other not in ("write", "fsync") and target[-1].parent == what[0]
                ):
                    found.add(k)
        return found

    def left(self, kept: Sequence[int], target: Path, before: Path) -> None:
        """Make in ``target`` what the kept calls would have made of a copy of ``before``."""
        import shutil

        shutil.copytree(before, target)

        def there(path: Path) -> Path:
            return target / path.relative_to(self.root)

        moved: dict[Path, Path] = {}  # names that a lost rename never gave -> where the thing is

        def found(path: Path) -> Path:
            for new, old in moved.items():
                if path == new or new in path.parents:
                    return old / path.relative_to(new)
            return path

        for k, (name, what) in enumerate(self.trace):
            happened = k in kept
            paths = [there(found(p)) for p in what if isinstance(p, Path)]
            try:
                if name in ("rename", "replace"):
                    if happened:
                        os.rename(paths[0], there(what[1]))
                        moved = {n: o for n, o in moved.items() if n != what[0]}
                    else:
                        moved[what[1]] = found(what[0])
                elif not happened or name == "fsync":
                    continue
                elif name == "mkdir":
                    paths[0].mkdir()
                elif name == "create":
                    paths[0].touch()
                elif name == "write":
                    with paths[0].open("ab") as file:
                        file.write(what[1])
                elif name == "unlink":
                    paths[0].unlink()
                elif name == "rmdir":
                    paths[0].rmdir()
            except OSError:  # it rests on something that was lost
                continue

    def cuts(self, dice: random.Random, tries: int = 6) -> Iterator[list[int]]:
        """For a power cut after each call: which calls survive; none that was not certain, all, and some by chance."""
        for until in range(len(self.trace) + 1):
            sure = self.certain(until)
            rest = [k for k in range(until) if k not in sure]
            yield sorted(sure)
            yield list(range(until))
            for _ in range(tries):
                yield sorted(sure | {k for k in rest if dice.random() < 0.5})
