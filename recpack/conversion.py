"""The composition of everything: devkit or list → scan → plan → segments → sink → manifest."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from recpack.assembly import Result, Source, Watch, pack_samples, publish
from recpack.cluster import connected, prove_reach
from recpack.config import SPLIT_NAMES, Options, parse_fractions
from recpack.errors import ConfigError
from recpack.files import text_lines
from recpack.formats import output_format as format_of
from recpack.labels import detection_widths, doubtful_rows
from recpack.lst import CheckedLines, format_rows, read_list
from recpack.manifest import RecFile, describe
from recpack.measuring import measured
from recpack.outputs import demand_free, write_text
from recpack.parallel import FORK
from recpack.plan import expected_lengths
from recpack.preparation import judged, orders, refuse, scanned
from recpack.problems import Problem
from recpack.s3.location import is_s3
from recpack.sample import Int64
from recpack.scan import Scanning, ScanResult
from recpack.sinks.base import LIST, Sink
from recpack.sinks.file import FileSink
from recpack.sources.opening import open_dataset
from recpack.trees.opening import Root


def convert(
    devkit: Root,
    output: str | os.PathLike[str] | Sink,
    *,
    source_format: str | None = None,
    output_format: str | None = None,
    images_url: str | None = None,
    year: str | Sequence[str] | None = None,
    set: str | Sequence[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
    classes: str | Sequence[str] | Mapping[str, int] | None = None,
    shuffle: int | None = 0,
    precision: int | None = None,
    one_based: bool = False,
    difficult: str = "keep",
    box_policy: str = "repair",
    negatives: str = "drop",
    unknown_class: str = "error",
    size_mismatch: str = "error",
    on_error: str = "fail",
    strict: bool = False,
    resize: int = 0,
    quality: int | None = None,
    encoding: str = "jpg",
    reencode: bool = False,
    center_crop: bool = False,
    im2rec_pixels: bool = False,
    split: str | None = None,
    jobs: int | None = None,
    backend: str | None = None,
    scheduler: str | None = None,
    address: str | None = None,
    segment_size: int | str = 16 << 20,
    overwrite: bool = False,
    dry_run: bool = False,
    endpoint_url: str | None = None,
    requester_pays: bool = False,
    uploads: int = 16,
    checksum: str = "crc32",
    storage_class: str | None = None,
    sse: str | None = None,
    kms_key_id: str | None = None,
    resume: bool = False,
    progress: Watch = None,
) -> Result:
    """Convert a data set into a ``.rec`` with its ``.idx``, ``.lst`` and manifest.

    ``devkit`` is a Pascal VOC devkit: a folder, or one or several tar archives (which are read as
    they are: nothing is unpacked), on a disk or on S3. COCO, YOLO and SageMaker's formats are taken
    too; see ``recpack.sources.opening``.

    ``output`` is a path that ends in ``.rec`` (the others stand beside it) or a sink; a name that
    ends in ``.manifest``, ``.jsonl`` or ``/`` asks for SageMaker's other formats. The other
    arguments are the command line's options; see ``recpack.config.Options``. ``progress`` is
    called with a ``Progress`` as images are done. ``split`` (``0.8/0.2``) writes two or three
    outputs, ``x_train.rec``, ``x_val.rec`` (and ``x_test.rec``) for ``x.rec``, published together.
    ``dry_run`` scans, judges and describes, and writes nothing.

    The bytes depend on the input and the options alone, never on ``jobs``, ``backend`` or
    ``segment_size``. Peak memory is ``jobs × segment_size`` and less than 300 bytes an image.

    Raises ConfigError for wrong options, DataError when the data is at fault (its ``problems``
    lists everything, and nothing was written), SinkError when the output can't be written.
    """
    options = Options(
        source_format=source_format,
        output_format=output_format,
        images_url=images_url,
        year=year,
        set=set,
        images=images,
        annotations=annotations,
        classes=classes,
        shuffle=shuffle,
        precision=precision,
        one_based=one_based,
        difficult=difficult,
        box_policy=box_policy,
        negatives=negatives,
        unknown_class=unknown_class,
        size_mismatch=size_mismatch,
        on_error=on_error,
        strict=strict,
        resize=resize,
        quality=quality,
        encoding=encoding,
        reencode=reencode,
        center_crop=center_crop,
        im2rec_pixels=im2rec_pixels,
        split=split,
        jobs=jobs,
        backend=backend,
        scheduler=scheduler,
        address=address,
        segment_size=segment_size,
        overwrite=overwrite,
        dry_run=dry_run,
        endpoint_url=endpoint_url,
        requester_pays=requester_pays,
        uploads=uploads,
        checksum=checksum,
        storage_class=storage_class,
        sse=sse,
        kms_key_id=kms_key_id,
        resume=resume,
    )
    return convert_devkit(devkit, output, options, progress)


def convert_devkit(
    devkit: Root,
    output: str | os.PathLike[str] | Sink,
    options: Options,
    progress: Watch = None,
) -> Result:
    """``convert`` with its options already gathered."""
    if not isinstance(output, Sink):
        kind = options.output_format or format_of(os.fspath(output))
        if kind != "rec":
            from recpack.exporting import export  # its formats take their time to import

            return export(devkit, os.fspath(output), kind, options, progress)
    if options.images_url is not None:
        raise ConfigError("images_url: only for an augmented manifest; name the output x.manifest")
    if options.dry_run:
        scan = scanned(devkit, options, progress)
        size = None if options.changes_images else int(expected_lengths(scan.samples).sum())
        name = output.name if isinstance(output, Sink) else Path(output).name
        rec: RecFile = {"name": name, "bytes": size, "checksum": None}
        return _described(scan, options, rec)
    with ExitStack() as stack:
        stack.enter_context(connected(options))
        sinks = _sinks(output, options)
        # forked workers read while we find out whether we can write; those of joblib complain when
        # they are stopped at their start
        early = options.backend == FORK
        for sink in () if early else sinks:
            stack.enter_context(sink)
        opened = open_dataset(devkit, options)
        prove_reach(opened.root, sinks, options)
        scanning = stack.enter_context(Scanning(opened, options))
        for sink in sinks if early else ():
            stack.enter_context(sink)
        scan = judged(scanning.finish(progress), options)
        packed = [
            pack_samples(_scan_source(scan, order, options), options, sink, progress)
            for order, sink in zip(orders(scan.samples, options), sinks, strict=True)
        ]
        results = [publish(part, options) for part in packed]
    return results[0] if len(results) == 1 else replace(results[0], parts=results)


def write_list(
    devkit: Root,
    output: str | os.PathLike[str],
    options: Options,
    progress: Watch = None,
) -> Result:
    """Only the rows: a devkit's ``.lst``, the one that ``convert`` would write, to a path or
    ``s3://…``.

    Nothing is packed, so the result's manifest names no ``.rec``.
    """
    if not options.dry_run:
        demand_free(output, options.access, overwrite=options.overwrite)
    scan = scanned(devkit, options, progress)
    (order,) = orders(scan.samples, replace(options, split=None))
    rows = CheckedLines(format_rows(scan.samples.shuffled(order), options.precision))
    if options.dry_run:
        deque(rows, maxlen=0)
    else:
        write_text(output, rows, options.access)
    rec: RecFile = {"name": None, "bytes": None, "checksum": None}
    return _described(scan, options, rec, rows.crc32)


def pack(
    rows: str | os.PathLike[str],
    root: Root,
    output: str | os.PathLike[str] | Sink,
    options: Options,
    progress: Watch = None,
) -> Result:
    """An existing ``.lst`` and its image root → ``.rec``: what im2rec does, to the byte.

    ``root`` may be ``s3://…``, and a tar archive. Rows keep their order, indices and labels, and
    images pass through unless the options change all of them. ``options.classes`` names the
    classes in the manifest; without it they are named by their ids. Where ``on_error`` skips
    images, the rows left are numbered anew.
    """
    path = Path(rows)
    listed = read_list(path, root, options.access)
    if options.center_crop and any(detection_widths(sample.label) for sample in listed):
        raise ConfigError(
            "center_crop: the boxes of a list can't follow the crop; crop with recpack convert"
        )
    options = replace(options, im2rec_pixels=True)
    names = options.class_map.names if options.classes and options.class_map else ()
    own = isinstance(output, (str, os.PathLike)) and _same_file(path, Path(output))
    with connected(options), _sink(output, options, spare=(LIST,) if own else ()) as sink:
        prove_reach(listed.root, [sink], options)
        samples, problems = measured(listed, options)
        problems += [
            Problem(code, "warning", listed.paths[row], "kept", value=value)
            for row, code, value in doubtful_rows(listed)
        ]
        refuse(problems, options)
        # class ids come from outside here: refuse those without a name before any work is done
        describe(samples, names, [], options, {"name": None, "bytes": None, "checksum": None})
        lines = CheckedLines(text_lines(path, "utf-8"))
        if own:  # the sink leaves it alone, but the manifest tells its checksum
            deque(lines, maxlen=0)
        source = Source(samples, names, problems, lines)
        if len(samples) < len(listed):
            source = source.without([], options)
        return publish(pack_samples(source, options, sink, progress), options)


def _described(
    scan: ScanResult, options: Options, rec: RecFile, list_crc32: int | None = None
) -> Result:
    names, problems = scan.classes.names, scan.problems
    return Result(describe(scan.samples, names, problems, options, rec, list_crc32), problems)


def _sink(
    output: str | os.PathLike[str] | Sink, options: Options, spare: Sequence[str] = ()
) -> Sink:
    if isinstance(output, Sink):
        return output
    if is_s3(output):
        from recpack.sinks.s3 import S3Sink

        return S3Sink(
            os.fspath(output),
            endpoint_url=options.endpoint_url,
            requester_pays=options.requester_pays,
            uploads=options.uploads,
            checksum=options.checksum,
            storage_class=options.storage_class,
            sse=options.sse,
            kms_key_id=options.kms_key_id,
            overwrite=options.overwrite,
            resume=options.resume,
        )
    for name in ("storage_class", "sse", "kms_key_id", "resume"):
        if getattr(options, name):
            raise ConfigError(f"{name}: only for an output on S3, and {output} is none")
    return FileSink(output, overwrite=options.overwrite, spare=spare)


def _same_file(rows: Path, output: Path) -> bool:
    beside = output.with_suffix(LIST)
    return beside.exists() and rows.samefile(beside)


def _scan_source(scan: ScanResult, order: Int64, options: Options) -> Source:
    samples = scan.samples.shuffled(order)
    rows = CheckedLines(format_rows(samples, options.precision))
    return Source(samples, scan.classes.names, scan.problems, rows)


def _sinks(output: str | os.PathLike[str] | Sink, options: Options) -> list[Sink]:
    """A sink for each part of a split, or the one."""
    if options.split is None:
        return [_sink(output, options)]
    if isinstance(output, Sink):
        raise ConfigError("split: its outputs are named after a path; give one, not a sink")
    names = SPLIT_NAMES[: len(parse_fractions(options.split))]
    return [_sink(part_path(output, name), options) for name in names]


def part_path(output: str | os.PathLike[str], name: str) -> str:
    """Where a part of a split goes: ``x.rec`` → ``x_train.rec``, and on S3 ``train/x_train.rec``,
    because a channel's prefix must not hold another channel's ``.rec``."""
    folder, file = os.path.split(os.fspath(output))
    stem, suffix = os.path.splitext(file)
    return os.path.join(folder, name if is_s3(output) else "", f"{stem}_{name}{suffix}")
