"""An S3 client: botocore's (the one inside boto3), tuned for large bodies."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from recpack._version import __version__
from recpack.display import has_password
from recpack.errors import ConfigError
from recpack.storage.s3.access import NO_PASSWORD, Access

Outcome = TypeVar("Outcome")

PREFLIGHT_PATIENCE = 10.0
"""Seconds for which requests are repeated before any work begins."""

_CONNECTIONS = 256
_WITHOUT_PAYER = frozenset({"head_bucket", "create_bucket"})

_clients: dict[tuple[int, S3Client, tuple[tuple[str, str], ...]], Any] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class S3Client:
    """A store, and how long to repeat requests to it. Picklable, because it has no credentials:
    each process finds them through boto3's chain and makes its own botocore client.

    ``endpoint_url`` None means AWS, or AWS_ENDPOINT_URL. ``patience``: seconds for which a request
    is repeated after its first failure.
    """

    endpoint_url: str | None = None
    requester_pays: bool = False
    patience: float = 300.0

    @classmethod
    def of(cls, access: Access, patience: float = 300.0) -> S3Client:
        """The client for these settings."""
        return cls(access.endpoint_url, access.requester_pays, patience)

    @property
    def payer(self) -> dict[str, str]:
        """The parameters of a request to a requester-pays bucket."""
        return {"RequestPayer": "requester"} if self.requester_pays else {}

    def botocore(self) -> Any:
        """This process's botocore client. It is made once, and all threads share its connections. A
        forked process uses its parent's client, with connections of its own."""
        key = self._key(os.getpid())
        with _lock:
            if key not in _clients:
                inherited = _clients.get(self._key(os.getppid()))
                if inherited is not None:
                    inherited.close()  # its connections belong to the parent
                _clients[key] = inherited or self._new_client()
            return _clients[key]

    def attempt(
        self,
        work: Callable[[Any], Outcome],
        *,
        patience: float | None = None,
        stop: threading.Event | None = None,
    ) -> Outcome:
        """Call ``work`` with a botocore client, again after temporary errors. Raises S3Error."""
        from recpack.storage.s3.retry import retry

        return retry(
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
        """Send one request: call boto3's method ``operation``."""
        if operation not in _WITHOUT_PAYER:
            parameters |= self.payer
        return self.attempt(
            lambda client: getattr(client, operation)(**parameters), patience=patience, stop=stop
        )

    def _renew(self) -> None:
        """Ask the chain for credentials again; files and variables can have changed."""
        with _lock:
            _clients.pop(self._key(os.getpid()), None)

    def _key(self, process: int) -> tuple[int, S3Client, tuple[tuple[str, str], ...]]:
        variables = sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))
        return process, self, tuple(variables)

    def _new_client(self) -> Any:
        import botocore.session  # faster than boto3, which adds what is not used here
        from botocore.config import Config

        def make_client(*, signed: bool) -> Any:
            config = Config(
                # every part already has a checksum; by default botocore would add a second one in
                # a trailer, which several stores reject
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
                if has_password(str(error)):
                    raise ConfigError(NO_PASSWORD) from None
                raise ConfigError(f"endpoint_url: {error}; write http(s)://host:port") from error

        session = botocore.session.Session()
        # without this botocore searches the folders of 400 services, twice, for S3
        session.get_component("data_loader").list_available_services = lambda *_, **__: ["s3"]
        client = make_client(signed=False)
        if has_password(client.meta.endpoint_url):  # it can come from AWS_ENDPOINT_URL too
            raise ConfigError(NO_PASSWORD)
        # a SHA-256 of every body costs more than sending it, and TLS already protects the body
        return client if _is_safe(client.meta.endpoint_url) else make_client(signed=True)


def _is_safe(url: str) -> bool:
    """Whether nobody can change a body on its way."""
    import ipaddress  # both are slow to import, and only S3 needs them
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return parts.scheme == "https" or loopback
