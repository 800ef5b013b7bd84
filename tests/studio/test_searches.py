"""A search and a cross-validation are told as their commands write them, also before they have ended."""

from __future__ import annotations

import json
from pathlib import Path

from tests.open_studio import opened
from tests.run_folders import training, write
from trainwright.runs.directory import write_json
from trainwright.tools import folded, study
from trainwright.tools.space import Range

TABLE = """trial,state,valid accuracy,seconds,steps,optimizer.lr,model.depth,why
1,finished,0.8,2.5,40,0.001,2,
2,pruned,,0.5,10,0.1,3,
3,failed,,0.1,2,10.0,1,the loss was NaN
4,finished,0.9,2.4,40,0.01,,
"""


def searched(folder: Path) -> Path:
    """The folder of a search, written by what `tune` writes it with."""
    space = {"optimizer.lr": Range("optimizer.lr", 1e-4, 10.0, log=True), "model.depth": Range("model.depth", 1, 3)}
    folder.mkdir(parents=True)
    study.write_plan(study.Plan(space, names=("valid accuracy",), trials=6), folder)
    (folder / "trials.csv").write_text(TABLE)
    return folder


def validated(folder: Path) -> Path:
    """The folder of a cross-validation that has ended."""
    folder.mkdir(parents=True)
    folded.write_plan(folded.Plan(2, 1, 0), folder)
    mean = {"mean": 0.85, "deviation": 0.05, "low": 0.7, "high": 1.0, "n": 2}
    runs = {f"fold-{n}": {"state": "finished", "scores": {"test/accuracy": s}} for n, s in ((1, 0.8), (2, 0.9))}
    for name in runs:
        write(folder / name, training())
    told = {"runs": runs, "scores": {"test/accuracy": mean}, "baselines": {"linear": {"accuracy": mean}}}
    write_json(told, folder / "result.json")
    return folder


def test_a_search_is_told_while_it_goes_on_with_pruned_and_failed_trials(tmp_path: Path) -> None:
    searched(tmp_path / "lr-tune")
    with opened(tmp_path) as visitor:
        (brief,) = visitor.ask("/api/searches").json
        assert (brief["name"], brief["kind"]) == ("lr-tune", "search")
        told = visitor.ask(f"/api/searches/{brief['key']}").json
        assert [t["state"] for t in told["trials"]] == ["finished", "pruned", "failed", "finished"]
        assert [t["reached"] for t in told["trials"]] == [[0.8], [None], [None], [0.9]]
        assert told["trials"][2]["values"] == {"optimizer.lr": 10.0, "model.depth": 1.0}
        assert told["trials"][3]["values"] == {"optimizer.lr": 0.01}
        assert told["space"][0] == {"key": "optimizer.lr", "low": 1e-4, "high": 10.0, "log": True}
        assert (told["ended"], told["wanted"], told["importance"]) == (False, 6, {})
        write_json({"importance": {"optimizer.lr": 0.9}}, tmp_path / "lr-tune" / "result.json")
        told = visitor.ask(f"/api/searches/{brief['key']}").json
        assert (told["ended"], told["importance"]) == (True, {"optimizer.lr": 0.9})


def test_a_trial_is_opened_from_its_search_and_stands_in_no_list(tmp_path: Path) -> None:
    write(searched(tmp_path / "lr-tune") / "trials" / "0004", training())
    write(tmp_path / "run", training())
    elsewhere = write(tmp_path.with_name(f"{tmp_path.name}-elsewhere") / "0002", training())
    (tmp_path / "lr-tune" / "trials" / "0002").symlink_to(elsewhere)
    with opened(tmp_path) as visitor:
        (brief,) = visitor.ask("/api/searches").json
        told = visitor.ask(f"/api/searches/{brief['key']}").json
        *others, last = [t["run"] for t in told["trials"]]
        assert others == [None] * 3
        about = visitor.ask(f"/api/runs/{last}").json  # as from a bookmark
        assert (about["name"], about["step"]) == ("lr-tune/trials/0004", 40)
        assert list(visitor.keys()) == ["run"]
        assert visitor.ask(f"/api/runs/{last}/series?name=train/loss").status == 200


def test_the_folds_of_a_cross_validation_lead_to_their_runs(tmp_path: Path) -> None:
    validated(tmp_path / "folds")
    with opened(tmp_path) as visitor:
        (brief,) = visitor.ask("/api/searches").json
        told = visitor.ask(f"/api/searches/{brief['key']}").json
        keys = visitor.keys()
        assert {f"folds/{r['name']}": r["key"] for r in told["runs"]} == keys
        assert told["scores"]["test/accuracy"]["mean"] == 0.85


def test_a_folder_that_holds_something_else_is_one_line(tmp_path: Path) -> None:
    for name, content in {"torn": "{", "list": "[]", "odd": json.dumps({"names": 3, "space": {}})}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").write_text(content)
    (tmp_path / "link").symlink_to(searched(tmp_path.with_name(f"{tmp_path.name}-elsewhere") / "x").parent / "x")
    with opened(tmp_path) as visitor:
        found = visitor.ask("/api/searches").json
        assert [b["name"] for b in found] == ["list", "odd", "torn"]
        assert [visitor.ask(f"/api/searches/{b['key']}").status for b in found] == [404, 200, 404]
        assert visitor.ask("/api/searches/0123").status == 404
