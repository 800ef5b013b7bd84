"""What a run learned from its training part: written whole, read back whole, and put into a processor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainwright.core.errors import CheckpointError
from trainwright.core.task import Processor
from trainwright.runs.directory import spelled, write_json
from trainwright.runs.stored import stored_json

# the sha256 of all else, since a changed digit of a mean would be predicted with and never noticed; a key that no
# processor has
_SEAL = "$seal"


def write_learned(processor: Processor, path: Path) -> None:
    """Everything the processor learned, as JSON with a seal."""
    content = json.loads(json.dumps(spelled(processor.state_dict())))
    write_json({_SEAL: _seal(content), **content}, path)


def read_learned(path: Path) -> dict[str, Any]:
    """What `write_learned` wrote; CheckpointError where it is something else. Earlier versions wrote no seal."""
    content = stored_json(path)
    seal = content.pop(_SEAL, None)
    if seal is not None and seal != _seal(content):
        instead = "put the file back, or train anew from its config.toml"
        raise CheckpointError(f"{path} is damaged: it is not what was written; {instead}")
    return content


def put_back(processor: Processor, learned: Mapping[str, Any]) -> None:
    """CheckpointError where it does not fit: it is of another version of the task, or damaged."""
    try:
        processor.load_state_dict(learned)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        what = (
            "what this run learned from its data (processor.json) does not fit this version of the task, or is damaged"
        )
        instead = "use the version that trained it, or train anew from its config.toml"
        raise CheckpointError(f"{what}: {why}; {instead}") from error


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
