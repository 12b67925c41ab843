"""The settings of the commands: each combines the settings of some rooms, nothing more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal

from recpack.data.classes import class_map
from recpack.errors import ConfigError
from recpack.packing.settings import PackSettings
from recpack.progress import Monitor
from recpack.scanning.settings import MeasureSettings, OrderSettings, ScanSettings
from recpack.settings import Settings, option
from recpack.sinks.settings import Output, SinkSettings
from recpack.sources.selection import Selection
from recpack.storage.s3.access import Access
from recpack.storage.trees.links import Links

FACES = "identities"
"""The format of a data set that is packed in InsightFace's layout."""
OutputFormat = Literal["rec", "augmented-manifest", "image-json"]


class DryRun(Settings):
    """A run that writes nothing."""

    title = "output"

    dry_run: bool = option(default=False, help="scan and report, write nothing")


class ReadSettings(Selection, ScanSettings, Access, Monitor):
    """What every command that reads a data set takes."""


class Options(Selection, ScanSettings, OrderSettings, PackSettings, SinkSettings, DryRun):
    """All options of ``convert``. Raises ConfigError that lists everything wrong."""

    title = "output"

    output_format: OutputFormat | None = option(
        default=None, help="format of the output (default: by its name)", flag="--to"
    )
    images_url: str | None = option(
        default=None,
        help="location of an augmented manifest's images (default: where they were read)",
        metavar="s3://…",
    )

    def faults(self) -> Iterator[str]:
        if self.source_format != FACES:
            return
        if self.shuffle:
            yield (
                "shuffle: InsightFace's tables need the images of an identity together, and its "
                "readers shuffle by themselves; leave it out"
            )
        if self.split is not None:
            yield (
                "split: InsightFace's validation sets are pairs, not a .rec; leave it out, or put "
                "the folders of some identities elsewhere"
            )
        vars(self)["shuffle"] = None


class ConvertOptions(Options, ReadSettings):
    """What ``recpack.convert`` takes."""


class ListOptions(ReadSettings, Output, DryRun):
    """What ``recpack.write_list`` takes."""


class CheckOptions(ReadSettings):
    """What ``recpack.check`` takes."""


class PackOptions(Links, MeasureSettings, PackSettings, SinkSettings, Monitor):
    """What ``recpack.pack`` takes. A list has its own order and class ids."""

    title = "labels"

    classes: str | Sequence[str] | Mapping[str, int] | None = option(
        default=None,
        help="names of the classes: voc, a file, or a,b,c (default: their ids)",
        metavar="C",
    )

    # always: pack does what im2rec does
    im2rec_pixels: bool = field(default=True, init=False)

    def faults(self) -> Iterator[str]:
        try:
            self.class_names()
        except ConfigError as error:
            yield str(error)

    def class_names(self) -> tuple[str, ...]:
        """The names by id; empty without ``classes``."""
        classes = class_map(self.classes) if self.classes else None
        return classes.names if classes else ()


class CleanupSettings(Access):
    """What ``recpack.cleanup`` takes."""

    title = "what to abort"

    all: bool = option(default=False, help="also abort uploads that other programs began")
    dry_run: bool = option(default=False, help="list the uploads, abort nothing")


class DownloadSettings(Monitor):
    """What ``recpack.download`` takes. ``timeout``: a connection ends after so many seconds without
    a byte."""

    title = "where from"

    mirror: str | None = option(
        default=None, help="URL of another folder with the archives", metavar="URL"
    )

    timeout: float = 30.0
