"""The settings of the commands: sums of those of the rooms. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

OutputFormat = Literal["rec", "augmented-manifest", "image-json"]


class DryRun(Settings):
    """A run that writes nothing."""

    title = "output"

    dry_run: bool = option(default=False, help="scan and judge, write nothing")


class ReadSettings(Selection, ScanSettings, Access, Monitor):
    """What is told to whatever reads a data set."""


class Options(Selection, ScanSettings, OrderSettings, PackSettings, SinkSettings, DryRun):
    """All options of ``convert``. Raises ConfigError that lists everything that is wrong."""

    title = "output"

    output_format: OutputFormat | None = option(
        default=None, help="format of the output (default: what its name says)", flag="--to"
    )
    images_url: str | None = option(
        default=None,
        help="where the images of an augmented manifest are (default: where they were read)",
        metavar="s3://…",
    )


class ConvertOptions(Options, ReadSettings):
    """What ``recpack.convert`` takes."""


class ListOptions(ReadSettings, Output, DryRun):
    """What ``recpack.write_list`` takes."""


class CheckOptions(ReadSettings):
    """What ``recpack.check`` takes."""


class PackOptions(MeasureSettings, PackSettings, SinkSettings, Monitor):
    """What ``recpack.pack`` takes. A list has its own order and class ids."""

    title = "labels"

    classes: str | Sequence[str] | Mapping[str, int] | None = option(
        default=None,
        help="names of the classes: voc, a file, or a,b,c (default: their ids)",
        metavar="C",
    )

    def faults(self) -> Iterator[str]:
        try:
            self.class_names()
        except ConfigError as error:
            yield str(error)

    def class_names(self) -> tuple[str, ...]:
        """The names by id; none where they are not given."""
        found = class_map(self.classes) if self.classes else None
        return found.names if found else ()


class CleanupSettings(Access):
    """What ``recpack.cleanup`` takes."""

    title = "what to abort"

    all: bool = option(default=False, help="also uploads that others began")
    dry_run: bool = option(default=False, help="list them, abort nothing")


class DownloadSettings(Monitor):
    """What ``recpack.download`` takes. ``timeout``: seconds without a byte after which a connection
    counts as dead."""

    title = "where from"

    mirror: str | None = option(
        default=None, help="URL of a folder with the archives elsewhere", metavar="URL"
    )

    timeout: float = 30.0
