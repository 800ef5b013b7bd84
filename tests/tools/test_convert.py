"""Foreign weights become safetensors: whole and exact where they are weights, refused in words where they are not."""

from __future__ import annotations

import argparse
import io
import json
import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import trainwright as tw
from trainwright.cli import main
from trainwright.core.errors import DataError, StorageError, UserError
from trainwright.tools import confined
from trainwright.tools.confined import RefusedError
from trainwright.tools.convert import Imported, _told, convert

Weights = dict[str, torch.Tensor]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def write(content: Any, path: Path, new: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=new)  # noqa: TID251 - what others write
    return path


def imported(content: Any, place: Path, new: bool = True, **wishes: Any) -> tuple[Imported, Weights]:
    made = convert(write(content, place / "x.pt", new), place / "x.safetensors", **wishes)
    return made, load_file(made.path)


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def chosen(content: Any, key: str | None = None) -> tuple[Weights, list[str]]:
    """What is found in a content, without a process."""
    notes: list[str] = []
    return confined._chosen(content, key, notes), notes


def plain(tensors: Weights, size: int = 1 << 20) -> tuple[Weights, list[str]]:
    notes: list[str] = []
    return confined._plain(tensors, size, notes), notes


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_of_either_format_comes_over_in_every_bit(new: bool, tmp_path: Path) -> None:
    made, found = imported(net().state_dict(), tmp_path, new)
    assert same(found, dict(net().state_dict()))
    assert made.tensors["0.weight"] == ((3, 4), "float32")
    assert made.numbers == sum(x.numel() for x in found.values())
    assert made.notes == ()
    assert {"audit hook", "limits"} <= set(made.fences)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pt", "x.safetensors"]


def test_shared_strided_and_odd_tensors_come_over(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "a": base, "tied": base, "view": base[1:, ::2], "turned": base.t(), "spread": torch.ones(1).expand(5, 7),
        "scalar": torch.tensor(3), "empty": torch.zeros(0, 4), "bf16": base.bfloat16(), "f16": base.half(),
        "bool": base > 3, "u8": base.to(torch.uint8), "f8": base.to(torch.float8_e4m3fn), "c64": base.cfloat(),
        "parameter": nn.Parameter(base * 2),
    }  # fmt: skip
    _, found = imported(content, tmp_path)
    assert found.keys() == content.keys()
    for name, x in content.items():
        assert found[name].dtype == x.dtype and found[name].shape == x.shape  # noqa: PT018
        assert torch.equal(found[name].to(torch.complex64), x.detach().to(torch.complex64)), name


def test_a_lightning_checkpoint_begins_a_training(tmp_path: Path) -> None:
    recipe = {
        "task": "tabular_classification",
        "data": {"source": "embedded", "set": "iris", "valid": 0.2, "test": 0.2},
        "model": {"name": "mlp", "width": 8},
        "budget": "1 step",
    }
    run = tw.train(recipe, out=tmp_path / "one", quiet=True)
    weights = run.model.state_dict()
    content = {
        "epoch": 3, "pytorch-lightning_version": "2.5.0", "hyper_parameters": {"lr": 1e-3},
        "callbacks": {"x": {"best": None}},
        "state_dict": OrderedDict((f"model.{k}", v) for k, v in weights.items()),
        "optimizer_states": [torch.optim.AdamW(run.model.parameters()).state_dict()], "lr_schedulers": [],
    }  # fmt: skip
    made, found = imported(content, tmp_path)
    assert same(found, {f"model.{k}": v for k, v in weights.items()})
    assert "taken from 'state_dict'; left out: epoch, pytorch-lightning_version" in made.notes[0]
    assert 'map = { "model." = "" }' in made.notes[1]
    begin = {"path": str(made.path), "map": {"model.": ""}}
    two = tw.train({**recipe, "init_from": begin}, out=tmp_path / "two", quiet=True)
    assert two.manifest["data"]["init_from"]["taken"] == len(weights)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_file_that_would_run_a_program_is_refused_and_runs_nothing(new: bool, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {canary}",)

    file = write({"a": torch.zeros(2), "b": Hostile()}, tmp_path / "x.pt", new)
    with pytest.raises(DataError, match=r"x\.pt: holds objects of posix\.system, which only code could build"):
        convert(file, tmp_path / "x.safetensors", leave_out=["posix.system"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pt"]
    torch.load(file, weights_only=False)  # noqa: TID251 - the control: the file is what it seems
    assert canary.exists()


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_file_of_a_later_protocol_is_no_attack_but_must_be_saved_anew(new: bool, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pt", pickle_protocol=4, _use_new_zipfile_serialization=new)  # noqa: TID251
    with pytest.raises(DataError, match=r"x\.pt: is pickled in protocol 4 or later.*; save its state_dict\(\) with"):
        convert(tmp_path / "x.pt", tmp_path / "x.safetensors")


def test_plain_objects_are_left_out_where_the_person_says_so(tmp_path: Path) -> None:
    content = {"model": net().state_dict(), "args": argparse.Namespace(lr=0.1, deep={"a": [1]})}
    with pytest.raises(DataError, match=r"argparse\.Namespace.*; .* --leave-out argparse\.Namespace"):
        imported(content, tmp_path)
    made, found = imported(content, tmp_path, leave_out=["argparse.Namespace"])
    assert same(found, dict(net().state_dict()))
    assert made.notes == ("taken from 'model'; left out: args",)


def test_the_command_tells_names_shapes_and_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write({"ema": {"w": torch.zeros(2, 3)}, "model": {"w": torch.ones(2, 3)}}, tmp_path / "x.pth")
    assert main(["import", "x.pth", "x.safetensors", "--key", "ema"]) == 0
    said = capfd.readouterr().out
    assert "w  2×3  float32" in said
    assert "1 tensors, 6 numbers" in said
    assert main(["import", "x.pth", "x.safetensors"]) == 2
    assert "x.safetensors: exists; choose another name; nothing was overwritten" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, world", "is no file of torch.save"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
        (b"GGUF" + bytes(99), "is a GGUF file"),
        (b"PK\x03\x04" + bytes(99), "is damaged: not a whole zip archive"),
    ],
)
def test_other_files_are_told_apart(data: bytes, message: str) -> None:
    def read(file: Any, inert: Any) -> Any:
        return torch.load(file, weights_only=True)  # noqa: TID251 - what the confined process calls

    with pytest.raises(RefusedError, match=message):
        confined._read(confined.Reader(read, lambda file: []), io.BytesIO(data), [])


def test_a_safetensors_file_needs_no_import(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "w.bin")
    with pytest.raises(DataError, match=r"w\.bin: is a \.safetensors file already"):
        convert(tmp_path / "w.bin", tmp_path / "x.safetensors")


def test_an_archive_that_unfolds_without_end_is_refused_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "x.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x/data.pkl", "w", force_zip64=True) as entry:
            for _ in range(600):
                entry.write(bytes(1 << 20))
        archive.writestr("x/version", "3")
    assert file.stat().st_size < 1 << 20
    with pytest.raises(DataError, match=r"memory|cannot be read|damaged"):
        convert(file, tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: (p / "none.pt", p / "x.safetensors"), "is not there"),
        (lambda p: (p, p / "x.safetensors"), "is a folder"),
        (lambda p: (write({}, p / "a.pt"), p / "x.npz"), r"write a name that ends in \.safetensors"),
        (lambda p: (write({}, p / "a.pt"), p / "no" / "x.safetensors"), "in a folder that is not there"),
        (lambda p: (p / "a\0.pt", p / "x.safetensors"), "holds a null character"),
    ],
)
def test_mistakes_of_names_are_told_before_anything_is_read(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        convert(*make(tmp_path))


def test_weights_are_found_in_the_usual_wrappers() -> None:
    w = {"a.weight": torch.ones(2)}
    adam = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    for name in confined.WRAPPERS:
        found, notes = chosen({name: w, "optimizer": adam, "epoch": 3})
        assert found.keys() == w.keys()
        assert notes[0] == f"taken from '{name}'; left out: optimizer, epoch"
    assert chosen({"model": {"state_dict": w}})[0].keys() == w.keys()
    assert chosen({"module." + k: v for k, v in w.items()}) == (w, ["'module.' before every name is left out"])
    assert chosen({"_orig_mod.module.a.weight": w["a.weight"]})[0].keys() == w.keys()
    assert chosen({"encoder": {"w": w["a.weight"]}, "decoder": {"w": w["a.weight"]}})[0].keys() == {
        "encoder.w",
        "decoder.w",
    }
    assert chosen(w["a.weight"])[0].keys() == {"tensor"}
    assert chosen({"ema": {"shadow": w}, "model": {}}, "ema.shadow")[0].keys() == w.keys()
    assert "left out, since no tensors: version (str)" in chosen({**w, "version": "1"})[1]


def test_what_holds_no_weights_is_refused() -> None:
    adam = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    loop: dict[str, Any] = {}
    loop["again"] = loop
    deep: dict[str, Any] = {"w": torch.ones(1)}
    for _ in range(50):
        deep = {"x": deep}
    for content, message in (
        ({}, "holds no tensors"),
        ({"a": 1, "b": {"c": "text"}}, "holds no tensors"),
        ([torch.ones(2)], "holds a list, no table of tensors"),
        (adam, "holds the state of an optimizer"),
        (loop, "without end"),
        (deep, "without end"),
        ({("a", 1): torch.ones(1)}, "has a tuple"),
    ):
        with pytest.raises(RefusedError, match=message):
            chosen(content)
    with pytest.raises(RefusedError, match="has nothing under 'emma'"):
        chosen({"ema": {"w": torch.ones(1)}}, "emma")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_are_made_plain_or_left_out_in_words() -> None:
    found, notes = plain({
        "quantized": torch.quantize_per_tensor(torch.ones(3), 0.5, 0, torch.qint8),
        "sparse": torch.eye(3).to_sparse(),
        "wide": torch.ones(2, dtype=torch.complex128),
        "turned": torch.ones(2, dtype=torch.complex64).conj(),
    })  # fmt: skip
    assert found.keys() == {"quantized", "sparse", "turned"}
    assert torch.equal(found["sparse"], torch.eye(3))
    assert notes == [
        "quantized was quantized, and is float32",
        "sparse was sparse, and is dense",
        "left out, since safetensors has no such type: wide (torch.complex128)",
    ]
    for tensors, message in (
        ({"spread": torch.ones(1).expand(1 << 20, 1 << 20)}, "unfolds to"),
        (
            {"sparse": torch.sparse_coo_tensor([[0], [0]], [1.0], (1 << 20, 1 << 20), check_invariants=True)},
            "is sparse and too large",
        ),
        ({"nowhere": torch.ones(2, device="meta")}, "has no values"),
        ({"wide": torch.ones(2, dtype=torch.complex128)}, "no tensors that can be written"),
    ):
        with pytest.raises(RefusedError, match=message):
            plain(tensors)


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.ckpt", "pytorch_model.bin", "X.PT"])
def test_init_from_says_to_import_first(name: str, tmp_path: Path) -> None:
    write(net().state_dict(), tmp_path / name)
    recipe = {"task": "tabular_classification", "data": {"source": "embedded", "set": "iris"}, "budget": "1 step"}
    with pytest.raises(UserError, match=r"init_from: .* may be a pickle, .* trainwright import .*\.safetensors"):
        tw.train({**recipe, "init_from": str(tmp_path / name)}, out=tmp_path / "run", quiet=True)


def test_a_full_disk_is_told_as_such_and_not_as_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written: No space left on device; free space") as told:
        _told(json.dumps({"full": "No space left on device"}).encode(), 0, "w.pt")
    assert told.value.exit_code == 74
