"""Access to the AWS services that jobs need."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from recpack.display import NO_CREDENTIALS

from .errors import SpecError, TemporaryError, TrainError, UsageError


@dataclass(frozen=True)
class Service:
    """Clients for one region, made when they are first used. ``endpoint_url`` is for all services,
    when they are not AWS's (UsageError when it has a password); ``session`` is a
    ``boto3.Session``."""

    region_name: str | None = None
    endpoint_url: str | None = None
    session: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if "@" in (self.endpoint_url or ""):
            raise UsageError(
                "endpoint_url: has a user name or a password, which AWS does not take; remove it, "
                "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )

    @cached_property
    def _session(self) -> Any:
        if self.session is not None:
            return self.session
        import boto3

        # unlike other SDKs, boto3 does not read AWS_REGION
        return boto3.Session(region_name=self.region_name or os.environ.get("AWS_REGION"))

    def client(self, name: str) -> Any:
        """boto3's client for a service, made once. Raises TrainError without credentials."""
        clients: dict[str, Any] = self.__dict__.setdefault("_clients", {})
        if name not in clients:
            # the region's error is clearer than boto3's, and the session can have another region
            client = self._session.client(
                name, region_name=self.region, endpoint_url=self.endpoint_url
            )
            if self.session is None and self._session.get_credentials() is None:
                raise TrainError(NO_CREDENTIALS)
            clients[name] = client
        return clients[name]

    @property
    def region(self) -> str:
        """The region's name; UsageError when none is configured."""
        region = self.region_name or self._session.region_name
        if not region:
            raise UsageError("region: missing; set AWS_REGION or give --region")
        return str(region)

    def look(self, operation: str, **names: str) -> dict[str, Any] | None:
        """SageMaker's description of something; None when there is none of this name."""
        client = self.client("sagemaker")
        try:
            return dict(getattr(client, operation)(**names))
        except client.exceptions.ClientError as error:
            if not is_missing(error):
                raise
            return None

    def command(self, *words: str) -> str:
        """The line to type for a command of ``recpack-train`` on the same service."""
        region, url = self.region_name, self.endpoint_url
        options = [("--region", region), ("--endpoint-url", url)]
        given = [word for option in options if option[1] for word in option]
        return " ".join(["recpack-train", *words, *map(str, given)])


def is_missing(error: Any) -> bool:
    """Whether a ClientError says that something does not exist."""
    found = error.response["Error"]
    text = found.get("Message", "").lower()
    return found.get("Code") in _MISSING or any(
        words in text for words in ("could not find", "not found", "does not exist")
    )


_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NoSuchEntity", "ResourceNotFound")


def is_denied(error: Any) -> bool:
    """Whether a ClientError says that the caller has no right to this."""
    code = error.response["Error"].get("Code", "")
    return code in ("403", "AccessDenied", "AccessDeniedException", "Forbidden")


def message_of(error: Any) -> str:
    """The service's words, with the code where they are none."""
    return str(error.response["Error"].get("Message") or error)


def is_temporary(error: Exception) -> bool:
    """Whether an error is temporary: throttling, a server error, no connection."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    if not isinstance(error, ClientError):
        return isinstance(error, (HTTPClientError, ConnectionError, TemporaryError))
    code = error.response["Error"].get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or "Throttl" in code or code in ("TooManyRequestsException", "SlowDown")


_NOTEBOOK = Path("/opt/ml/metadata/resource-metadata.json")
"""Where SageMaker's notebooks and Studio write down who they are."""

_ROLE_REMEDY = (
    "give --role with the ARN of an execution role that can read the data and write the output"
)


def find_role(role: str | None, service: Service) -> str:
    """The execution role's ARN, from ``role`` (an ARN or a name).

    Without ``role``: the role of the SageMaker notebook or Studio space that this runs in, else the
    role that the caller has assumed. Raises SpecError when there is none, or when SageMaker can't
    use it.
    """
    from botocore.exceptions import ClientError

    if role is not None and role.startswith("arn:"):
        return role
    try:
        found = None if role is not None else next(_notebook_roles(service), None)
        return found or _own_role(role, service)
    except ClientError as error:
        raise SpecError(f"role: it can't be found: {message_of(error)}; {_ROLE_REMEDY}") from error


def _notebook_roles(service: Service) -> Iterator[str]:
    """The roles of the notebook or Studio space, the nearest first; none elsewhere."""
    try:
        facts = json.loads(_NOTEBOOK.read_bytes())
    except (OSError, ValueError):
        return
    client = service.client("sagemaker")
    domain, profile = facts.get("DomainId"), facts.get("UserProfileName")
    found = [facts.get("ExecutionRoleArn")]
    if domain is None and facts.get("ResourceName"):
        notebook = client.describe_notebook_instance(NotebookInstanceName=facts["ResourceName"])
        found.append(notebook.get("RoleArn"))
    elif found == [None] and domain is not None:
        if profile and not facts.get("SpaceName"):
            user = client.describe_user_profile(DomainId=domain, UserProfileName=profile)
            found.append(user.get("UserSettings", {}).get("ExecutionRole"))
        settings = client.describe_domain(DomainId=domain)
        part = "DefaultSpaceSettings" if facts.get("SpaceName") else "DefaultUserSettings"
        found.append(settings.get(part, {}).get("ExecutionRole"))
    yield from (str(arn) for arn in found if arn)


def _own_role(name: str | None, service: Service) -> str:
    """The ARN, path included, of a role of this account: the caller's without a name."""
    if name is None:
        arn = str(service.client("sts").get_caller_identity()["Arn"])
        kind, _, rest = arn.rpartition(":")[2].partition("/")
        if kind != "assumed-role":
            raise SpecError(f"role: you are {arn}, which SageMaker can't use; {_ROLE_REMEDY}")
        name = rest.partition("/")[0]
    role = service.client("iam").get_role(RoleName=name)["Role"]
    trust = role.get("AssumeRolePolicyDocument")
    if trust and "sagemaker" not in json.dumps(trust):
        raise SpecError(
            f"role: {role['Arn']} does not trust sagemaker.amazonaws.com, so SageMaker can't use "
            f"it; {_ROLE_REMEDY}"
        )
    return str(role["Arn"])
