"""Music: every frame of whole pieces is told once, figures are the formulas', and primers are gone on from."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.builtin import chorales
from tests.tasks.cases import part_of, whole
from trainwright.core.batch import Batch, Draw
from trainwright.core.errors import DataError
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress, Record
from trainwright.data.score import KEYS, LOWEST, held
from trainwright.models.frame_rnn import FrameRNN

PIECES: list[Record] = chorales(12)


def task(records: list[Record] = PIECES, **options: Any) -> Any:
    made = tasks["music"](**{"write": 4, "primer": 3, **options})
    made.processor.fit(records)
    return made


class Says(nn.Module):
    """Each key with its own chance, whatever was before."""

    def __init__(self, chance: Tensor) -> None:
        super().__init__()
        self.chance = nn.Parameter(chance)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return -torch.where(frames > 0, self.chance.log(), (1 - self.chance).log()).sum(2)


def test_the_loss_is_nats_of_all_frames_and_padding_counts_nothing() -> None:
    made = task()
    batch = whole(PIECES, made, fit=False).cast(torch.float64)
    chance = torch.rand(KEYS, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    loss = made.loss(Says(chance), batch, Progress())
    told = {key + LOWEST: float(p) for key, p in enumerate(chance)}
    each = [
        [-sum(math.log(p if key in step else 1 - p) for key, p in told.items()) for step in r["steps"]] for r in PIECES
    ]
    assert float(loss.sum.detach()) == pytest.approx(sum(map(sum, each)), rel=1e-12)
    frames = sum(map(len, each))
    assert int(batch.weight) == frames
    found = {n: m.value(m.count(loss.outputs, batch).sum(0)) for n, m in made.metrics().items()}
    assert found["nats_per_frame"] == pytest.approx(sum(map(sum, each)) / frames, rel=1e-12)
    later = sum(sum(e[1:]) for e in each) / (frames - len(each))
    assert found["nats_per_later_frame"] == pytest.approx(later, rel=1e-12)


def test_baselines_are_counts() -> None:
    made = task()
    part, batch = part_of(PIECES, made.processor), whole(PIECES, made, fit=False).cast(torch.float64)
    fits = made.baselines(part)
    steps = [step for r in PIECES for step in r["steps"]]
    pairs = [(a, b) for r in PIECES for a, b in zip([[], *r["steps"]], r["steps"], strict=False)]
    alone = back = 0.0
    for key in range(LOWEST, LOWEST + KEYS):
        p = (sum(key in s for s in steps) + 1) / (len(steps) + 2)
        alone -= sum(math.log(p if key in s else 1 - p) for s in steps)
        for before in (True, False):
            behind = [key in b for a, b in pairs if (key in a) is before]
            p = (sum(behind) + 1) / (len(behind) + 2)
            back -= sum(math.log(p if on else 1 - p) for on in behind)
    assert float(fits["constant"](9.0)(batch)["nats"].sum()) == pytest.approx(alone, rel=1e-9)
    assert float(fits["linear"](9.0)(batch)["nats"].sum()) == pytest.approx(back, rel=1e-9)


def pitches(batch: Batch, row: int) -> list[list[int]]:
    frames = batch.inputs["frames"][row, : int(batch.inputs["lengths"][row])]
    return [(step.nonzero().flatten() + LOWEST).tolist() for step in frames]


def test_training_moves_pieces_whole_and_within_the_keyboard() -> None:
    records = [{"steps": [[LOWEST, 60], [64]]}, {"steps": [[108], [60]]}, *PIECES] * 4
    made = task(records, transpose=7)
    made.processor.length = 99
    drawn = whole(records, made, fit=False, draw=True)
    moves = []
    for row, record in enumerate(records):
        found = pitches(drawn, row)
        (move,) = {b[0] - min(a) for a, b in zip(record["steps"], found, strict=True)}
        assert found == [[p + move for p in step] for step in record["steps"]]
        moves.append(move)
    assert set(moves[2::14]) | set(moves) <= set(range(-7, 8))
    assert len(set(moves)) > 8
    assert {move >= 0 for move in moves[::14]} == {True}
    assert {move <= 0 for move in moves[1::14]} == {True}


def test_long_pieces_are_cut_elsewhere_in_each_epoch_and_whole_in_evaluation() -> None:
    record = {"steps": [[LOWEST + i] for i in range(40)]}
    made = task([record], length=6, transpose=0)
    part = part_of([record], made.processor)
    rows = part.rows(0, 1)
    firsts = set()
    for epoch in range(60):
        batch = made.processor.batch(rows, Draw(0, epoch, rows.ids))
        found = [step[0] for step in pitches(batch, 0)]
        assert found == list(range(found[0], found[0] + 6))
        assert int(batch.weight) == 6
        firsts.add(found[0] - LOWEST)
    assert {0, 34} <= firsts <= set(range(35))
    assert pitches(made.processor.batch(rows, None), 0) == record["steps"]


def test_notes_are_put_on_the_grid_and_steps_say_theirs() -> None:
    notes = [{"notes": [list(n) for n in held(r["steps"], 2)], "tempo": 90} for r in PIECES]
    made = task(notes)
    assert (made.processor.per_beat, made.processor.tempo) == (4, 90.0)
    assert made.processor.encode(notes[0])["frames"].shape == (2 * len(PIECES[0]["steps"]), KEYS)
    assert task([{**r, "per_beat": 3} for r in PIECES]).processor.per_beat == 3
    assert task(notes, per_beat=2).processor.encode(notes[0])["frames"].shape == (len(PIECES[0]["steps"]), KEYS)
    mixed = task([*PIECES, {"notes": [[0, 1, 60], [0, 1, 120]]}])
    assert mixed.processor.notes() == ["a frame is a beat", mixed.processor.notes()[1]]
    assert mixed.processor.notes()[1].startswith("1 of ")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"text": "la"}, "training record 2: .*neither 'notes' nor 'steps'"),
        ({"steps": [[200]]}, "training record 2, step 0: pitch 200"),
        ({"notes": []}, "no key sounds"),
        ({"steps": [[], []]}, "no key sounds"),
    ],
)
def test_what_is_no_music_is_told(record: Record, says: str) -> None:
    with pytest.raises(DataError, match=says):
        task([*PIECES[:2], record]).processor.encode(record)


def test_a_prediction_goes_on_from_the_first_frames_of_a_piece() -> None:
    made = task()
    torch.manual_seed(0)
    model = FrameRNN(keys=KEYS, units=8, hidden=8).eval()
    batch = whole(PIECES, made, fit=False)
    answers = made.processor.decode(made.predict(model, batch), batch)
    assert [a["primer"] for a in answers] == [r["steps"][:3] for r in PIECES]
    assert {len(a["steps"]) for a in answers} == {4}
    first, second = made.show(batch, made.predict(model, batch))
    assert (first.kind, first.data["primer"], second.title) == ("music", 3.0, "sample 2")
    assert first.data["prompt"].count(",") >= 1


def test_an_empty_primer_begins_a_piece() -> None:
    from trainwright.runs.predict import Predictor

    made = task()
    (found,) = Predictor(made, FrameRNN(keys=KEYS, units=8, hidden=8))([{"steps": []}])
    assert found["primer"] == []
    assert len(found["steps"]) == 4
