"""Texts from outside (names, values, messages of servers), made fit to be shown."""

from __future__ import annotations

import os
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

_BESIDE = 1000
"""Names that are compared with a wrong one, at most."""

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
    head, dash, _ = name.partition("-")
    alike = [one for one in plain if dash and one.startswith(head + dash)]  # as all --min-…
    near = (
        difflib.get_close_matches(name, plain, 1, 0.8)
        or difflib.get_close_matches(name, alike, 1, 0.5)
        or difflib.get_close_matches(name, plain, 1)
    )
    near = near or [one for one in plain if len(name) > 2 and name in one][:1]
    return f"; did you mean {plain[near[0]]!r}?" if near else ""


def did_you_mean_path(path: str) -> str:
    """What ``did_you_mean`` says of a path that does not exist, among those beside it; of one in a
    folder that does not exist, of this folder."""
    from contextlib import suppress
    from itertools import islice

    folder, name = os.path.split(path.rstrip("/"))
    while folder and not os.path.lexists(folder):
        folder, name = os.path.split(folder)
    stem, ending = os.path.splitext(name)
    with suppress(OSError), os.scandir(folder or ".") as beside:
        names = [os.path.splitext(one.name) for one in islice(beside, _BESIDE)]
        # an equal ending alone makes no two names similar
        near = [a + b for a, b in names if b != ending or not b or did_you_mean(stem, [a])]
        return did_you_mean(name, near)
    return ""


def near_missing(error: BaseException) -> str:
    """``did_you_mean_path`` of the missing file that an error names."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, FileNotFoundError):
        cause = cause.__cause__
    path = None if cause is None else cause.filename
    if not isinstance(path, (str, os.PathLike)) or "did you mean" in str(error):
        return ""
    path, folder = os.fspath(path), os.path.dirname(path)
    if path not in str(error):  # a folder can be named instead of what is looked for in it
        path = folder if folder and f"{folder}:" in str(error) else ""
    return did_you_mean_path(path) if path and not os.path.lexists(path) else ""
