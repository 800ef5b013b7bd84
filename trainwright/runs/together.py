"""Several processes as one: what is agreed on, and what is said where one of them is gone."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainwright.core.errors import RanksError, TrainwrightError, UserError
from trainwright.engine.ranks import Single


@contextmanager
def together(ranks: Single) -> Iterator[None]:
    """RanksError in the words of a person where another rank is gone."""
    try:
        yield
    except Exception as told:
        error = _root(ranks, told)
        if error is None:
            raise
        what = " ".join(str(error).split())
        what = what.rpartition(" This is")[0] or what
        raise RanksError(
            f"another process of this training is gone ({what.rpartition('] ')[2][:160]}), and this one ends too"
        ) from None


def _root(ranks: Single, error: BaseException | None) -> Exception | None:
    """What says that another rank is gone, also where code of a person met it first, and was told to be at fault."""
    while error is not None:
        if isinstance(error, Exception) and ranks.left_alone(error):
            return error
        error = error.__cause__
    return None


def agreed(ranks: Single, decide: Callable[[], str]) -> str:
    """What the first rank decides, on all of them; where it cannot, it raises its own error, and the others say so."""
    found: list[str] = []
    trouble: TrainwrightError | None = None
    if ranks.rank == 0:
        try:
            found = [decide()]
        except TrainwrightError as error:
            trouble = error
    told: list[str] = ranks.gather_json(found)[0]
    if trouble is not None:
        raise trouble
    if not told:
        raise RanksError("the first process of this training could not begin; it tells why")
    return told[0]


def must_be_seen(folder: Path, ranks: Single) -> None:
    """UserError where other machines do not see the folder that the first rank made."""
    if ranks.world == int(os.environ.get("LOCAL_WORLD_SIZE", ranks.world)):
        return
    mark = agreed(ranks, lambda: _marked(folder))
    seen = ranks.gather_json([(folder / mark).exists(), socket.gethostname()])
    ranks.barrier()
    if ranks.rank == 0:
        (folder / mark).unlink(missing_ok=True)
    blind = sorted({host for sees, host in seen if not sees})
    if blind:
        what = f"{folder} is not the same folder on {', '.join(blind)}"
        raise UserError("--out", what, "name a folder on a disk that all machines share")


def _marked(folder: Path) -> str:
    """A file that is there, and nowhere else."""
    mark = folder / f".seen-{secrets.token_hex(8)}"
    mark.touch()
    return mark.name
