"""The AWS services that jobs need, behind one seam."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .errors import SpecError


@dataclass(frozen=True)
class Service:
    """Clients of one region, made when they are first used. ``endpoint_url`` is that of another
    implementation than AWS, for all services; ``session`` a ``boto3.Session``."""

    region_name: str | None = None
    endpoint_url: str | None = None
    session: Any = field(default=None, compare=False)

    @cached_property
    def _session(self) -> Any:
        if self.session is not None:
            return self.session
        import boto3

        # of the SDKs, boto3 alone does not look at AWS_REGION
        return boto3.Session(region_name=self.region_name or os.environ.get("AWS_REGION"))

    def client(self, name: str) -> Any:
        """boto3's client, one for each name."""
        made: dict[str, Any] = self.__dict__.setdefault("_clients", {})
        if name not in made:
            _ = self.region  # said in our words
            made[name] = self._session.client(name, endpoint_url=self.endpoint_url)
        return made[name]

    @property
    def region(self) -> str:
        """The region's name; SpecError when none is configured."""
        region = self.region_name or self._session.region_name
        if not region:
            raise SpecError("region: none is configured; set AWS_REGION or give --region")
        return str(region)


def may_pass(error: Exception) -> bool:
    """Whether the same question may be answered in a minute: throttled, out of order, out of
    reach."""
    from botocore.exceptions import ClientError, HTTPClientError

    if not isinstance(error, ClientError):
        return isinstance(error, HTTPClientError)
    code = error.response["Error"].get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or "Throttl" in code or code in ("TooManyRequestsException", "SlowDown")


def find_role(role: str | None, service: Service) -> str:
    """The execution role's ARN: the one given (an ARN, or a name), or the caller's own.

    Without one, SageMaker's SDK is asked if it is installed (it knows in a notebook), and else the
    role that the caller assumed. Raises SpecError when there is none.
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
        pass  # outside of a notebook the SDK finds none either
    arn = str(service.client("sts").get_caller_identity()["Arn"])
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind != "assumed-role":
        raise SpecError(
            f"role: you are {arn}, which SageMaker can't act as; give --role with the ARN of an "
            "execution role that may read the data and write the output"
        )
    name = rest.partition("/")[0]
    return str(service.client("iam").get_role(RoleName=name)["Role"]["Arn"])
