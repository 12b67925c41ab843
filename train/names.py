"""Names of jobs, models and endpoints: letters, digits and inner hyphens, at most 63."""

from __future__ import annotations

import re
import secrets
import time

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_SUFFIX = r"-\d{8}-\d{6}-[0-9a-f]{4}"
_LONGEST = 63


def unique_name(text: str, longest: int = _LONGEST) -> str:
    """A valid name that begins like ``text`` and ends with the time and four random digits, of at
    most ``longest`` characters."""
    parts = re.findall(r"[a-zA-Z0-9]+", text)
    stem = "-".join(parts)[: longest - len("-20260101-000000-abcd")].rstrip("-") or "recpack"
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def is_of(name: str, endpoint: str) -> bool:
    """Whether a model or configuration has the name that ``deploy`` gives those of an endpoint."""
    stem = unique_name(endpoint)[: -len("-20260101-000000-abcd")]
    return name == endpoint or re.fullmatch(re.escape(stem) + _SUFFIX, name) is not None
