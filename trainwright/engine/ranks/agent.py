"""PyTorch's elastic agent for the ranks of this machine: started, watched, asked to stop, and how it ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch._C._distributed_c10d import HashStore, Store, TCPStore
from torch.distributed import DistError
from torch.distributed.elastic.agent.server.api import RunResult, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import LogsDest, LogsSpecs
from torch.distributed.elastic.rendezvous.api import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousInfo,
    RendezvousTimeoutError,
)
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout
from typing_extensions import override

from trainwright.core.errors import RanksError
from trainwright.engine.ranks.failure import LAUNCHER, Ended, ended
from trainwright.engine.ranks.meeting import Meeting, interface, silence_heard

PATIENCE = 600  # seconds for all machines to come, and to come back
_HEARTBEAT = 3  # seconds between two signs of life of a machine; three that are missing mean that it is gone
_LINGER = 3.0  # seconds in which the others can hear that it is over


class Crew:
    """The ranks of this machine, among those of others.

    Args:
        ranks: of this machine.
        command: what each of them runs.
        meeting: with the other machines.
        label: of the training; machines that train something else do not meet.
        folder: where what ranks say is kept for as long as it is needed.
    """

    def __init__(self, ranks: int, command: Sequence[str], meeting: Meeting, label: str, folder: Path) -> None:
        self.ranks, self.command, self.meeting, self.label = ranks, command, meeting, label
        self.logs = _Logs(folder, meeting)
        self.asked = 0  # the signal that a person sent
        self.agent: LocalElasticAgent | None = None
        self.handler: _Handler | None = None
        self._listening: Store | None = None  # kept while we live: the others hang on it

    def run(self) -> Ended:
        """Start the ranks, when all machines have come, and wait for their end."""
        outcome: list[RunResult | BaseException] = []
        before = self.logs.begun
        thread = threading.Thread(target=self._work, args=(outcome,), name="agent", daemon=True)
        thread.start()
        while thread.is_alive():  # a signal is heard between two of these
            thread.join(0.1)
            if self.asked and self.logs.begun == before:  # it waits for the others, or is about to see the wish
                self.logs.closed = True
                return Ended(128 + self.asked, "stopped before the ranks began")
        return self._told(outcome[0])

    def _work(self, outcome: list[RunResult | BaseException]) -> None:
        try:
            if self.handler is None:
                self.handler = self._joined()
            spec = WorkerSpec(
                role="rank",
                local_world_size=self.ranks,
                entrypoint=self.command[0],
                args=tuple(word.replace("$", "$$") for word in self.command[1:]),  # the agent fills in ${…}
                rdzv_handler=self.handler,
                max_restarts=0,  # who starts them again knows what they did meanwhile
                local_addr=self.meeting.own_address(),
            )
            self.agent = LocalElasticAgent(spec, self.logs)
            outcome.append(self.agent.run())
        except BaseException as error:
            outcome.append(error)
        finally:
            self._close_files()

    def _close_files(self) -> None:
        """Those that the agent opened for its ranks, and leaves open."""
        context: Any = self.agent._pcontext if self.agent is not None else None
        for started in context.subprocess_handlers.values() if context is not None else ():
            for file in (started._stdout, started._stderr):
                if file is not None:
                    file.close()

    def _joined(self) -> _Handler:
        """The rendezvous: within this process for one machine, else in the store of the one that has the address."""
        store: Store = self._listening or HashStore()
        if not self.meeting.alone and self._listening is None:
            with silence_heard():
                store = self._store()
        backend = C10dRendezvousBackend(store, self.label)
        handler = _Handler.from_backend(
            self.label,
            store,
            backend,
            self.meeting.nodes,
            self.meeting.nodes,
            self.meeting.own_address(),
            RendezvousTimeout(join=timedelta(seconds=PATIENCE), heartbeat=timedelta(seconds=30)),
            keep_alive_interval=_HEARTBEAT,
        )
        assert isinstance(handler, _Handler)
        return handler

    def _store(self) -> Store:
        host, port = self.meeting.host, self.meeting.port
        until = time.monotonic() + PATIENCE
        while not self.meeting.answers() and not self.asked:
            if sock := self.meeting.listen():
                self._listening = TCPStore(host, port, is_master=True, master_listen_fd=sock.detach())
                return self._listening
            if time.monotonic() > until:
                raise RendezvousTimeoutError
            time.sleep(0.5)
        try:
            return TCPStore(host, port, is_master=False, timeout=timedelta(seconds=30))
        except (RuntimeError, ValueError) as error:
            raise RendezvousConnectionError(str(error)) from error

    def _told(self, outcome: RunResult | BaseException) -> Ended:
        if isinstance(outcome, RunResult):
            logs = self.logs.read()
            return ended(outcome.failures, logs) if outcome.is_failed() else Ended()
        if self.asked:
            return Ended(128 + self.asked, "stopped before the ranks began")
        if isinstance(outcome, RendezvousConnectionError | DistError):
            if self.handler is not None:
                self.handler.forget()
            self.handler = self.agent = None  # another one, of a new connection
            return Ended(RanksError.exit_code, f"{self.meeting.host} cannot be reached any more", curable=True)
        if isinstance(outcome, RendezvousClosedError):
            return Ended(RanksError.exit_code, "the training was ended on another machine; its message is there")
        if isinstance(outcome, RendezvousTimeoutError):
            what = f"{self.meeting.nodes} machines did not meet at {self.meeting.host}:{self.meeting.port}"
            more = "run the same command on each of them, with the same recipe"
            if not self.meeting.known():
                more = f"this machine knows no '{self.meeting.host}'"
            return Ended(RanksError.exit_code, f"{what} within {PATIENCE // 60} minutes; {more}")
        raise outcome

    def _pids(self) -> list[int]:
        group = self.agent.get_worker_group() if self.agent is not None else None
        return [worker.id for worker in group.workers if isinstance(worker.id, int)] if group is not None else []

    def send(self, number: int) -> None:
        """A person's signal, to every rank."""
        self.asked = number
        wish = signal.SIGUSR1 if number == signal.SIGTERM else number  # SIGTERM is how the agent ends a rank at once
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, wish)

    def close(self, failed: bool) -> None:
        """Tell the other machines that it is over."""
        if self.handler is None:
            return
        with contextlib.suppress(RendezvousError):
            self.handler.shutdown()
        if failed and not self.meeting.alone and self._listening is not None:
            time.sleep(_LINGER)


class _Handler(DynamicRendezvousHandler):
    """A rendezvous whose ranks meet anew each round, in a store that listens on one interface.

    torch's own listens on all of them; and it is used again in the next round, in which ranks would then read where
    others listened in the last one.
    """

    @override
    def next_rendezvous(self) -> RendezvousInfo:
        self._bootstrap_store_info = self._shared_tcp_store_server = None
        return super().next_rendezvous()

    def forget(self) -> None:
        """Give no sign of life any more: who takes part under another name must not seem to be there twice."""
        self._stop_heartbeats()

    @override
    def _create_tcp_store_server(self, master_addr: Any, master_port: Any) -> TCPStore:
        sock = Meeting(host=str(master_addr), port=int(master_port)).listen()
        if sock is None:
            raise RendezvousError(f"{master_addr} is no address of this machine")
        port = sock.getsockname()[1]
        return TCPStore(str(master_addr), port, is_master=True, multi_tenant=False, master_listen_fd=sock.detach())

    @property
    @override
    def use_agent_store(self) -> bool:
        return True


class _Logs(LogsSpecs):
    """The first rank speaks; what others write is kept, for the case that one of them fails."""

    def __init__(self, folder: Path, meeting: Meeting) -> None:
        super().__init__(str(folder))
        self.folder, self.meeting = folder, meeting
        self.begun = 0  # rounds
        self.closed = False  # no rank shall begin any more
        self.stderrs: dict[int, str] = {}  # by rank

    @override
    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Where each rank of this machine writes, and what else it finds in its environment."""
        if self.closed:
            raise RendezvousClosedError
        self.begun += 1
        found = LogsDest()
        self.stderrs = {}
        for local, environment in envs.items():
            rank = int(environment["RANK"])
            base = str(self.folder / f"{self.begun}-{rank}")
            found.stdouts[local] = os.devnull if rank else ""
            found.stderrs[local] = f"{base}.err" if rank else ""
            found.error_files[local] = environment["TORCHELASTIC_ERROR_FILE"] = f"{base}.json"
            self.stderrs[rank] = found.stderrs[local]
            environment |= self._more(len(envs))
        return found

    def _more(self, ranks: int) -> dict[str, str]:
        more = {LAUNCHER: str(os.getpid())}
        if "GLOO_SOCKET_IFNAME" not in os.environ and (name := interface(self.meeting.own_address())):
            more["GLOO_SOCKET_IFNAME"] = name
        if "TORCH_CPP_LOG_LEVEL" not in os.environ:  # what its sockets say of others that are gone
            more["TORCH_CPP_LOG_LEVEL"] = "ERROR"
        if "OMP_NUM_THREADS" not in os.environ:
            more["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // ranks))
        return more

    def read(self) -> dict[int, str]:
        """What the ranks of the last round wrote, but for the first."""
        return {r: Path(p).read_text(errors="replace") for r, p in self.stderrs.items() if p and Path(p).is_file()}

    @property
    @override
    def root_log_dir(self) -> str:
        return str(self.folder)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """What the agent would log goes nowhere: what a person must know is told in our words."""
    logger, nowhere = logging.getLogger("torch.distributed.elastic"), logging.NullHandler()
    passed_on = logger.propagate
    logger.addHandler(nowhere)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = passed_on
        logger.removeHandler(nowhere)
