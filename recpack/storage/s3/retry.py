"""Repeats requests until they succeed, fail permanently, or ``patience`` ends.

boto3's own retries give up within half a second when many threads get connection resets at the same
time. They also do not repeat errors that a new signature would correct (an expired token, a skewed
clock, a damaged body).
"""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from botocore import exceptions
from urllib3.exceptions import HTTPError

from recpack.display import NO_CREDENTIALS, hide_secrets

Outcome = TypeVar("Outcome")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 20.0

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "400"})
"""The answer to a HEAD has no body: there S3 reports an expired token as a plain 400."""

_TEMPORARY = _EXPIRED | {
    "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError",
    "OperationAborted", "RequestTimeTooSkewed", "RequestTimeout", "ServiceUnavailable", "SlowDown",
    "Throttling", "ThrottlingException", "TooManyRequests", "XAmzContentSHA256Mismatch",
}  # fmt: skip

_TEMPORARY_STATUS = (429, 500, 502, 503, 504)

_TEMPORARY_ERRORS = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.ResponseStreamingError,
    exceptions.CredentialRetrievalError,
    exceptions.MetadataRetrievalError,
    HTTPError,  # botocore lets it through where the connection breaks within an answer
)

_EXPLANATIONS = {
    "NoSuchBucket": "there is no such bucket; make it, or correct the name",
    "AccessDenied": "access denied; use credentials that have this permission",
    "403": "access denied; use credentials that have this permission",
    "InvalidAccessKeyId": "the access key is not known there; correct the credentials",
    "SignatureDoesNotMatch": "the secret key is wrong; correct the credentials",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION",
    "301": "the bucket is in another region; set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION",
    "IllegalLocationConstraintException": "the bucket is in another region; set AWS_REGION",
    "NoSuchUpload": "the upload no longer exists: something else completed or aborted it",
}


class S3Error(OSError):
    """A request that failed permanently. ``strerror`` says why, ``code`` is the store's error code.
    ``gave_up``: it was repeated until patience ended, and it can have succeeded at the store."""

    def __init__(self, message: str, code: str = "", gave_up: bool = False) -> None:
        super().__init__(errno.EIO, message)
        self.code, self.gave_up = code, gave_up

    @property
    def in_doubt(self) -> bool:
        """Whether a ``complete`` can have succeeded: the answer to its first attempt can be lost,
        and the next attempt finds no upload, or an object in its place."""
        return self.gave_up or self.code in ("NoSuchUpload", "PreconditionFailed")

    def __reduce__(self) -> tuple[type, tuple[str, str, bool]]:
        return type(self), (self.strerror or "", self.code, self.gave_up)

    def __str__(self) -> str:
        return self.strerror or ""


class S3NotFoundError(S3Error, FileNotFoundError):
    """There is no such object."""


class DamagedError(Exception):
    """A body was damaged on its way, in either direction; the request is repeated."""


def retry(
    attempt: Callable[[], Outcome],
    *,
    patience: float,
    renew: Callable[[], None],
    stop: threading.Event | None = None,
) -> Outcome:
    """Call ``attempt`` and return its result. Repeat it with growing, random pauses for
    ``patience`` seconds after the first failure.

    ``renew`` is called when the credentials have expired; ``stop`` ends the waiting. Raises
    S3Error.
    """
    failures = 0
    give_up = 0.0
    while True:
        try:
            return attempt()
        except (
            exceptions.ClientError, exceptions.BotoCoreError, HTTPError, DamagedError,
        ) as error:  # fmt: skip
            now = time.monotonic()
            failures += 1
            if failures == 1:
                give_up = now + patience
            code = _code(error)
            if not _is_temporary(error, code):
                raise _explain(error, code) from error
            pause = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**failures))
            if now + pause > give_up:
                tried = f"{failures} attempts in {now - give_up + patience:.0f} s"
                raise S3Error(f"{_explain(error, code)} ({tried})", code, True) from error
            if code in _EXPIRED:
                renew()
            if stop is None:
                time.sleep(pause)
            elif stop.wait(pause):
                raise S3Error("stopped") from error


def _code(error: Exception) -> str:
    if isinstance(error, exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def _is_temporary(error: Exception, code: str) -> bool:
    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code in _TEMPORARY or status in _TEMPORARY_STATUS
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE" in str(error):
        return False
    return isinstance(error, (*_TEMPORARY_ERRORS, DamagedError))


def _explain(error: Exception, code: str) -> S3Error:
    if isinstance(error, exceptions.NoCredentialsError):
        return S3Error(NO_CREDENTIALS)
    if not isinstance(error, exceptions.ClientError):
        return S3Error(hide_secrets(str(error)))
    operation = error.operation_name
    message = error.response.get("Error", {}).get("Message", "")
    if code in ("404", "NoSuchKey"):
        return S3NotFoundError("there is no such object", code)
    text = _EXPLANATIONS.get(code, message or "the request was refused")
    details = f"{code}, {message}" if code in _EXPLANATIONS else code
    return S3Error(f"{text} ({operation}: {details})", code)
