"""Calls that are repeated, and asynchronous endpoints: image and answer are objects in S3."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Callable
from typing import Any

from .channels import split_url
from .errors import JobError
from .job import PATIENCE
from .service import Service, is_missing, is_temporary, message_of

RETRY_SECONDS = 2.0

LONGEST = 3600.0
"""Seconds until the waiting for an answer ends; instances may have to start for it."""


def patiently(call: Callable[[], Any], sleep: Callable[[float], None], pause: float) -> Any:
    """The result of a call that is repeated while its error is temporary, some minutes long."""
    for _ in range(PATIENCE - 1):
        try:
            return call()
        except Exception as error:
            if not is_temporary(error):
                raise
        sleep(pause)
    return call()


def seen(
    look: Callable[[], dict[str, Any] | None], sleep: Callable[[float], None], pause: float
) -> dict[str, Any] | None:
    """A description, or None when there is none in three looks: what was just made can be invisible
    for some seconds."""
    for _ in range(2):
        found = look()
        if found is not None:
            return found
        sleep(pause)
    return look()


def ask_later(name: str, results: str, body: bytes, content_type: str, service: Service) -> bytes:
    """Upload an image below ``results``, invoke the endpoint, wait for the answer; the image is
    deleted again. Raises JobError with the place of the answer when the waiting ends without it."""
    bucket, folder = split_url(results.rstrip("/") + "/")
    key = f"{folder}images/{secrets.token_hex(16)}"
    s3, runtime = service.client("s3"), service.client("sagemaker-runtime")

    def repeated(call: Callable[..., Any], **arguments: Any) -> Any:
        return patiently(lambda: call(**arguments), time.sleep, RETRY_SECONDS)

    place, answer = f"s3://{bucket}/{key}", ""
    try:
        repeated(s3.put_object, Bucket=bucket, Key=key, Body=body, ContentType=content_type)
        found = repeated(
            runtime.invoke_endpoint_async, EndpointName=name, ContentType=content_type,
            InputLocation=place,
        )  # fmt: skip
        answer = found["OutputLocation"]
        got, reason = _wait(name, answer, found.get("FailureLocation"), service)
    except BaseException as error:
        refused = isinstance(error, runtime.exceptions.ClientError)
        shown = JobError(f"{name}: {message_of(error)}", message_of(error)) if refused else error
        later = f", and its answer will be {answer}" if answer else ""
        shown.add_note(f"left: the image {place}{later}")
        if shown is error:
            raise
        raise shown from error
    try:
        repeated(s3.delete_object, Bucket=bucket, Key=key)
    except Exception as error:  # the answer is the important thing
        warnings.warn(f"left: the image {place}: {error}", stacklevel=3)
    if reason:
        raise JobError(f"{name}: the service can't detect in the image: {reason}", reason)
    return got


def _wait(name: str, answer: str, failure: str | None, service: Service) -> tuple[bytes, str]:
    """The answer, or why there is none."""
    for _ in range(int(LONGEST / RETRY_SECONDS)):
        got = patiently(lambda: read_object(answer, service), time.sleep, RETRY_SECONDS)
        if got is not None:
            return got, ""
        if failure is not None:
            got = patiently(lambda: read_object(failure, service), time.sleep, RETRY_SECONDS)
        if got is not None:
            return b"", got[:500].decode(errors="replace") or "no reason is given"
        time.sleep(RETRY_SECONDS)
    raise JobError(f"{name}: no answer within {LONGEST:.0f} seconds")


def read_object(url: str, service: Service) -> bytes | None:
    """The content of an S3 object; None when it is not there (yet)."""
    client = service.client("s3")
    bucket, key = split_url(url)
    try:
        return bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.ClientError as error:
        if not is_missing(error):
            raise
        return None
