"""Starts a job that costs money: under a name that is free, with its record beside its model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from .errors import JobError
from .records import Trained, put_new, remove, write_trained
from .request import Request
from .service import Service, is_denied, is_temporary, message_of

_NAMES = {
    "training_job": "TrainingJobName",
    "hyper_parameter_tuning_job": "HyperParameterTuningJobName",
}
_OF_TUNING = "HyperParameterTuningResourceConfig"


def start(
    kind: str,
    request: Request,
    record: str,
    trained: Trained,
    service: Service,
    program: Mapping[str, bytes] | None = None,
) -> None:
    """Write the record and the ``program`` (bytes by URL) and create the job; ``kind`` is boto3's
    word for it.

    Raises JobError when the name is taken (nothing is written then) or the service refuses (what
    was written is deleted). When it is not known whether the job was started, a note of the
    exception has the command that looks.
    """
    from botocore.exceptions import ClientError

    client = service.client("sagemaker")
    name = request[_NAMES[kind]]
    if _describe(kind, name, service) is not None:
        raise JobError(f"{name}: there is a job of this name already; choose another --job-name")
    key = _definition(request)["OutputDataConfig"].get("KmsKeyId")
    places, written = [record, *(program or {})], list[str]()
    try:
        if write_trained(record, trained, service, key):
            written.append(record)
        for url, data in (program or {}).items():
            _upload(url, data, service, key)
            written.append(url)
    except BaseException as error:
        if isinstance(error, JobError):
            _remove(written, service, error)
        else:
            where = " and ".join(places)
            error.add_note(f"no job was started, but {where} may be there; delete it")
        raise
    try:
        getattr(client, f"create_{kind}")(**request)
    except BaseException as error:
        refused = isinstance(error, ClientError) and not is_temporary(error)
        taken = refused and "InUse" in _code(error)
        # an earlier attempt can have succeeded, but its answer was lost
        if isinstance(error, Exception) and (taken or not refused):
            with suppress(Exception):  # the first error is the important one
                found = _describe(kind, name, service)
                if found is not None and _is_same(found, request):
                    return
        if not refused:
            there = " and ".join(written)
            error.add_note(
                f"the job {name} may have been started{there and f', and {there} is there'}; see "
                f"{service.command('status', name)}, end it with {service.command('stop', name)}"
            )
            raise
        failure = _refusal(error, request)
        _remove(written, service, failure)
        raise failure from error


def _upload(url: str, data: bytes, service: Service, kms_key: str | None) -> None:
    from botocore.exceptions import ClientError

    try:
        put_new(url, data, service, kms_key)
    except ClientError as error:
        if not is_denied(error):
            raise
        raise JobError(
            f"{url}: the job's program can't be written: {message_of(error)}; use another --output"
        ) from error


def _describe(kind: str, name: str, service: Service) -> dict[str, Any] | None:
    """The job of a name; None when there is none, or the caller may not look."""
    from botocore.exceptions import ClientError

    try:
        return service.look(f"describe_{kind}", **{_NAMES[kind]: name})
    except ClientError as error:
        if not is_denied(error):
            raise
        return None


def _definition(request: Request) -> Request:
    """What a job is told, also one of a tuning."""
    return dict(request.get("TrainingJobDefinition", request))


def _is_same(found: Request, request: Request) -> bool:
    """Whether a job that was not there before the request is the request's."""
    there, ours = _definition(found), _definition(request)
    outputs = [one["OutputDataConfig"]["S3OutputPath"] for one in (there, ours)]
    return bool(there["RoleArn"] == ours["RoleArn"] and outputs[0] == outputs[1])


def _remove(written: Iterable[str], service: Service, failure: JobError) -> None:
    for url in written:
        try:
            remove(url, service)
        except Exception as error:  # the first error is the important one
            failure.add_note(f"left: {url} ({error})")


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])


def _refusal(error: Any, request: Request) -> JobError:
    """The service's refusal in words."""
    code, message = _code(error), message_of(error)
    if code == "ResourceLimitExceeded":
        limit = re.search(r"limit '([^']+)'", message)
        definition = _definition(request)
        resources = definition.get("ResourceConfig") or definition[_OF_TUNING]
        return JobError(
            f"your account's quota {limit[1] if limit else ''!r} does not allow this job "
            f"({resources['InstanceCount']} x {resources['InstanceType']}): request more under "
            f"Service Quotas (Amazon SageMaker), or ask for less. {message}",
            message,
        )
    if "InUse" in code:
        return JobError(f"there is a job of this name already; choose another. {message}", message)
    return JobError(f"the service refuses the job: {code}: {message}", message)
