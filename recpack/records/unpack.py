"""``.rec`` → images by class, or Pascal VOC annotations with an image set; and a list."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

from recpack.data.labels import detection_widths
from recpack.errors import DataError, ListError, SinkError
from recpack.formats.image_header import EXTENSIONS, ImageHeader
from recpack.formats.insightface import identity_keys, property_beside
from recpack.formats.lst import FloatFormatter
from recpack.formats.manifest import Manifest, manifest_beside
from recpack.formats.record import Record
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
from recpack.storage.paths import (
    PathOrUrl,
    companion,
    local_path,
    read_bytes,
    read_companion,
    unsafe_path,
)
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3

ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"
_SUFFIX = {"jpeg": ".jpg"}
_MOST_NAME = 200
"""Bytes of a folder's name; file systems take 255."""


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
    """Unpack a ``.rec`` into a folder, with a ``.lst`` from which ``pack`` makes the same records.

    Records with boxes become a VOC folder: ``JPEGImages``, ``Annotations`` and
    ``ImageSets/Main/trainval.txt`` in the order of the records. Boxes are so exact that ``convert
    FOLDER --no-shuffle`` with the same classes makes the same ``.rec``. Images with a class lie in
    a folder of its name (what no folder can have becomes ``_``), those of InsightFace's files in
    one for each identity, from which ``convert --from identities`` makes the same records, with
    their ``property``; the tables are left out. Images with any other label lie in ``JPEGImages``.

    Images keep their bytes. Names come from the ``.lst`` beside the ``.rec`` (their last part
    only), else from the records' ids; class names come from the manifest, else from the ids. A new
    folder appears when it is complete; one that exists is filled in place, and has no image set
    meanwhile. Raises SinkError for a folder that is not empty, RecordError for a broken file,
    ListError for a broken list, DataError for an id that occurs twice. The records of a set of
    shards get the numbers of their positions in it.
    """
    output = local_path(folder, "folder")
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
                    return unpacking.run(records, settings.watch)
            new = LocalImageFolder(os.path.abspath(output), new_token())
            new.demand_empty()
            with new.filling():
                unpacking = _Unpacking(records, Path(new.partial), s3, _new_file)
                unpacked = unpacking.run(records, settings.watch)
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
        path = records.path
        self._path, self._s3 = path, s3
        self._several = len(records.paths) > 1
        self._folder, self._open_text = output, open_text
        self._manifest = manifest_beside(path, s3)
        one = self._manifest  # where numbers are no class ids, not all are counted
        self._classes = one is None or sum(one.objects.values()) >= one.num_samples
        self._stems = _stems_of_list(records.paths[0], s3)
        for number in range(1, len(records.paths)):  # starts would read a file without an index
            stems, first = _stems_of_list(records.paths[number], s3), records.starts[number]
            self._stems |= {int(first) + id_: stem for id_, stem in stems.items()}
        self._folders: dict[str, str] = {}
        self._taken: set[str] = set()
        self._used: dict[str, set[str]] = {}
        self._digits = 0
        self._floats = FloatFormatter()
        self._list = Path(os.fspath(path).rpartition("/")[2]).with_suffix(".lst").name

    def _prepare(self) -> None:
        """Raise SinkError when a name of the list is too long for the folders, or there is no room
        for them. An older image set goes: without it the folder does not look finished."""
        counts = Counter(self._stems.values())
        stems = [stem + f"_{id_}" * (counts[stem] > 1) for id_, stem in self._stems.items()]
        longest = max(stems, key=lambda stem: len(os.fsencode(stem)), default="")
        demand_room(self._folder / IMAGES / longest, len(".jpeg"))
        demand_room(self._folder / self._list, LONGEST_ENDING)
        make_folder(self._folder)
        image_set = self._folder / SETS / "trainval.txt"
        if os.path.lexists(self._folder / posixpath.dirname(SETS)):
            self._make_folders(SETS)  # no link leads elsewhere
            image_set.unlink(missing_ok=True)
            sync_folder(image_set.parent)

    def run(self, records: RecordReader, progress: Watch) -> Unpacked:
        records._demand_current()
        self._prepare()
        images = annotations = tables = 0
        ids: BinaryIO | None = None
        with ExitStack() as last, self._open_text(self._folder / self._list) as rows:
            for position, record in enumerate(records):
                if self._several:  # each shard has ids of its own
                    image = record.image_bytes
                    record = Record(position, record.id2, record.flag, record.label, image)
                if record.kind == "table":
                    self._begin_faces(record)
                    tables += 1
                    continue
                if record.kind == "boxes" and ids is None:
                    self._make_folders(ANNOTATIONS, SETS)
                    image_set = self._folder / SETS / "trainval.txt"
                    ids = last.enter_context(self._open_text(image_set))
                annotations += self._write_record(record, ids, rows, by_identity=tables > 0)
                images += 1
                if progress is not None and images % 256 == 0:
                    guess = round(images * records.size / max(record.offset, 1))
                    guess = len(records) if self._several else guess
                    progress(Progress("unpack", images, guess, record.offset))
            os.sync()  # all files at once: one by one takes many times as long
        return Unpacked(os.fspath(self._folder), images, annotations, tables)

    def _begin_faces(self, record: Record) -> None:
        if record.offset or (keys := identity_keys(record)) is None:
            return
        self._digits = len(str(len(keys) - 1))
        if (stated := property_beside(self._path, self._s3)) is not None:
            with self._open_text(self._folder / "property") as file:
                file.write(f"{stated}\n".encode())

    def _make_folders(self, *names: str) -> None:
        for name in names:
            path = self._folder
            for part in name.split("/"):
                path /= part
                make_folder(path)

    def _write_record(
        self, record: Record, ids: BinaryIO | None, rows: BinaryIO, *, by_identity: bool
    ) -> bool:
        header = image_header(record)
        suffix = ".bin" if header is None else _SUFFIX.get(header.kind, "." + header.kind)
        widths = detection_widths(record.label)
        by_class = widths is None and (by_identity or (self._classes and len(record.label) == 1))
        folder = self._class_folder(float(record.label[0])) if by_class else IMAGES
        if folder not in self._used:
            self._make_folders(folder)
            self._used[folder] = set()
        stem = self._stem(record, folder)
        write_bytes(self._folder / folder / (stem + suffix), record.image_bytes)
        label = self._floats.format(record.label)
        if widths is not None:
            label[:2] = map(str, widths)
        row = "\t".join([str(record.id), *label, f"{folder}/{stem}{suffix}"]) + "\n"
        rows.write(os.fsencode(row))
        if ids is None or widths is None or header is None:
            return False
        text = annotation(record, header, stem + suffix, self._manifest)
        write_bytes(self._folder / ANNOTATIONS / f"{stem}.xml", text.encode())
        ids.write(os.fsencode(stem + "\n"))
        return True

    def _class_folder(self, id_: float) -> str:
        """The folder of a class: each has its own."""
        name = class_name(id_, self._manifest)
        if name not in self._folders:
            padded = name.zfill(self._digits) if self._manifest is None else name
            folder = safe_folder(padded)
            first, _, rest = folder.partition("/")
            if first in (self._list, "property"):
                folder = f"{first}_/{rest}".rstrip("/")
            while folder in self._taken:
                folder += "_"
            self._folders[name] = folder
            self._taken.add(folder)
        return self._folders[name]

    def _stem(self, record: Record, folder: str) -> str:
        stem, used = self._stems.get(record.id, f"{record.id:08d}"), self._used[folder]
        if stem in used:  # an image of another year, or the same image twice
            stem = f"{stem}_{record.id}"
        if stem in used:
            raise DataError(f"record at byte {record.offset:,}: id {record.id} occurs twice")
        used.add(stem)
        return stem


def safe_folder(name: str) -> str:
    """A class name as folders below one another: whatever a stranger wrote, no path that leaves the
    root, is hidden, or that a list can't hold."""
    parts = ["".join(c if c.isprintable() else "_" for c in part) for part in name.split("/")]
    parts = [part.strip() for part in parts if part.strip()]
    safe = ["_" + part if part[0] == "." else part for part in parts] or ["_"]
    return "/".join(part.encode()[:_MOST_NAME].decode(errors="ignore") for part in safe)


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
