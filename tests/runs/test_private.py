"""Secrets of the recipe and of the environment stand in no file of a run and in nothing that is said."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import trainwright as tw
from trainwright.core.errors import UserError
from trainwright.core.redaction import HIDDEN

SECRETS = {
    "environment": "env-5f2b8c1d9e",
    "password": "pw-77aa31c0",
    "header": "hd-93bc77fe21",
    "option": "op-4410be9a72",
    "query": "qu-0d6ce1f233",
}
SOURCE = """
import os
from trainwright.core.kinds import observers, sources
from trainwright.core.events import Stop
from trainwright.core.errors import DataError
from trainwright.data.source import Source

@sources.add("remote")
class Remote(Source):
    '''Records from a server.

    Args:
        url: where.
        headers: of the request.
        api_key: opens it.
        broken: what goes wrong.
    '''

    def __init__(self, *, url: str, headers: dict[str, str] | None = None, api_key: str = "", broken: str = "") -> None:
        if broken:
            raise ValueError(f"401 {url} {headers} api_key={api_key} " + os.environ["SERVICE_TOKEN"])
        assert api_key == "op-4410be9a72", api_key
        self.url = url

    def __len__(self): return 60
    def __getitem__(self, i): return {"x": float(i % 7), "y": "ab"[i % 2]}
    def fingerprint(self): return "remote"
    def fields(self): return ["x", "y"]
    def values(self, field): return [self[i][field] for i in range(60)]
    def where(self, index): return f"{self.url} record {index}"

@observers.add("stops")
def stops(*, at: int = 3):
    '''Ends a run with a message that tells too much.

    Args:
        at: step.
    '''
    def watch(event):
        if getattr(event, "step", 0) >= at:
            return Stop("stopped by " + os.environ["SERVICE_TOKEN"] + " of hd-93bc77fe21")
    return watch
"""
RECIPE = f"""
plugins = ["remote.py"]
task = {{ name = "tabular_classification", target = "y" }}
model = {{ name = "mlp", width = 4 }}
budget = "6 steps"
log_every = 1
observers = [{{ name = "stops" }}]

[data]
source = "remote"
url = "https://ann:{SECRETS["password"]}@data.example.org/x?token={SECRETS["query"]}"
headers = {{ Authorization = "Bearer {SECRETS["header"]}" }}
api_key = "{SECRETS["option"]}"
valid = 0.2
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "remote.py").write_text(SOURCE)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def typed(place: Path, *arguments: str) -> tuple[int, str]:
    environment = {**os.environ, "SERVICE_TOKEN": SECRETS["environment"], "TMPDIR": str(place)}
    done = subprocess.run(
        [sys.executable, "-m", "trainwright", *arguments], capture_output=True, text=True, cwd=place, env=environment
    )
    return done.returncode, done.stdout + done.stderr


def told(place: Path, output: str) -> dict[str, list[str]]:
    """The secrets that stand somewhere, and where."""
    given = {"remote.py", "recipe.toml"}
    files = [p for p in place.rglob("*") if p.is_file() and p.name not in given and "__pycache__" not in p.parts]
    texts = {str(p): p.read_bytes() for p in files} | {"output": output.encode()}
    found = {name: [w for w, text in texts.items() if secret.encode() in text] for name, secret in SECRETS.items()}
    return {name: where for name, where in found.items() if where}


def test_no_secret_stands_in_a_run_or_its_output(place: Path) -> None:
    code, output = typed(place, "train", "recipe.toml", "--out", "run")
    assert code == 0, output
    assert "stopped by" in output
    assert "stopped by" in (place / "run" / "events.jsonl").read_text()
    assert not told(place, output)


def test_the_search_finds_what_is_there(place: Path) -> None:
    (place / "leak.txt").write_text(f"x{SECRETS['header']}y")
    assert set(told(place, SECRETS["option"])) == {"header", "option"}


def test_no_secret_stands_in_the_message_of_a_source_that_fails(place: Path) -> None:
    for more in ((), ("--json",)):
        code, output = typed(place, "train", "recipe.toml", "--out", "run", "data.broken=yes", *more)
        assert code == 2
        assert "401" in output
        assert not told(place, output)


def test_no_secret_stands_in_runs_of_several_seeds_which_only_their_owner_opens(place: Path) -> None:
    before = os.umask(0o022)
    try:
        code, output = typed(place, "train", "recipe.toml", "--out", "runs", "--seeds", "2")
    finally:
        os.umask(before)
    assert code == 0, output
    assert not told(place, output)
    for folder in (place / "runs", place / "runs" / "seed-0", place / "runs" / "seed-1"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "runs" / "seed-0" / "manifest.json").stat().st_mode) == 0o644


def test_a_run_answers_without_its_secrets_and_goes_on_once_they_are_given_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("SERVICE_TOKEN", SECRETS["environment"])
    run = tw.train("recipe.toml", {"observers": []}, out="run", quiet=True)
    assert run.config["data"]["api_key"] == HIDDEN
    assert run.config["data"]["url"] == f"https://{HIDDEN}@data.example.org/x?token={HIDDEN}"
    with pytest.raises(UserError, match=r"data\.url: is a secret, .* give it again: data\.url=…"):
        tw.resume("run", {"budget": "9 steps"}, quiet=True)
    assert len(tw.open(run.path).predict([{"x": 1.0}])) == 1  # which needs no data
    again = {
        "data.url": f"https://ann:{SECRETS['password']}@data.example.org/x?token={SECRETS['query']}",
        "data.headers.Authorization": f"Bearer {SECRETS['header']}",
        "data.api_key": SECRETS["option"],
    }
    resumed = tw.resume("run", {**again, "budget": "9 steps"}, quiet=True)
    assert resumed.view.step == 9
    assert not told(place, "")
    with pytest.raises(UserError, match=r"data\.valid: cannot change"):
        tw.resume("run", {**again, "data.valid": 0.3}, quiet=True)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
@pytest.mark.parametrize("there", [False, True])
def test_only_the_owner_opens_a_run_folder(umask: int, there: bool, tmp_path: Path) -> None:
    from trainwright.runs.directory import new_folder

    if there:
        (tmp_path / "run").mkdir(mode=0o755)
    before = os.umask(umask)
    try:
        folder = new_folder(tmp_path / "run", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_encoded_records_are_kept_in_a_folder_of_the_owners_alone(tmp_path: Path) -> None:
    from trainwright.data.cache import new_folder

    assert stat.S_IMODE(new_folder(tmp_path, "x").stat().st_mode) == 0o700
