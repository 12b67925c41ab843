"""Where records go, by path: the one factory of sinks."""

from __future__ import annotations

import os
from collections.abc import Collection

from recpack.errors import ConfigError
from recpack.sinks.base import Sink
from recpack.sinks.file import FileSink
from recpack.sinks.settings import S3Settings, SinkSettings
from recpack.storage.s3.location import is_s3


def open_sink(
    output: str | os.PathLike[str] | Sink, settings: SinkSettings, spare: Collection[str] = ()
) -> Sink:
    """The sink of a path or ``s3://…``; one that is a sink already is taken as it is.

    ``spare`` names companions that are not this sink's to write. Raises ConfigError for options
    that the destination has no use for.
    """
    if isinstance(output, Sink):
        return output
    if is_s3(output):
        from recpack.sinks.s3 import S3Sink  # botocore, for those who use S3

        return S3Sink(os.fspath(output), **vars(settings.part(S3Settings)))
    for name in ("storage_class", "sse", "kms_key_id", "resume"):
        if getattr(settings, name):
            raise ConfigError(f"{name}: only for an output on S3, and {output} is none")
    return FileSink(output, overwrite=settings.overwrite, spare=spare)
