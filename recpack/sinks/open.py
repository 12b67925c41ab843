"""The factory of sinks: a path or URL → its sink."""

from __future__ import annotations

import os
from collections.abc import Collection

from recpack.errors import ConfigError
from recpack.sinks.base import Destination, Sink
from recpack.sinks.file import FileSink
from recpack.sinks.settings import S3Settings, SinkSettings
from recpack.storage.s3.location import is_s3


def open_destination(
    output: str | os.PathLike[str] | Sink,
    settings: SinkSettings,
    shards: int | None,
    spare: Collection[str] = (),
) -> Destination:
    """``open_sink``, or with ``shards`` the sink of a set of so many."""
    if shards is None:
        return open_sink(output, settings, spare)
    if isinstance(output, Sink):
        raise ConfigError("shards: needs a path to name its outputs, not a sink")
    if is_s3(output):
        from recpack.sinks.s3_set import S3SetSink  # imports botocore, which takes time

        return S3SetSink(os.fspath(output), shards, **vars(settings.part(S3Settings)))
    _demand_local(output, settings)
    from recpack.sinks.file_set import FileSetSink

    return FileSetSink(output, shards, overwrite=settings.overwrite)


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
    _demand_local(output, settings)
    return FileSink(output, overwrite=settings.overwrite, spare=spare)


def _demand_local(output: str | os.PathLike[str], settings: SinkSettings) -> None:
    for name in ("storage_class", "sse", "kms_key_id", "resume"):
        if getattr(settings, name):
            raise ConfigError(f"{name}: only for an output on S3, but {output} is a local path")
