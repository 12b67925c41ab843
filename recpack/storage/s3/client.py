"""A client of S3: botocore's, the one inside boto3, tuned for large bodies."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from recpack._version import __version__
from recpack.errors import ConfigError
from recpack.storage.s3.access import Access

Outcome = TypeVar("Outcome")

PREFLIGHT_PATIENCE = 10.0
"""Seconds that a store has to answer before any work begins."""

_CONNECTIONS = 256
_UNPAID = frozenset({"head_bucket", "create_bucket"})

_clients: dict[tuple[int, S3Client, tuple[tuple[str, str], ...]], Any] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class S3Client:
    """A store and how patient to be with it; picklable, because it holds no credentials: each
    process finds them through boto3's chain, and makes botocore's own client.

    ``endpoint_url`` None means AWS, or what AWS_ENDPOINT_URL says. ``patience``: seconds for
    which a request is repeated after its first failure.
    """

    endpoint_url: str | None = None
    requester_pays: bool = False
    patience: float = 300.0

    @classmethod
    def of(cls, access: Access, patience: float = 300.0) -> S3Client:
        """The client that the settings ask for."""
        return cls(access.endpoint_url, access.requester_pays, patience)

    @property
    def payer(self) -> dict[str, str]:
        """What a request must say where the requester pays."""
        return {"RequestPayer": "requester"} if self.requester_pays else {}

    def botocore(self) -> Any:
        """This process's client, made once: its connections are shared by all threads.
        A forked process has that of its parent, with connections of its own."""
        key = self._key(os.getpid())
        with _lock:
            if key not in _clients:
                inherited = _clients.get(self._key(os.getppid()))
                if inherited is not None:
                    inherited.close()  # its connections are our parent's
                _clients[key] = inherited or self._new_client()
            return _clients[key]

    def attempt(
        self,
        work: Callable[[Any], Outcome],
        *,
        patience: float | None = None,
        stop: threading.Event | None = None,
    ) -> Outcome:
        """What ``work`` makes of a client, repeated while that may help; raises S3Error."""
        from recpack.storage.s3.retry import patiently

        return patiently(
            lambda: work(self.botocore()),
            patience=self.patience if patience is None else patience,
            renew=self._renew,
            stop=stop,
        )

    def call(
        self,
        operation: str,
        *,
        patience: float | None = None,
        stop: threading.Event | None = None,
        **parameters: Any,
    ) -> dict[str, Any]:
        """One request of boto3's that name."""
        if operation not in _UNPAID:
            parameters |= self.payer
        return self.attempt(
            lambda client: getattr(client, operation)(**parameters), patience=patience, stop=stop
        )

    def _renew(self) -> None:
        """Ask the chain for credentials anew; files and variables may have changed."""
        with _lock:
            _clients.pop(self._key(os.getpid()), None)

    def _key(self, process: int) -> tuple[int, S3Client, tuple[tuple[str, str], ...]]:
        variables = sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))
        return process, self, tuple(variables)

    def _new_client(self) -> Any:
        import botocore.session  # boto3 adds to it what is not used here, and takes longer
        from botocore.config import Config

        def made(*, signed: bool) -> Any:
            config = Config(
                # a checksum of our own goes with every part; the default would add a second one
                # in a trailer, which several stores reject
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=10,
                read_timeout=60,
                tcp_keepalive=True,
                max_pool_connections=_CONNECTIONS,
                s3={"payload_signing_enabled": signed},
                user_agent_extra=f"recpack/{__version__}",
            )
            try:
                return session.create_client("s3", endpoint_url=self.endpoint_url, config=config)
            except ValueError as error:
                raise ConfigError(f"endpoint_url: {error}; write http(s)://host:port") from error

        session = botocore.session.Session()
        # it would look through the folders of 400 services, twice, to find that S3 is one
        session.get_component("data_loader").list_available_services = lambda *_, **__: ["s3"]
        client = made(signed=False)
        # a SHA-256 of every body costs more than sending it; TLS proves the body already
        return client if _is_safe(client.meta.endpoint_url) else made(signed=True)


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can change a body."""
    import ipaddress  # both take their time, which only users of S3 should pay for
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return parts.scheme == "https" or loopback
