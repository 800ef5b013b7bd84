"""Events of music: notes come back, and any events are music."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainwright.data.music_codes import END, Codes
from trainwright.data.score import Note

STEPS = st.integers(0, 200)
NOTES = st.lists(st.tuples(STEPS, st.integers(1, 60), st.integers(0, 127), st.integers(1, 127)), max_size=20)


@given(NOTES, st.integers(1, 12), st.sampled_from([1, 4, 64]))
def test_notes_on_the_grid_come_back(given_notes: list[tuple[int, ...]], per_beat: int, velocities: int) -> None:
    codes = Codes(per_beat, velocities, 16)
    alone: dict[int, list[tuple[int, ...]]] = {}  # of each pitch, notes that do not overlap
    for note in sorted(given_notes):
        same = alone.setdefault(note[2], [])
        if not same or same[-1][0] + same[-1][1] <= note[0]:
            same.append(note)
    notes = sorted(Note(s / per_beat, n / per_beat, p, v) for each in alone.values() for s, n, p, v in each)
    found = codes.decode(codes.encode(notes))
    assert [n[:3] for n in found] == [n[:3] for n in notes]
    if velocities > 1:
        apart = 64 / velocities + 1
        assert all(abs(a.velocity - b.velocity) <= apart for a, b in zip(found, notes, strict=True))


def test_events_are_in_the_order_of_time_and_long_silence_takes_several() -> None:
    codes = Codes(2, 1, 4)
    assert codes.encode([Note(0, 1, 60), Note(0, 5, 64), Note(1, 4, 60)]) == [
        codes.down + 60, codes.down + 64, codes.wait + 1, codes.up + 60, codes.down + 60,
        codes.wait + 3, codes.wait + 3, codes.up + 60, codes.up + 64,
    ]  # fmt: skip
    assert codes.beats(codes.encode([Note(0, 5, 64)])) == 5.0


def test_a_key_struck_again_while_it_sounds_ends_and_begins() -> None:
    codes = Codes(4, 1, 16)
    assert codes.decode(codes.encode([Note(0, 4, 60), Note(1, 1, 60)])) == [Note(0, 1, 60), Note(1, 1, 60)]


def test_a_stroke_is_told_only_where_it_changes() -> None:
    codes = Codes(1, 2, 4)
    told = codes.encode([Note(0, 1, 60, 10), Note(1, 1, 60, 20), Note(2, 1, 60, 100)])
    assert [c for c in told if c >= codes.force] == [codes.force, codes.force + 1]


@given(st.lists(st.integers(0, len(Codes(3, 4, 8)) - 1), max_size=60))
def test_any_events_are_music(told: list[int]) -> None:
    codes = Codes(3, 4, 8)
    notes = codes.decode(told)
    assert all(n.length > 0 and 0 <= n.pitch < 128 and 1 <= n.velocity <= 127 for n in notes)
    assert codes.decode([END, *told, END]) == notes
    assert all(n.start + n.length <= codes.beats(told) + 1e-9 for n in notes)
