"""The HTTP server: waitress, with errors as JSON, a patient end, and no patience for slow clients.

One thread reads and writes for all connections, so a client that sends slowly costs a connection
and no thread. Used of waitress, and not documented there: its channels (``requests``,
``total_outbufs_len``, ``handle_close``, ``received``) and the server's ``maintenance``.
"""

from __future__ import annotations

import json
import logging
import resource
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask

from ..errors import JobError

_PATIENCE = 60
"""Seconds that a client has to send a whole request."""
_IDLE = 120
"""Seconds that a connection may wait for its next request, or a client for taking its answer."""
_TURN = 5.0
"""Seconds between two looks for slow clients, where nothing happens."""
_ENDING = 20.0
"""Seconds for what was asked before the end; SageMaker kills after 30."""
_MOST_IGNORED = 64 << 20
"""Bytes of a refused body that are read and forgotten, so that the client sees why."""


class _ErrorTask(ErrorTask):
    """What waitress itself refuses: too large a body, a request that is none."""

    def execute(self) -> None:
        error, channel = self.request.error, self.channel
        message = str(error.body)
        if error.code == 413:
            most = channel.adj.max_request_body_size - 1
            message = f"the body is too large; send at most {most:,} bytes"
        body = json.dumps({"error": message}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        channel.refused = True
        self.content_length = len(body)
        self.write(b"" if getattr(self.request, "command", "") == "HEAD" else body)


class _Channel(HTTPChannel):
    """A connection. After a refusal its rest is read and forgotten: a connection that is closed
    with bytes unread is reset, and the client would not see the answer."""

    error_task_class = _ErrorTask
    refused = False
    forgetting = False
    forgotten = 0
    began: float | None = None

    def received(self, data: bytes) -> bool:
        done = bool(super().received(data))
        if self.request is None:
            self.began = None
        elif self.began is None:
            self.began = time.monotonic()
        return done

    def is_late(self) -> bool:
        """Whether a part of a request is here for too long without the rest."""
        return self.began is not None and time.monotonic() - self.began > _PATIENCE

    def handle_close(self) -> None:
        if self.refused and not self.forgetting and self.connected:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                self.forgetting, self.will_close = True, False
                return
        super().handle_close()

    def readable(self) -> bool:
        return self.forgetting or bool(super().readable())

    def handle_read(self) -> None:
        if not self.forgetting:
            super().handle_read()
            return
        try:
            data = self.recv(1 << 16)  # closes at the end
        except OSError:
            data = b""
        self.forgotten += len(data)
        if self.connected and (not data or self.forgotten > _MOST_IGNORED):
            super().handle_close()


class _Listener(TcpWSGIServer):
    channel_class = _Channel

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in self.active_channels.values():
            if channel.is_late():
                channel.will_close = True


class Server:
    """A WSGI application on a socket; ``run`` serves until ``stop`` is called."""

    def __init__(
        self, app: Callable[..., Iterable[bytes]], host: str, port: int, *, body: int, threads: int
    ) -> None:
        for name in ("waitress", "waitress.queue"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            self._socket = _listen(host, port)
        except (OSError, OverflowError, ValueError) as error:
            raise JobError(
                f"{host}:{port}: can't listen there: {getattr(error, 'strerror', None) or error}; "
                "choose another --port or --host (port 0 is any free one)"
            ) from error
        # a connection needs a file, and another one for a large body; the model needs some
        connections = min(500, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3)
        adjustments = Adjustments(
            sockets=[self._socket], threads=threads, max_request_body_size=body + 1,
            max_request_header_size=16 << 10, connection_limit=connections,
            channel_timeout=_IDLE, cleanup_interval=0, channel_request_lookahead=1,
            log_socket_errors=False, ident="recpack", asyncore_use_poll=True,
        )  # fmt: skip
        family, kind, protocol = self._socket.family, self._socket.type, self._socket.proto
        self._listener = _Listener(
            app, {}, _sock=self._socket, adj=adjustments, bind_socket=False,
            sockinfo=(family, kind, protocol, self._socket.getsockname()),
        )  # fmt: skip
        shown = self._listener.effective_host
        self.port = int(self._listener.effective_port)
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}"
        self.stops = 0

    def stop(self) -> None:
        """Accept nothing more, answer what was asked, end; called again, end at once. Any thread
        and any signal handler may call it."""
        self.stops += 1
        with suppress(OSError):
            self._listener.pull_trigger()

    def run(self) -> None:
        """Serve until ``stop``."""
        listener, channels = self._listener, self._listener.active_channels
        try:
            while not self.stops:
                self._turn(_TURN)
            wasyncore.dispatcher.close(listener)  # its socket; the trigger wakes this up still
            end = time.monotonic() + _ENDING
            while channels and self.stops < 2 and time.monotonic() < end:
                for channel in list(channels.values()):
                    if not (channel.requests or channel.total_outbufs_len):
                        channel.will_close = True
                self._turn(0.2)
        finally:
            listener.task_dispatcher.shutdown(timeout=1)
            wasyncore.close_all(listener._map, ignore_all=True)

    def _turn(self, longest: float) -> None:
        wasyncore.loop(longest, use_poll=True, map=self._listener._map, count=1)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port < 1 << 16:
        raise OverflowError("a port is 0 to 65535")
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=1024)
