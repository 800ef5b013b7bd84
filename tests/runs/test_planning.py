"""The plan of a run: measured on a rehearsal without a trace, taken only where it is right, written down, followed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.core.config import Plan, read_recipe
from trainwright.runs import candidates, planning
from trainwright.runs.candidates import CANDIDATES, Candidate
from trainwright.runs.planning import as_it_ran

MAY = planning._may  # which the other tests are without
RECIPE = {
    "task": "image_classification",
    "data": {"source": "embedded", "set": "digits"},
    "model": {"name": "cnn", "filters": [4], "dense": [16], "dropout": 0.3},
    "batch_size": 32,
    "budget": "12 steps",
    "eval_every": "6 steps",
    "doctor": "off",
}


@pytest.fixture(autouse=True)
def _long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the training were so long that every candidate can be tried; what is faster does not hang on a clock."""
    monkeypatch.setattr(planning, "_may", MAY)
    monkeypatch.setattr(planning, "_SHARE", 1e9)
    monkeypatch.setattr(planning, "_faster", lambda now, then, least: True)
    monkeypatch.setattr(planning, "_hinders", lambda with_it, without: False)
    monkeypatch.setattr(candidates, "has_bfloat16", lambda device: True)


def train(folder: Path, **changes: Any) -> tw.Run:
    return tw.train({**RECIPE, **changes}, out=folder, quiet=True)


def taken(run: tw.Run) -> set[str]:
    """What of its plan was taken."""
    return {name for name, on in run.config["pace"].items() if on}


def weights(run: tw.Run) -> dict[str, torch.Tensor]:
    return dict(run.model.state_dict())


def alike(a: tw.Run, b: tw.Run) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def test_what_is_found_is_written_down_and_followed_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tmp_path / "first")
    everything = ("pool_first", "channels_last", "fused", "quick_dropout", "bfloat16")
    assert taken(first) == set(everything)
    assert first.config["precision"] == "bfloat16"
    told = first.manifest["plan"]
    assert told["precision"] == "bfloat16"
    names = ["channels last", "max-pool before ReLU", "fused optimizer", "bfloat16", "quick dropout"]
    assert [line.partition(":")[0] for line in told["why"]] == names
    assert all("taken, " in line and "ms a step instead of" in line for line in told["why"])

    monkeypatch.setattr(planning, "_Rehearsal", None)  # nothing is measured again
    again = tw.train(tmp_path / "first" / "config.toml", out=tmp_path / "again", quiet=True)
    assert again.config["pace"] == first.config["pace"]
    assert alike(first, again)
    assert not alike(first, train(tmp_path / "plain", pace="plain"))


def test_a_resumed_run_follows_its_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(tmp_path / "whole")
    half = train(tmp_path / "half", budget="6 steps").path
    monkeypatch.setattr(planning, "_Rehearsal", None)
    more = tw.resume(half, {"budget": "12 steps"}, quiet=True)
    assert more.manifest["plan"]["precision"] == "bfloat16"
    assert more.config["pace"] == whole.config["pace"]
    assert alike(more, whole)
    with pytest.raises(tw.UserError, match="pace"):
        tw.resume(half, {"pace": "plain", "budget": "20 steps"}, quiet=True)


def test_a_rehearsal_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_faster", lambda now, then, least: False)
    tried = train(tmp_path / "tried")
    assert set(tried.config["pace"].values()) == {False}
    assert all("not taken, not faster" in line for line in tried.manifest["plan"]["why"])
    assert alike(tried, train(tmp_path / "plain", pace="plain"))


def test_what_gained_nothing_is_tried_again_beside_what_was_taken_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, *[False, False, True, False, False], *[False, True, False, False], *[False, False, False]])
    monkeypatch.setattr(planning, "_faster", lambda now, then, least: next(answers))
    run = train(tmp_path / "run")  # all, five in turn, the four left, of which one gains, three
    with pytest.raises(StopIteration):
        next(answers)
    assert taken(run) == {"pool_first", "fused"}
    why = dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])
    assert why["max-pool before ReLU"].startswith("taken")
    assert why["bfloat16"].startswith("not taken, not faster")


def test_what_gives_other_numbers_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = [replace(c, loss=1e-9) if c.name == "bfloat16" else c for c in CANDIDATES]
    monkeypatch.setattr(planning, "CANDIDATES", strict)
    monkeypatch.setattr(planning._Rehearsal, "_together", lambda self, members, told: (Plan(), ()))
    run = train(tmp_path / "run")
    assert taken(run) == {"pool_first", "channels_last", "fused", "quick_dropout"}
    assert run.config["precision"] == "float32"
    assert "its losses are" in run.manifest["plan"]["why"][4]


def test_all_is_tried_at_once_and_each_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = iter([False, True, False, False])  # from the last to the first
    monkeypatch.setattr(planning, "_hinders", lambda with_it, without: next(left_out))
    run = train(tmp_path / "run")
    assert taken(run) == {"pool_first", "channels_last", "bfloat16", "quick_dropout"}
    why = dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])
    assert why["fused optimizer"].startswith("not taken, slower; ")
    assert all(why[name].startswith("taken, ") for name in ("channels last", "bfloat16", "quick dropout"))


def test_what_gives_other_numbers_is_left_out_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they may be as far off as the one that may be most: what each may be is asked of each."""
    strict = [replace(c, loss=-1.0) if c.name == "channels last" else c for c in CANDIDATES]
    monkeypatch.setattr(planning, "CANDIDATES", strict)
    run = train(tmp_path / "run")
    assert taken(run) == {"pool_first", "fused", "bfloat16", "quick_dropout"}
    assert "its losses are" in dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])["channels last"]


def test_a_short_training_has_time_for_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([True] * 6)  # at each of five whether it can be tried, and at all together
    monkeypatch.setattr(planning._Rehearsal, "_time_for", lambda self, candidate: next(looks, False))
    run = train(tmp_path / "run")
    assert taken(run) == {"pool_first", "channels_last", "fused", "bfloat16"}
    why = dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])
    assert why["bfloat16"].startswith("taken with the others, ")
    assert why["bfloat16"] == why["channels last"]
    assert why["quick dropout"] == "not tried, the training is too short for it to pay"


def test_where_all_is_too_far_off_the_rest_is_tried_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, verdict = list[dict[str, Any]](), planning._verdict

    def strict(now: Any, then: Any, candidate: Candidate, left_out: bool) -> tuple[bool | None, str]:
        given.append(candidate.changes)
        if candidate.changes.get("bfloat16"):
            return None, "not taken, its losses are 0.3 off"
        return verdict(now, then, candidate, left_out)

    monkeypatch.setattr(planning, "_verdict", strict)
    run = train(tmp_path / "run")
    assert [len(changes) for changes in given[:3]] == [4, 3, 1]
    assert taken(run) == {"pool_first", "channels_last", "fused", "quick_dropout"}
    why = dict(line.split(": ", 1) for line in run.manifest["plan"]["why"])
    assert why["bfloat16"] == "not taken, its losses are 0.3 off"


def test_what_fails_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(optimizer: Any, on: bool) -> None:
        if on:
            raise RuntimeError("no such kernel")

    monkeypatch.setattr(planning, "_fused", fail)
    left = [c for c in CANDIDATES if c.name not in ("channels last", "quick dropout")]
    monkeypatch.setattr(planning, "CANDIDATES", left)
    run = train(tmp_path / "run", precision="float32")
    assert run.manifest["plan"]["why"][1] == "fused optimizer: not taken, it fails (RuntimeError: no such kernel)"
    assert alike(run, train(tmp_path / "plain", pace="plain"))  # a max-pool before its ReLU changes no bit


def test_a_short_training_is_run_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_SHARE", 0.02)
    monkeypatch.setattr(planning, "_Rehearsal", None)
    run = train(tmp_path / "run")
    assert set(run.config["pace"].values()) == {False}
    assert run.manifest["plan"]["why"] == []


def test_a_candidate_that_costs_too_much_is_told_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning._Rehearsal, "_limit", lambda self, step: 0.0)
    run = train(tmp_path / "run")
    assert all("not tried" in line for line in run.manifest["plan"]["why"])
    assert len(run.manifest["plan"]["why"]) == len(CANDIDATES) - 1


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_precision_that_was_asked_for_stays(precision: str, tmp_path: Path) -> None:
    run = train(tmp_path / "run", precision=precision)
    assert run.config["precision"] == run.manifest["plan"]["precision"] == precision


def test_numbers_that_are_the_answer_keep_their_digits(tmp_path: Path) -> None:
    recipe = {"task": "tabular_regression", "data": {"source": "embedded", "set": "diabetes"}, "budget": "5 steps"}
    run = tw.train({**recipe, "model": {"name": "mlp", "width": 4}}, out=tmp_path / "run", quiet=True)
    assert run.config["precision"] == "float32"
    assert [line.partition(":")[0] for line in run.manifest["plan"]["why"]] == ["fused optimizer"]


def test_a_column_of_a_table_keeps_its_digits(tmp_path: Path) -> None:
    recipe = {"task": "tabular_classification", "data": {"source": "embedded", "set": "wine"}, "budget": "5 steps"}
    run = tw.train({**recipe, "model": {"name": "mlp", "width": 4}}, out=tmp_path / "run", quiet=True)
    assert not run.config["pace"]["bfloat16"]


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


def test_plain_measures_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    run = train(tmp_path / "run", pace="plain")
    assert run.config["pace"] == "plain"
    assert (run.manifest["plan"]["why"], run.manifest["plan"]["memory"]) == ([], "returned")


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


@pytest.mark.parametrize(
    ("now", "then", "faster"),
    [
        ([1.0] * 6, [0.9] * 6, True),
        ([1.0] * 6, [0.97] * 6, False),  # too little
        ([1.0, 1.0, 1.0, 0.5, 0.5, 0.5], [0.6] * 6, False),  # only in one half
        ([1.0, 9.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 6, False),  # a hiccup is no speed
    ],
)
def test_faster_is_by_a_twentieth_in_both_halves(
    now: list[float], then: list[float], faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert planning._faster(now, then, 1.05) is faster


def test_what_gives_the_same_numbers_need_not_gain_as_much() -> None:
    assert planning._faster([1.0] * 6, [0.97] * 6, 1.01)
    for candidate in CANDIDATES:
        assert candidate.least == (
            candidates.SAME if candidate.loss <= 1e-4 and candidate.name != "channels last" else 1.05
        )


def test_every_candidate_says_how_far_it_may_be_off() -> None:
    assert all(isinstance(c, Candidate) for c in CANDIDATES)
    exact = [c for c in CANDIDATES if c.name != "quick dropout"]  # which draws other masks, as another seed would
    assert all(0 <= c.loss <= 0.02 and 0 <= c.gradient <= 0.1 for c in exact)


def test_a_call_goes_on_with_what_its_run_found() -> None:
    base = {"task": "supervised", "data": {"source": "own"}, "model": "own", "optimizer": "own"}
    open_ = read_recipe(base)
    found = as_it_ran(open_, {"pace": {"pool_first": False, "fused": True}, "precision": "bfloat16"})
    assert (found.pace, found.precision) == (Plan(fused=True), "bfloat16")
    old = as_it_ran(open_, {})
    assert (old.pace, old.precision) == ("plain", "float32")
    mine = as_it_ran(read_recipe({**base, "pace": "plain", "precision": "float64"}), {"pace": {"fused": True}})
    assert (mine.pace, mine.precision) == ("plain", "float64")


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
