"""What a file is, by its first bytes: for messages about one that is of another kind."""

from __future__ import annotations

_MAGIC = (
    (b"\x0a\x23\xd7\xce", "a .rec (recpack inspect, verify and unpack read it)"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x89PNG", "a picture"),
    (b"GIF8", "a picture"),
    (b"RIFF", "a picture"),
    (b"PK\3\4", "a zip"),
)


def what_is(head: bytes) -> str:
    """``a picture``, ``a text``, …; empty for what is not known."""
    found = next((text for magic, text in _MAGIC if head.startswith(magic)), "")
    if found or not head or b"\0" in head:
        return found
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character that is cut
            return ""
    page = head.lstrip().lower().startswith((b"<!doctype html", b"<html"))
    return "a page (HTML)" if page else "a text"
