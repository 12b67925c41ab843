"""Access to the AWS services that jobs need."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .errors import SpecError


@dataclass(frozen=True)
class Service:
    """Clients for one region, made when they are first used. ``endpoint_url`` is for all services,
    when they are not AWS's; ``session`` is a ``boto3.Session``."""

    region_name: str | None = None
    endpoint_url: str | None = None
    session: Any = field(default=None, compare=False)

    @cached_property
    def _session(self) -> Any:
        if self.session is not None:
            return self.session
        import boto3

        # unlike other SDKs, boto3 does not read AWS_REGION
        return boto3.Session(region_name=self.region_name or os.environ.get("AWS_REGION"))

    def client(self, name: str) -> Any:
        """boto3's client for a service, made once."""
        clients: dict[str, Any] = self.__dict__.setdefault("_clients", {})
        if name not in clients:
            _ = self.region  # its error is clearer than boto3's
            clients[name] = self._session.client(name, endpoint_url=self.endpoint_url)
        return clients[name]

    @property
    def region(self) -> str:
        """The region's name; SpecError when none is configured."""
        region = self.region_name or self._session.region_name
        if not region:
            raise SpecError("region: missing; set AWS_REGION or give --region")
        return str(region)

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
    return found.get("Code") in ("404", "NoSuchKey", "NoSuchBucket", "NoSuchEntity") or any(
        words in text for words in ("could not find", "not found", "does not exist")
    )


def message_of(error: Any) -> str:
    """The service's words, with the code where they are none."""
    return str(error.response["Error"].get("Message") or error)


def is_temporary(error: Exception) -> bool:
    """Whether an error is temporary: throttling, a server error, no connection."""
    from botocore.exceptions import ClientError, HTTPClientError

    if not isinstance(error, ClientError):
        return isinstance(error, HTTPClientError)
    code = error.response["Error"].get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or "Throttl" in code or code in ("TooManyRequestsException", "SlowDown")


def find_role(role: str | None, service: Service) -> str:
    """The execution role's ARN, from ``role`` (an ARN or a name).

    Without ``role``: SageMaker's SDK if it is installed (it knows the role in a notebook), else the
    role that the caller has assumed. Raises SpecError when there is none.
    """
    if role is not None:
        if role.startswith("arn:"):
            return role
        return str(service.client("iam").get_role(RoleName=role)["Role"]["Arn"])
    try:
        import sagemaker  # type: ignore[import-not-found, unused-ignore]

        return str(sagemaker.get_execution_role())
    except ImportError:
        pass
    except ValueError:
        pass  # the SDK finds a role only in a notebook
    arn = str(service.client("sts").get_caller_identity()["Arn"])
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind != "assumed-role":
        raise SpecError(
            f"role: you are {arn}, which SageMaker can't use; give --role with the ARN of an "
            "execution role that can read the data and write the output"
        )
    name = rest.partition("/")[0]
    return str(service.client("iam").get_role(RoleName=name)["Role"]["Arn"])
