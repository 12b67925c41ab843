"""What instances cost by the hour, from AWS's price list; nothing is guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from .errors import SpecError
from .service import Service, message_of

Use = Literal["training", "hosting", "transform"]

_USAGE = {"training": "Train", "hosting": "Host", "transform": "Tsform"}
"""How usage types of bills begin, after the region's letters: ``USE1-Host:ml.m5.xlarge``."""

_HOMES = {"cn": "cn-northwest-1", "aws": "us-east-1"}
"""Where the price list of a partition can be asked."""


class Price(NamedTuple):
    """What an hour costs, and in which ``currency``: ``USD``."""

    hourly: float
    currency: str


def price(instance_type: str, use: Use, service: Service | None = None) -> Price:
    """The price of an instance's hour in the service's region, on demand, without taxes,
    discounts and spot prices. Raises SpecError where the price list can't be asked or has no
    single answer."""
    service = service or Service()
    region = service.region
    if region.startswith(("us-gov-", "us-iso")):
        raise SpecError(f"cost: AWS's price list can't be asked from {region}; see the AWS console")
    home = _HOMES["cn" if region.startswith("cn-") else "aws"]
    client = replace(service, region_name=home).client("pricing")
    filters = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value}
        for field, value in (("regionCode", region), ("instanceName", instance_type))
    ]
    try:
        pages = client.get_paginator("get_products").paginate(
            ServiceCode="AmazonSageMaker", Filters=filters
        )
        products = [json.loads(one) for page in pages for one in page["PriceList"]]
    except client.exceptions.ClientError as error:
        raise SpecError(
            f"cost: AWS's price list can't be asked: {message_of(error)}; it needs the permission "
            "pricing:GetProducts"
        ) from error
    usage = re.compile(rf"([A-Z0-9]+-)?{_USAGE[use]}:{re.escape(instance_type)}")
    found = {
        one
        for product in products
        if usage.fullmatch(product["product"]["attributes"].get("usagetype", ""))
        for one in _hourly(product)
    }
    if len(found) != 1:
        many = f"{len(found)} prices" if found else "no price"
        raise SpecError(
            f"cost: AWS's price list has {many} of {instance_type} for {use} in {region}; see "
            "https://aws.amazon.com/sagemaker/pricing/"
        )
    return found.pop()


def _hourly(product: dict[str, Any]) -> Iterator[Price]:
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension["unit"].lower() in ("hrs", "hours"):
                for currency, value in dimension["pricePerUnit"].items():
                    yield Price(float(value), currency)
