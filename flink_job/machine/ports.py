"""Whether a TCP port of this machine is free, and which process holds it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LISTENING = "0A"
_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now.

    Args:
        port: TCP port, 1 to 65535.
    """
    with socket.socket() as probe:
        # As servers do: connections that linger after a close must not count as a holder.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def holder_of(port: int, proc: Path = Path("/proc")) -> str:
    """The process that listens on this port, as `name (pid 123)`.

    Args:
        port: TCP port, 1 to 65535.
        proc: The process file system of Linux.

    Returns:
        Name and process id; empty where they cannot be known (other systems, other users' processes).
    """
    inodes = set(_listening_inodes(port, proc))
    if not inodes:
        return ""
    for process in proc.glob("[0-9]*"):
        # A process may end while it is looked at, or belong to another user.
        with suppress(OSError):
            if not inodes.isdisjoint(_open_sockets(process)):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


def _open_sockets(process: Path) -> Iterator[str]:
    for descriptor in (process / "fd").iterdir():
        # Descriptors come and go: the one that lists this very folder is gone by now.
        with suppress(OSError):
            link = _SOCKET_LINK.fullmatch(str(descriptor.readlink()))
            if link:
                yield link.group(1)


def _listening_inodes(port: int, proc: Path) -> Iterator[str]:
    for table in (proc / "net" / "tcp", proc / "net" / "tcp6"):
        if not table.is_file():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            local, status, inode = fields[1], fields[3], fields[9]
            if status == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield inode


def free_port() -> int:
    """A TCP port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
