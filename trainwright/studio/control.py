"""The one thing a page may ask of a training, and only where the studio was opened so: to save and stop."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress

from trainwright.studio.files import Place, UnreadableError


def stop(place: Place) -> str:
    """Ask as a person at the keyboard would; says what was done. UnreadableError where nothing can be asked.

    The process is the one that holds the run's lock, on this machine: the lock dies with it, so its number is not
    another's by now.
    """
    if not place.training():
        raise UnreadableError("the run is not being trained")
    told = place.owner()
    process, host = told.get("process"), told.get("host")
    if not isinstance(process, int) or process <= 1 or host != socket.gethostname():
        raise UnreadableError(f"the run is trained on {host}, not on this machine; stop it there")
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
        return "it finishes the step, saves and stops"
    raise UnreadableError("the run is not being trained")
