"""A run of music composes: from Python, from the command line, from primers, into files that play."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from tests.builtin import chorales
from trainwright.cli import main
from trainwright.core.errors import DataError, UserError
from trainwright.data import midi
from trainwright.data.score import Score, held


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("songs") / "songs.json"
    path.write_text(json.dumps([r["steps"] for r in chorales(40)]))
    return path


@pytest.fixture(scope="module")
def run(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    recipe: dict[str, Any] = {
        "task": {"name": "music", "write": 6, "transpose": 0},
        "data": {"source": "piano_rolls", "path": str(songs), "valid": 0.2, "test": 0},
        "model": {"name": "frame_rnn", "units": 32, "hidden": 32, "dropout": 0.0},
        "optimizer": {"name": "adamw", "lr": 2e-2},
        "batch_size": 8,
        "budget": "40 epochs",
        "eval_every": "20 epochs",
    }
    return tw.train(recipe, out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_a_model_that_learned_is_better_than_counts_and_goes_on_as_pieces_do(run: tw.Run) -> None:
    assert run.metrics["valid/nats_per_frame"] < run.baselines["linear"]["nats_per_frame"]
    assert run.baselines["linear"]["nats_per_frame"] < run.baselines["constant"]["nats_per_frame"]
    steps = [[60, 72 + way] for way in (0, 4, 7, 12)]
    (piece,) = run.compose({"steps": steps}, length=2, temperature=0)
    assert piece.notes == tuple(held([*steps, *([60, 72 + way] for way in (7, 4))], 1))


def test_samples_are_in_the_log_and_in_the_run_after_each_evaluation(run: tw.Run) -> None:
    assert {e.kind for s in run.view.shown for e in s.exhibits} == {"music"}
    names = sorted(p.name for p in (run.path / "samples").iterdir())
    assert names == [f"step-{s.step:08}-{k}.mid" for s in run.view.shown for k in (1, 2)]
    for path in (run.path / "samples").iterdir():
        assert midi.read(path.read_bytes(), path.name).notes


def test_the_command_line_writes_files_that_play_and_overwrites_none(
    run: tw.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["predict", str(run.path), "--samples", "2", "--tokens", "8"]) == 0
    written = [Path(p) for line in capsys.readouterr().out.splitlines() for p in line.split()]
    assert len(written) == len(set(written)) == 12
    assert {p.parent for p in written} == {run.path / "composed"}
    for path in written:
        match path.suffix:
            case ".mid":
                assert midi.read(path.read_bytes(), path.name).beats <= 8
            case ".wav":
                with wave.open(str(path)) as file:
                    assert file.getnframes() > 22_050
            case suffix:
                assert (suffix, path.read_bytes()[:4]) == (".png", b"\x89PNG")


def test_a_primer_is_gone_on_from_and_stays_as_it_is(run: tw.Run, tmp_path: Path, capsys: Any) -> None:
    primer = Score(tuple(held([[60, 72], [60, 76], [60, 79], [60, 84]], 1)), 150.0)
    (tmp_path / "theme.mid").write_bytes(midi.write(primer))
    asked = ["predict", str(run.path), str(tmp_path / "theme.mid"), "--out", str(tmp_path / "new"), "--json"]
    assert main([*asked, "--primer", "3", "--tokens", "5", "--seed", "4"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["composed"]
    found = midi.read(Path(told["files"][0]).read_bytes(), "new")
    assert (told["primer"], found.tempo, Path(told["files"][0]).name) == ("theme", pytest.approx(150), "theme.mid")
    assert [n for n in found.before(3).notes if n.start + n.length < 3] == [
        n for n in primer.before(3).notes if n.start + n.length < 3
    ]
    (same,) = run.compose(tmp_path / "theme.mid", beats=3, length=5, seed=4)
    assert {n[:3] for n in same.notes} == {n[:3] for n in found.notes}


def test_a_run_of_events_composes_as_well(songs: Path, tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "task": {"name": "music_events", "context": 48, "per_beat": 1, "velocities": 1, "write": 20, "transpose": 0},
        "data": {"source": "piano_rolls", "path": str(songs), "valid": 0.2, "test": 0},
        "model": {"name": "gpt", "size": "nano"},
        "optimizer": {"name": "adamw", "lr": 5e-3},
        "batch_size": 8,
        "budget": "30 epochs",
    }
    made = tw.train(recipe, out=tmp_path / "run", quiet=True)
    assert made.metrics["valid/nats_per_event"] < made.baselines["linear"]["nats_per_event"]
    assert sorted(p.suffix for p in (made.path / "samples").iterdir())[0] == ".mid"
    (piece,) = made.compose({"steps": [[60, 72], [60, 76]]}, length=9, seed=1)
    assert [n[:3] for n in piece.notes][:2] == [(0.0, 1.0, 72), (0.0, 2.0, 60)]
    assert {p.suffix for p in piece.save(tmp_path / "mine")} == {".mid", ".wav", ".png"}


def test_each_sample_has_its_own_seed_whatever_is_beside_it(run: tw.Run) -> None:
    first, second = run.compose(length=12, samples=2, temperature=1.5, seed=7)
    assert first.notes != second.notes
    assert run.compose(length=12, temperature=1.5, seed=8)[0].notes == second.notes


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--stop", "x"], "--stop: does not go together with a run that composes"),
        (["none.mid"], "none.mid: no such file or folder"),
        (["--tokens", "0"], "tokens: 0 is no number"),
        (["--samples", "0"], "samples: 0 is below 1"),
        (["--temperature", "-1"], "temperature"),
        (["songs", "--primer", "0"], "primer: 0 beats are none"),
    ],
)
def test_what_makes_no_sense_is_told(run: tw.Run, songs: Path, asked: list[str], says: str, capsys: Any) -> None:
    given = [str(songs) if a == "songs" else a for a in asked]
    assert main(["predict", str(run.path), *given]) == 2
    assert says in capsys.readouterr().err


def test_a_broken_primer_and_another_kind_of_run_are_told(run: tw.Run, tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(b"MThd")
    with pytest.raises(DataError, match=r"a\.mid: is a damaged MIDI file"):
        run.compose(tmp_path / "a.mid")
    iris = tw.train("iris", {"budget": "1 epochs"}, out=tmp_path / "iris", quiet=True)
    with pytest.raises(UserError, match="writes no music"):
        iris.compose()
    assert main(["predict", str(iris.path), "--primer", "3", "x.csv"]) == 2
