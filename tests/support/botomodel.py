"""Requests held against botocore's own model of the service, enums, patterns and ranges included
(botocore itself checks types and missing members only)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import botocore.session
from botocore.loaders import JSONFileLoader
from botocore.validate import ParamValidator

# every command has a session of its own, and each would read SageMaker's megabytes again
_read = cache(JSONFileLoader().load_file)
JSONFileLoader.load_file = lambda _, path: _read(path)


def faults(service: str, operation: str, request: dict[str, Any]) -> list[str]:
    """All that is wrong with the arguments of a call, by botocore's name of the operation."""
    shape = _shape(service, operation)
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        return [report.generate_report()]
    return _deep(request, shape, operation)


def enum(service: str, shape: str) -> list[str]:
    """The values that a service takes for a kind of text."""
    return list(_model(service).shape_for(shape).enum)


@cache
def _shape(service: str, operation: str) -> Any:
    return _model(service).operation_model(operation).input_shape


@cache
def _model(service: str) -> Any:
    return botocore.session.Session().get_service_model(service)


def _deep(value: Any, shape: Any, where: str) -> list[str]:
    found = []
    rules = shape.metadata
    if shape.type_name == "structure":
        for name, member in value.items():
            if name in shape.members:
                found += _deep(member, shape.members[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for number, member in enumerate(value):
            found += _deep(member, shape.member, f"{where}[{number}]")
    elif shape.type_name == "map":
        for name, member in value.items():
            found += _deep(name, shape.key, f"{where} key")
            found += _deep(member, shape.value, f"{where}[{name}]")
    size = len(value) if shape.type_name in ("string", "list", "map") else value
    if ("min" in rules and size < rules["min"]) or ("max" in rules and size > rules["max"]):
        found.append(f"{where}: {value!r} is not in {rules.get('min')}..{rules.get('max')}")
    if "enum" in rules and value not in rules["enum"]:
        found.append(f"{where}: {value!r} is none of {rules['enum'][:9]}")
    if "pattern" in rules and not _matches(rules["pattern"], value):
        found.append(f"{where}: {value!r} is not like {rules['pattern']}")
    return found


def _matches(pattern: str, value: str) -> bool:
    # Java's classes, which these patterns use, by their Python names
    pattern = pattern.replace(r"\p{L}", r"^\W\d_").replace(r"\p{Z}", r"\s").replace(r"\p{N}", r"\d")
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        return True
