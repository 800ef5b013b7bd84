"""What a run's files say is believed only where it has their form, and no file in a run's folder is a program."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trainwright as tw
from trainwright.core.errors import CheckpointError, TrainwrightError, UserError
from trainwright.engine import checkpoint
from trainwright.runs.stored import stored_config, stored_json, stored_manifest

RECIPE: dict[str, Any] = {
    "task": "tabular_classification",
    "data": {"source": "embedded", "set": "iris", "valid": 0.2},
    "model": {"name": "mlp", "width": 4},
    "budget": "4 steps",
}
RECORD = {f"{part} {side} (cm)": 1.5 for part in ("sepal", "petal") for side in ("length", "width")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tw.train(RECIPE, out=tmp_path_factory.mktemp("stored") / "run", quiet=True).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def change(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 100_000, '{"a": "\ud800"}', "1" * 5000])
def test_a_file_that_is_no_object_is_damaged_in_words(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, errors="surrogatepass")
    with pytest.raises(UserError, match=r"x\.json: is damaged"):
        stored_json(path)
    path.write_text(content + "[", errors="surrogatepass")
    with pytest.raises(UserError, match=r"x\.json: is damaged"):
        stored_config(path)


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"kind": 3}, "kind"),
        ({"attempts": {}}, "attempts"),
        ({"data": {"fingerprint": 1}}, "data.fingerprint"),
        ({"data": {"fingerprint": "", "bad_samples": {"records": ["a"]}}}, "data.bad_samples.records.0"),
        ({"monitor": {"name": "loss"}}, "monitor.better"),
        ({"model": None}, "model"),
    ],
)
def test_a_manifest_must_say_what_is_read_of_it(keys: dict[str, Any], where: str, run: Path) -> None:
    assert stored_manifest(run / "manifest.json")
    change(run / "manifest.json", **keys)
    with pytest.raises(UserError, match=rf"manifest\.json: is damaged: {where}:"):
        tw.resume(run, {"budget": "8 steps"}, quiet=True)


def test_a_processor_must_have_learned_what_it_learns(run: Path) -> None:
    assert tw.open(run).predict([RECORD])
    path = run / "processor.json"
    path.write_text(path.read_text().replace("1.", "2.", 1))
    with pytest.raises(CheckpointError, match=r"processor\.json is damaged: it is not what was written"):
        tw.open(run).predict([RECORD])
    path.write_text('{"labels": 3}')
    with pytest.raises(CheckpointError, match=r"\(processor\.json\) does not fit"):
        tw.open(run).predict([RECORD])


def test_what_an_earlier_version_learned_is_read_without_a_seal(run: Path) -> None:
    expected, path = tw.open(run).predict([RECORD]), run / "processor.json"
    content = json.loads(path.read_text())
    assert content.pop("$seal")
    path.write_text(json.dumps(content))
    assert tw.open(run).predict([RECORD]) == expected
    assert tw.resume(run, {"budget": "8 steps"}, quiet=True).view.step == 8
    assert json.loads(path.read_text())["$seal"]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda learned: learned["labels"]["values"].append("x"), "its weights do not fit the model"),
        (lambda learned: learned["inputs"]["numbers"][0].update(marks="x"), "does not fit.* neither true nor false"),
    ],
)
def test_what_was_learned_without_a_seal_must_fit_the_weights(
    act: Callable[[Any], Any], message: str, run: Path
) -> None:
    content = json.loads((run / "processor.json").read_text())
    del content["$seal"]
    act(content)
    (run / "processor.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        tw.open(run).predict([RECORD])


@pytest.mark.parametrize("way", ["beside", "absolute", "link", "dots"])
def test_a_program_that_came_with_a_run_is_not_run(way: str, run: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (run / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    (tmp_path / "link").symlink_to(run)
    name = {
        "beside": "evil.py",
        "absolute": str(run / "evil.py"),
        "link": str(tmp_path / "link" / "evil.py"),
        "dots": f"{run}/../run/evil.py",
    }[way]
    config = (run / "config.toml").read_text().replace("plugins = []", f"plugins = [{name!r}]")
    (run / "config.toml").write_text(config)
    for act in (tw.resume, lambda path: tw.open(path).predict([RECORD])):
        with pytest.raises(UserError, match="is a program that came with the run"):
            act(run)
    assert not canary.exists()


def test_a_program_elsewhere_that_the_run_names_is_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()")
    name = str((tmp_path / "mine.py").resolve())
    config = (run / "config.toml").read_text().replace("plugins = []", f"plugins = [{name!r}]")
    (run / "config.toml").write_text(config)
    assert tw.open(run).predict([RECORD])
    assert (tmp_path / "canary").exists()


def sealed(path: Path, act: Callable[[dict[str, Any]], None]) -> None:
    """A manifest changed by somebody who also writes its seal anew."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest.pop("seal")
    act(manifest)
    (path / "manifest.json").write_text(json.dumps({**manifest, "seal": checkpoint._seal(manifest)}))


@pytest.mark.parametrize(
    "name", ["../../secret.txt", "/etc/passwd", "a/b", "..", ".hidden", "a\0b", "", "model.safetensors/../x"]
)
def test_a_checkpoint_reads_no_file_but_its_own(name: str, run: Path) -> None:
    path = next((run / "checkpoints").iterdir())
    assert checkpoint.load(path)
    sealed(path, lambda m: m["files"].update({name: m["files"]["state.json"]}))
    with pytest.raises(CheckpointError, match="which is no file of a checkpoint"):
        checkpoint.load(path)
    sealed(path, lambda m: m["files"].pop(name) and m["parts"].append(name))
    with pytest.raises(CheckpointError, match="which is no file of a checkpoint"):
        checkpoint.load(path)


def test_a_checkpoint_follows_no_link(run: Path, tmp_path: Path) -> None:
    path = next((run / "checkpoints").iterdir())
    (path / "state.json").rename(tmp_path / "elsewhere")
    (path / "state.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is a link to a file elsewhere"):
        checkpoint.load(path)


@pytest.mark.parametrize("state", ["[]", "{", "{}", "[" * 100_000, '{"model": {"$": "tensor", "name": "none"}}'])
def test_a_state_of_another_form_is_no_checkpoint(state: str, run: Path) -> None:
    path = next((run / "checkpoints").iterdir())
    (path / "state.json").write_text(state)
    told = {"size": len(state), "sha256": checkpoint._digest(path / "state.json")}
    sealed(path, lambda m: m["files"].update({"state.json": told}))
    with pytest.raises(CheckpointError, match="holds no state"):
        checkpoint.load(path)
    with pytest.raises(TrainwrightError):
        tw.resume(run, {"budget": "8 steps"}, quiet=True)
