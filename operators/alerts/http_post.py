"""POSTs to one address, and reads from the answer what became of it.

Redirects are not followed, nothing is tried again here, and no text has the address, which may be secret.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import urllib3

from operators.alerts.channel import Clock, Outcome

_TRY_AGAIN = frozenset({408, 425, 429})
# Its debug messages have the path of every request.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


class HttpPost:
    """Sends bodies to an address.

    Args:
        url: the address.
        headers: what every request has.
        timeout_ms: how long to wait for a connection, and for the answer.
        ca_file: certificates to trust; None for those of the system.
        clock: for answers that name a time to wait until.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout_ms: int, ca_file: str | None, clock: Clock
    ) -> None:
        """Connect to nothing yet."""
        self._url, self._headers, self._clock = url, dict(headers), clock
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(connect=timeout_ms / 1000, read=timeout_ms / 1000),
            ssl_context=ssl.create_default_context(cafile=ca_file),
        )

    def post(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send a body.

        Args:
            body: JSON.
            headers: those of this request.
        """
        sent = {"User-Agent": "sketchstream", "Content-Type": "application/json"} | self._headers
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=sent | dict(headers),
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.TimeoutError:
            return Outcome("retry", "timed out")
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            return Outcome("retry", f"no answer: {type(problem).__name__}")
        status, waits = answer.status, answer.headers.get("Retry-After")
        answer.close()  # unread: its status says it all, and a slow one would hold up other alerts
        if 200 <= status < 300:
            return Outcome("accepted")
        if status >= 500 or status in _TRY_AGAIN:
            return Outcome("retry", f"HTTP {status}", self._wait_ms(waits))
        return Outcome("refused", f"HTTP {status}")

    def _wait_ms(self, retry_after: str | None) -> int | None:
        """Read a Retry-After: seconds, or a date; None where it is neither."""
        if retry_after is None:
            return None
        text = retry_after.strip()
        if text.isascii() and text.isdigit():
            return int(text[:9]) * 1000
        try:
            until_s = parsedate_to_datetime(text).timestamp()
        except ValueError:
            return None
        return max(0, round((until_s - self._clock()) * 1000))
