"""Real receivers of alerts, processes of their own: an HTTP and a mail server that fail when told to, and one
that goes on and on.

Run as a program it is one of them; each writes what it gets to a file, a JSON object a line, before it
answers. How it behaves is a word in another file, which is read anew each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

from waiting import wait_for

_HANG_S = 30


class Receiver:
    """A receiver in a process of its own.

    Args:
        kind: `http`, `smtp` or `endless`.
        folder: what it writes and reads.
        options: what else it is told.
    """

    def __init__(self, kind: str, folder: Path, *options: str) -> None:
        self._got, self._mood, self._port = (folder / f"{kind}.{name}" for name in ("got", "mood", "port"))
        self.behave("ok")
        self._got.touch()
        command = [sys.executable, __file__, kind, str(folder), *options]
        self._process = subprocess.Popen(command, stderr=(folder / f"{kind}.err").open("w"))
        wait_for(self._port.exists, f"the {kind} receiver")
        self.port = int(self._port.read_text())

    def behave(self, mood: str) -> None:
        """Say how it is to behave from now on: `ok`, `hang`, `lose`, or a status; `429 2` with a wait.

        The endless one: `ok` (HTTP), or a key of `_ENDLESS`.
        """
        new = self._mood.with_suffix(".new")
        new.write_text(mood)
        new.replace(self._mood)

    def got(self) -> list[dict[str, Any]]:
        """Return what it has got, in order, whether it took it or not."""
        return [json.loads(line) for line in self._got.read_text().splitlines()]

    def taken(self) -> list[dict[str, Any]]:
        """Return what it has got and said so."""
        return [one for one in self.got() if one["mood"] == "ok"]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def receiver(kind: str, folder: Path, *options: str) -> Iterator[Receiver]:
    started = Receiver(kind, folder, *options)
    try:
        yield started
    finally:
        started.stop()


class _Log:
    def __init__(self, kind: str, folder: Path) -> None:
        self._kind, self._folder = kind, folder

    def mood(self) -> str:
        return (self._folder / f"{self._kind}.mood").read_text()

    def note(self, about: dict[str, Any]) -> None:
        with (self._folder / f"{self._kind}.got").open("a") as file:
            file.write(json.dumps(about) + "\n")

    def listens(self, port: int) -> None:
        new = self._folder / f"{self._kind}.new-port"
        new.write_text(str(port))
        new.replace(self._folder / f"{self._kind}.port")


def _serve_http(log: _Log, pem: str | None) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            mood = log.mood()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            log.note({"mood": mood, "path": self.path, "headers": headers, "body": body.decode()})
            if mood == "hang":
                time.sleep(_HANG_S)
            if mood in ("hang", "lose"):
                self.close_connection = True
                return
            status, _, wait = mood.partition(" ")
            self.send_response(200 if status == "ok" else int(status))
            if wait:
                self.send_header("Location" if status.startswith("3") else "Retry-After", wait)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    log.listens(server.server_port)
    server.serve_forever()


def _serve_mail(log: _Log, security: str, pem: str | None) -> None:
    from aiosmtpd.smtp import SMTP, AuthResult

    class Handler:
        async def handle_RCPT(
            self, server: Any, session: Any, envelope: Any, address: str, options: Any
        ) -> str:
            if address.startswith("nobody"):
                return "550 no such user here"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            mood = log.mood()
            letter = message_from_bytes(envelope.content, policy=policy.default)
            log.note(
                {
                    "mood": mood,
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "headers": {name.lower(): value for name, value in letter.items()},
                    "body": letter.get_content(),
                    "encrypted": session.ssl is not None or security == "tls",
                    "user": session.auth_data,
                }
            )
            if mood == "hang":
                await asyncio.sleep(_HANG_S)
            if mood == "lose":
                server.transport.close()
            return "250 OK" if mood == "ok" else f"{mood} said so" if mood.isdigit() else "451 later"

    def login(server: Any, session: Any, envelope: Any, mechanism: str, auth: Any) -> AuthResult:
        good = (auth.login, auth.password) == (b"alerts", b"mail-secret")
        return AuthResult(success=good, handled=good, auth_data=auth.login.decode())

    async def run() -> None:
        context = None
        if pem is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
        starttls = context if security == "starttls" else None

        def session() -> SMTP:
            return SMTP(
                Handler(),
                hostname="localhost",
                authenticator=login,
                tls_context=starttls,
                require_starttls=starttls is not None,
                auth_require_tls=security == "starttls",
                auth_required=security != "none",
            )

        server = await asyncio.get_running_loop().create_server(
            session, "127.0.0.1", 0, ssl=context if security == "tls" else None
        )
        log.listens(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


_ENDLESS: dict[str, tuple[bytes, bytes, float]] = {
    "silent": (b"", b"", 0.05),
    "header": (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.05),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x", 0.05),
    # The beginning of a TLS record of 16 KB that is a handshake.
    "handshake": (b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb", b"\x03", 0.05),
    "greeting": (b"220-", b"x", 0.05),
    "greetings": (b"", b"220-slow\r\n", 0.05),
    "flood": (b"", b"220-" + b"x" * 1000 + b"\r\n", 0.0),
}
"""What is said first, what is said again and again, and how long the pause before each of these is."""


def _serve_endless(log: _Log) -> None:
    """Read nothing, and say what `_ENDLESS` says for half a minute."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            mood = log.mood()
            log.note({"mood": mood})
            if mood == "ok":
                self.request.recv(1_000_000)
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                return
            first, again, pause_s = _ENDLESS[mood]
            until_s = time.monotonic() + _HANG_S
            with contextlib.suppress(OSError):
                self.request.sendall(first)
                while time.monotonic() < until_s:
                    time.sleep(pause_s)
                    self.request.sendall(again)

    class Server(ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 50

        def server_bind(self) -> None:
            # A small buffer, so that who sends much to one that does not read notices.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            super().server_bind()

    server = Server(("127.0.0.1", 0), Handler)
    log.listens(server.server_address[1])
    server.serve_forever()


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "http":
        _serve_http(_Log(what, Path(where)), *(rest or [None]))
    elif what == "endless":
        _serve_endless(_Log(what, Path(where)))
    else:
        _serve_mail(_Log(what, Path(where)), rest[0], rest[1] if len(rest) > 1 else None)
