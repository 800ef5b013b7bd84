"""All runs of a folder: found as they appear, followed while somebody watches, asked for by key and never by path."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Lock

from trainwright.runs.directory import EVENTS
from trainwright.studio.files import Place, places, trials
from trainwright.studio.followed import Followed

MOST = 10_000  # runs
_LOOK = 2.0  # seconds between two looks for new runs
_PATIENCE = 1.0  # seconds of reading in one look
_AWAKE = 30.0  # seconds after which a run that does not move is looked at less often
_GUESTS = 32  # trials that are followed at once
_REST = 3.0  # seconds between two looks at such a run


class Shelf:
    """The runs of a folder.

    Args:
        root: the folder, which may come later.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self._runs: dict[str, Followed] = {}
        self._guests: dict[str, Followed] = {}  # trials of searches that somebody looks at; in no list
        self._states: dict[str, bool] = {}  # whether it was being trained at the last look
        self._times: dict[str, tuple[float, float]] = {}  # when it last moved, and when it was last looked at
        self._changed: dict[str, int] = {}  # by key: the tick at which it last changed
        self._tick = 0
        self._looked = -_LOOK
        self._lock = Lock()

    @property
    def tick(self) -> int:
        """Counts the looks that saw something new."""
        return self._tick

    def runs(self) -> list[Followed]:
        """All of them."""
        return list(self._runs.values())

    def get(self, key: str) -> Followed | None:
        """The run of a key, or the trial that was fetched."""
        return self._runs.get(key) or self._guests.get(key)

    def fetched(self, key: str) -> Followed | None:
        """The trial of a key, which is followed from now on; None where no search has it. Looks into every search."""
        place = next((p for p in islice(trials(self.root), MOST) if p.key == key), None)
        if place is None:
            return None
        run = Followed(place)
        run.catch_up()
        with self._lock:
            run = self._guests.setdefault(key, run)
            while len(self._guests) > _GUESTS:
                gone = next(iter(self._guests))
                del self._guests[gone]
                self._states.pop(gone, None)
                self._times.pop(gone, None)
        return run

    def since(self, tick: int) -> list[str]:
        """Keys of the runs that changed after a tick, gone ones too."""
        return [key for key, at in list(self._changed.items()) if at > tick]

    def touch(self, key: str) -> None:
        """Tell of a run again at the next look: what a person noted of it changed."""
        with self._lock:
            self._tick += 1
            self._changed[key] = self._tick

    def refresh(self) -> bool:
        """Look for new runs and read what is new in each, for about a second; whether anything is. One look at a time.

        A folder with years of runs is so told bit by bit: the newest first, the others at the next looks.
        """
        with self._lock:
            fresh = self._look() if time.monotonic() - self._looked >= _LOOK else []
            until = time.monotonic() + _PATIENCE
            for key, run in [*self._runs.items(), *self._guests.items()]:
                if (time.monotonic() < until or not run.behind) and self._awake(key) and self._news(key, run):
                    fresh.append(key)
            if fresh:
                self._tick += 1
                self._changed.update(dict.fromkeys(fresh, self._tick))
            return bool(fresh)

    def _awake(self, key: str) -> bool:
        """Whether it is to be looked at now: of a thousand finished runs hardly one moves."""
        moved, seen = self._times.get(key, (0.0, 0.0))
        now = time.monotonic()
        return self._states.get(key, True) or now - moved < _AWAKE or now - seen >= _REST

    def _news(self, key: str, run: Followed) -> bool:
        training = run.place.training()
        turned = self._states.get(key) != training
        self._states[key] = training
        new, now = run.catch_up() or turned, time.monotonic()
        self._times[key] = (now if new else self._times.get(key, (now, now))[0], now)
        return new

    def _look(self) -> list[str]:
        """Runs that came and went since the last look."""
        found: dict[str, Place] = {}
        for place in sorted(islice(places(self.root), MOST), key=_age):
            found[place.key] = place
        gone = [key for key in self._runs if key not in found]
        for key in gone:
            del self._runs[key]
            self._states.pop(key, None)
            self._times.pop(key, None)
        come = [key for key in found if key not in self._runs]
        self._runs.update((key, Followed(found[key])) for key in come)
        self._looked = time.monotonic()
        return gone + come


def _age(place: Place) -> float:
    """The run that was written last comes first."""
    with suppress(OSError):
        return -(place.path / EVENTS).stat().st_mtime
    return 0.0
