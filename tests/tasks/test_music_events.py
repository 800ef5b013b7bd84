"""Music of events: every event is told once, figures are the formulas', and pieces go on and end."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.builtin import chorales
from tests.tasks.cases import part_of, whole
from trainwright.core.batch import Draw
from trainwright.core.errors import DataError
from trainwright.core.kinds import tasks
from trainwright.core.task import Progress, Record
from trainwright.data.music_codes import END
from trainwright.data.score import as_lists, held

PIECES: list[Record] = [*chorales(8), {"steps": [[60]]}]


def task(records: list[Record] = PIECES, **options: Any) -> Any:
    made = tasks["music_events"](**{"context": 7, "per_beat": 2, "velocities": 1, "write": 6, "primer": 4, **options})
    made.processor.fit(records)
    return made


class Says(nn.Module):
    """Logits by a table of what follows what."""

    context = None

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]

    def start(self, *, tokens: Tensor, lengths: Tensor) -> None:
        return None

    def step(self, token: Tensor, cache: None) -> tuple[Tensor, None]:
        return self.table[token], None


@pytest.mark.parametrize("context", [2, 7, 1000])
def test_every_event_and_every_end_is_told_once_whatever_the_windows(context: int) -> None:
    made = task(context=context)
    codes = made.processor.codes
    table = torch.randn(len(codes), len(codes), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    nats = -table.log_softmax(1)
    batch = whole(PIECES, made, fit=False)
    streams = [[END, *codes.encode(held(r["steps"], 1)), END] for r in PIECES]
    each = [sum(float(nats[a, b]) for a, b in itertools.pairwise(s)) for s in streams]
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            loss = made.loss(Says(table), batch, Progress())
        assert loss.each.tolist() == pytest.approx(each, rel=1e-12)
        assert float(loss.sum.detach()) == pytest.approx(sum(each), rel=1e-12)
    events, beats = sum(len(s) - 1 for s in streams), sum(len(r["steps"]) for r in PIECES)
    assert int(batch.weight) == events
    found = {n: m.value(m.count(loss.outputs, batch).sum(0)) for n, m in made.metrics().items()}
    assert found == pytest.approx({"nats_per_event": sum(each) / events, "nats_per_beat": sum(each) / beats})


def test_baselines_are_counts() -> None:
    made = task()
    codes, batch = made.processor.codes, whole(PIECES, made, fit=False)
    streams = [[END, *codes.encode(held(r["steps"], 1)), END] for r in PIECES]
    after = [c for s in streams for c in s[1:]]
    alone = -sum(math.log((after.count(c) + 1) / (len(after) + len(codes))) for c in after)
    fits = made.baselines(part_of(PIECES, made.processor))
    assert float(fits["constant"](9.0)(batch)["nats"].sum()) == pytest.approx(alone, rel=1e-9)
    assert float(fits["linear"](9.0)(batch)["nats"].sum()) < alone


def test_training_learns_stretches_moved_by_half_tones() -> None:
    made = task(context=6, transpose=3)
    codes, rows = made.processor.codes, part_of(PIECES, made.processor).rows(0, len(PIECES))
    seen = set()
    for epoch in range(20):
        batch = made.processor.batch(rows, Draw(0, epoch, rows.ids))
        assert batch.inputs["tokens"].shape == (len(PIECES), 7)
        stream = [END, *codes.encode(held(PIECES[0]["steps"], 1)), END]
        found = batch.inputs["tokens"][0].tolist()
        for move in range(-3, 4):
            moved = [c + move if END < c < codes.wait else c for c in stream]
            seen |= {(move, i) for i in range(len(moved) - 6) if moved[i : i + 7] == found}
    assert len({move for move, _ in seen}) > 3
    assert len({place for _, place in seen}) > 3
    assert int(batch.weight) == 6 * (len(PIECES) - 1) + 4  # the last piece has an end, 3 events, and an end


def test_a_prediction_goes_on_from_the_first_events_and_the_end_of_a_piece_ends_it() -> None:
    made = task()
    codes, batch = made.processor.codes, whole(PIECES, made, fit=False)
    table = torch.zeros(len(codes), len(codes))
    chain = [codes.down + 90, codes.wait + 1, codes.up + 90, END]
    for a, b in itertools.pairwise(chain):
        table[a, b] = 99.0
    table[:, chain[0]] += 50.0
    outputs = made.predict(Says(table), batch)
    answers = made.processor.decode(outputs, batch)
    for row, answer in enumerate(answers):
        stream = [END, *codes.encode(held(PIECES[row]["steps"], 1))][:5]
        assert int(outputs["given"][row]) == len(stream)
        assert answer["primer"] == codes.beats(stream)
        assert answer["notes"] == as_lists(codes.decode([*stream, *chain[:3]]))
    first, _ = made.show(batch, outputs)
    assert first.data["primer"] == answers[0]["primer"]
    assert "F#6" in first.data["text"]


def test_a_piece_without_notes_is_a_bad_sample_and_an_empty_primer_none() -> None:
    made = task()
    with pytest.raises(DataError, match="there is no note in it"):
        made.processor.encode({"notes": []})
    assert made.processor.encode(made.processor.served({"notes": []}))["tokens"].tolist() == [END]
    with pytest.raises(DataError, match=r"training record 9: .*neither"):
        task([*PIECES, {"text": "la"}])
