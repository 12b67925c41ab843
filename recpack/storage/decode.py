"""JSON of strangers, decoded by a schema."""

from __future__ import annotations

from typing import TypeVar

import msgspec

Document = TypeVar("Document")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are not such a document."""


def decode_json(data: str | bytes, schema: type[Document]) -> Document:
    """Decode a document. Raises ValueError that names the field for one of another form."""
    try:
        return msgspec.json.decode(data, type=schema)
    except NOT_JSON as error:
        raise ValueError(reason(error)) from None


def reason(error: Exception) -> str:
    """msgspec's message, with the field first."""
    what, _, field = str(error).partition(" - at `$")
    return f"{field.strip('`.')}: {what}" if field.strip("`.") else what
