"""Where the processes of a training meet: on the loopback interface, or at an address that a person names."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from trainwright.core.errors import UserError

HERE = "127.0.0.1"
PORT = 29400  # as torchrun has it
SILENCE = 12  # seconds after which a connection whose other end does not answer is given up
_ELSEWHERE = ("192.0.2.1", 9)  # an address that nobody has (RFC 5737): which of ours leads out
_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface


@dataclass(frozen=True, slots=True)
class Meeting:
    """How many machines train together, and where they meet.

    Args:
        nodes: machines.
        host: name or address that every machine reaches; the machine whose own it is lets the others in there.
        port: 0 is any that is free, for one machine.
    """

    nodes: int = 1
    host: str = HERE
    port: int = 0

    @classmethod
    def read(cls, nodes: int, text: str) -> Meeting:
        """``10.0.0.1:29400``; without a port it is 29400. UserError where that is no place to meet."""
        host, colon, port = text.rpartition(":") if ":" in text and not text.endswith("]") else (text, "", "")
        if colon and not (port.isdigit() and 0 < int(port) < 2**16):
            raise UserError("--rendezvous", f"'{text}' has no port", f"write HOST:PORT, such as 10.0.0.1:{PORT}")
        host = host.strip("[]")
        if not host:
            raise UserError("--rendezvous", f"'{text}' names no host", f"write HOST:PORT, such as 10.0.0.1:{PORT}")
        return cls(nodes, host, int(port) if colon else PORT)

    @property
    def alone(self) -> bool:
        """Whether all processes are on this machine, and nobody else shall reach them."""
        return self.nodes == 1

    def listen(self) -> socket.socket | None:
        """A socket that lets the others in; None where that is another machine's to do, or is done already."""
        if not self.known():
            return None
        family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        if not self.alone and _loops(str(address[0])) and not _loops(self.host):
            address = ("", self.port)  # a machine that knows its own name as a loopback address, which others do not
            family = socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(1024)
        except OSError:
            sock.close()
            return None
        return sock

    def own_address(self) -> str:
        """The address under which the others reach this machine."""
        if self.alone:
            return HERE
        found = _leading_to((self.host, self.port))
        if _loops(found) and not _loops(self.host):
            found = _leading_to(_ELSEWHERE)
        return found

    def known(self) -> bool:
        """Whether this machine knows who that is; a name may need some time to be known."""
        with contextlib.suppress(OSError):
            return bool(socket.getaddrinfo(self.host, self.port))
        return False

    def answers(self) -> bool:
        """Whether somebody listens there."""
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1.0):
            return True
        return False


def _loops(host: str) -> bool:
    """Whether it is the loopback interface by its own name."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _leading_to(place: tuple[str, int]) -> str:
    """Which of our addresses is used to send there; nothing is sent."""
    with contextlib.suppress(OSError):
        family, _, _, _, address = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            return str(sock.getsockname()[0])
    return HERE


def interface(address: str) -> str:
    """The name of the interface that has an address: lo on Linux, lo0 on macOS; nothing where that is not known."""
    names = [name for _, name in socket.if_nameindex()]
    if address == HERE:
        return next((name for name in names if name in ("lo", "lo0")), "lo")
    return next((name for name in names if _address_of(name) == address), "")


def _address_of(name: str) -> str:
    if sys.platform != "linux":
        return ""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        told = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        return socket.inet_ntoa(told[20:24])
    return ""


def sockets() -> set[str]:
    """What the system calls the sockets of this process; nothing where it does not tell."""
    found = set()
    with contextlib.suppress(OSError):
        for handle in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/self/fd/{handle}"))
    return {name for name in found if name.startswith("socket:")}


@contextlib.contextmanager
def silence_heard() -> Iterator[None]:
    """Connections that are made in the block fail where the other machine is silent: off, frozen, or its link cut.

    Without it, who waits for another waits for half an hour: neither torch nor gloo asks whether it is still there.
    """
    before = sockets()
    try:
        yield
    finally:
        made = sockets() - before
        for handle in os.listdir("/proc/self/fd") if made else ():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{handle}") in made:
                    _listen_closely(int(handle))


def _listen_closely(handle: int) -> None:
    sock = socket.socket(fileno=os.dup(handle))  # options are those of the connection, not of the handle
    try:
        if sock.type != socket.SOCK_STREAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        if _loops(str(sock.getpeername()[0])):
            return
        options = {"TCP_KEEPIDLE": SILENCE // 3, "TCP_KEEPINTVL": SILENCE // 6, "TCP_KEEPCNT": 4}
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in {**options, "TCP_USER_TIMEOUT": SILENCE * 1000}.items():
            if number := getattr(socket, name, None):
                sock.setsockopt(socket.IPPROTO_TCP, number, value)
    finally:
        sock.close()
