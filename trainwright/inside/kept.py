"""A run of somebody's own module: its class cannot be loaded here, so what was captured while it trained is shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainwright.core.errors import UserError
from trainwright.engine import checkpoint
from trainwright.inside.again import revive
from trainwright.inside.opened import OWN, must_hold_no_links
from trainwright.runs.directory import CAPTURES, CHECKPOINTS, read_manifest
from trainwright.runs.inspect.captured import Captured, Stored
from trainwright.runs.inspect.capturing import WHY, name_of, steps_of
from trainwright.runs.stored import stored_json

_FILES = 4  # that are remembered


class Kept:
    """The captures of a run.

    Args:
        folder: of the run.

    Raises UserError where there are none, and says why.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        must_hold_no_links(folder)
        self.manifest = read_manifest(folder)
        self._files: dict[tuple[int, int], Stored] = {}
        if not self.steps():
            told = OWN.format(self.manifest["model"].get("class", ""))
            raise UserError("inside", f"{told}; {why_none(folder)}")

    def steps(self) -> list[int]:
        """At which it was captured; of a large network those whose checkpoint, with its weights, is still there."""
        found = steps_of(self.folder)
        if found and self.stored(found[-1]).light:
            kept = checkpoint.steps(self.folder / CHECKPOINTS)
            return [s for s in found if s in kept]
        return found

    def outline(self) -> dict[str, Any]:
        """What there is to see."""
        last = self.stored(self.steps()[-1])
        part = str(last.facts.get("part", "valid"))
        model = self.manifest["model"].get("class", "")
        notes = [
            f"This run trained a module of your own ({model}), whose code the studio does not load: what you see was "
            f"captured while it trained, of the first {len(last)} samples of the {part} part",
            "tw.fit(…, captures=8) captures more of them",
        ]
        if last.light:
            notes.append(
                "a network of this size is told by summaries, with the weights of its checkpoint; no weight moves"
            )
        outline = {"steps": self.steps(), "parts": {part: len(last)}, "large": last.light, "writes": False}
        return {**outline, "notes": notes, "captured": True}

    def stored(self, step: int) -> Stored:
        """The file of a step; UserError where there is none, or it is broken."""
        path = self.folder / CAPTURES / name_of(step)
        try:
            key = (step, path.stat().st_mtime_ns)
            if key not in self._files:
                while len(self._files) >= _FILES:
                    del self._files[next(iter(self._files))]
                self._files[key] = Stored(path)
            return self._files[key]
        except OSError as error:
            raise UserError(path.name, f"cannot be read: {error.strerror}") from error

    def near(self, asked: Mapping[str, Any]) -> tuple[int, str, int]:
        """The step, part and sample that are meant: the nearest there are."""
        steps, wanted = self.steps(), asked.get("step")
        if not steps:
            raise UserError("inside", "the captures of this run are gone")
        step = steps[-1] if wanted is None else min(steps, key=lambda s: abs(s - int(wanted)))
        file = self.stored(step)
        index = int(asked.get("sample") or 0)
        return step, str(file.facts.get("part", "valid")), min(max(index, 0), len(file) - 1)

    def read(self, step: int, index: int) -> Captured:
        """A step with all its numbers; the operations that are known can be done again."""
        found = self.stored(step).read(index)
        revive(found.taken.graph)
        return found

    def decisions(self, step: int) -> Any:
        """What the network said everywhere on the plane of two numbers; None elsewhere."""
        return self.stored(step).facts.get("decisions")

    def rate(self, step: int) -> Any:
        """Of the base rates."""
        return self.stored(step).facts.get("rate")


def why_none(folder: Path) -> str:
    """Why a run has no captures, and what makes some."""
    if steps_of(folder):
        return "it was captured, but the weights of so large a network are gone with its checkpoints"
    try:
        why = str(stored_json(folder / CAPTURES / WHY).get("why", ""))
    except (UserError, OSError):
        why = ""
    if why:
        return f"it was not captured either: {why}"
    return "captures are written at its checkpoints, unless captures = 0, and the first after some seconds of training"
