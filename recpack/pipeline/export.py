"""Samples → SageMaker's formats beside RecordIO: an augmented manifest, or images and JSON files.

``sources`` reads the same formats. Edges are whole pixels where these give exactly the ratios of
the label, else they have as many decimals as needed.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Int64
from recpack.data.samples import Samples, Treatment
from recpack.errors import ConfigError, DataError, ImageError, SinkError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import reencode
from recpack.formats.image_header import EXTENSIONS, parse_header
from recpack.formats.manifest import NOT_PACKED, describe
from recpack.formats.sagemaker_json import JSON_FOLDER, Box, Boxes, Category, ImageFile, Size
from recpack.options import ConvertOptions, Options, OutputFormat
from recpack.packing.result import Result
from recpack.packing.segment import explain_image, read_same
from recpack.pipeline.output import is_root
from recpack.pipeline.prepare import refuse, scan_source
from recpack.problem_lines import summary, way_out
from recpack.problem_list import Problems
from recpack.problems import Problem
from recpack.progress import Progress
from recpack.scanning.order import orders
from recpack.scanning.run import ScanResult
from recpack.sinks.image_folder import ImageFolder, image_folder
from recpack.storage.paths import demand_free, write_text
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import Root
from recpack.storage.trees.s3 import S3Tree
from recpack.workers.cluster import connect
from recpack.workers.run import run

LABEL = "bounding-box"
"""The attribute of an augmented manifest that holds the boxes."""
_CHUNK = 64
"""Images per task."""
_DECIMALS = 4
_ENCODER = msgspec.json.Encoder()


def export(path: Root, output: str, kind: OutputFormat, options: ConvertOptions) -> Result:
    """``convert`` into a format without records; the result's manifest names no ``.rec``."""
    for name in ("split", "shards", "resume", "storage_class", "sse", "kms_key_id"):
        if getattr(options, name):
            raise ConfigError(f"{name}: only for a .rec, but the output format is {kind}")
    if options.difficult == "column":
        raise ConfigError(f"difficult: {kind} has no sixth column; use keep or drop")
    if kind == "augmented-manifest":
        return _export_manifest(path, output, options)
    if options.images_url is not None:
        raise ConfigError("images_url: only for an augmented manifest; this output has its images")
    folders = _image_folders(output, S3Client.of(options))
    for folder in () if options.dry_run and is_s3(output) else folders:
        folder.demand_empty()
    scan = scan_source(path, options, output)
    (order,) = orders(scan.samples, options)
    samples, problems = scan.samples.reorder(order), scan.problems
    result = _result(samples, scan, problems, options)
    if options.dry_run:
        return result
    rows, failures = _write_image_json(folders, samples, scan.classes.names, options)
    return _result(samples.take(rows), scan, problems + failures, options) if failures else result


def _export_manifest(path: Root, output: str, options: ConvertOptions) -> Result:
    for name in ("reencode", "resize", "center_crop"):
        if getattr(options, name):
            raise ConfigError(f"{name}: an augmented manifest can't change images")
    if options.size_mismatch == "rescale":
        raise ConfigError("size_mismatch: an augmented manifest can only name the image's own size")
    s3 = S3Client.of(options)
    if options.images_url is not None:
        parse_location(options.images_url)
    if not (options.dry_run and is_s3(output)):  # a dry run asks no store
        demand_free(output, s3, overwrite=options.overwrite)
    scan = scan_source(path, options, output)
    keep = scan.samples.treatments == Treatment.KEEP
    action = options.error_action
    problems = scan.problems + [
        Problem("image-unconverted", "error", scan.samples.paths[row], action)
        for row in np.flatnonzero(~keep).tolist()
    ]
    refuse(problems, options, len(keep))
    rows = np.flatnonzero(keep)
    if not len(rows):
        raise DataError("no image is left\n" + summary(problems), problems)
    remaining = scan.samples.take(rows)
    (order,) = orders(remaining, options)
    samples = remaining.reorder(order)
    result = _result(samples, scan, problems, options)
    lines = manifest_lines(
        samples, scan.sizes[rows][order], scan.classes.names, _images_url(samples.root, options)
    )
    if not options.dry_run:
        write_text(output, lines, s3)
    return result


def _result(
    samples: Samples, scan: ScanResult, problems: list[Problem], options: Options
) -> Result:
    manifest = describe(
        samples,
        scan.classes.names,
        problems,
        options.shaping(),
        NOT_PACKED,
        source=scan.scope.for_manifest(),
    )
    return Result(manifest, Problems(problems), scope=scan.scope)


def _images_url(root: Tree, options: Options) -> str:
    if options.images_url is not None:
        return str(parse_location(options.images_url))
    if not isinstance(root, S3Tree):
        raise ConfigError(
            f"images_url: an augmented manifest needs images on S3, and {root} is local; "
            "name their location with --images-url s3://bucket/prefix"
        )
    return str(root)


def manifest_lines(
    samples: Samples, sizes: Float32, classes: Sequence[str], images_url: str
) -> Iterator[str]:
    """The lines of an augmented manifest. ``sizes`` float32 (n, 2) are width and height of the
    samples' images, which are below ``images_url``. The first line names all classes, every other
    line the classes of its boxes."""
    for sample, size in zip(samples, sizes.astype(int).tolist(), strict=True):
        boxes = _boxes(sample.label, *size)
        present = range(len(classes)) if sample.index == 0 else {box.class_id for box in boxes}
        line = {
            "source-ref": posixpath.join(images_url, sample.path),
            LABEL: Boxes(boxes, [Size(*size)]),
            f"{LABEL}-metadata": {
                "objects": [{"confidence": 1}] * len(boxes),
                "class-map": {str(id_): classes[id_] for id_ in sorted(present)},
                "type": "groundtruth/object-detection",
                "human-annotated": "yes",
            },
        }
        yield _ENCODER.encode(line).decode() + "\n"


def _boxes(label: Float32, width: int, height: int) -> list[Box]:
    """A sample's boxes in pixels."""
    objects = label[2:].reshape(-1, int(label[1]))
    objects = objects[objects[:, 0] >= 0]
    sides = np.array([width, height] * 2)
    edges = exact = objects[:, 1:5].astype(np.float64) * sides
    for decimals in range(_DECIMALS, -1, -1):
        shorter = np.round(exact, decimals)
        same = (shorter / sides).astype(np.float32) == objects[:, 1:5]
        edges = np.where(same, shorter, edges)
    return [
        Box(int(id_), _number(left), _number(top), _number(right - left), _number(bottom - top))
        for id_, (left, top, right, bottom) in zip(objects[:, 0], edges.tolist(), strict=True)
    ]


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value


def _write_image_json(
    folders: tuple[ImageFolder, ImageFolder],
    samples: Samples,
    classes: Sequence[str],
    options: ConvertOptions,
) -> tuple[Int64, list[Problem]]:
    """Write images into a folder, local or ``s3://…``, and their JSON files into the folder beside
    it whose name ends in ``_annotation``: SageMaker's ``train`` and ``train_annotation``.

    Files keep the images' names; where two are equal, one also gets the sample's number. The JSON
    files come after all images, so a failure leaves only images on S3. Raises SinkError for folders
    that can't be written, DataError for images that can't be read or encoded, unless errors are
    skipped. Returns the positions of the samples written, and the problems of the others.
    """
    images, annotations = folders
    names = _distinct_names(samples, options)
    images.demand_room(max(names, key=_bytes_of))
    annotations.demand_room(max(map(_document_name, names), key=_bytes_of))
    starts = range(0, len(samples), _CHUNK)

    def parts() -> Iterator[tuple[Samples, list[str]]]:
        for start in starts:
            stop = min(start + _CHUNK, len(samples))
            yield samples.slice(start, stop).for_worker(), names[start:stop]

    write_images = partial(_write_images, folder=images, encoding=options.part(Encoding))
    try:
        with connect(options), ExitStack() as stack:
            for folder in folders:
                stack.enter_context(folder.filling())
            sizes, problems = [], []
            results = run(
                write_images, parts(), len(starts), jobs=options.jobs, backend=options.backend
            )
            with closing(results):
                for part, failures in results:
                    sizes.append(part)
                    problems += [replace(one, action=options.error_action) for one in failures]
                    if options.watch is not None:
                        options.watch(Progress("write", sum(map(len, sizes)), len(samples)))
            rows = np.flatnonzero(np.concatenate(sizes)[:, 0])
            if problems and (options.on_error == "fail" or not len(rows)):
                advice = way_out(problems, left=len(rows) > 0)
                raise DataError(summary(problems, way_out=advice), problems)
            write_documents = partial(_write_documents, folder=annotations, classes=classes)
            tasks = ((*part, size) for part, size in zip(parts(), sizes, strict=True))
            done = run(
                write_documents, tasks, len(starts), jobs=options.jobs, backend=options.backend
            )
            with closing(done):
                for _ in done:
                    pass
            for folder in reversed(folders):  # the folder that was named comes last
                folder.publish()
            return rows, problems
    except OSError as error:
        failure = SinkError(f"{images}: can't be written: {error.strerror or error}")
        for note in getattr(error, "__notes__", ()):
            failure.add_note(note)
        raise failure from error


def _distinct_names(samples: Samples, options: Options) -> list[str]:
    """File names without folders. No two differ only in the extension, because they would have the
    same JSON file."""
    used: set[str] = set()
    names = []
    for sample in samples:
        stem, suffix = posixpath.splitext(posixpath.basename(sample.path))
        if suffix.lower() not in EXTENSIONS:
            stem, suffix = stem + suffix, ""
        if options.changes_images or sample.treatment is not Treatment.KEEP:
            suffix = f".{options.encoding}"
        if stem in used:
            stem = f"{stem}_{sample.index}"
        if stem in used:
            raise DataError(f"{sample.path}: three images have this name; rename one of them")
        used.add(stem)
        names.append(stem + suffix)
    return names


def _write_images(
    task: tuple[Samples, list[str]], *, folder: ImageFolder, encoding: Encoding
) -> tuple[npt.NDArray[np.int32], list[Problem]]:
    """Write some images; runs in a worker. Returns width, height and channels of each, int32
    (n, 3), and the problems of images that can't be read."""
    samples, names = task
    sizes = np.zeros((len(samples), 3), np.int32)
    failures = []
    with samples.root.folder(".", proven=True) as source:
        openers = source.in_order(samples.paths, sizes=samples.image_bytes.tolist())
        for row, (sample, name, opener) in enumerate(zip(samples, names, openers, strict=True)):
            assert opener is not None
            try:
                with opener() as file:
                    data = read_same(file, sample.image_bytes, sample.identity)
                if encoding.changes_images or sample.treatment is not Treatment.KEEP:
                    data = reencode(data, sample.treatment, encoding).tobytes()
                header = parse_header(data)
                sizes[row] = header.width, header.height, header.channels
            except (ImageError, OSError) as error:
                code, value = explain_image(error)
                failures.append(Problem(code, "error", sample.path, "error", value=value))
            else:
                folder.write(name, data)
    return sizes, failures


def _write_documents(
    task: tuple[Samples, list[str], npt.NDArray[np.int32]],
    *,
    folder: ImageFolder,
    classes: Sequence[str],
) -> None:
    """Write the JSON files of the images that exist; runs in a worker."""
    samples, names, sizes = task
    categories = [Category(id_, name) for id_, name in enumerate(classes)]
    for sample, name, (width, height, depth) in zip(samples, names, sizes.tolist(), strict=True):
        if not width:
            continue
        document = ImageFile(
            annotations=_boxes(sample.label, width, height),
            image_size=[Size(width, height, depth)],
            file=name,
            categories=categories,
        )
        folder.write(_document_name(name), _ENCODER.encode(document))


def _document_name(image: str) -> str:
    """The name of an image's JSON file."""
    stem, suffix = posixpath.splitext(image)
    return (stem if suffix.lower() in EXTENSIONS else image) + ".json"


def _bytes_of(name: str) -> int:
    return len(os.fsencode(name))


def _image_folders(output: str, s3: S3Client) -> tuple[ImageFolder, ImageFolder]:
    """The folder of the images, and the folder of their JSON files."""
    if is_root(output):
        raise ConfigError(f"output: {output}: name a folder for the images, like …/train/")
    path = output.rstrip("/") if is_s3(output) else os.path.abspath(output)  # also of ./
    return image_folder(path, s3), image_folder(path + JSON_FOLDER, s3)
