"""What a run learned from its training part, put back into a processor out of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainwright.core.errors import CheckpointError
from trainwright.core.task import Processor


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
