"""Alerts by mail, in plain text.

A mail goes to all of its receivers in one go. Where the server takes some of their addresses and not others,
those it takes get the mail, and the alerts are dead letters besides, so that somebody hears of it.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import BinaryIO

from operators.alerts.alert_spec import EmailSpec
from operators.alerts.channel import Clock, Message, Outcome
from operators.alerts.exchange import Exchange
from operators.alerts.told import Told, written_time, written_value
from operators.plain_text import in_lines, in_one_line

_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_NAMED = 3
_MAX_REPLY_BYTES = 65_536
"""Limit in bytes for all replies of a server in one exchange."""
_MORE_SEVERE = ("info", "warning", "critical")


class Email:
    """Sends messages by mail, each over a connection of its own.

    Args:
        spec: its options.
        clock: the wall clock.
    """

    def __init__(self, spec: EmailSpec, clock: Clock = time.time) -> None:
        """Connect to nothing yet."""
        self._spec, self._clock = spec, clock
        self._trust = ssl.create_default_context(cafile=spec.ca_file)

    def send(self, message: Message) -> Outcome:
        """Send a message and wait until the server has it."""
        letter = mail(message, self._spec.sender, self._spec.to, self._clock())
        with Exchange(self._spec.timeout) as exchange:
            try:
                return self._send(letter, exchange)
            except smtplib.SMTPRecipientsRefused as problem:
                return _answered(max(code for code, _ in problem.recipients.values()))
            except smtplib.SMTPResponseException as problem:
                return _answered(problem.smtp_code)
            except smtplib.SMTPNotSupportedError:
                return Outcome("refused", "the server cannot do what the channel's options ask for")
            except (smtplib.SMTPException, OSError) as problem:
                if exchange.is_over or isinstance(problem, TimeoutError):
                    return Outcome("retry", "timed out")
                return Outcome("retry", f"no answer: {type(problem).__name__}")

    def _send(self, letter: EmailMessage, exchange: Exchange) -> Outcome:
        spec = self._spec
        port = spec.port or _PORTS[spec.security]
        server = _Server(exchange, spec.host, port, self._trust if spec.security == "tls" else None)
        try:
            if spec.security == "starttls":
                server.starttls(context=self._trust)
            if spec.user is not None and spec.password is not None:
                server.login(spec.user, spec.password.get_secret_value())
            refused = server.send_message(letter)
        finally:
            server.close()  # no goodbye: what the server has, it has, and it may hang
        if not refused:
            return Outcome("accepted")
        told = ", ".join(f"{address} ({code})" for address, (code, _) in sorted(refused.items()))
        return Outcome("accepted", f"not taken for {told}")


class _Server(smtplib.SMTP):
    """An SMTP client whose connection belongs to an `Exchange`; TLS from the start where `trust` is given."""

    def __init__(self, exchange: Exchange, host: str, port: int, trust: ssl.SSLContext | None) -> None:
        self._exchange, self._trust_at_once = exchange, trust
        # Finding this machine's own host name may take a DNS lookup too.
        own_name = exchange.look_up(lambda: smtplib.SMTP().local_hostname)
        super().__init__(host, port, own_name)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        line = self._exchange.connect(host, port)
        return (
            line
            if self._trust_at_once is None
            else self._trust_at_once.wrap_socket(line, server_hostname=host)
        )

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply of one or more lines, within the size limit."""
        if self.file is None:
            self.file = _ReplyReader(self.sock.makefile("rb"))
        return super().getreply()


class _ReplyReader:
    """Reads reply lines of a server, up to a limit of bytes in all."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines, self._left = lines, _MAX_REPLY_BYTES

    def readline(self, most: int) -> bytes:
        line = self._lines.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("the server says too much")
        return line

    def close(self) -> None:
        self._lines.close()


def mail(message: Message, sender: str, receivers: tuple[str, ...], now_s: float) -> EmailMessage:
    """Return the mail of a message.

    Args:
        message: the alerts.
        sender: whom it is from.
        receivers: whom it is to.
        now_s: the wall clock.
    """
    letter = EmailMessage(SMTP)
    letter["From"], letter["To"] = sender, ", ".join(receivers)
    letter["Date"] = formatdate(now_s)
    letter["Message-ID"] = f"<{message.key}@{sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter["Subject"] = _subject(message)
    letter.set_content("\n\n".join(_paragraph(alert.told) for alert in message.alerts) + "\n")
    return letter


def _subject(message: Message) -> str:
    real = [alert.told for alert in message.real()]
    named = sorted({alert.told.rule for alert in message.alerts})
    rules = ", ".join(named[:_NAMED]) + (f" and {len(named) - _NAMED} more" if len(named) > _NAMED else "")
    if not real:
        return f"{rules}: {sum(message.suppressed().values())} more alerts"
    severity = max((told.severity for told in real), key=_MORE_SEVERE.index)
    resolved = sum(told.status == "resolved" for told in real)
    counts = ((len(real) - resolved, "firing"), (resolved, "resolved"))
    told = ", ".join(f"{count} {status}" for count, status in counts if count)
    return f"[{severity}] {rules}: {told}"


def _paragraph(told: Told) -> str:
    if told.status == "suppressed":
        between = f"between {written_time(told.from_ms)} and {written_time(told.to_ms)}"
        return f"{told.rule}: {told.suppressed} more alerts {between} were not sent."
    lines = [in_lines(f"{told.rule} ({told.severity}) {told.status}: {told.text or ''}".rstrip(": "))]
    lines += [
        in_one_line(f"  {name}: {written_value(value)}") for name, value in (told.key | told.values).items()
    ]
    if told.event_time_ms is not None:
        lines.append(f"  event time: {written_time(told.event_time_ms)}")
    return "\n".join([*lines, f"  raised: {written_time(told.raised_ms)}", f"  alert: {told.id}"])


def _answered(code: int) -> Outcome:
    return Outcome("refused" if code >= 500 else "retry", f"SMTP {code}")
