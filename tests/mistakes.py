"""How a mistake must end, checked the same way everywhere: one message, an exit code, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainwright.cli import main


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content; folders end in /."""
    return {
        f"{p.relative_to(folder)}{'/' if p.is_dir() else ''}": b"" if p.is_dir() else p.read_bytes()
        for p in folder.rglob("*")
    }


def refused(
    arguments: list[str], told: str | tuple[str, ...], capsys: pytest.CaptureFixture[str], folder: Path, code: int = 2
) -> str:
    """The one message of a command that must fail so, and leave ``folder`` as it was."""
    before = files(folder)
    capsys.readouterr()
    ended = main(arguments)
    out, err = capsys.readouterr()
    assert ended == code, (ended, err)
    for text in (told,) if isinstance(told, str) else told:
        assert text in err, err
    assert err.lower().count("error:") == 1, err
    assert "Traceback" not in out + err
    assert "error-20" not in err  # the name of a file that holds a traceback
    assert files(folder) == before
    return err


def written(folder: Path, recipe: Mapping[str, Any]) -> str:
    """A recipe as a file."""
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe))
    return str(path)
