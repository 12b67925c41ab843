"""Texts from outside (names, values, messages of servers), made fit to be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""What moves the cursor of a terminal, or turns the order of its text: C0 but for tabs and line
feeds, DEL, C1, line separators, bidirectional overrides."""

NO_CREDENTIALS = (
    "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "AWS_PROFILE, or a role"
)
"""Instead of boto3's words, here and in ``train``."""

_LONGEST_FACT = 100

_CONTROL = re.compile(f"[{_CONTROLS}]")
_BREAK = re.compile(f"[\t\n{_CONTROLS}]")
_SECRET = re.compile(
    r"(?<=://)[^\s/\"'<>]*@"  # a user and a password
    r"|(?<=http://)[^\s\"'<>]*@|(?<=https://)[^\s\"'<>]*@"  # a password with a slash in it
    r"|(?<=[?&])(?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)"
    r"=[^\s&\"'<>]*",
    re.IGNORECASE,
)


def harmless(text: str) -> str:
    """The text with its control characters as JSON writes them (``\\u001b``), so that JSON stays
    JSON, and without the secrets in its URLs."""
    return _CONTROL.sub(_escape, hide_secrets(text))


def one_line(text: str) -> str:
    """A text that must stay in its line: line breaks and tabs are escaped too."""
    return _BREAK.sub(_escape, text)


def hide_secrets(text: str) -> str:
    """The text with ``…`` for passwords and signatures in URLs."""
    return _SECRET.sub("…", text) if "://" in text else text


def brief(thing: object, **facts: object) -> str:
    """A ``repr`` in one line: the type and the facts that matter; a long one is cut off, and of
    bytes only their number is shown."""
    shown = (
        f"{name}=<{len(value):,} bytes>"
        if isinstance(value, (bytes, memoryview))
        else f"{name}={hide_secrets(repr(value))}"
        for name, value in facts.items()
    )
    return f"{type(thing).__name__}({', '.join(map(shortened, shown))})"


def has_password(url: str | None) -> bool:
    """Whether a URL has a user name or a password before its host."""
    return url is not None and "@" in url


def shortened(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= _LONGEST_FACT else text[: _LONGEST_FACT - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``; did you mean 'b'?`` with the most similar of ``names``, or nothing."""
    import difflib  # only for messages

    plain = {one.lower().lstrip("-"): one for one in names}
    name = name.lower().lstrip("-")
    near = difflib.get_close_matches(name, plain, 1)
    near = near or [one for one in plain if len(name) > 2 and name in one][:1]
    return f"; did you mean {plain[near[0]]!r}?" if near else ""
