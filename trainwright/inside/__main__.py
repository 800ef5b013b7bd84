"""A process that looks into networks for the studio: a question a line comes in, framed answers go out.

An answer is four bytes with the size of its head, the head as JSON, and as many bytes of numbers as the head says.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from contextlib import suppress
from typing import Any, BinaryIO


def main() -> int:
    """Answer until the questions end."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    with suppress(OSError):
        os.nice(5)  # a training goes first
    import torch

    from trainwright.core.errors import TrainwrightError
    from trainwright.inside.answers import Answers

    torch.set_num_threads(max(1, min(4, (os.cpu_count() or 2) // 2)))
    answers = Answers()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            head, numbers = answers.answer(asked)
        except TrainwrightError as error:
            head, numbers = {"error": str(error), "kind": "user"}, b""
        except Exception as error:  # a run's files may be anything; the next question may be about another
            head, numbers = {"error": f"{type(error).__name__}: {error}", "kind": "other"}, b""
        _send(out, head, numbers)
    return 0


def _send(out: BinaryIO, head: dict[str, Any], numbers: bytes) -> None:
    from trainwright.runs.directory import spelled

    text = json.dumps({"head": spelled(head), "bytes": len(numbers)}).encode()
    out.write(struct.pack("<I", len(text)) + text + numbers)
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
