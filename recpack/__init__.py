"""Pascal VOC data sets to MXNet RecordIO: fast, exact, validated.

The names below are the whole public surface; they are imported when first used, so that
``import recpack`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from recpack._version import __version__

_HOMES = {
    "detect": "pipeline.detect",
    "Detected": "pipeline.detected",
    "check": "pipeline.check",
    "Check": "pipeline.check",
    "convert": "pipeline.convert",
    "write_list": "pipeline.write_list",
    "pack": "pipeline.pack",
    "cleanup": "pipeline.s3_cleanup",
    "verify": "records.verify",
    "Verification": "records.verify_stored",
    "inspect": "records.inspect",
    "Inspection": "records.inspect",
    "preview": "records.preview",
    "unpack": "records.unpack",
    "Unpacked": "records.unpack",
    "merge": "records.merge",
    "reindex": "records.reindex",
    "shuffle": "pipeline.rewrite",
    "split": "pipeline.rewrite",
    "filter": "pipeline.rewrite",
    "download": "demo.download",
    "train": "train",
    "Result": "packing.result",
    "Options": "options",
    "Record": "formats.recordio",
    "RecordReader": "records.reader",
    "read_records": "records.stream",
    "RecordWriter": "records.writer",
    "Manifest": "formats.manifest",
    "Problem": "problems",
    "Progress": "progress",
    "ClassMap": "data.classes",
    "VOC_CLASSES": "data.classes",
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
    import train as train
    from recpack.data.classes import VOC_CLASSES as VOC_CLASSES
    from recpack.data.classes import ClassMap as ClassMap
    from recpack.demo.download import download as download
    from recpack.errors import AnnotationError as AnnotationError
    from recpack.errors import ConfigError as ConfigError
    from recpack.errors import DataError as DataError
    from recpack.errors import ImageError as ImageError
    from recpack.errors import ListError as ListError
    from recpack.errors import RecordError as RecordError
    from recpack.errors import RecpackError as RecpackError
    from recpack.errors import SinkError as SinkError
    from recpack.formats.manifest import Manifest as Manifest
    from recpack.formats.recordio import Record as Record
    from recpack.options import Options as Options
    from recpack.packing.result import Result as Result
    from recpack.pipeline.check import Check as Check
    from recpack.pipeline.check import check as check
    from recpack.pipeline.convert import convert as convert
    from recpack.pipeline.detect import detect as detect
    from recpack.pipeline.detected import Detected as Detected
    from recpack.pipeline.pack import pack as pack
    from recpack.pipeline.rewrite import filter as filter
    from recpack.pipeline.rewrite import shuffle as shuffle
    from recpack.pipeline.rewrite import split as split
    from recpack.pipeline.s3_cleanup import cleanup as cleanup
    from recpack.pipeline.write_list import write_list as write_list
    from recpack.problems import Problem as Problem
    from recpack.progress import Progress as Progress
    from recpack.records.inspect import Inspection as Inspection
    from recpack.records.inspect import inspect as inspect
    from recpack.records.merge import merge as merge
    from recpack.records.preview import preview as preview
    from recpack.records.reader import RecordReader as RecordReader
    from recpack.records.reindex import reindex as reindex
    from recpack.records.stream import read_records as read_records
    from recpack.records.unpack import Unpacked as Unpacked
    from recpack.records.unpack import unpack as unpack
    from recpack.records.verify import verify as verify
    from recpack.records.verify_stored import Verification as Verification
    from recpack.records.writer import RecordWriter as RecordWriter
    from recpack.sinks.file import FileSink as FileSink
    from recpack.sinks.memory import MemorySink as MemorySink
    from recpack.sinks.s3 import S3Sink as S3Sink

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'recpack' has no attribute {name!r}")
    home = import_module(f"recpack.{_HOMES[name]}")
    value: object = home if name == "train" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
