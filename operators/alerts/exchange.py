"""A network exchange with an alert receiver that ends by a deadline."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

_Answer = TypeVar("_Answer")


class Exchange:
    """One connection to a receiver, with one deadline for DNS lookup, connect, request and answer together.

    The timeouts of libraries apply to each read, so a receiver that sends a byte now and then blocks them for
    ever. Here the connection is shut down at the deadline, which makes pending reads and writes fail at once.

    Args:
        timeout_ms: time for the whole exchange, in milliseconds.
    """

    def __init__(self, timeout_ms: int) -> None:
        """Start the deadline."""
        self._ends_s = time.monotonic() + timeout_ms / 1000
        self._timer: threading.Timer | None = None
        self._connection: socket.socket | None = None
        self._was_cut = False

    def __enter__(self) -> Exchange:
        """Return this exchange."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel the deadline timer and close the connection."""
        if self._timer is not None and self._connection is not None:
            self._timer.cancel()
            self._connection.close()

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self._was_cut or time.monotonic() >= self._ends_s

    def look_up(self, call: Callable[[], _Answer]) -> _Answer:
        """Return the result of a call that has no timeout of its own, such as a DNS lookup.

        It runs in a daemon thread, which is abandoned at the deadline.

        Args:
            call: the call.

        Raises:
            TimeoutError: the deadline passes before it returns.
        """
        answer: Future[_Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(call())
            except Exception as problem:
                answer.set_exception(problem)

        threading.Thread(target=run, name="alerts-look-up", daemon=True).start()
        wait([answer], self._left_s())
        if not answer.done():
            raise TimeoutError
        return answer.result()

    def connect(self, host: str, port: int) -> socket.socket:
        """Open a TCP connection; each of several addresses gets an equal share of the time left.

        Args:
            host: name or address.
            port: TCP port.

        Raises:
            OSError: no address could be connected to in time.
        """
        found = self.look_up(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        failed: OSError = OSError("no address")
        for tried, (family, kind, protocol, _, address) in enumerate(found):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self._left_s() / (len(found) - tried))
                connection.connect(address)
                self._watch(connection)
            except OSError as problem:
                connection.close()
                failed = problem
            else:
                return connection
        raise failed

    def _watch(self, connection: socket.socket) -> None:
        left_s = self._left_s()
        connection.settimeout(left_s)
        # A duplicate descriptor of the same socket, since TLS takes over the original one.
        self._connection = connection.dup()
        self._timer = threading.Timer(left_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        self._was_cut = True
        with suppress(OSError):
            if self._connection is not None:
                self._connection.shutdown(socket.SHUT_RDWR)

    def _left_s(self) -> float:
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s
