"""The inside of a run's network is asked for over the server, and refused where it cannot, or may not, be built."""

from __future__ import annotations

import base64
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainwright as tw
from tests.open_studio import Visitor, opened
from trainwright.engine import checkpoint
from trainwright.inside.answers import Answers
from trainwright.studio.inside import Insides


class Own(nn.Module):
    """No process but this one can import it: its name is looked up nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        said: torch.Tensor = self.last(x * torch.sigmoid(x))
        return said


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("runs")
    tw.train("iris", {"budget": "1 epoch"}, out=base / "iris", quiet=True)
    tw.train("diabetes", {"budget": "1 epoch"}, out=base / "diabetes", quiet=True)
    x = torch.randn(32, 4)
    data, options = (x, x.sum(1, keepdim=True)), {"loss": "mse", "epochs": 1, "quiet": True}
    tw.fit(nn.Linear(4, 1), data, out=base / "own", captures=0, **options)
    torch.manual_seed(0)
    tw.fit(Own(), (x, (x.sum(1) > 0).long()), loss="cross_entropy", epochs=2, batch_size=8, lr=0.01, clip=0.5,
           valid=0.25, out=base / "captured", quiet=True, pace="plain")  # fmt: skip
    return base


@pytest.fixture(scope="module")
def visitor(runs: Path) -> Iterator[Visitor]:
    with opened(runs) as asks:
        asks._line.timeout = 600  # the first question starts a process
        yield asks


def asked(visitor: Visitor, run: str, question: str) -> Any:
    answer = visitor.ask(f"/api/runs/{visitor.keys()[run]}/inside{question}")
    assert answer.status == 200, answer.body
    return answer


def test_the_process_that_answers_begins_before_it_is_asked_and_only_for_a_run_that_can_be(visitor: Visitor) -> None:
    keys = visitor.keys()
    assert "module of your own" in visitor.ask(f"/api/runs/{keys['own']}/ready").json["closed"]
    assert visitor.ask(f"/api/runs/{keys['iris']}/ready").json == {"closed": ""}
    insides = Insides()
    insides.warm()
    process = insides._process
    assert process is not None
    insides.warm()
    assert insides._process is process
    insides.close()
    assert process.poll() is not None


def test_a_step_is_told_with_its_numbers_and_the_arithmetic_of_each(visitor: Visitor, runs: Path) -> None:
    outline = asked(visitor, "iris", "").json
    assert outline["steps"][0] == 0
    assert len(outline["steps"]) == 2
    assert set(outline["parts"]) == {"train", "valid", "test"}
    step = asked(visitor, "iris", "/step?part=valid&sample=3").json
    assert (step["step"], step["part"], step["sample"]) == (outline["steps"][1], "valid", 3)
    assert step["classes"] == ["setosa", "versicolor", "virginica"]
    assert step["truth"][0] in step["classes"]
    assert step["difference"] < 1e-6
    here = Answers()
    for what in ("value", "gradient", "change"):
        body = asked(visitor, "iris", f"/numbers?part=valid&sample=3&what={what}").body
        (size,) = struct.unpack("<I", body[:4])
        head, numbers = json.loads(body[4 : 4 + size]), np.frombuffer(body[4 + size :], "<f4")
        assert sum(t["cells"] for t in head["tensors"]) == len(numbers)
        known = here.answer({"ask": "numbers", "run": runs / "iris", "part": "valid", "sample": 3, "what": what})
        assert numbers.tobytes() == known[1]
    logits = next(n for n in step["nodes"] if n["title"] == "logits")
    cell = asked(visitor, "iris", f"/cell?part=valid&sample=3&node={logits['id']}&cell=1").json
    assert cell["agrees"] is True
    assert cell["of"] == 65
    assert sum(t["value"] for t in cell["terms"]) + cell["rest"] == pytest.approx(cell["value"], rel=1e-4, abs=1e-5)
    assert asked(visitor, "iris", "/decisions").json == {"decisions": None}
    assert json.loads(asked(visitor, "iris", f"/units?node={logits['id']}").body[4:]) == {"units": None}


def test_the_first_weights_are_made_again_from_the_seed(visitor: Visitor) -> None:
    first = asked(visitor, "iris", "/step?step=0&part=train&sample=0").json
    again = asked(visitor, "iris", "/step?step=0&part=train&sample=1").json
    assert first["step"] == again["step"] == 0
    assert first["rate"] == 1.0


def test_what_is_not_there_is_refused_in_a_line(visitor: Visitor) -> None:
    key = visitor.keys()["iris"]
    for question in ("cell?node=9999&cell=0", "cell?node=0&cell=99999", "cell?node=0&row=99", "cell"):
        answer = visitor.ask(f"/api/runs/{key}/inside/{question}")
        assert answer.status == 404, question
        assert answer.body.count(b"\n") <= 1
        assert b"Traceback" not in answer.body
    assert visitor.ask(f"/api/runs/{key}/inside/step?sample=NaN").status == 400


def test_a_module_of_ones_own_is_not_opened_and_says_why(visitor: Visitor) -> None:
    assert "module of your own (Linear)" in asked(visitor, "own", "").json["closed"]
    answer = visitor.ask(f"/api/runs/{visitor.keys()['own']}/inside/step")
    assert answer.status == 404
    assert b"module of your own (Linear)" in answer.body


def test_a_module_of_ones_own_shows_what_was_captured_and_every_number_is_torchs(visitor: Visitor, runs: Path) -> None:
    outline = asked(visitor, "captured", "").json
    folder = runs / "captured"
    assert outline["steps"] == [step for step in outline["steps"] if (folder / f"checkpoints/step-{step:08}").is_dir()]
    assert outline["parts"] == {"valid": 2}
    assert "(Own)" in outline["notes"][0]
    step = asked(visitor, "captured", "/step?sample=1").json
    assert (step["step"], step["part"], step["sample"]) == (outline["steps"][-1], "valid", 1)
    kept = checkpoint.load(folder / f"checkpoints/step-{step['step']:08}")
    known = by_torch(kept, next(n["id"] for n in step["nodes"] if n["kind"] == "data"), visitor)
    seen = {what: numbers(visitor, "captured", f"sample=1&what={what}") for what in ("value", "gradient", "change")}
    by_name = {n["name"] or n["op"]: n["id"] for n in step["nodes"] if n["kind"] in ("weight", "value")}
    assert {*known["value"], *known["gradient"], *known["change"]} <= set(by_name)
    for what, tensors in known.items():
        for name, x in tensors.items():
            got = torch.from_numpy(seen[what][by_name[name]].copy()).reshape(x.shape)
            assert torch.allclose(got, x, rtol=2e-5, atol=2e-6), (what, name)
    assert step["loss"] == pytest.approx(float(known["value"]["cross_entropy"]), rel=1e-5)
    for node in step["nodes"]:
        for what in [w for w in ("value", "gradient", "change") if w == "value" or node[w]]:
            cell = asked(visitor, "captured", f"/cell?sample=1&node={node['id']}&cell=0&what={what}").json
            assert cell["agrees"] in (True, None), (node["title"], what)
            assert cell["agrees"] or node["name"] == "probabilities" or what == "value", (node["title"], what)
    assert visitor.give(f"/api/runs/{visitor.keys()['captured']}/try", {"give": "record"}).json["refused"]
    assert "module of your own" in visitor.ask(f"/api/runs/{visitor.keys()['captured']}/says").json["closed"]


def by_torch(kept: Any, data: int, visitor: Visitor) -> dict[str, dict[str, torch.Tensor]]:
    """The step of that sample from the checkpoint, by torch alone."""
    x = torch.from_numpy(numbers(visitor, "captured", "sample=1&what=value")[data].copy()).reshape(1, 4)
    net = Own()
    net.load_state_dict(kept["model"])
    names = [n for g in kept["optimizer"]["groups"] for n in g["params"]]
    optimizer = torch.optim.AdamW(
        [{"params": [net.get_parameter(n) for n in g["params"]]} for g in kept["optimizer"]["groups"]]
    )
    groups = [{**g, "params": [names.index(n) for n in g["params"]]} for g in kept["optimizer"]["groups"]]
    state = {names.index(n): entry for n, entry in kept["optimizer"]["state"].items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    bent = torch.tanh(first := net.first(x))
    logits = net.last(bent * torch.sigmoid(bent))
    loss = nn.functional.cross_entropy(logits, (x.sum(1) > 0).long(), reduction="none")
    values = {"first": first, "tanh": bent, "last": logits, "cross_entropy": loss}
    slopes = dict(zip(values, torch.autograd.grad(loss, list(values.values()), retain_graph=True), strict=True))
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    optimizer.step()
    change = {n: p.detach() - before[n] for n, p in net.named_parameters()}
    value = {**before, **{n: v.detach() for n, v in values.items()}}
    return {"value": value, "gradient": {**gradients, **slopes}, "change": change}


def numbers(visitor: Visitor, run: str, question: str) -> dict[int, Any]:
    """Every tensor's cells, as the page is given them."""
    body = asked(visitor, run, f"/numbers?{question}").body
    (size,) = struct.unpack("<I", body[:4])
    found, at = {}, 4 + size
    for tensor in json.loads(body[4:at])["tensors"]:
        found[tensor["id"]] = np.frombuffer(body[at : at + 4 * tensor["cells"]], "<f4")
        at += 4 * tensor["cells"]
    return found


def test_a_link_in_a_run_is_not_followed(runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs / "iris", copy)
    found = next((copy / "checkpoints").glob("*/model.safetensors"))
    found.rename(tmp_path / "elsewhere")
    found.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(tw.UserError, match="is a link"):
        Answers().answer({"ask": "outline", "run": copy})


def test_plugins_are_not_run(runs: Path, tmp_path: Path) -> None:
    copy, plugin = tmp_path / "copy", tmp_path / "plugin.py"
    shutil.copytree(runs / "iris", copy)
    plugin.write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    config = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(f'plugins = ["{plugin}"]\n' + config.replace("plugins = []\n", ""))
    with pytest.raises(tw.UserError, match="plugins"):
        Answers().answer({"ask": "outline", "run": copy})
    assert not (tmp_path / "ran").exists()


def test_a_process_that_dies_is_told_of_and_begun_again(runs: Path) -> None:
    insides = Insides()
    question = {"ask": "outline", "run": str(runs / "iris")}
    try:
        first = insides.ask(question, 0)
        process = insides._process
        assert process is not None
        process.kill()
        process.wait()
        assert insides.ask(question, 0) == first  # kept
        assert insides.ask(question, 1).head == first.head  # begun again
        assert insides._process is not process
    finally:
        insides.close()


def test_a_run_answers_for_what_it_is_given_as_predict_does(visitor: Visitor, runs: Path) -> None:
    path = f"/api/runs/{visitor.keys()['iris']}/try"
    offer = visitor.ask(path).json
    assert [f["kind"] for f in offer["fields"]] == ["number"] * 4
    assert ".csv" in offer["files"]
    record = {f["name"]: f["value"] for f in offer["fields"]}
    told = visitor.give(path, {"give": "fields", "record": record})
    known = tw.open(runs / "iris").predict([record])
    assert told.json["answers"] == known
    lines = [",".join(record), ",".join(map(str, record.values())), ",".join(map(str, record.values()))]
    table = base64.b64encode("\n".join(lines).encode()).decode()
    told = visitor.give(path, {"give": "file", "name": "a.csv", "data": table})
    assert [a["probability"] for a in told.json["answers"]] == [known[0]["probability"]] * 2
    assert [a["row"] for a in told.json["answers"]] == [1, 2]


def test_what_cannot_be_answered_for_is_told_in_a_line_that_names_no_place_of_the_disk(visitor: Visitor) -> None:
    path = f"/api/runs/{visitor.keys()['iris']}/try"
    table = base64.b64encode(b"a,b\n1,2\n").decode()
    wrong: list[tuple[Any, str]] = [
        ({"give": "file", "name": "a.csv", "data": table}, "no such column"),
        ({"give": "file", "name": "a.exe", "data": table}, "is not what this run reads"),
        ({"give": "file", "name": "../../a", "data": table}, "is not what this run reads"),
        ({"give": "file", "name": "a.csv", "data": "#"}, "did not arrive whole"),
        ({"give": "file", "name": "a.csv", "data": ""}, "given.csv"),
        ({"give": "fields", "record": 3}, "no object"),
        ({"give": "fields", "record": {}}, "no such column"),
        ({"give": "prompt", "prompt": "x"}, "does not write texts"),
        ({"give": "text", "text": "x"}, "reads no text"),
        ({"give": "compose"}, "writes no music"),
        ({"give": "continue"}, "forecasts no series"),
        ({}, "nothing that can be tried"),
    ]
    for given, said in wrong:
        refused = visitor.give(path, given).json["refused"]
        assert said in refused, given
        assert "/tmp" not in refused
    own = f"/api/runs/{visitor.keys()['own']}/try"
    assert "module of your own" in visitor.ask(own).json["closed"]
    assert "module of your own" in visitor.give(own, {"give": "fields", "record": {}}).json["refused"]


def test_every_sample_of_a_part_is_judged_as_the_run_was_and_told_by_its_record(visitor: Visitor, runs: Path) -> None:
    path = f"/api/runs/{visitor.keys()['iris']}/says"
    run = tw.open(runs / "iris")
    told = visitor.ask(f"{path}?part=test").json
    right = [t == s for t, s in zip(told["truth"], told["said"], strict=True)]
    assert sum(right) / len(right) == pytest.approx(run.metrics["test/accuracy"])
    assert sum(told["loss"]) / len(right) == pytest.approx(run.metrics["test/loss"], rel=1e-5)
    looks = visitor.ask(f"{path}/looks?part=test&at=3,1,999999,x").json["looks"]
    assert [look["index"] for look in looks] == [3, 1]
    answers = run.predict([look["fields"] for look in looks])
    assert [told["names"][told["said"][i]] for i in (3, 1)] == [a["label"] for a in answers]
    assert [told["sure"][i] for i in (3, 1)] == pytest.approx([a["probability"] for a in answers], rel=1e-5)
    assert [told["names"][told["truth"][i]] for i in (3, 1)] == [look["fields"]["target"] for look in looks]


def test_numbers_are_judged_in_their_own_unit(visitor: Visitor, runs: Path) -> None:
    path = f"/api/runs/{visitor.keys()['diabetes']}/says"
    told = visitor.ask(path).json
    off = [(s - t) ** 2 for s, t in zip(told["said"], told["truth"], strict=True)]
    assert (sum(off) / len(off)) ** 0.5 == pytest.approx(tw.open(runs / "diabetes").metrics["test/rmse"], rel=1e-4)
    (look,) = visitor.ask(f"{path}/looks?at=2").json["looks"]
    assert told["truth"][2] == pytest.approx(look["fields"]["target"], rel=1e-4)
