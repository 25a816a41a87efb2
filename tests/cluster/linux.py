"""What Linux tells of processes: their command lines and parents, and the ports that they listen on.

A process may end at any moment; of one that has, there is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_LISTENING = "0A"
# Addresses in hexadecimal, each four bytes turned round.
_LOCALHOST = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def processes() -> list[int]:
    """Return all processes."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def told(pid: int, name: str) -> bytes:
    """Return a file of a process, such as `environ`; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def command_line(pid: int) -> str:
    """Return the words of a process's command line with blanks between them."""
    return told(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")


def parent(pid: int) -> int | None:
    """Return what started a process, or what took it over."""
    fields = told(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else None


def ports(pids: Iterable[int]) -> dict[int, bool]:
    """Return the ports that processes listen on, and whether each is on localhost only."""
    sockets = {socket for pid in pids for socket in _sockets(pid)}
    found: dict[int, bool] = {}
    for table in ("tcp", "tcp6"):
        for fields in (line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]):
            if fields[3] == _LISTENING and f"socket:[{fields[9]}]" in sockets:
                host, _, port = fields[1].partition(":")
                found[int(port, 16)] = found.get(int(port, 16), True) and host in _LOCALHOST
    return found


def _sockets(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # it ended meanwhile
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                found.add(str(descriptor.readlink()))
    return found
