"""``.rec`` → images, Pascal VOC annotations, an image set and a list."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

from recpack.data.labels import detection_widths
from recpack.errors import DataError, ListError, SinkError
from recpack.formats.image_header import EXTENSIONS, ImageHeader
from recpack.formats.lst import FloatFormatter
from recpack.formats.manifest import Manifest, manifest_beside
from recpack.formats.recordio import Record
from recpack.progress import Progress, Watch
from recpack.records.inspect import class_name, image_header
from recpack.records.reader import RecordReader
from recpack.records.settings import ReplaceSettings
from recpack.settings import takes
from recpack.sinks.image_folder import LocalImageFolder
from recpack.storage.files import (
    LONGEST_ENDING,
    Claim,
    demand_room,
    make_folder,
    new_token,
    replace_file,
    sync_folder,
    text_lines,
    write_bytes,
)
from recpack.storage.limits import most_of_document
from recpack.storage.paths import PathOrUrl, companion, read_bytes, read_companion, unsafe_path
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3

ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"
_SUFFIX = {"jpeg": ".jpg"}


@dataclass(frozen=True)
class Unpacked:
    """The folder, the numbers of images and annotations in it, and of records left out because
    they are tables (see ``Record.kind``)."""

    folder: str
    images: int
    annotations: int
    tables: int = 0


@takes(ReplaceSettings)
def unpack(path: PathOrUrl, folder: str | os.PathLike[str], settings: ReplaceSettings) -> Unpacked:
    """Unpack a ``.rec`` into one VOC folder: ``JPEGImages``, ``Annotations``,
    ``ImageSets/Main/trainval.txt`` in the order of the records, and a ``.lst``.

    Images keep their bytes, and boxes are so exact that ``convert FOLDER --no-shuffle`` with the
    same classes makes the same ``.rec``. Names come from the ``.lst`` beside the ``.rec`` (their
    last part only), else from the records' ids; class names come from the manifest, else from the
    ids. A record without boxes gets a row in the list, but no annotation. Where the file begins
    with a table, as InsightFace's do, tables are left out, and images without boxes get a folder
    for each first number of a label, the identity. A new folder appears when it is complete; one
    that exists is filled in place, and has no image set meanwhile. Raises SinkError for a folder
    that is not empty, RecordError for a broken file, ListError for a broken list, DataError for an
    id that occurs twice. The records of a set of shards get the numbers of their positions in it.
    """
    output = Path(folder)
    s3 = S3Client.of(settings)
    try:
        if output.exists() and not output.is_dir():
            raise SinkError(f"{output} is a file; name a folder")
        if not settings.overwrite and output.exists() and any(output.iterdir()):
            raise SinkError(f"{output} is not empty; name another folder, or use --overwrite")
        with RecordReader(path, mapped=False, **vars(settings.part(Access))) as records:
            if os.path.lexists(output):  # in place: it can be the root of a file system
                with Claim(Path(os.path.abspath(output))) as claim:
                    claim.clear()
                    unpacking = _Unpacking(records, output, s3, replace_file)
                    return unpacking.run(records, settings.progress)
            new = LocalImageFolder(os.path.abspath(output), new_token())
            new.demand_empty()
            with new.filling():
                unpacking = _Unpacking(records, Path(new.partial), s3, _new_file)
                unpacked = unpacking.run(records, settings.progress)
                new.publish()
            return replace(unpacked, folder=os.fspath(output))
    except OSError as error:
        raise SinkError(f"{output}: can't be written: {error.strerror or error}") from error


def _new_file(path: Path) -> BinaryIO:
    return path.open("xb")


class _Unpacking:
    def __init__(
        self,
        records: RecordReader,
        output: Path,
        s3: S3Client,
        open_text: Callable[[Path], AbstractContextManager[BinaryIO]],
    ) -> None:
        self._folder, self._open_text = output, open_text
        path, self._several = records.path, len(records.paths) > 1
        self._manifest = manifest_beside(path, s3)
        self._stems = _stems_of_list(records.paths[0], s3)
        for number in range(1, len(records.paths)):  # starts would read a file without an index
            stems, first = _stems_of_list(records.paths[number], s3), records.starts[number]
            self._stems |= {int(first) + id_: stem for id_, stem in stems.items()}
        self._used: set[str] = set()
        self._floats = FloatFormatter()
        self._list = Path(os.fspath(path).rpartition("/")[2]).with_suffix(".lst").name

    def _prepare(self) -> None:
        """Make the folders. Raises SinkError when a name of the list is too long for them."""
        counts = Counter(self._stems.values())
        stems = [stem + f"_{id_}" * (counts[stem] > 1) for id_, stem in self._stems.items()]
        longest = max(stems, key=lambda stem: len(os.fsencode(stem)), default="")
        demand_room(self._folder / IMAGES / longest, len(".jpeg"))
        demand_room(self._folder / self._list, LONGEST_ENDING)
        for name in (ANNOTATIONS, IMAGES, posixpath.dirname(SETS), SETS):
            make_folder(self._folder / name)

    def run(self, records: RecordReader, progress: Watch) -> Unpacked:
        records.demand_current()
        self._prepare()
        images = annotations = tables = 0
        # without its image set the folder does not look finished, so an older one goes first
        image_set = self._folder / SETS / "trainval.txt"
        image_set.unlink(missing_ok=True)
        sync_folder(image_set.parent)
        with (
            self._open_text(image_set) as ids,
            self._open_text(self._folder / self._list) as rows,
        ):
            for position, record in enumerate(records):
                if self._several:  # each shard has ids of its own
                    image = record.image_bytes
                    record = Record(position, record.id2, record.flag, record.label, image)
                if record.kind == "table":
                    tables += 1
                    continue
                annotations += self._write_record(record, ids, rows, by_identity=tables > 0)
                images += 1
                if progress is not None and images % 256 == 0:
                    guess = round(images * records.size / max(record.offset, 1))
                    guess = len(records) if self._several else guess
                    progress(Progress("unpack", images, guess, record.offset))
            os.sync()  # all files at once: one by one takes many times as long
        return Unpacked(os.fspath(self._folder), images, annotations, tables)

    def _write_record(
        self, record: Record, ids: BinaryIO, rows: BinaryIO, *, by_identity: bool
    ) -> bool:
        header = image_header(record)
        stem = self._stem(record)
        suffix = ".bin" if header is None else _SUFFIX.get(header.kind, "." + header.kind)
        name = stem + suffix
        if by_identity and record.kind == "classification":
            name = f"{record.label[0]:.9g}/{name}"
            make_folder((self._folder / IMAGES / name).parent)
        write_bytes(self._folder / IMAGES / name, record.image_bytes)
        widths = detection_widths(record.label)
        label = self._floats.format(record.label)
        if widths is not None:
            label[:2] = map(str, widths)
        row = "\t".join([str(record.id), *label, f"{IMAGES}/{name}"]) + "\n"
        rows.write(os.fsencode(row))
        if widths is None or header is None:
            return False
        text = annotation(record, header, name, self._manifest)
        write_bytes(self._folder / ANNOTATIONS / f"{stem}.xml", text.encode())
        ids.write(os.fsencode(stem + "\n"))
        return True

    def _stem(self, record: Record) -> str:
        stem = self._stems.get(record.id, f"{record.id:08d}")
        if stem in self._used:  # an image of another year, or the same image twice
            stem = f"{stem}_{record.id}"
        if stem in self._used:
            raise DataError(f"record at byte {record.offset:,}: id {record.id} occurs twice")
        self._used.add(stem)
        return stem


def annotation(
    record: Record, header: ImageHeader, filename: str, manifest: Manifest | None
) -> str:
    """A record's boxes as a VOC annotation, in pixels as exact as the ratios. A sixth column with 0
    or 1 is the ``difficult`` flag, as ``--difficult column`` writes it."""
    width, height = header.upright
    objects = []
    for box in record.boxes.astype(float).tolist():
        if box[0] < 0:
            continue
        edges = zip(("xmin", "ymin", "xmax", "ymax"), box[1:5], (width, height) * 2, strict=True)
        bounds = "".join(f"<{name}>{edge * side!r}</{name}>" for name, edge, side in edges)
        difficult = int(box[5]) if len(box) == 6 and box[5] in (0, 1) else 0
        objects.append(
            f"  <object>\n    <name>{escape(class_name(box[0], manifest))}</name>\n"
            f"    <difficult>{difficult}</difficult>\n    <bndbox>{bounds}</bndbox>\n  </object>\n"
        )
    return (
        f"<annotation>\n  <folder>{IMAGES}</folder>\n  <filename>{escape(filename)}</filename>\n"
        f"  <size><width>{width}</width><height>{height}</height>"
        f"<depth>{header.channels}</depth></size>\n{''.join(objects)}</annotation>\n"
    )


def _lines(path: str, s3: S3Client) -> list[str]:
    if is_s3(path):
        return read_bytes(path, s3, most_of_document()).decode("utf-8-sig").splitlines()
    return list(text_lines(Path(path)))


def _stems_of_list(path: PathOrUrl, s3: S3Client) -> dict[int, str]:
    """The images' names without folder and extension, by the index of the row."""
    rows = companion(path, ".lst")
    try:
        lines = read_companion(path, ".lst", s3, lambda path: _lines(path, s3))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ListError(f"{rows}: can't be read: {error}") from error
    stems = {}
    for number, line in enumerate(lines, 1):
        columns = line.rstrip("\r\n").split("\t")
        name = posixpath.basename(columns[-1])
        stem, suffix = posixpath.splitext(name)
        if suffix.lower() not in EXTENSIONS:
            stem = name
        is_index = re.fullmatch("[0-9]{1,19}", columns[0])
        if not is_index or not stem.strip(". ") or unsafe_path(columns[-1]):
            raise ListError(
                f"{rows}: line {number}: {line.strip()[:200]!r} names no index and file; correct "
                "the list, or move it away to get numbers as names"
            )
        stems[int(columns[0])] = stem
    return stems
