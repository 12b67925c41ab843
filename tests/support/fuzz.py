"""Coverage-guided fuzzing of everything that strangers' bytes go into; needs atheris.

    pip install atheris
    python -m tests.support.fuzz TARGET [CORPUS] -max_total_time=600

TARGET is xml, header, list, record, labels, coco or manifest.

A target fails by any exception but recpack's own.
"""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["recpack"]):
    from recpack.errors import AnnotationError, DataError, ImageError, ListError, RecordError
    from recpack.formats.image_header import check_whole, read_header
    from recpack.formats.lst import format_rows, parse_rows
    from recpack.formats.recordio import decode_payload, join_parts, locate_record
    from recpack.sources.augmented_manifest import AugmentedManifest
    from recpack.sources.coco_document import CocoFile
    from recpack.sources.voc.parse import parse_annotation
    from recpack.sources.yolo.dataset import parse_labels
    from recpack.sources.yolo.layout import YoloFolder
    from recpack.storage.trees.local import LocalTree


def xml(data: bytes) -> None:
    try:
        found = parse_annotation(data)
    except AnnotationError:
        return
    assert len(found.boxes) == 4 * len(found.names) == 4 * len(found.objects)
    assert all(value - value == 0 for value in found.boxes)


def header(data: bytes) -> None:
    def read(offset: int, length: int) -> bytes:
        assert offset >= 0
        assert 0 <= length <= 1 << 17
        return data[offset : offset + length]

    try:
        found = read_header(read, len(data))
    except ImageError:
        return
    assert found.width > 0
    assert found.height > 0
    assert 1 <= found.orientation <= 8
    with contextlib.suppress(ImageError):
        check_whole(found, read, len(data))


def list_(data: bytes) -> None:
    try:
        table = parse_rows(data.decode("utf-8", "replace").splitlines(keepends=True), "root")
    except ListError:
        return
    assert list(parse_rows("".join(format_rows(table)).split("\n"), "root").paths) == list(
        table.paths
    )


def record(data: bytes) -> None:
    def read(offset: int, length: int) -> bytes:
        assert length <= max(len(data), 8)  # a header, or what a header may claim
        return data[offset : offset + length]

    offset = 0
    try:
        while offset < len(data):
            parts = locate_record(read, offset, len(data))
            decode_payload(join_parts(read, parts), offset)
            assert parts[-1].end > offset
            offset = parts[-1].end
    except RecordError as error:
        assert error.offset is not None  # noqa: PT017


def labels(data: bytes) -> None:
    try:
        found = parse_labels(data, YoloFolder(("a", "b")), (640, 480))
    except AnnotationError:
        return
    assert len(found.boxes) == 4 * len(found.names) == 4 * len(found.objects)
    assert found.object_count == len(found.objects) + len(found.defects)


def coco(data: bytes) -> None:
    try:
        file = CocoFile(data, "x.json")
    except DataError:
        return
    objects = sum(entry.annotation.object_count for entry in file.entries("images"))
    unlisted = sum(one.code == "image-unlisted" for one in file.faults("x.json"))
    assert objects + unlisted == len(file.document.annotations)


def manifest(data: bytes) -> None:
    with contextlib.suppress(DataError):
        found = AugmentedManifest("x.manifest", data, "b")
        assert len(found.dataset(LocalTree("/"), "")) >= 1


TARGETS = {"xml": xml, "header": header, "list": list_, "record": record,
           "labels": labels, "coco": coco, "manifest": manifest}  # fmt: skip

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
