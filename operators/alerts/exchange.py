"""An exchange with a receiver of alerts that is over by its deadline, whatever the receiver does."""

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
    """One connection to a receiver, from looking up its name to the end of its answer, with one deadline.

    Libraries have a time limit for each read, and a receiver that sends a byte now and then holds them for
    ever. Here the connection is shut down at the deadline; whatever reads or writes it fails at once.

    Args:
        timeout_ms: how long all of it may take.
    """

    def __init__(self, timeout_ms: int) -> None:
        """Let the time begin."""
        self._ends_s = time.monotonic() + timeout_ms / 1000
        self._timer: threading.Timer | None = None
        self._connection: socket.socket | None = None
        self._was_cut = False

    def __enter__(self) -> Exchange:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the watch over the connection."""
        if self._timer is not None and self._connection is not None:
            self._timer.cancel()
            self._connection.close()

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self._was_cut or time.monotonic() >= self._ends_s

    def look_up(self, call: Callable[[], _Answer]) -> _Answer:
        """Return what a call returns that has no time limit of its own, such as asking for an address.

        One that takes too long is left to end by itself, in a thread.

        Args:
            call: the call.

        Raises:
            TimeoutError: where the deadline passes before it returns.
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
        """Return a connection; of several addresses each is tried in its share of the time that is left.

        Args:
            host: name or address.
            port: TCP port.

        Raises:
            OSError: where there is none to be had in time.
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
        # The same connection under a descriptor of its own: encryption takes the given one over.
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
