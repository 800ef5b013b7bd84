"""What a person did wrong, said once: where, what, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class TrainwrightError(Exception):
    """Anything that ends a command with one message instead of a traceback."""

    exit_code = 70


class UserError(TrainwrightError, ValueError):
    """A mistake in a recipe, a flag, a file or a call.

    The message reads ``where: what; instead``, for example
    ``optimizer.lrr: unknown option; did you mean 'lr'?``.

    Args:
        where: the key, the file or the argument.
        what: is wrong with it.
        instead: what to write, or to do.
    """

    exit_code = 2

    def __init__(self, where: str, what: str, instead: str = "") -> None:
        self.where, self.what, self.instead = where, what, instead
        super().__init__(f"{where}: {what}" + (f"; {instead}" if instead else ""))


class DataError(UserError):
    """A record, a file or a part of the data that cannot be trained on."""


class CannotCreateError(UserError):
    """A file or folder that cannot be made, or written, where it was asked for."""

    exit_code = 73


class DownloadError(DataError):
    """A public data set that could not be had from where it is published."""

    exit_code = 69


class BadSamplesError(DataError):
    """More bad samples than the recipe allows to skip."""

    exit_code = 76


class StorageError(TrainwrightError):
    """What happened or was learned could not be written down."""

    exit_code = 74


class CheckpointError(TrainwrightError):
    """A checkpoint that is absent, damaged, or of another run."""

    exit_code = 3


class RanksError(TrainwrightError):
    """Processes that train together ended, or one of them did.

    Args:
        message: what is known.
        code: the exit code of the one that ended first.
    """

    exit_code = 71

    def __init__(self, message: str, code: int = exit_code) -> None:
        super().__init__(message)
        self.exit_code = code


class NumericsError(TrainwrightError):
    """The training produced NaN or infinity and could not go on."""

    exit_code = 77


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'lr'?`` when one is near, else ``known: a, b, c``."""
    names = sorted(known)
    near = get_close_matches(word.lower(), names, 1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(names)}" if names else "there are none"
