"""The endpoints of a region: what runs, since when, and whether anybody calls it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .endpoint import configuration, describe
from .errors import Kind
from .service import Service

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Running:
    """An endpoint: ``machines`` is what it runs on (``1 x ml.m5.xlarge``, ``serverless, 2048 MB``),
    ``since`` when it was made, ``calls`` those of the last 24 hours; None where that may not be
    read."""

    name: str
    status: str
    machines: Sequence[str]
    since: datetime
    calls: int | None


def endpoints(service: Service | None = None, *, contains: str = "") -> Iterator[Running]:
    """The endpoints of this region, also those that others made, the newest first."""
    service = service or Service()
    filters = {"NameContains": contains} if contains else {}
    pages = service.client("sagemaker").get_paginator("list_endpoints").paginate(
        SortBy="CreationTime", SortOrder="Descending", **filters
    )  # fmt: skip
    for page in pages:
        for one in page["Endpoints"]:
            name = one["EndpointName"]
            found = describe(name, service)
            if found is None:  # deleted in the meantime
                continue
            config = configuration(found["EndpointConfigName"], service)
            variants = config.get("ProductionVariants", [])
            counts = {
                variant["VariantName"]: variant.get("CurrentInstanceCount")
                for variant in found.get("ProductionVariants", [])
            }
            yield Running(
                name, found["EndpointStatus"],
                [_machine(variant, counts.get(variant["VariantName"])) for variant in variants],
                one["CreationTime"],
                _calls(name, [variant["VariantName"] for variant in variants], service),
            )  # fmt: skip


def newest_names(kind: Kind, service: Service) -> list[str]:
    """The names of the newest 100 jobs or endpoints of a kind; none where they can't be asked."""
    from botocore.exceptions import BotoCoreError, ClientError

    words = re.sub("(?<!^)(?=[A-Z])", "_", f"{kind}s").lower()
    try:
        answer = getattr(service.client("sagemaker"), f"list_{words}")(
            SortBy="CreationTime", SortOrder="Descending", MaxResults=100
        )
    except (BotoCoreError, ClientError):
        return []
    rows = answer["Endpoints" if kind == "Endpoint" else f"{kind}Summaries"]
    return [one[f"{kind}Name"] for one in rows]


def _machine(variant: dict[str, Any], count: int | None) -> str:
    if "ServerlessConfig" in variant:
        return f"serverless, {variant['ServerlessConfig']['MemorySizeInMB']} MB"
    number = variant.get("InitialInstanceCount") if count is None else count
    return f"{number} x {variant.get('InstanceType')}"


def _calls(name: str, variants: Sequence[str], service: Service) -> int | None:
    """CloudWatch's ``Invocations`` of the last day; None where it can't be asked."""
    client = service.client("cloudwatch")
    now = datetime.now(UTC)
    try:
        points = [
            point
            for variant in variants
            for point in client.get_metric_statistics(
                Namespace="AWS/SageMaker", MetricName="Invocations", Statistics=["Sum"],
                StartTime=now - _DAY, EndTime=now, Period=3600,
                Dimensions=[{"Name": "EndpointName", "Value": name},
                            {"Name": "VariantName", "Value": variant}],
            )["Datapoints"]
        ]  # fmt: skip
    except client.exceptions.ClientError:
        return None
    return int(sum(point["Sum"] for point in points))
