"""The plan of a module of one's own: what is tried with it, with how many threads, and how it is left and taken up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainwright as tw
from tests.runs.test_planning import _long_enough, taken  # noqa: F401 - every test is under the first
from trainwright.core.config import Plan
from trainwright.runs import candidates, planning
from trainwright.runs.candidates import CANDIDATES, Candidate


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def fitted(folder: Path, **more: Any) -> tuple[tw.Run, torch.Tensor]:
    """The run, and the weights that it left in the module."""
    x = torch.randn(64, 4, 1, generator=torch.Generator().manual_seed(0))
    module, y = net(), x[:, :3, 0].argmax(1)
    asked = {"budget": "8 steps", "out": folder, **more}
    run = tw.fit(module, (x, y), loss="cross_entropy", quiet=True, **asked)
    return run, torch.cat([p.detach().flatten() for p in module.parameters()])


def test_a_module_of_ones_own_is_planned_and_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = fitted(tmp_path / "run")
    assert taken(run) == {"fused", "bfloat16"}
    _, whole = fitted(tmp_path / "whole", budget="12 steps")
    monkeypatch.setattr(planning, "_Rehearsal", None)
    more, gone_on = fitted(tmp_path / "run", resume=tmp_path / "run", out=None, budget="12 steps")
    assert more.config["pace"] == run.config["pace"]
    assert more.manifest["plan"]["precision"] == "bfloat16"
    assert torch.equal(gone_on, whole)


class Once:
    """Batches that can be asked for once per epoch; counts how often that is."""

    def __init__(self) -> None:
        self.begun = 0

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.begun += 1
        dice = torch.Generator().manual_seed(self.begun)
        for _ in range(4):
            x = torch.randn(16, 4, 1, generator=dice)
            yield x, x[:, :3, 0].argmax(1)


def test_a_loader_of_ones_own_is_not_asked_for_more(tmp_path: Path) -> None:
    found = {}
    for pace in ("auto", "plain"):
        loader = Once()
        more = {"loss": "cross_entropy", "budget": "8 steps", "quiet": True, "precision": "float32"}
        run = tw.fit(net(), loader, out=tmp_path / pace, pace=pace, **more)
        found[pace] = loader.begun
    assert found["auto"] == found["plain"]
    assert run.manifest["plan"]["why"] == []
    assert "fused optimizer: taken" in tw.open(tmp_path / "auto").manifest["plan"]["why"][0]


def test_an_optimizer_that_was_given_is_left_as_it_was_made(tmp_path: Path) -> None:
    module = net()
    mine = torch.optim.Adam(module.parameters())
    x = torch.randn(64, 4)
    run = tw.fit(module, (x, x[:, :3].argmax(1)), loss="cross_entropy", optimizer=mine, budget="4 steps",
                 out=tmp_path / "run", quiet=True)  # fmt: skip
    assert not run.config["pace"]["fused"]
    assert mine.param_groups[0]["fused"] is None


@pytest.fixture
def eight_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


def test_fewer_threads_are_tried_where_nobody_chose_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eight_threads: None
) -> None:
    for name in candidates.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    used = list[int]()
    monkeypatch.setattr(planning, "CANDIDATES", ())
    run, _ = fitted(tmp_path / "run", observers=[lambda event: used.append(torch.get_num_threads())])
    assert run.config["pace"]["threads"] == 2
    assert [line.partition(":")[0] for line in run.manifest["plan"]["why"]] == ["4 threads", "2 threads"]
    assert set(used[1:]) == {2}
    assert torch.get_num_threads() == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    chosen, _ = fitted(tmp_path / "chosen")
    assert (chosen.config["pace"]["threads"], chosen.manifest["plan"]["why"]) == (0, [])


def test_two_threads_or_three_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in candidates.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    for threads, tried in ((1, []), (3, []), (4, [2]), (6, [3]), (16, [8, 4])):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert [c.changes["threads"] for c in candidates.fewer_threads()] == tried


def test_rows_are_halved_where_rounding_blurs_none_of_their_columns(tmp_path: Path) -> None:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    asked = {"loss": "cross_entropy", "budget": "5 steps", "quiet": True}
    scaled = tw.fit(net(), (x, x.argmax(1) % 3), out=tmp_path / "scaled", **asked)
    assert scaled.config["precision"] == "bfloat16"
    x[:, 2] += 1000
    years = tw.fit(net(), (x, x.argmax(1) % 3), out=tmp_path / "years", **asked)
    assert years.config["precision"] == "float32"
    assert years.manifest["plan"]["why"][0] == (
        "bfloat16: not tried, it would blur different values of column 2 of 'x'"
    )
    few = tw.fit(net(), (x[:20], x[:20].argmax(1) % 3), out=tmp_path / "few", valid=0.0, **asked)
    assert few.manifest["plan"]["why"][0] == (
        "bfloat16: not tried, 20 records do not tell whether it would blur their values"
    )


def test_a_number_that_is_left_out_is_what_it_is_without_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eight_threads: None
) -> None:
    fewer = Candidate("4 threads", {"threads": 4}, 1e-4, 1e-3, lambda pieces: True)
    monkeypatch.setattr(planning, "CANDIDATES", [c for c in CANDIDATES if c.name == "fused optimizer"])
    monkeypatch.setattr(planning, "fewer_threads", lambda: [fewer])
    monkeypatch.setattr(planning, "_hinders", lambda with_it, without: True)
    run, _ = fitted(tmp_path / "run")
    assert run.config["pace"]["threads"] == 0
    assert type(run.config["pace"]["threads"]) is int
    more, _ = fitted(tmp_path / "run", resume=tmp_path / "run", out=None, budget="12 steps")
    assert more.config["pace"] == run.config["pace"]


def test_threads_are_tried_by_themselves(monkeypatch: pytest.MonkeyPatch, eight_threads: None) -> None:
    for name in candidates.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    assert not any(c.joins for c in candidates.fewer_threads())


class Counting(nn.Module):
    """Counts its passes in buffers that no checkpoint holds, one of which is another tensor after each."""

    written: torch.Tensor
    replaced: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 3)
        for name in ("written", "replaced"):
            self.register_buffer(name, torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 4) -> (N, 3)."""
        if self.training:
            self.written += 1
            self.replaced = self.replaced + 1
        return self.out(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("doctor", ["off", "advise"])
def test_buffers_that_no_checkpoint_holds_are_put_back_too(doctor: str, tmp_path: Path) -> None:
    module, x = Counting(), torch.randn(64, 4)
    tw.fit(module, (x, x[:, :3].argmax(1)), loss="cross_entropy", budget="6 steps", doctor=doctor, valid=0.0,
           out=tmp_path / "run", quiet=True)  # fmt: skip
    assert (int(module.written), int(module.replaced)) == (6, 6)


def test_where_a_run_cannot_begin_the_module_is_left_as_it_was(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(36, 3))
    x, y = torch.randn(32, 1, 8, 8), torch.arange(32) % 3
    pace = Plan(pool_first=True, channels_last=True, quick_dropout=True, threads=1).model_dump()
    threads = torch.get_num_threads()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("there is something", "utf-8")
    before = list(module), [type(layer) for layer in module], torch.get_num_threads()
    with pytest.raises(tw.UserError):
        tw.fit(module, (x, y), loss="cross_entropy", budget="2 steps", out=tmp_path / "run", pace=pace, quiet=True)
    assert (list(module), [type(layer) for layer in module], torch.get_num_threads()) == before
    assert torch.get_num_threads() == threads
    assert all(weight.is_contiguous() for weight in module.parameters())


@pytest.mark.parametrize(
    ("pace", "what"),
    [
        ({"threads": -1}, "pace.threads: -1 is out of range"),
        ({"fuzed": True}, "pace.fuzed: unknown option; did you mean 'fused'"),
        (None, "pace: None is not valid"),
    ],
)
def test_a_plan_that_is_none_is_told(pace: Any, what: str) -> None:
    with pytest.raises(tw.UserError, match=what):
        tw.fit(net(), (torch.randn(8, 4), torch.arange(8) % 3), loss="cross_entropy", pace=pace)


@pytest.mark.parametrize("other", ["threads = -1", "threads = 2"])
def test_a_plan_that_was_edited_since_is_not_followed_by_a_run_that_goes_on(other: str, tmp_path: Path) -> None:
    run, _ = fitted(tmp_path / "run", pace=Plan(threads=1).model_dump())
    written = (run.path / "config.toml").read_text("utf-8")
    (run.path / "config.toml").write_text(written.replace("threads = 1", other), "utf-8")
    with pytest.raises(tw.UserError, match=r"pace\.threads: 1 -> "):
        fitted(tmp_path / "run", resume=tmp_path / "run", out=None, budget="12 steps")
