"""Pascal VOC data sets to MXNet RecordIO: fast, exact, validated.

The names below are the whole public surface; they are imported when first used, so that
``import recpack`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "check": "checking",
    "Check": "checking",
    "convert": "conversion",
    "write_list": "conversion",
    "verify": "verification",
    "Verification": "verification",
    "pack": "conversion",
    "Result": "assembly",
    "Options": "config",
    "Record": "recordio",
    "RecordReader": "reader",
    "RecordWriter": "writer",
    "Manifest": "manifest",
    "Problem": "problems",
    "Progress": "progress",
    "ClassMap": "sample",
    "VOC_CLASSES": "sample",
    "FileSink": "sinks.file",
    "MemorySink": "sinks.memory",
    "S3Sink": "sinks.s3",
    "RecpackError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "AnnotationError": "errors",
    "ImageError": "errors",
    "ListError": "errors",
    "RecordError": "errors",
    "SinkError": "errors",
}

if TYPE_CHECKING:
    from recpack.assembly import Result as Result
    from recpack.checking import Check as Check
    from recpack.checking import check as check
    from recpack.config import Options as Options
    from recpack.conversion import convert as convert
    from recpack.conversion import pack as pack
    from recpack.conversion import write_list as write_list
    from recpack.errors import AnnotationError as AnnotationError
    from recpack.errors import ConfigError as ConfigError
    from recpack.errors import DataError as DataError
    from recpack.errors import ImageError as ImageError
    from recpack.errors import ListError as ListError
    from recpack.errors import RecordError as RecordError
    from recpack.errors import RecpackError as RecpackError
    from recpack.errors import SinkError as SinkError
    from recpack.manifest import Manifest as Manifest
    from recpack.problems import Problem as Problem
    from recpack.progress import Progress as Progress
    from recpack.reader import RecordReader as RecordReader
    from recpack.recordio import Record as Record
    from recpack.sample import VOC_CLASSES as VOC_CLASSES
    from recpack.sample import ClassMap as ClassMap
    from recpack.sinks.file import FileSink as FileSink
    from recpack.sinks.memory import MemorySink as MemorySink
    from recpack.sinks.s3 import S3Sink as S3Sink
    from recpack.verification import Verification as Verification
    from recpack.verification import verify as verify
    from recpack.writer import RecordWriter as RecordWriter

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'recpack' has no attribute {name!r}")
    value: object = getattr(import_module(f"recpack.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
