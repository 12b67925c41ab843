"""A server that ``deploy --local`` runs, as an endpoint: its name is its URL."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .asynchronous import RETRY_SECONDS, patiently
from .endpoint import Endpoint
from .errors import JobError, SpecError, TemporaryError, UsageError
from .service import Service

_SECONDS = 60.0
"""The longest wait for an answer, as SageMaker's."""
_MOST = 64 << 20
"""Bytes of an answer."""
_BUSY = (429, 502, 503, 504)


@dataclass(frozen=True, repr=False)
class Server(Endpoint):
    """A server by its URL. At the end of a ``with`` block it stays: who started it stops it."""

    def __exit__(self, *_: object) -> None:
        """Nothing."""

    def _invoke(self, body: bytes, content_type: str) -> bytes:
        return _ask(self.name, "/invocations", body, content_type)

    def configuration(self) -> str:
        """The checksum of the model that it serves."""
        return str(_about(self.name)["model"])

    def wait(
        self, *, sleep: Callable[[float], None] = time.sleep, poll: float = RETRY_SECONDS
    ) -> Server:
        """Wait until its model is loaded. Raises JobError when that takes longer than a minute or
        two, or nobody listens there."""
        patiently(lambda: _ask(self.name, "/ping"), sleep, poll)
        return self


def is_url(name: str) -> bool:
    """Whether an endpoint's name is the URL of a server."""
    return name.lower().startswith(("http://", "https://"))


def attach_server(url: str, service: Service, classes: Sequence[str] | None) -> Server:
    """A server that runs. Its ``classes`` default to those that it tells. Raises UsageError for a
    URL that is none, JobError when it can't be reached, SpecError when it knows no classes."""
    url = url.rstrip("/")
    _place(url)
    names = patiently(lambda: _about(url), time.sleep, RETRY_SECONDS)["classes"]
    if classes is None and names is None:
        raise SpecError(f"classes: {url} does not know them; give --classes")
    return Server(url, tuple(classes or names), service)


def _place(url: str) -> tuple[bool, str, int | None, str]:
    """TLS or not, host, port and path of a URL. Raises UsageError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:
        host = None
    plain = url.isascii() and url.isprintable() and " " not in url
    if not host or not plain or parts.query or parts.fragment:
        raise UsageError(f"{url.rpartition('@')[2]}: not a server's URL; write http://host:port")
    if "@" in parts.netloc:
        raise UsageError(
            f"endpoint: the URL of {host} has a user name or a password, which the server does not "
            "take; remove it"
        )
    return parts.scheme.lower() == "https", host, port, parts.path


def _about(url: str) -> dict[str, Any]:
    """What a server says of its model: ``classes`` (a list of names, or None) and ``model``."""
    answer = _ask(url, "/model")
    try:
        found = json.loads(answer)
        names = found["classes"]
        if names is not None and not (
            isinstance(names, list) and all(isinstance(name, str) for name in names)
        ):
            raise ValueError("classes")
        return {"classes": names, "model": str(found["model"])}
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise JobError(f"{url}: it is not a server of recpack-train deploy --local") from error


def _ask(url: str, path: str, body: bytes | None = None, content_type: str = "") -> bytes:
    """The body of an answer 200. Raises JobError; TemporaryError where asking again can help."""
    secure, host, port, prefix = _place(url)
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, port, timeout=_SECONDS)
    try:
        connection.connect()
    except OSError as error:
        raise JobError(
            f"{url}: can't be reached: {error.strerror or error}; start it with recpack-train "
            "deploy --local, and check host and port"
        ) from error
    method, headers = "GET" if body is None else "POST", {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = content_type
    try:
        connection.request(method, prefix + path, body, headers)
        answer = connection.getresponse()
        data = answer.read(_MOST)
        if answer.length and len(data) < _MOST:  # a read of some bytes does not tell
            raise http.client.IncompleteRead(data, answer.length)
    except TimeoutError as error:
        raise JobError(f"{url}: no answer within {_SECONDS:.0f} seconds") from error
    except (OSError, http.client.HTTPException) as error:
        raise TemporaryError(
            f"{url}: the connection broke: {error or type(error).__name__}"
        ) from error
    finally:
        connection.close()
    if answer.status == 200:
        return data
    reason = _reason(data) or answer.reason
    failure = TemporaryError if answer.status in _BUSY else JobError
    raise failure(f"{url}: {answer.status}: {reason}", reason)


def _reason(body: bytes) -> str:
    """The server's words for an error, in a form that every server may have."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return body[:200].decode(errors="replace").strip()
