"""The command line: what a person typed, what is done with it, and what is said."""

from trainwright.cli import answer, begin, deliver, judge, proof, seek, studio  # noqa: F401 - their commands join the others
from trainwright.cli.commands import commands, main

__all__ = ["commands", "main"]
