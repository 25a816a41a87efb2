"""POSTs to one address, and reads from the answer what became of it.

Redirects are not followed, nothing is tried again here, and no text has the address, which may be secret.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote, urlsplit

from operators.alerts.channel import Clock, Outcome
from operators.alerts.exchange import Exchange

_TRY_AGAIN = frozenset({408, 425, 429})
_AS_THEY_ARE = "!#$%&'()*+,/:;=?@[]~"
MAX_WAIT_S = 3600
"""Upper limit in seconds for a receiver's Retry-After."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class HttpPost:
    """Sends bodies to an address.

    Args:
        url: the address.
        headers: what every request has.
        timeout_ms: time for all from DNS lookup to the last response header, in milliseconds.
        ca_file: certificates to trust; None for those of the system.
        clock: for answers that name a time to wait until.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout_ms: int, ca_file: str | None, clock: Clock
    ) -> None:
        """Connect to nothing yet."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._trust = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._port = parts.port or (80 if self._trust is None else 443)
        self._target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), _AS_THEY_ARE)
        self._headers, self._timeout_ms, self._clock = dict(headers), timeout_ms, clock

    def post(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send a body.

        Args:
            body: JSON.
            headers: those of this request.
        """
        sent = {"User-Agent": "sketchstream", "Content-Type": "application/json"} | self._headers
        with Exchange(self._timeout_ms) as exchange:
            try:
                status, retry_after = self._exchange(exchange, body, sent | dict(headers))
            except (HTTPException, OSError) as problem:
                if exchange.is_over or isinstance(problem, TimeoutError):
                    return Outcome("retry", "timed out")
                return Outcome("retry", f"no answer: {type(problem).__name__}")
        if 200 <= status < 300:
            return Outcome("accepted")
        if status >= 500 or status in _TRY_AGAIN:
            return Outcome("retry", f"HTTP {status}", self._wait_ms(retry_after))
        return Outcome("refused", f"HTTP {status}")

    def _exchange(self, exchange: Exchange, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        """Return the status and Retry-After header of the response; its body is not read."""
        with closing(self._connected(exchange)) as connection:
            # A receiver that stops reading may still have sent a response.
            with suppress(BrokenPipeError):
                connection.request("POST", self._target, body, headers)
            answer = connection.getresponse()
            answer.close()
            if exchange.is_over:  # http.client takes headers cut off by the shutdown for complete
                raise TimeoutError
            return answer.status, answer.headers.get("Retry-After")

    def _connected(self, exchange: Exchange) -> HTTPConnection:
        line = exchange.connect(self._host, self._port)
        if self._trust is None:
            connection = HTTPConnection(self._host, self._port)
            connection.sock = line
        else:
            connection = HTTPSConnection(self._host, self._port, context=self._trust)
            connection.sock = self._trust.wrap_socket(line, server_hostname=self._host)
        return connection

    def _wait_ms(self, retry_after: str | None) -> int | None:
        """Read a Retry-After: seconds, or a date; None where it is neither."""
        if retry_after is None:
            return None
        text = retry_after.strip()
        if text.isascii() and text.isdigit():
            digits = text.lstrip("0")
            return MAX_WAIT_S * 1000 if len(digits) > 9 else _bounded_ms(int(digits or "0"))
        try:
            until = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        # HTTP dates are GMT; one without a zone is taken as GMT too.
        until = until if until.tzinfo is not None else until.replace(tzinfo=timezone.utc)
        return _bounded_ms((until - _EPOCH).total_seconds() - self._clock())


def _bounded_ms(wait_s: float) -> int:
    return round(min(max(wait_s, 0), MAX_WAIT_S) * 1000)
