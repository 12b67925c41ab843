"""The factory of sinks: a path or URL → its sink."""

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
    """The sink of a path or ``s3://…``; a sink is returned unchanged.

    ``spare`` names companions that the sink must not write. Raises ConfigError for options that the
    destination can't use.
    """
    if isinstance(output, Sink):
        return output
    if is_s3(output):
        from recpack.sinks.s3 import S3Sink  # imports botocore, which takes time

        return S3Sink(os.fspath(output), **vars(settings.part(S3Settings)))
    for name in ("storage_class", "sse", "kms_key_id", "resume"):
        if getattr(settings, name):
            raise ConfigError(f"{name}: only for an output on S3, but {output} is a local path")
    return FileSink(output, overwrite=settings.overwrite, spare=spare)
