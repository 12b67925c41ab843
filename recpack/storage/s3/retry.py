"""Requests that are repeated until they succeed, fail for good, or patience ends.

boto3's own retries give up within half a second when many threads meet resets together, and do
not repeat what a new signature would mend (an expired token, a skewed clock, a damaged body).
"""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from botocore import exceptions

Outcome = TypeVar("Outcome")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 20.0

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "400"})
"""A HEAD has no body, and a bare 400 is how S3 tells it of an expired token."""

_PASSING = _EXPIRED | {
    "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError",
    "OperationAborted", "RequestTimeTooSkewed", "RequestTimeout", "ServiceUnavailable", "SlowDown",
    "Throttling", "ThrottlingException", "TooManyRequests", "XAmzContentSHA256Mismatch",
}  # fmt: skip

_PASSING_STATUS = (429, 500, 502, 503, 504)

_PASSING_ERRORS = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.ResponseStreamingError,
    exceptions.CredentialRetrievalError,
    exceptions.MetadataRetrievalError,
)

_EXPLAINED = {
    "NoSuchBucket": "there is no such bucket; make it, or correct the name",
    "AccessDenied": "access denied; the credentials in use may not do this",
    "403": "access denied; the credentials in use may not do this",
    "InvalidAccessKeyId": "the s3 key is not known there; correct the credentials",
    "SignatureDoesNotMatch": "the secret key is wrong; correct the credentials",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION to it",
    "301": "the bucket is in another region; set AWS_REGION to it",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION to it",
    "IllegalLocationConstraintException": "the bucket is in another region; set AWS_REGION to it",
    "NoSuchUpload": "the upload is gone: it was completed, aborted or cleaned up elsewhere",
}


class S3Error(OSError):
    """A request that failed for good; ``strerror`` says why, ``code`` is the store's word.
    ``gave_up``: it was repeated until patience ended, and may have had its effect."""

    def __init__(self, message: str, code: str = "", gave_up: bool = False) -> None:
        super().__init__(errno.EIO, message)
        self.code, self.gave_up = code, gave_up

    def __reduce__(self) -> tuple[type, tuple[str, str, bool]]:
        return type(self), (self.strerror or "", self.code, self.gave_up)

    def __str__(self) -> str:
        return self.strerror or ""


class S3NotFoundError(S3Error, FileNotFoundError):
    """There is no such object."""


class DamagedError(Exception):
    """What arrived is not what was sent, on one side or the other; worth another attempt."""


def patiently(
    attempt: Callable[[], Outcome],
    *,
    patience: float,
    renew: Callable[[], None],
    stop: threading.Event | None = None,
) -> Outcome:
    """What ``attempt`` returns, repeated with growing, jittered pauses for ``patience`` seconds
    after the first failure.

    ``renew`` is called when credentials turn out to have expired; ``stop`` ends the waiting.
    Raises S3Error.
    """
    failures = 0
    give_up = 0.0
    while True:
        try:
            return attempt()
        except (exceptions.ClientError, exceptions.BotoCoreError, DamagedError) as error:
            now = time.monotonic()
            failures += 1
            if failures == 1:
                give_up = now + patience
            code = _code(error)
            if not _passes(error, code):
                raise _explained(error, code) from error
            pause = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**failures))
            if now + pause > give_up:
                tried = f"{failures} attempts in {now - give_up + patience:.0f} s"
                raise S3Error(f"{_explained(error, code)} ({tried})", code, True) from error
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


def _passes(error: Exception, code: str) -> bool:
    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code in _PASSING or status in _PASSING_STATUS
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE" in str(error):
        return False
    return isinstance(error, (*_PASSING_ERRORS, DamagedError))


def _explained(error: Exception, code: str) -> S3Error:
    if isinstance(error, exceptions.NoCredentialsError):
        return S3Error(
            "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "AWS_PROFILE, or a role"
        )
    if not isinstance(error, exceptions.ClientError):
        return S3Error(str(error))
    doing = error.operation_name
    message = error.response.get("Error", {}).get("Message", "")
    if code in ("404", "NoSuchKey"):
        return S3NotFoundError("there is no such object", code)
    text = _EXPLAINED.get(code, message or "the request was refused")
    return S3Error(f"{text} ({doing}: {code}{f', {message}' if code in _EXPLAINED else ''})", code)
