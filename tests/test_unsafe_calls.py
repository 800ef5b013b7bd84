"""Nothing in the package runs code out of a file: no unpickling, no eval, no shell, no import of a name it read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WATCHED = ("trainwright", "benchmarks", "examples", "script")
MODULES = {
    "pickle",
    "_pickle",
    "pickletools",
    "marshal",
    "shelve",
    "dill",
    "joblib",
    "cloudpickle",
    "yaml",
    "jsonpickle",
}
CALLS = {
    **dict.fromkeys(("torch.load", "torch.save", "torch.jit.load", "torch.package.PackageImporter"), "unpickles"),
    **dict.fromkeys(("torch.distributed.checkpoint.load", "torch.distributed.checkpoint.save"), "unpickles metadata"),
    **dict.fromkeys(("torch.distributed.checkpoint.FileSystemReader", "torch.hub.load"), "unpickles or runs code"),
    **dict.fromkeys(("pandas.read_pickle", "numpy.lib.format.read_array"), "unpickles"),
    **dict.fromkeys(("eval", "exec", "compile", "builtins.eval", "builtins.exec", "builtins.compile"), "runs a text"),
    **dict.fromkeys(("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), "starts a shell"),
    **dict.fromkeys(
        ("__import__", "importlib.import_module", "importlib.__import__", "pydoc.locate"), "imports a name"
    ),
    **dict.fromkeys(("pkgutil.resolve_name", "runpy.run_path", "runpy.run_module"), "imports a name"),
    "importlib.util.spec_from_file_location": "runs a file",
    "keras.models.load_model": "revives code",
    "keras.saving.load_model": "revives code",
}
METHODS = {"exec_module": "runs a file", "load_module": "runs a file", "extractall": "unpacks without a filter"}

# What is legitimate, and why: (file, what is called) -> how often.
ALLOWED = {
    # what torch's own files do not notice, on files made a moment before
    ("benchmarks/faults_bits.py", "torch.load"): 1,
    ("benchmarks/faults_bits.py", "torch.save"): 1,
    # weights that its own children have written, pickles not allowed
    ("benchmarks/resume_peers.py", "numpy.load"): 1,
    # our own rules, each with one change made to it
    ("benchmarks/rule_mutants.py", "compile"): 1,
    ("benchmarks/rule_mutants.py", "exec"): 1,
    # names that our own source lists, never a file
    ("trainwright/__init__.py", "importlib.import_module"): 1,
    # a module of its own folder, by a name that the folder gave
    ("benchmarks/quality/shows.py", "importlib.import_module"): 1,
    # the systems that it lists itself, and the libraries that these name
    ("benchmarks/mistakes/__main__.py", "importlib.import_module"): 1,
    ("benchmarks/mistakes/child.py", "importlib.import_module"): 2,
    # the folder of a registry, and the modules in it
    ("trainwright/core/registry.py", "importlib.import_module"): 2,
    # files that the recipe of the person at the keyboard names as code of theirs
    ("trainwright/runs/plugins.py", "importlib.util.spec_from_file_location"): 1,
    ("trainwright/runs/plugins.py", "exec_module"): 1,
    # the one reader of foreign pickles, weights only, in a process that can do nothing else
    ("trainwright/tools/confined.py", "torch.load"): 1,
    # its warming up, in memory, before it is closed in
    ("trainwright/tools/confined.py", "torch.save"): 1,
    # hostile files are written, and a careless reader shows that they work
    ("benchmarks/hostile_files.py", "pickle"): 1,
    ("benchmarks/hostile_files.py", "torch.save"): 1,
    ("benchmarks/hostile.py", "pickle"): 1,
    ("benchmarks/hostile.py", "torch.save"): 1,
    ("benchmarks/hostile.py", "torch.load"): 2,
    ("benchmarks/hostile.py", "numpy.load"): 2,
}


def unsafe(source: str) -> Iterator[tuple[str, str]]:
    """(what is called, why it is banned) of every such place in a program."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((m, "is banned") for m in modules if m.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            yield from _call(node, names)


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Name here -> what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                yield (a.asname, a.name) if a.asname else (a.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for a in node.names:
                yield a.asname or a.name, f"{node.module}.{a.name}"


def _call(node: ast.Call, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    called, given = _dotted(node.func, names), {k.arg: k.value for k in node.keywords}
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if called in CALLS:
        yield called, CALLS[called]
    elif method in METHODS and not (method == "extractall" and "filter" in given):
        yield method, METHODS[method]
    if called == "numpy.load" and not _is(given.get("allow_pickle"), False):
        yield called, "without allow_pickle=False"
    if "shell" in given and not _is(given["shell"], False):
        yield called or method, "with a shell"
    if called == "ruamel.yaml.YAML" and not _is(given.get("typ"), "safe"):
        yield called, 'without typ="safe"'
    if "weights_only" in given and not _is(given["weights_only"], True):
        yield called or method, "with weights_only=False"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    return f"{_dotted(node.value, names)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def programs() -> list[Path]:
    files = [
        p for folder in WATCHED for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts
    ]
    return [p for p in files if p.suffix == ".py" or (p.suffix == "" and p.read_bytes()[:50].find(b"python") > 0)]


def test_nothing_runs_code_out_of_a_file_but_what_is_listed_with_a_reason() -> None:
    found: dict[tuple[str, str], int] = {}
    for path in programs():
        for called, _ in unsafe(path.read_text(encoding="utf-8")):
            key = (str(path.relative_to(ROOT)), called)
            found[key] = found.get(key, 0) + 1
    assert len(programs()) > 150
    assert found == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import dill as d",
        "import joblib; joblib.load(path)",
        "import marshal",
        "import shelve",
        "import yaml; yaml.load(text)",
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=True)",
        "import torch as t; t.save(x, path)",
        "from torch import load as read; read(path)",
        "import torch.distributed.checkpoint as dcp; dcp.load(state)",
        "from torch.distributed.checkpoint import load; load(state)",
        "import numpy as np; np.load(path)",
        "import numpy as np; np.load(path, allow_pickle=True)",
        "import numpy as np; np.load(path, allow_pickle=flag)",
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "import importlib; importlib.import_module(name)",
        "from importlib import import_module; import_module(name)",
        "spec.loader.exec_module(module)",
        "import os; os.system(line)",
        "import subprocess; subprocess.run(line, shell=True)",
        "import subprocess; subprocess.run(line, shell=wanted)",
        "archive.extractall(folder)",
        "import tarfile; tarfile.open(p).extractall()",
        "from ruamel.yaml import YAML; YAML().load(text)",
        "from ruamel.yaml import YAML; YAML(typ='unsafe')",
        "load(path, weights_only=False)",
        "import keras; keras.models.load_model(path)",
    ],
)
def test_a_planted_line_is_found(line: str) -> None:
    assert list(unsafe(line))


@pytest.mark.parametrize(
    "line",
    [
        "import json; json.load(file)",
        "from safetensors.torch import load_file; load_file(path)",
        "import numpy as np; np.load(path, allow_pickle=False)",
        "from ruamel.yaml import YAML; YAML(typ='safe', pure=True)",
        "import subprocess; subprocess.run(words)",
        "archive.extractall(folder, filter='data')",
        "model.eval()",
        "import re; re.compile(text)",
    ],
)
def test_safe_lines_pass(line: str) -> None:
    assert not list(unsafe(line))
