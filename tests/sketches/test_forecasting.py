"""Windows across the borders of parts: context may come from earlier, targets never, and none is left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.sketches import forecasting
from tests.sketches.forecasting import VARIABLES, Forecasting, SeriesProcessor
from tests.training import Case, baselines_of, enrol
from trainwright.core.errors import DataError
from trainwright.core.task import Progress, Record
from trainwright.data.arrays import Records
from trainwright.data.encode import encode, encode_records
from trainwright.data.part import Part

CASE = Case("series", Forecasting, forecasting.model_for, forecasting.records)
N, CUT, CONTEXT, HORIZON = 60, 40, 10, 3


def parts() -> tuple[SeriesProcessor, list[Record], Part, Part]:
    records = forecasting.records(N)
    processor = Forecasting(context=CONTEXT, horizon=HORIZON).processor
    processor.fit(records[:CUT])
    store = encode(Records(records), processor, workers=0, where="memory")
    train = Part(store, torch.arange(CUT), processor.windows, processor)
    return processor, records, train, Part(store, torch.arange(CUT, N), processor.windows, processor)


def times(part: Part) -> list[list[int]]:
    """The time steps of each window, read off the series itself."""
    series = torch.tensor([[r[v] for v in VARIABLES] for r in forecasting.records(N)])
    windows = part.rows(0, len(part)).dense("series")
    return [[int((series - step).abs().sum(1).argmin()) for step in window] for window in windows]


def test_every_window_of_the_test_part_is_counted_and_looks_back_over_the_border() -> None:
    _, _, _, test = parts()
    first = range(CUT, N - HORIZON + 1)
    assert times(test) == [list(range(t - CONTEXT, t + HORIZON)) for t in first]


def test_no_training_window_sees_the_test_part() -> None:
    _, _, train, _ = parts()
    found = times(train)
    assert found == [list(range(t - CONTEXT, t + HORIZON)) for t in range(CONTEXT, CUT - HORIZON + 1)]
    assert max(map(max, found)) < CUT


def test_targets_of_two_parts_share_no_time_step() -> None:
    _, _, train, test = parts()
    targets = [{t for w in times(part) for t in w[CONTEXT:]} for part in (train, test)]
    assert not targets[0] & targets[1]
    assert targets[1] == set(range(CUT, N))


def test_the_scale_is_that_of_the_training_part() -> None:
    processor, records, _, _ = parts()
    rows = np.array([[r[v] for v in VARIABLES] for r in records[:CUT]])
    assert processor.mean == pytest.approx(rows.mean(0).tolist(), rel=1e-12)
    assert processor.scale == pytest.approx(rows.std(0).tolist(), rel=1e-12)


def test_errors_are_told_in_the_units_of_the_data() -> None:
    taught = enrol(CASE, n=80, valid=30)
    taught.train(5)
    task, processor = taught.task, taught.task.processor
    model, horizon, records = taught.state.model.eval(), processor.horizon, forecasting.records(80, 1)
    told = [a for batch in taught.valid() for a in processor.decode(task.predict(model, batch), batch)]
    said = [[answer[v] for v in VARIABLES] for answer in told]
    meant = [[[r[v] for r in records[t : t + horizon]] for v in VARIABLES] for t in range(50, 80 - horizon + 1)]
    off = np.array(said) - np.array(meant)
    scores = taught.evaluate()
    assert scores["mse"] == pytest.approx(float((off**2).mean()), rel=1e-4)
    assert scores["mae"] == pytest.approx(float(abs(off).mean()), rel=1e-4)


def test_the_naive_baseline_repeats_the_last_value() -> None:
    processor, records, train, test = parts()
    task = Forecasting(context=CONTEXT, horizon=HORIZON)
    task.processor = processor
    rows = np.array([[r[v] for v in VARIABLES] for r in records])
    off = [rows[t + k] - rows[t - 1] for t in range(CUT, N - HORIZON + 1) for k in range(HORIZON)]
    assert baselines_of(task, train, test)["naive"]["mse"] == pytest.approx(
        float((np.array(off) ** 2).mean()), rel=1e-4
    )


@pytest.mark.parametrize("length", [CONTEXT, CONTEXT + 1, CONTEXT + 7])
def test_a_served_stretch_is_continued_from_its_end(length: int) -> None:
    processor, records, _, test = parts()
    stretch = {v: [r[v] for r in records[N - HORIZON - length : N - HORIZON]] for v in VARIABLES}
    longer = {v: [0.0] * 5 + stretch[v] for v in VARIABLES}  # a neighbour of another length, with the same end
    served = processor.batch(encode_records([stretch, longer], processor), None)
    last = processor.batch(test.rows(len(test) - 1, len(test)), None)
    assert float(served.weight) == 0
    for row in served.inputs["context"]:
        assert torch.allclose(row, last.inputs["context"][0], atol=1e-5)


def test_a_short_window_weighs_what_is_there() -> None:
    processor, _, _, test = parts()
    rows = test.rows(0, 4)
    rows.lengths["series"][:] = torch.tensor([CONTEXT + HORIZON, CONTEXT + 1, CONTEXT, CONTEXT + 2])
    batch = processor.batch(rows, None)
    torch.manual_seed(0)
    task = Forecasting(context=CONTEXT, horizon=HORIZON)
    loss = task.loss(forecasting.model_for(task.sizes()), batch, Progress())
    assert float(batch.weight) == (3 + 1 + 0 + 2) * len(VARIABLES)
    assert loss.each is not None
    assert float(loss.each[2]) == 0


def test_a_gap_in_the_series_is_refused_with_its_place() -> None:
    processor, records, _, _ = parts()
    with pytest.raises(DataError, match=r"record 1.*not a number"):
        encode_records([{v: [1.0] * 12 for v in VARIABLES}, {**records[1], "heat": float("nan")}], processor)
