"""The settings of the commands: each combines the settings of some rooms, nothing more."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal

from recpack.bars import Monitor
from recpack.data.classes import class_map
from recpack.errors import ConfigError
from recpack.packing.settings import PackSettings
from recpack.scanning.settings import (
    MeasureSettings,
    OrderSettings,
    ScanSettings,
    checked_fractions,
)
from recpack.settings import Settings, option
from recpack.sinks.settings import Output, Shards, SinkSettings
from recpack.sources.selection import Selection
from recpack.storage.s3.access import Access
from recpack.storage.trees.links import Links
from recpack.workers.settings import Cluster

FACES = "identities"
"""The format of a data set that is packed in InsightFace's layout."""
OutputFormat = Literal["rec", "augmented-manifest", "image-json"]


class DryRun(Settings):
    """A run that writes nothing."""

    title = "output"

    dry_run: bool = option(default=False, help="scan and report, write nothing")


class ReadSettings(Selection, ScanSettings, Access, Monitor):
    """What every command that reads a data set takes."""


class Options(Selection, ScanSettings, OrderSettings, PackSettings, SinkSettings, Shards, DryRun):
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
        if self.shards is not None:
            yield "shards: InsightFace's readers take one .rec with all identities; leave it out"
        vars(self)["shuffle"] = None


class ConvertOptions(Options, ReadSettings):
    """What ``recpack.convert`` takes."""


class ListOptions(ReadSettings, Output, DryRun):
    """What ``recpack.write_list`` takes."""


class DetectSettings(Links, Access):
    """What ``recpack.detect`` takes."""


class CheckOptions(ReadSettings):
    """What ``recpack.check`` takes."""


class PackOptions(Links, MeasureSettings, PackSettings, SinkSettings, Shards, Monitor):
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


class RewriteSettings(SinkSettings, Shards, Cluster, Monitor):
    """What every command takes that makes a ``.rec`` of another one's records."""


class Seed(Settings):
    """The random order of records."""

    title = "order"

    seed: int = option(
        default=0, help="seed of the random order (default: 0)", metavar="N", shapes=True
    )

    def faults(self) -> Iterator[str]:
        if not 0 <= self.seed < 1 << 32:
            yield f"seed: must be 0 to {(1 << 32) - 1} (got {self.seed})"


class ShuffleSettings(Seed, RewriteSettings):
    """What ``recpack.shuffle`` takes."""


class SplitSettings(Seed, RewriteSettings):
    """What ``recpack.split`` takes. ``output``: the path that the parts are named after, instead of
    that of the records."""

    title = "order"

    fractions: str | Sequence[float] = option(
        default="0.8/0.2",
        help="the parts: x.rec becomes x_train.rec, x_val.rec (and x_test.rec)",
        metavar="F/F",
        shapes=True,
        read=checked_fractions,
    )
    output: str | os.PathLike[str] | None = None


class FilterSettings(RewriteSettings):
    """What ``recpack.filter`` takes."""

    title = "what to keep"

    classes: str | Sequence[str] | None = option(
        default=None,
        help="objects, or records, of these classes: a,b,c, which get the ids 0, 1, 2, or a file",
        metavar="C",
    )
    min_box: int = option(
        default=0, help="boxes whose shorter side has so many pixels", metavar="N", shapes=True
    )
    negatives: Literal["drop", "keep"] = option(
        default="drop", help="records without an object that stays", shapes=True
    )

    def faults(self) -> Iterator[str]:
        if self.min_box < 0:
            yield f"min_box: must be at least 0 pixels (got {self.min_box})"
        if self.classes is None and not self.min_box:
            yield "classes: missing, and so is min_box; give one of them at least"


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
