"""An exported model answers as the run does, in a program that knows nothing of the run, or it is not written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

import trainwright as tw
from tests.faults import Faults
from trainwright.cli import main
from trainwright.core.errors import UserError
from trainwright.data.encode import encode_records
from trainwright.tools import export as exporting

SHORT = {"budget": "3 steps", "eval_every": "3 steps", "save_every": "3 steps", "workers": 0}
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    return tmp_path


def rows(n: int = 60) -> list[dict[str, Any]]:
    """Numbers, one of them at times missing, and a category."""
    draw = np.random.default_rng(0)
    return [
        {
            "size": None if i % 7 == 0 else float(draw.normal()), "town": "abc"[i % 3],
            "sold": "yes" if i % 2 else "no", "price": float(draw.normal()) * 1000 + 5000,
        }
        for i in range(n)
    ]  # fmt: skip


def trained(recipe: Mapping[str, Any]) -> tw.Run:
    return tw.train({**recipe, **SHORT}, out="run", quiet=True)


def of_table(task: str, model: Mapping[str, Any]) -> tw.Run:
    Path("t.jsonl").write_text("\n".join(json.dumps(row) for row in rows()))
    target = "sold" if task == "tabular_classification" else "price"
    data = {"source": "table", "path": "t.jsonl"}
    return trained({"data": data, "task": {"name": task, "target": target}, "model": dict(model)})


def of_digits(model: Mapping[str, Any]) -> tw.Run:
    data = {"source": "embedded", "set": "digits"}
    return trained({"data": data, "task": {"name": "image_classification"}, "model": dict(model)})


def agrees(run: tw.Run, records: list[dict[str, Any]], output: str) -> None:
    """onnxruntime and `run.predict` on records, in batches of several lengths."""
    made = tw.export(run, "m.onnx")
    assert made.difference <= 1e-4 * made.largest
    encoded = encode_records(records, run.predictor.task.processor)
    session = onnxruntime.InferenceSession("m.onnx")
    expected = np.array([numbers(answer) for answer in run.predict(records)])
    for n in (1, 3, len(records)):
        inputs = {i.name: encoded.dense(i.name)[:n].numpy() for i in session.get_inputs()}
        got = session.run([output], inputs)[0].reshape(n, -1)
        if output == "probabilities":
            np.testing.assert_allclose(got.sum(1), 1, rtol=1e-5)
            got = got if "probabilities" in run.predict(records[:1])[0] else got.max(1, keepdims=True)
        np.testing.assert_allclose(got, expected[:n], rtol=1e-4, atol=1e-6)
    assert {i.name for i in session.get_inputs()} == set(json.loads(Path("m.json").read_text())["inputs"])


def numbers(answer: Mapping[str, Any]) -> list[float]:
    if "value" in answer:
        return [answer["value"]]
    table = answer.get("probabilities")
    return list(table.values()) if isinstance(table, Mapping) else [answer["probability"]]


@pytest.mark.parametrize("model", [{"name": "mlp"}, {"name": "tabm"}, {"name": "tabm", "numbers": "periodic"}])
@pytest.mark.parametrize(
    ("task", "output"), [("tabular_classification", "probabilities"), ("tabular_regression", "value")]
)
def test_a_model_of_tables_answers_the_same_in_onnxruntime(task: str, output: str, model: dict[str, Any]) -> None:
    agrees(of_table(task, model), rows(9), output)


@pytest.mark.parametrize("model", [{"name": "cnn"}, {"name": "resnet", "depth": 8}, {"name": "mlp"}])
def test_a_model_of_images_answers_the_same_with_normalization_inside(model: dict[str, Any]) -> None:
    records = [{"image": np.full((8, 8), 3 * i, np.uint8)} for i in range(5)]
    agrees(of_digits(model), records, "probabilities")


@pytest.mark.parametrize(
    "layers",
    [
        ["flatten", {"name": "dense", "units": 8}, "relu", {"name": "dense", "units": 10}],
        [{"name": "conv", "filters": 4}, "batch_norm", "silu", "avg_pool", "flatten", "layer_norm", "dropout"],
        [{"name": "simple_rnn", "units": 6}], [{"name": "gru", "units": 6}],
        [{"name": "lstm", "units": 6, "give": "all"}, "global_pool"],
    ],
    ids=["dense", "convolutional", "simple_rnn", "gru", "lstm"],
)  # fmt: skip
def test_a_declared_list_of_layers_is_exported(layers: list[Any]) -> None:
    run = of_digits({"name": "sequential", "layers": layers})
    agrees(run, [{"image": np.eye(8, dtype=np.uint8) * i} for i in range(5)], "probabilities")


def test_an_onnx_file_carries_what_is_beside_it_inside_as_well() -> None:
    tw.export(of_table("tabular_classification", {"name": "mlp"}), "m.onnx")
    inside = onnxruntime.InferenceSession("m.onnx").get_modelmeta().custom_metadata_map
    about = json.loads(Path("m.json").read_text())
    about.pop("checked")
    assert json.loads(inside["trainwright"]) == about


def test_safetensors_hold_the_served_weights_and_the_json_all_else() -> None:
    run = of_table("tabular_classification", {"name": "mlp"})
    made = tw.export(run, "m.safetensors")
    assert made.difference == 0
    weights = load_file("m.safetensors")
    for name, tensor in run.model.state_dict().items():
        np.testing.assert_array_equal(weights[name], tensor.numpy())
    about = json.loads(Path("m.json").read_text())
    assert sorted(about["labels"]["values"]) == ["no", "yes"]
    assert {n["name"] for n in about["preprocessing"]["inputs"]["numbers"]} == {"size", "price"}
    assert about["recipe"]["task"]["target"] == "sold"
    again = tw.train({**about["recipe"], **SHORT}, out="again", quiet=True)
    assert again.state == "finished"


@pytest.mark.parametrize("error", [1.0, math.nan])
def test_a_file_that_answers_otherwise_is_not_kept(error: float, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = of_table("tabular_regression", {"name": "mlp"})

    def wrong(file: Path, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"value": torch.full((len(next(iter(inputs.values()))),), error)}

    monkeypatch.setattr(exporting, "onnx_answers", wrong)
    before = sorted(place.iterdir())
    with pytest.raises(UserError, match="otherwise than the run"):
        tw.export(run, "m.onnx")
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("taken", ["m.onnx", "m.json"])
def test_nothing_is_overwritten(taken: str, place: Path) -> None:
    run = of_table("tabular_regression", {"name": "mlp"})
    Path(taken).write_text("mine")
    with pytest.raises(UserError, match=f"{taken}: exists"):
        tw.export(run, "m.onnx")
    assert Path(taken).read_text() == "mine"
    assert len(list(place.glob("m.*"))) == 1


def test_a_file_that_comes_meanwhile_is_kept_and_nothing_else_is_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = of_table("tabular_regression", {"name": "mlp"})
    check = exporting._real

    def slowly(*given: Any) -> Any:
        Path("m.safetensors").write_text("another's")
        return check(*given)

    monkeypatch.setattr(exporting, "_real", slowly)
    with pytest.raises(UserError, match="exists"):
        tw.export(run, "m.safetensors")
    assert [(p.name, p.read_text()) for p in place.glob("m.*")] == [("m.safetensors", "another's")]
    assert not list(place.glob(".export-*"))


def test_a_full_disk_leaves_nothing_and_is_exit_code_74(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tw.train("iris", {"budget": "2 steps"}, out=place / "run", quiet=True)
    (place / "there").mkdir()
    with Faults(2, "full").active():
        assert main(["export", str(run.path), str(place / "there" / "m.safetensors")]) == 74
    assert "No space left on device" in capfd.readouterr().err
    assert not list((place / "there").iterdir())


def test_other_records_are_checked_where_the_data_are_gone() -> None:
    run = of_table("tabular_regression", {"name": "mlp"})
    Path("t.jsonl").rename("elsewhere.jsonl")
    with pytest.raises(UserError, match=r"t\.jsonl"):
        tw.export(run, "m.safetensors")
    assert tw.export(run, "m.safetensors", data="elsewhere.jsonl").records == 60


def test_what_cannot_be_exported_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    net = torch.nn.Linear(2, 1)
    x = np.ones((20, 2), np.float32)
    own = tw.fit(net, (x, x[:, :1]), loss="mse", out="own", quiet=True, budget="2 steps")
    with pytest.raises(UserError, match="a module of your own"):
        tw.export(own, "m.onnx")
    run = of_table("tabular_regression", {"name": "mlp"})
    with pytest.raises(UserError, match="no known suffix"):
        tw.export(run, "m.pt")
    monkeypatch.setattr(exporting, "_NEEDED", ("onnx", "a_package_that_is_not_there"))
    with pytest.raises(UserError, match=r"needs the packages a_package_that_is_not_there; pip install"):
        tw.export(run, "m.onnx")


def test_the_command_tells_the_difference(capfd: pytest.CaptureFixture[str]) -> None:
    of_table("tabular_regression", {"name": "mlp"})
    capfd.readouterr()
    assert main(["export", "run", "m.onnx"]) == 0
    assert "60 records; outputs up to" in capfd.readouterr().out
    assert main(["export", "run", "n.safetensors", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["checked"]["difference"] == 0
    assert main(["export", "run", "m.onnx"]) == 2
    assert "m.onnx: exists" in capfd.readouterr().err
