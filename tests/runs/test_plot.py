"""The picture of a run shows what happened: every spike, every gap, the best."""

import math
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from PIL import Image

from trainwright.core.errors import UserError
from trainwright.core.events import EvalDone, Event, RunEnded, RunStarted, StepDone, View, fold
from trainwright.runs.plot import curves, draw, smoothed, thinned

Losses = list[float]


def view(losses: Losses, metrics: list[dict[str, float]], best: int = 0, **ended: dict[str, float]) -> View:
    """A run of one evaluation per ten steps; evaluation ``best`` is marked."""
    events: list[Event] = [RunStarted(1, 0, len(losses), 10, "2026-11-20T00:00:00")]
    for i in range(0, len(losses), 10):
        chunk = tuple(losses[i : i + 10])
        events.append(StepDone(i + len(chunk), i // 10, 0, chunk, chunk, 1e-3, 0.01, 0.0))
    for i, m in enumerate(metrics):
        events.append(EvalDone(10 * (i + 1), i, "valid", m, 0.1, best=i == best))
    if ended:
        events.append(RunEnded(len(losses), "finished", "", 1.0, {}, ended))
    return fold(events)


def labels(axes: Axes) -> list[str]:
    return axes.get_legend_handles_labels()[1]


def test_a_picture_is_written_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    made = curves(view([1.0] * 20, [{"loss": 1.0, "accuracy": 0.5}] * 2), "accuracy", tmp_path / "curves.png")
    with Image.open(made) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]


def test_a_run_without_a_step_is_drawn_as_such() -> None:
    (axes,) = draw(View(), "loss").axes
    assert [t.get_text() for t in axes.texts] == ["no step is logged yet"]


def test_drawing_leaves_the_global_state_alone() -> None:
    before, pyplot = dict(mpl.rcParams), "matplotlib.pyplot" in sys.modules
    draw(view([1.0] * 20, [{"loss": 1.0}] * 2), "loss")
    assert dict(mpl.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot


def test_the_monitor_has_the_first_panel_after_the_loss_and_its_best_is_marked() -> None:
    found = [{"loss": 1.0, "f1": 0.2, "accuracy": a} for a in (0.3, 0.8, 0.7)]
    loss, monitor, other = draw(view([1.0] * 30, found, best=1), "accuracy").axes
    assert [a.get_title(loc="left") for a in (loss, monitor, other)] == ["loss", "accuracy (monitor)", "f1"]
    assert "best 0.8 at step 20" in labels(monitor)
    (star,) = [line for line in monitor.lines if line.get_marker() == "*"]
    assert (np.asarray(star.get_xdata()).tolist(), np.asarray(star.get_ydata()).tolist()) == ([20], [0.8])
    assert not any("best" in text for text in labels(loss) + labels(other))


def test_the_test_score_is_drawn_at_the_step_that_was_scored() -> None:
    run = view([1.0] * 30, [{"loss": 1.0, "accuracy": a} for a in (0.3, 0.8, 0.7)], best=1)
    run.ended = RunEnded(30, "finished", "", 1.0, {"test/accuracy": 0.75, "valid/accuracy": 0.8})
    axes = draw(run, "accuracy").axes[1]
    (point,) = [line for line in axes.lines if line.get_label() == "test 0.75"]
    assert np.asarray(point.get_xdata()).tolist() == [20]


def test_the_best_loss_is_marked_where_the_loss_decides() -> None:
    (axes,) = draw(view([1.0] * 20, [{"loss": 0.9}, {"loss": 0.4}], best=1), "loss").axes
    assert "best 0.4 at step 20" in labels(axes)


def test_numbers_that_are_not_finite_are_gaps_with_a_mark() -> None:
    losses = [1.0] * 40 + [math.nan] * 7 + [math.inf] + [1.0] * 52
    found = [{"loss": 1.0, "accuracy": math.nan if i == 4 else 0.5} for i in range(10)]
    loss, metric = draw(view(losses, found), "accuracy").axes
    assert "NaN or infinite: 8 training steps" in labels(loss)
    assert "NaN or infinite: 1 validation evaluations" in labels(metric)
    for line in loss.lines[:2]:  # raw and smoothed
        assert np.isnan(np.asarray(line.get_ydata())[40:48]).all()


@pytest.mark.parametrize(("last", "scale"), [(0.5, "linear"), (0.001, "log"), (-1.0, "linear")])
def test_the_loss_axis_is_logarithmic_where_that_helps_and_can_be(last: float, scale: str) -> None:
    losses = list(np.linspace(1.0, last, 60))
    assert draw(view(losses, [{"loss": 1.0}]), "loss").axes[0].get_yscale() == scale


def test_a_baseline_in_view_is_drawn_and_one_far_off_does_not_squeeze_the_curve() -> None:
    found = [{"loss": 1.0, "accuracy": a} for a in (0.90, 0.95, 0.97)]
    near = view([1.0] * 30, found, linear={"accuracy": 0.93}, constant={"accuracy": 0.1})
    axes = draw(near, "accuracy").axes[1]
    assert [t.get_text() for t in axes.texts] == ["baseline linear 0.93"]
    assert axes.get_ylim()[0] > 0.8


@pytest.mark.parametrize("name", ["curves.xyz", "curves", "missing/curves.png"])
def test_a_place_that_cannot_be_written_is_said_in_one_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        curves(view([1.0] * 10, []), "loss", tmp_path / name)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12000), st.integers(0, 2**32 - 1), st.floats(0, 0.5))
def test_thinning_keeps_the_extremes_the_order_and_at_least_one_gap(n: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=n)
    values[random.random(n) < share] = math.nan
    steps, kept = thinned(np.arange(1.0, n + 1), values)
    assert len(kept) <= 6000
    assert (np.diff(steps) > 0).all()
    assert np.isnan(kept).any() == np.isnan(values).any()
    if np.isfinite(values).any():
        assert (np.nanmin(kept), np.nanmax(kept)) == (np.nanmin(values), np.nanmax(values))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=300))
def test_the_running_mean_stays_within_the_values_and_keeps_the_gaps(values: list[float]) -> None:
    smooth = smoothed(np.array(values))
    assert (np.isnan(smooth) == np.isnan(np.array(values))).all()
    finite = [v for v in values if v == v]
    if finite:
        slack = 1e-6 * max(1.0, *map(abs, finite))
        assert min(finite) - slack <= np.nanmin(smooth)
        assert np.nanmax(smooth) <= max(finite) + slack
