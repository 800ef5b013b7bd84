"""A run's folder is never written over: the old run stays where it is, or is moved aside whole."""

from pathlib import Path

import pytest

import trainwright as tw
from trainwright.runs.directory import moved_aside
from trainwright.runs.lock import Lock, LockedError

SHORT = {"budget": "2 steps"}


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_with_exist_ok_the_run_that_was_there_is_moved_aside_whole(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tw.train("iris", SHORT, out=out, quiet=True)
    first = content(out)
    with pytest.raises(tw.UserError, match=r"holds a run already.*--exist-ok"):
        tw.train("iris", SHORT, out=out, quiet=True)
    assert content(out) == first

    again = tw.train("iris", {**SHORT, "seed": 1}, out=out, exist_ok=True, quiet=True)
    assert again.path == out
    assert again.config["seed"] == 1
    assert f"the run that was in {out} is now in {out}.1" in again.manifest["data"]["notes"]
    assert content(tmp_path / "run.1") == first
    second = content(out)
    tw.train("iris", SHORT, out=out, exist_ok=True, quiet=True)
    assert (content(tmp_path / "run.1"), content(tmp_path / "run.2")) == (first, second)


def test_a_mistake_moves_nothing_aside(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tw.train("iris", SHORT, out=out, quiet=True)
    first = content(out)
    with pytest.raises(tw.UserError):
        tw.train("iris", {"task.target": "nowhere"}, out=out, exist_ok=True, quiet=True)
    assert content(out) == first
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_holds_no_run_is_never_moved(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(tw.UserError, match="exists and is not empty"):
        tw.train("iris", SHORT, out=tmp_path / "mine", exist_ok=True, quiet=True)
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    assert moved_aside(tmp_path / "nowhere") == ""


def test_a_run_that_is_being_trained_is_never_moved(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tw.train("iris", SHORT, out=out, quiet=True)
    lock = Lock(out)
    try:
        with pytest.raises(LockedError, match="is being trained"):
            tw.train("iris", SHORT, out=out, exist_ok=True, quiet=True)
    finally:
        lock.release()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_the_users_own_module_moves_a_run_aside_as_well(tmp_path: Path) -> None:
    import torch
    from torch import nn

    data = (torch.randn(40, 3), torch.randn(40, 1))
    for _ in range(2):
        run = tw.fit(nn.Linear(3, 1), data, loss="mse", epochs=1, out=tmp_path / "run", exist_ok=True, quiet=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run.1"]
    assert run.path == tmp_path / "run"
