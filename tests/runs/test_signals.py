"""A signal while scores are computed: the run is whole without them, and the next attempt computes them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import trainwright as tw
from tests.runs.test_begin import QUICK
from trainwright.cli import main
from trainwright.runs import final
from trainwright.runs.recipe import write
from trainwright.runs.signals import Interruption

PLAN = {**QUICK, "budget": "12 steps"}


def signalled(monkeypatch: pytest.MonkeyPatch, number: int, when: str) -> None:
    """Signals this process right before or right after the scores are computed."""
    own = final.judged

    def judged(*given: object) -> object:
        if when == "before":
            os.kill(os.getpid(), number)
        found = own(*given)  # type: ignore[arg-type]
        if when == "after":
            os.kill(os.getpid(), number)
        return found

    monkeypatch.setattr(final, "judged", judged)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_while_scores_are_computed_ends_the_run_without_them(
    name: str, code: int, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = tw.train(PLAN, out=tmp_path / "whole", quiet=True)
    write(PLAN, tmp_path / "recipe.toml")
    with monkeypatch.context() as patch:
        signalled(patch, getattr(signal, name), when)
        assert main(["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")]) == code
    out, err = capfd.readouterr()
    assert "stopping without the final scores" in err
    assert f"trainwright resume {tmp_path / 'run'}" in out
    run = tw.open(tmp_path / "run")
    assert run.view.ended is not None
    assert (run.state, run.view.ended.reason, run.view.step) == ("interrupted", name, 12)
    assert not run.view.ended.scores
    again = tw.resume(run.path, quiet=True)
    assert again.state == "finished"
    assert again.metrics == whole.metrics
    assert again.view.losses == whole.view.losses


def test_a_signal_between_the_last_step_and_the_scores_is_heard() -> None:
    with Interruption(speaks=False) as interruption:
        assert interruption.unless_asked(lambda: "scored") == "scored"
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.unless_asked(lambda: "scored") is None
    assert interruption.name == "SIGTERM"


def test_a_signal_after_the_scores_is_told_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Interruption() as interruption:
        interruption.unless_asked(lambda: "scored")
        os.kill(os.getpid(), signal.SIGTERM)
        assert "the training is over" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
