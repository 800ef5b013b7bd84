"""Notes as events: a key goes down, a key goes up, time passes, keys are struck harder; each with a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

from trainwright.data.score import LOUD, Note

END = 0  # behind a piece, and so before one
_PITCHES = 128


@final
class Codes:
    """Numbers of events, on a grid of ``per_beat`` steps a beat: 0 ends a piece, then come keys that go down, keys that
    go up, 1 to ``longest`` steps that pass, and, where there are more than one, how hard keys are struck from there on.

    Source: Oore et al. 2018, "This time with feeling: learning expressive musical performance".

    Args:
        per_beat: steps.
        velocities: that are told apart; 1 for none.
        longest: steps of one event; more time takes several.
    """

    def __init__(self, per_beat: int, velocities: int, longest: int) -> None:
        self.per_beat, self.velocities, self.longest = per_beat, velocities, longest
        self.down, self.up, self.wait = 1, 1 + _PITCHES, 1 + 2 * _PITCHES
        self.force = self.wait + longest

    def __len__(self) -> int:
        return self.force + (self.velocities if self.velocities > 1 else 0)

    def encode(self, notes: Iterable[Note]) -> list[int]:
        """Events in the order of time: what goes up, then what goes down, from the lowest key.

        A note that is struck again while it sounds ends there; one lasts a step at least.
        """
        codes: list[int] = []
        now = force = 0
        for step, on, pitch, velocity in self._events(notes):
            while step > now:
                codes.append(self.wait + min(step - now, self.longest) - 1)
                now += min(step - now, self.longest)
            if on and self.velocities > 1 and force != (force := 1 + velocity * self.velocities // 128):
                codes.append(self.force + force - 1)
            codes.append((self.down if on else self.up) + pitch)
        return codes

    def decode(self, codes: Sequence[int]) -> list[Note]:
        """Notes of any events; a key that never goes up sounds to the end, and what makes no sense is passed over."""
        notes: list[Note] = []
        sounding: dict[int, tuple[int, int]] = {}
        now, velocity = 0, LOUD

        def ended(pitch: int) -> None:
            start, struck = sounding.pop(pitch)
            if now > start:
                notes.append(Note(start / self.per_beat, (now - start) / self.per_beat, pitch, struck))

        for code in codes:
            if code >= self.force:
                velocity = (2 * (code - self.force) + 1) * 64 // self.velocities
            elif code >= self.wait:
                now += code - self.wait + 1
            elif code != END:
                pitch = (code - 1) % _PITCHES
                if pitch in sounding:
                    ended(pitch)
                if code < self.up:
                    sounding[pitch] = now, velocity
        for pitch in list(sounding):
            ended(pitch)
        return sorted(notes)

    def steps(self) -> list[int]:
        """Steps that pass with each code."""
        return [max(0, code - self.wait + 1) if code < self.force else 0 for code in range(len(self))]

    def beats(self, codes: Iterable[int]) -> float:
        """That pass with some codes."""
        steps = self.steps()
        return sum(steps[code] for code in codes) / self.per_beat

    def _events(self, notes: Iterable[Note]) -> list[tuple[int, int, int, int]]:
        """(step, whether it goes down, pitch, velocity), sorted."""
        spans: dict[int, list[list[int]]] = {}  # by pitch: first step, last step, velocity
        for note in sorted(notes):
            first = round(note.start * self.per_beat)
            last = max(first + 1, round((note.start + note.length) * self.per_beat))
            same = spans.setdefault(note.pitch, [])
            if same and same[-1][0] == first:  # struck twice at once
                same[-1][1] = max(last, same[-1][1])
                continue
            if same:
                same[-1][1] = min(same[-1][1], first)
            same.append([first, last, note.velocity])
        events = []
        for pitch, each in spans.items():
            for first, last, velocity in each:
                events += [(first, 1, pitch, velocity), (last, 0, pitch, 0)]
        return sorted(events)
